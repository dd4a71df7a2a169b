//! What the Runtime API answers when it does not take something; the one place with its words.

use hyper::StatusCode;

use crate::event::MAX_PAYLOAD;
use crate::machine::Forbidden;

/// An answer of the Runtime API that is no success.
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
        format!("{{\"errorMessage\":\"{message}\",\"errorType\":\"{error_type}\"}}\n")
    }
}
