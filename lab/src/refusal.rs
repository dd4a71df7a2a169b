//! The refusals of the Runtime API, the Extensions API, and the Telemetry and Logs APIs. All their
//! texts are here, but for those of invalid documents.

use hyper::StatusCode;
use uuid::Uuid;

use crate::event::MAX_PAYLOAD;
use crate::go_json::quoted;
use crate::machine::Forbidden;
use crate::telemetry::Api;

/// An error reply of the Runtime API.
///
/// Source: emulator, `rapi/rendering` and `rapi/handler`; Lambda Developer Guide, "Using the Lambda
/// runtime API".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    InvalidRequestId,
    InvalidResponseMode,
    Truncated,
    Forbidden(Forbidden),
    OtherAttempt,
    TooLarge,
    Internal,
}

impl From<Forbidden> for Refusal {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequestId | Self::InvalidResponseMode | Self::Truncated => {
                StatusCode::BAD_REQUEST
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::OtherAttempt => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error document, with the line end that Go's encoder adds.
    pub(crate) fn document(self) -> String {
        let (error_type, message) = match self {
            Self::InvalidRequestId => ("InvalidRequestID", "Invalid request ID".into()),
            Self::InvalidResponseMode => {
                ("InvalidFunctionResponseMode", "Invalid function response mode".into())
            }
            Self::Truncated => {
                ("TruncatedHTTPRequest", "HTTP request detected as truncated".into())
            }
            Self::Forbidden(forbidden) => ("InvalidStateTransition", forbidden.to_string()),
            Self::OtherAttempt => ("InvokeTimeout", "Invoke timeout".into()),
            Self::TooLarge => (
                "RequestEntityTooLarge",
                format!("Exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes)."),
            ),
            Self::Internal => ("InternalServerError", "Internal Server Error".into()),
        };
        document(error_type, &message)
    }
}

/// An error reply of the Extensions API.
///
/// Source: emulator, `rapi/handler/agent*.go`, `rapi/handler/constants.go` and `rapi/middleware`.
/// The documentation says 400 where the emulator sends 403.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExtensionRefusal {
    NoName,
    /// The body is not a valid registration, for this reason.
    Format(String),
    /// The event does not exist.
    UnknownEvent(String),
    /// `SHUTDOWN` is for external extensions only.
    Shutdown,
    /// Managed instances allow internal extensions no events at all.
    NoEvents,
    Closed,
    TooMany,
    NameTaken,
    NoIdentifier,
    InvalidIdentifier,
    UnknownExtension(Uuid),
    /// An unknown extension reports an error: the service has another text for this case.
    UnknownIdentifier,
    NoErrorType,
    /// The call is out of order: it would lead from one state to the other. The extension is named
    /// by its id, or by its name if it registers.
    Order {
        extension: String,
        from: &'static str,
        to: &'static str,
    },
    /// The process has ended.
    Internal,
}

/// How many extensions there can be.
pub(crate) const MAX_EXTENSIONS: usize = 10;

impl ExtensionRefusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// The error document, with the line end that Go's encoder adds.
    pub(crate) fn document(&self) -> String {
        let (error_type, message) = match self {
            Self::NoName => ("Extension.InvalidExtensionName", "Empty extension name".into()),
            Self::Format(reason) => ("InvalidRequestFormat", reason.clone()),
            Self::UnknownEvent(event) => {
                ("Extension.InvalidEventType", format!("{event}: ErrorInvalidEventType"))
            }
            Self::Shutdown => (
                "Extension.InvalidEventType",
                "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension".into(),
            ),
            Self::NoEvents => {
                ("Extension.InvalidEventType", "No events allowed for internal extensions".into())
            }
            Self::Closed => {
                ("Extension.RegistrationClosed", "Extension registration closed already".into())
            }
            Self::TooMany => (
                "Extension.TooManyExtensions",
                format!("Extension limit ({MAX_EXTENSIONS}) reached"),
            ),
            Self::NameTaken => (
                "Extension.InvalidExtensionState",
                "Extension with this name already registered".into(),
            ),
            Self::NoIdentifier => (
                "Extension.MissingExtensionIdentifier",
                "Missing Lambda-Extension-Identifier header".into(),
            ),
            Self::InvalidIdentifier => (
                "Extension.InvalidExtensionIdentifier",
                "Invalid Lambda-Extension-Identifier".into(),
            ),
            Self::UnknownExtension(id) => {
                ("Extension.UnknownExtensionIdentifier", format!("Unknown extension {id}"))
            }
            Self::UnknownIdentifier => (
                "Extension.UnknownExtensionIdentifier",
                "Unknown Lambda-Extension-Identifier".into(),
            ),
            Self::NoErrorType => {
                ("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found".into())
            }
            Self::Order { extension, from, to } => (
                "Extension.InvalidExtensionState",
                format!(
                    "State transition from {from} to {to} failed for extension {extension}. \
                     Error: State transition is not allowed"
                ),
            ),
            Self::Internal => ("InternalServerError", "Internal Server Error".into()),
        };
        document(error_type, &message)
    }
}

/// An error reply to a subscription to telemetry or logs.
///
/// Source: Lambda Developer Guide, "Lambda Telemetry API reference" and "Using the Lambda Logs
/// API"; emulator, `rapi/handler/runtimelogs.go` and
/// `lambda-managed-instances/aws-lambda-rie/internal/telemetry/subscription_api.go`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionRefusal {
    /// The extension is not known.
    Extension(ExtensionRefusal),
    /// The document is not valid, for this reason.
    Invalid { api: Api, reason: String },
    /// Init is over.
    Closed { api: Api, is_managed: bool },
    /// There is no telemetry.
    NotSupported(Api),
    /// The body was cut off, or the extension has subscribed already.
    Internal,
}

impl From<ExtensionRefusal> for SubscriptionRefusal {
    fn from(refusal: ExtensionRefusal) -> Self {
        Self::Extension(refusal)
    }
}

impl SubscriptionRefusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Extension(refusal) => refusal.status(),
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::Closed { .. } => StatusCode::FORBIDDEN,
            Self::NotSupported(_) => StatusCode::ACCEPTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error document. The two servers of the emulator have different texts after init.
    pub(crate) fn document(&self) -> String {
        match self {
            Self::Extension(refusal) => refusal.document(),
            Self::Invalid { api: Api::Telemetry, reason } => document("ValidationError", reason),
            Self::Invalid { api: Api::Logs, reason } => document("Logs.ValidationError", reason),
            Self::Closed { api, is_managed } => {
                let name = api.name();
                let end = if *is_managed { "" } else { " already" };
                let message = format!("{name} API subscription is closed{end}");
                document(&format!("{name}.SubscriptionClosed"), &message)
            }
            Self::NotSupported(api) => {
                let name = api.name();
                document(&format!("{name}.NotSupported"), &format!("{name} API is not supported"))
            }
            Self::Internal => document("InternalServerError", "Internal Server Error"),
        }
    }
}

/// The error document for a request of a web browser, to both APIs.
pub(crate) fn of_a_browser(reason: &str) -> String {
    document("BrowserRequest", reason)
}

/// A document with an error, as the service writes it.
pub(crate) fn document(error_type: &str, message: &str) -> String {
    format!("{{\"errorMessage\":{},\"errorType\":\"{error_type}\"}}\n", quoted(message))
}
