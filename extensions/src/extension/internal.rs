//! The internal extension that gets SIGTERM for a runtime.

use std::net::TcpStream;
use std::string::String;
use std::time::{Duration, Instant};
use std::vec::Vec;
use std::{fmt, format, io};

use lambda_proto::api::{Endpoint, ServiceError};
use lambda_proto::limits::MAX_REQUEST_HEAD;

use super::{
    Event, Extension, ExtensionName, InternalEvents, InvalidExtensionName, Phase, ReceiveError,
    Registrant, Reply,
};
use crate::bounded::{Bounded, cut_off, keep};

/// An extension without events in the runtime's own process: while it is registered, the process
/// gets SIGTERM before it is killed [Lambda Developer Guide: Extensions API].
///
/// It has sent its `next`, because init completes only when every extension has asked. The reply
/// never comes, since the extension has subscribed to no events. So nothing reads this connection;
/// it costs a file descriptor, but no thread and no time. Dropping the extension closes it.
///
/// Register before the runtime asks for its first invocation; afterwards the service refuses
/// internal extensions.
///
/// ```no_run
/// use lambda_proto::api::Endpoint;
/// use lambda_proto_extension::InternalExtension;
///
/// let endpoint = Endpoint::parse(&std::env::var("AWS_LAMBDA_RUNTIME_API")?)?;
/// let extension = InternalExtension::register(&endpoint, "my-runtime")
///     .inspect_err(|reason| eprintln!("no SIGTERM: {reason}"))
///     .ok();
/// // … the runtime runs here …
/// drop(extension);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InternalExtension {
    extension: Extension,
    /// The connection with the open `next`; nothing reads it.
    asking: TcpStream,
}

/// Why the extension could not be registered. The runtime can continue without it; it is then
/// killed without SIGTERM.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotAvailable {
    /// The name cannot be sent.
    Name(InvalidExtensionName),
    /// The service cannot be reached, closes the connection, or takes too long. If it has
    /// registered the extension nevertheless, it may wait for a `next` that never comes, and init
    /// may time out.
    Connection(io::Error),
    /// The service refused: it is a local one without the Extensions API, the runtime has already
    /// asked for an invocation, the name is taken, or there are too many extensions.
    Refused {
        /// The reply.
        reply: Reply,
        /// The reason it gives; empty if it gives none.
        reason: String,
    },
    /// The service does not speak the protocol.
    Protocol(ReceiveError),
}

/// The limit for the whole registration, which takes about 1 ms on Lambda; all of init has 10 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes kept of the document of a refusal, which has a few words.
const MAX_DOCUMENT: usize = 4096;

impl InternalExtension {
    /// Registers the extension and asks for its event, which never comes. Blocks for at most 2 s.
    /// Programs with an event loop may call it too: init has nothing else to do then.
    ///
    /// The name must not be that of another extension, in particular of a file in
    /// `/opt/extensions`.
    ///
    /// # Errors
    ///
    /// [`NotAvailable`], which is worth a log line. Registration is not retried: the service may
    /// have accepted the request although its reply was lost, and would refuse the same name again.
    pub fn register(endpoint: &Endpoint, name: &str) -> Result<Self, NotAvailable> {
        let name = ExtensionName::new(name).map_err(NotAvailable::Name)?;
        let until = Instant::now() + PATIENCE;
        let mut extension = Extension::new(endpoint.clone());
        let mut out = [0; MAX_REQUEST_HEAD];
        let fits =
            "a new extension may register, and its name is shorter than what the buffer is for";
        let registrant = Registrant::internal(name, InternalEvents::None);
        let length = extension.register(&registrant, &mut out).expect(fits);
        let mut connection = Bounded::connect(endpoint, until)?;
        connection.send(&out[..length])?;
        extension.sent(length);
        let is_complete = receive_registration(&mut extension, &mut connection)?;

        if !is_complete || extension.must_reconnect() {
            extension.on_disconnect();
            if extension.phase() != Phase::Registered {
                return Err(cut_off().into());
            }
            connection = Bounded::connect(endpoint, until)?;
        }
        let asking = ask(&mut extension, connection)?;
        Ok(Self { extension, asking })
    }

    /// Asks again on a new connection: the old one is gone after a snapshot is restored. Blocks for
    /// at most 2 s.
    ///
    /// # Errors
    ///
    /// [`NotAvailable::Connection`].
    pub fn ask_again(&mut self) -> Result<(), NotAvailable> {
        self.extension.on_disconnect();
        let connection = Bounded::connect(self.extension.endpoint(), Instant::now() + PATIENCE)?;
        self.asking = ask(&mut self.extension, connection)?;
        Ok(())
    }
}

/// Asks for the event that never comes, and returns the connection of that request.
fn ask(extension: &mut Extension, mut connection: Bounded) -> Result<TcpStream, NotAvailable> {
    let mut out = [0; MAX_REQUEST_HEAD];
    let fits = "one that is registered may ask, and an identifier is shorter than a name";
    let length = extension.next(&mut out).expect(fits);
    connection.send(&out[..length])?;
    extension.sent(length);
    Ok(connection.into_stream())
}

/// Returns whether the reply is complete.
fn receive_registration(
    extension: &mut Extension,
    connection: &mut Bounded,
) -> Result<bool, NotAvailable> {
    let mut document = Vec::new();
    let received = connection.receive(|input| {
        while let Some(event) = extension.receive(input).map_err(NotAvailable::Protocol)? {
            match event {
                Event::Document(piece) => keep(&mut document, piece, MAX_DOCUMENT),
                Event::Reply(reply) => return Ok(Some(reply)),
            }
        }
        Ok::<_, NotAvailable>(None)
    })?;
    let reply = match received {
        Some(reply) => reply,
        None => match extension.end_of_stream() {
            Some(Event::Reply(reply)) => reply,
            _ => return Ok(false),
        },
    };
    if reply.is_accepted() {
        return Ok(true);
    }
    // Services without the Extensions API refuse in other formats.
    let reason = ServiceError::parse(&document).map_or_else(
        |_| String::new(),
        |error| format!("{}: {}", error.error_type, error.error_message),
    );
    Err(NotAvailable::Refused { reply, reason })
}

impl From<io::Error> for NotAvailable {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl fmt::Display for NotAvailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no extension is registered: ")?;
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Connection(error) => error.fmt(f),
            Self::Refused { reply, reason } if reason.is_empty() => reply.fmt(f),
            Self::Refused { reply, reason } => write!(f, "{reply} ({reason})"),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

/// `Display` includes the cause, so `source` does not return it.
impl std::error::Error for NotAvailable {}
