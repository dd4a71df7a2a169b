use core::fmt;

use super::names;
use crate::api::{Endpoint, ErrorReport, put_content_length, put_field};
use crate::http::{BufferTooSmall, Counter, Sink, Writer, is_field_value};
use crate::limits::MAX_EXTENSION_NAME;

/// The name of an extension, checked so that it cannot leave its header.
///
/// One that is the name of a file in `/opt/extensions` is that external extension; any other is an
/// internal one (emulator: `rapi/handler/agentregister.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionName<'a>(&'a str);

impl<'a> ExtensionName<'a> {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`InvalidExtensionName`] unless it has 1 to [`MAX_EXTENSION_NAME`] bytes, no control characters,
    /// and no space at either end.
    pub fn new(name: &'a str) -> Result<Self, InvalidExtensionName> {
        let is_length = (1..=MAX_EXTENSION_NAME).contains(&name.len());
        if is_length && name.trim() == name && is_field_value(name.as_bytes()) {
            return Ok(Self(name));
        }
        Err(InvalidExtensionName)
    }

    /// The name.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

/// A kind of event that an extension can subscribe to.
///
/// Internal extensions may not have SHUTDOWN, and no event at all under multi-concurrency (emulator:
/// `rapi/handler/agentregister.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An invocation begins.
    Invoke,
    /// The environment is to end.
    Shutdown,
}

/// A request of the Extensions API.
pub(super) enum Request<'a> {
    Register { name: ExtensionName<'a>, events: &'a [EventKind] },
    Next { identifier: &'a str },
    InitError { identifier: &'a str, report: &'a ErrorReport<'a> },
    ExitError { identifier: &'a str, report: &'a ErrorReport<'a> },
}

impl Request<'_> {
    pub(super) fn encode(
        &self,
        endpoint: &Endpoint,
        out: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        let mut writer = Writer::new(out);
        let sink = &mut writer;
        match self {
            Self::Register { name, events } => {
                endpoint.put_request_line(sink, "POST ", names::REGISTER);
                put_field(sink, names::NAME, name.0.as_bytes());
                let mut counter = Counter::default();
                put_subscription(&mut counter, events);
                put_json_fields(sink, counter.length);
                put_subscription(sink, events);
            }
            Self::Next { identifier } => {
                endpoint.put_request_line(sink, "GET ", names::NEXT);
                put_field(sink, names::IDENTIFIER, identifier.as_bytes());
                sink.put(b"\r\n");
            }
            Self::InitError { identifier, report } => {
                put_report(sink, endpoint, names::INIT_ERROR, identifier, report);
            }
            Self::ExitError { identifier, report } => {
                put_report(sink, endpoint, names::EXIT_ERROR, identifier, report);
            }
        }
        writer.finish()
    }
}

fn put_subscription(sink: &mut dyn Sink, events: &[EventKind]) {
    sink.put(b"{\"events\":[");
    for (index, event) in events.iter().enumerate() {
        sink.put(if index == 0 { b"" } else { b"," });
        sink.put(match event {
            EventKind::Invoke => b"\"INVOKE\"",
            EventKind::Shutdown => b"\"SHUTDOWN\"",
        });
    }
    sink.put(b"]}");
}

fn put_report(
    sink: &mut Writer<'_>,
    endpoint: &Endpoint,
    path: &str,
    identifier: &str,
    report: &ErrorReport<'_>,
) {
    endpoint.put_request_line(sink, "POST ", path);
    put_field(sink, names::IDENTIFIER, identifier.as_bytes());
    report.put_type_as(sink, names::ERROR_TYPE);
    put_json_fields(sink, report.json_len());
    report.put_json(sink);
}

/// Ends the head of a request whose body is so many bytes of JSON.
fn put_json_fields(sink: &mut Writer<'_>, length: usize) {
    put_field(sink, "Content-Type", b"application/json");
    put_content_length(sink, length as u64);
    sink.put(b"\r\n");
}

/// A name is empty, too long, or could not stand in a header as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidExtensionName;

impl fmt::Display for InvalidExtensionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name of an extension has 1 to {MAX_EXTENSION_NAME} bytes, no control characters, and no \
             space at either end"
        )
    }
}

impl core::error::Error for InvalidExtensionName {}
