//! Why the service refused a request, and what to do about it.

use core::fmt::{self, Write};

use lambda_proto::api::ServiceError;
use lambda_proto::json::JsonStr;

use super::{Call, Reply};

/// A refused request: the reason, and what to do next.
///
/// ```
/// use lambda_proto::api::Endpoint;
/// use lambda_proto_extension::{
///     Event, Extension, ExtensionName, InternalEvents, Refusal, RefusalKind, Registrant, Remedy,
/// };
///
/// let mut extension = Extension::new(Endpoint::parse("127.0.0.1:9001")?);
/// let mut out = [0; 512];
/// let registrant = Registrant::internal(ExtensionName::new("late")?, InternalEvents::Invoke);
/// let length = extension.register(&registrant, &mut out)?;
/// extension.sent(length);
///
/// let mut input: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 44\r\n\r\n\
///     {\"errorType\":\"Extension.RegistrationClosed\"}\n";
/// let Some(Event::Document(document)) = extension.receive(&mut input)? else { panic!() };
/// let Some(Event::Reply(reply)) = extension.receive(&mut input)? else { panic!() };
/// let refusal = Refusal::parse(reply, document);
/// assert_eq!(refusal.kind(), RefusalKind::RegistrationClosed);
/// assert_eq!(refusal.remedy(), Remedy::FixProgram);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    reply: Reply,
    error: ServiceError<'a>,
}

/// The reason of a [`Refusal`]: the error types of the Extensions, Telemetry and Logs APIs
/// (emulator: `rapi/handler/agentregister.go`, `rapi/handler/runtimelogs.go`, `rapi/middleware`,
/// `core/externalagent_states.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalKind<'a> {
    /// `Extension.InvalidExtensionName`: the name is empty.
    InvalidExtensionName,
    /// `InvalidRequestFormat`: the document of the request is not what the service reads.
    InvalidRequestFormat,
    /// `Extension.InvalidEventType`: an extension of this kind may not take this event.
    InvalidEventType,
    /// `Extension.InvalidExtensionState`: the name is registered already, another `next` of this
    /// extension is open, or a report comes too late.
    InvalidExtensionState,
    /// `Extension.RegistrationClosed`: the runtime has asked for an invocation, and no internal
    /// extension can register after that.
    RegistrationClosed,
    /// `Extension.TooManyExtensions`: there are ten already.
    TooManyExtensions,
    /// `Extension.MissingExtensionIdentifier`: the request names no extension.
    MissingExtensionIdentifier,
    /// `Extension.InvalidExtensionIdentifier`: the identifier is not a UUID.
    InvalidExtensionIdentifier,
    /// `Extension.UnknownExtensionIdentifier`: the service has given no such identifier, as after
    /// a reset of the environment.
    UnknownExtensionIdentifier,
    /// `Extension.MissingHeader`: a report without an error type.
    MissingHeader,
    /// `ValidationError`, `Logs.ValidationError`: the service does not take such a subscription.
    /// The text says what is wrong.
    ValidationError,
    /// `Telemetry.SubscriptionClosed`, `Logs.SubscriptionClosed`: init is over.
    SubscriptionClosed,
    /// 202 for a subscription, `Telemetry.NotSupported` or `Logs.NotSupported`: this service sends
    /// no telemetry (emulator: `rapi/handler/runtimelogs_stub.go`).
    NotSupported,
    /// 404 or 405: there is no such call at this address.
    NoSuchCall,
    /// Another error type, as the service wrote it; empty if the document names none.
    Other(JsonStr<'a>),
}

/// What to do about a [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Make the same request after a pause.
    Retry,
    /// Go on without what was asked for: this service does not offer it, or not any more. An
    /// external extension that cannot register has nothing to go on with, and ends.
    GoWithout,
    /// Change the program or its deployment. The same request would be refused again.
    FixProgram,
    /// End the process. The service starts a new one.
    Exit,
}

impl<'a> Refusal<'a> {
    /// Reads the document of a reply that [is not accepted](Reply::is_accepted). Any document will
    /// do, also an empty one: local services without the API refuse in other formats.
    pub fn parse(reply: Reply, document: &'a [u8]) -> Self {
        Self { reply, error: ServiceError::parse(document).unwrap_or_default() }
    }

    /// The reply.
    pub const fn reply(&self) -> Reply {
        self.reply
    }

    /// The text for people; empty if there is none.
    pub const fn message(&self) -> JsonStr<'a> {
        self.error.error_message
    }

    /// The reason.
    pub fn kind(&self) -> RefusalKind<'a> {
        let error_type = self.error.error_type;
        let known = KINDS.iter().find(|(text, _)| error_type == *text);
        match (known, self.reply.status()) {
            (Some((_, kind)), _) => *kind,
            // A subscription that was not accepted.
            (None, 200..=299) => RefusalKind::NotSupported,
            (None, 404 | 405) => RefusalKind::NoSuchCall,
            (None, _) => RefusalKind::Other(error_type),
        }
    }

    /// What to do next.
    pub fn remedy(&self) -> Remedy {
        let call = self.reply.call();
        // The documentation asks for the end of the process after any 500; and a report is the last
        // request of an extension, whatever becomes of it.
        if self.reply.must_exit() || matches!(call, Call::InitError | Call::ExitError) {
            return Remedy::Exit;
        }
        match self.kind() {
            // The `next` of a lost connection is still open for the service, until its event comes.
            RefusalKind::InvalidExtensionState if call == Call::Next => Remedy::Retry,
            RefusalKind::UnknownExtensionIdentifier => Remedy::Exit,
            RefusalKind::NoSuchCall
            | RefusalKind::NotSupported
            | RefusalKind::SubscriptionClosed => Remedy::GoWithout,
            RefusalKind::Other(_) if is_temporary(self.reply.status()) => Remedy::Retry,
            _ => Remedy::FixProgram,
        }
    }
}

const KINDS: [(&str, RefusalKind<'static>); 16] = [
    ("Extension.InvalidExtensionName", RefusalKind::InvalidExtensionName),
    ("InvalidRequestFormat", RefusalKind::InvalidRequestFormat),
    ("Extension.InvalidEventType", RefusalKind::InvalidEventType),
    ("Extension.InvalidExtensionState", RefusalKind::InvalidExtensionState),
    ("Extension.RegistrationClosed", RefusalKind::RegistrationClosed),
    ("Extension.TooManyExtensions", RefusalKind::TooManyExtensions),
    ("Extension.MissingExtensionIdentifier", RefusalKind::MissingExtensionIdentifier),
    ("Extension.InvalidExtensionIdentifier", RefusalKind::InvalidExtensionIdentifier),
    ("Extension.UnknownExtensionIdentifier", RefusalKind::UnknownExtensionIdentifier),
    ("Extension.MissingHeader", RefusalKind::MissingHeader),
    ("ValidationError", RefusalKind::ValidationError),
    ("Logs.ValidationError", RefusalKind::ValidationError),
    ("Telemetry.SubscriptionClosed", RefusalKind::SubscriptionClosed),
    ("Logs.SubscriptionClosed", RefusalKind::SubscriptionClosed),
    ("Telemetry.NotSupported", RefusalKind::NotSupported),
    ("Logs.NotSupported", RefusalKind::NotSupported),
];

const SHUTDOWN_FOR_INTERNAL: &str = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension";

/// Statuses that ask for the same request again (RFC 9110 section 15, RFC 6585 section 4).
const fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429 | 502..=504)
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reply.fmt(f)?;
        let ServiceError { error_type, error_message } = self.error;
        let (error_type, error_message) = (OneLine(error_type), OneLine(error_message));
        match (error_type.0.is_empty(), error_message.0.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => write!(f, " ({error_type})"),
            (true, false) => write!(f, " ({error_message})"),
            (false, false) => write!(f, " ({error_type}: {error_message})"),
        }?;
        // The service says "internal" of whatever has another name than the files of `/opt/extensions`.
        if self.error.error_message == SHUTDOWN_FOR_INTERNAL {
            return f
                .write_str("; an external extension has to register with the name of its file");
        }
        write!(f, "; {}", self.remedy())
    }
}

/// A text of the service for a log line, which no text may end.
struct OneLine<'a>(JsonStr<'a>);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            f.write_char(if character.is_control() { ' ' } else { character })
        })
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "try again after a pause",
            Self::GoWithout => "this service does not offer it, so go on without",
            Self::FixProgram => "the program or its deployment must change",
            Self::Exit => "the process must end",
        })
    }
}

impl core::error::Error for Refusal<'_> {}
