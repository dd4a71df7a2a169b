use core::fmt;

use lambda_proto::api::{Endpoint, ErrorReport, RequestWriter};
use lambda_proto::http::BufferTooSmall;

use super::{Registrant, names};
use crate::limits::MAX_EXTENSION_NAME;
use crate::subscription::Subscription;

/// The name of an extension, checked so that it cannot break out of its header field.
///
/// The service takes a name for that of an external extension if `/opt/extensions` has a file of
/// that name, otherwise for that of an internal one (emulator: `rapi/handler/agentregister.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionName<'a>(&'a str);

impl<'a> ExtensionName<'a> {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`InvalidExtensionName`] unless it has 1 to [`MAX_EXTENSION_NAME`] bytes, no control
    /// characters, and no space at either end.
    pub fn new(name: &'a str) -> Result<Self, InvalidExtensionName> {
        let is_length = (1..=MAX_EXTENSION_NAME).contains(&name.len());
        let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
        if is_length && name.trim() == name && !name.bytes().any(is_control) {
            return Ok(Self(name));
        }
        Err(InvalidExtensionName)
    }

    /// The name.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

/// A request of the Extensions API.
pub(super) enum Request<'a> {
    Register { registrant: &'a Registrant<'a> },
    Subscribe { identifier: &'a str, subscription: &'a Subscription<'a> },
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
        match self {
            Self::Register { registrant } => {
                let mut writer = RequestWriter::post(endpoint, names::REGISTER, out);
                writer.field(names::NAME, &[registrant.name.0.as_bytes()]);
                if registrant.accepts_account_id {
                    writer.field(names::ACCEPT_FEATURE, &[b"accountId"]);
                }
                writer.field(names::CONTENT_TYPE, &[JSON]);
                writer.finish_with([registrant.document.as_bytes()])
            }
            Self::Subscribe { identifier, subscription } => {
                let is_new = subscription.is_to_telemetry();
                let path = if is_new { names::TELEMETRY } else { names::LOGS };
                let mut writer = RequestWriter::put(endpoint, path, out);
                writer.field(names::IDENTIFIER, &[identifier.as_bytes()]);
                writer.field(names::CONTENT_TYPE, &[JSON]);
                subscription.finish(writer)
            }
            Self::Next { identifier } => {
                let mut writer = RequestWriter::get(endpoint, names::NEXT, out);
                writer.field(names::IDENTIFIER, &[identifier.as_bytes()]);
                writer.finish()
            }
            Self::InitError { identifier, report } => {
                let writer = RequestWriter::post(endpoint, names::INIT_ERROR, out);
                finish_report(writer, identifier, report)
            }
            Self::ExitError { identifier, report } => {
                let writer = RequestWriter::post(endpoint, names::EXIT_ERROR, out);
                finish_report(writer, identifier, report)
            }
        }
    }
}

const JSON: &[u8] = b"application/json";

fn finish_report(
    mut writer: RequestWriter<'_>,
    identifier: &str,
    report: &ErrorReport<'_>,
) -> Result<usize, BufferTooSmall> {
    writer.field(names::IDENTIFIER, &[identifier.as_bytes()]);
    writer.error_type(names::ERROR_TYPE, report);
    writer.field(names::CONTENT_TYPE, &[JSON]);
    writer.finish_with_report(report)
}

/// The name is empty, too long, or not valid in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidExtensionName;

impl fmt::Display for InvalidExtensionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an extension name must have 1 to {MAX_EXTENSION_NAME} bytes, no control characters, and no \
             space at either end"
        )
    }
}

impl core::error::Error for InvalidExtensionName {}
