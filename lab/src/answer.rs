use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::header::HeaderValue;
use tokio::sync::mpsc;

use crate::event::MAX_PAYLOAD;
use crate::go_json::{Field, quoted, read_object};

/// The answer of a function.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The id of the invocation.
    pub request_id: String,
    /// The content type that the runtime sent with the answer.
    pub content_type: Option<String>,
    /// The answer itself.
    pub body: Vec<u8>,
}

/// Why an invocation has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvokeError {
    /// The function failed.
    Function(FunctionFailure),
    /// The event, whose length in bytes is given, is longer than
    /// [`MAX_PAYLOAD`](crate::MAX_PAYLOAD).
    EventTooLarge(usize),
    /// The named part of the event contains a control character and cannot be sent in a header.
    InvalidEvent(&'static str),
    /// The lab has been stopped.
    Stopped,
    /// The lab cannot open another environment.
    Environment(String),
}

/// How a function failed, and what its caller receives.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionFailure {
    /// The id of the invocation.
    pub request_id: String,
    /// What happened.
    pub kind: FailureKind,
    /// What a caller of Lambda receives: usually JSON with `errorType` and `errorMessage`, or
    /// whatever the runtime reported.
    pub body: Vec<u8>,
    pub(crate) error_type: Option<String>,
    pub(crate) origin: Origin,
}

/// Who says that something has failed, whatever the type of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The runtime has reported it.
    Runtime,
    /// The service has found it.
    Service,
}

/// The type of an error, and who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorType {
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// What happened to an invocation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The runtime reported an error.
    Reported,
    /// The runtime reported that it could not start.
    Init,
    /// The process of the runtime, or of an external extension, ended or could not be started.
    Exit,
    /// The function's timeout passed.
    Timeout,
    /// The answer was longer than the service accepts.
    AnswerTooLarge,
    /// The answer was cut off.
    Truncated,
    /// The runtime asked for a response mode that does not exist.
    InvalidResponseMode,
}

/// The document that describes an error.
#[derive(Default)]
struct ErrorDocument {
    error_type: Option<String>,
    error_message: Option<String>,
}

impl FunctionFailure {
    pub(crate) fn new(request_id: &str, kind: FailureKind, body: impl Into<Vec<u8>>) -> Self {
        let (request_id, body, error_type) = (request_id.into(), body.into(), None);
        Self { request_id, kind, body, error_type, origin: Origin::Runtime }
    }

    /// Adds the error type that the runtime sent outside of the body.
    pub(crate) fn with_type(self, error_type: impl Into<String>) -> Self {
        Self { error_type: Some(error_type.into()).filter(|it: &String| !it.is_empty()), ..self }
    }

    /// A failure that the service has found, and whose body it writes.
    pub(crate) fn of_service(
        request_id: &str,
        kind: FailureKind,
        error_type: &str,
        message: &str,
    ) -> Self {
        let (error_type, message) = (quoted(error_type), quoted(message));
        let body = format!("{{\"errorType\":{error_type},\"errorMessage\":{message}}}");
        Self { origin: Origin::Service, ..Self::new(request_id, kind, body) }
    }

    /// The same failure, which the runtime has reported, though the service writes its body.
    pub(crate) fn by_runtime(self) -> Self {
        Self { origin: Origin::Runtime, ..self }
    }

    /// The type of the error, if there is one, and who says it.
    pub(crate) fn typed(&self) -> Option<ErrorType> {
        self.error_type().map(|name| ErrorType { name, origin: self.origin })
    }

    /// The type of the error: the `errorType` of the body, or else the type that the runtime sent
    /// outside of it.
    pub fn error_type(&self) -> Option<String> {
        self.document().error_type.or_else(|| self.error_type.clone())
    }

    /// The `errorMessage` of the body, if it has one.
    pub fn error_message(&self) -> Option<String> {
        self.document().error_message
    }

    /// The members of the body, as far as it has them.
    fn document(&self) -> ErrorDocument {
        const TYPE: Field = Field { path: "FunctionError.errorType", go_type: "string" };
        const MESSAGE: Field = Field { path: "FunctionError.errorMessage", go_type: "string" };
        let mut document = ErrorDocument::default();
        let _is_whole = read_object(&self.body, "interop.FunctionError", |key, value| {
            let (member, field) = match key {
                "errortype" => (&mut document.error_type, TYPE),
                "errormessage" => (&mut document.error_message, MESSAGE),
                _ => return Ok(()),
            };
            if let Some(text) = value.text(field)? {
                *member = Some(text);
            }
            Ok(())
        });
        document
    }
}

impl ErrorType {
    /// One that the service has found.
    pub(crate) fn of_service(name: &str) -> Self {
        Self { name: name.to_owned(), origin: Origin::Service }
    }
}

impl Answer {
    /// The answer as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// With the answer as text.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("request_id", &self.request_id)
            .field("content_type", &self.content_type)
            .field("body", &self.text())
            .finish()
    }
}

/// With the body as text.
impl fmt::Debug for FunctionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionFailure")
            .field("request_id", &self.request_id)
            .field("kind", &self.kind)
            .field("error_type", &self.error_type())
            .field("body", &String::from_utf8_lossy(&self.body))
            .finish()
    }
}

impl InvokeError {
    /// How the function failed, if that is the error.
    pub fn function(&self) -> Option<&FunctionFailure> {
        match self {
            Self::Function(failure) => Some(failure),
            _ => None,
        }
    }
}

impl fmt::Display for FunctionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.document() {
            ErrorDocument { error_type: Some(error_type), error_message } => {
                write!(f, "{error_type}: {}", error_message.unwrap_or_default())
            }
            _ => f.write_str(&String::from_utf8_lossy(&self.body)),
        }
    }
}

impl std::error::Error for FunctionFailure {}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(failure) => write!(f, "the function has failed: {failure}"),
            Self::EventTooLarge(length) => {
                write!(f, "the event has {length} bytes; Lambda accepts at most {MAX_PAYLOAD}")
            }
            Self::InvalidEvent(part) => {
                write!(f, "the {part} contains a control character, which headers cannot hold")
            }
            Self::Stopped => f.write_str("the lab has been stopped"),
            Self::Environment(reason) => {
                write!(f, "cannot open an environment for the function: {reason}")
            }
        }
    }
}

/// The message includes the cause, so there is no `source`.
impl std::error::Error for InvokeError {}

/// The beginning of an answer, for the caller.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) request_id: String,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) body: AnswerBody,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    Whole(Bytes),
    Stream(Pieces),
}

/// An answer that is still being streamed.
#[derive(Debug)]
pub(crate) struct Pieces {
    request_id: String,
    pieces: mpsc::Receiver<Piece>,
}

/// A part of a streamed answer.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    End,
    Failed(FunctionFailure),
}

impl Pieces {
    /// A bounded channel of pieces: a few may wait for a slow caller.
    pub(crate) fn new(request_id: &str) -> (mpsc::Sender<Piece>, Self) {
        let (sender, pieces) = mpsc::channel(16);
        (sender, Self { request_id: request_id.to_owned(), pieces })
    }

    /// The next piece. If the sender is dropped without [`Piece::End`] or [`Piece::Failed`], the
    /// answer was cut off.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Piece> {
        self.pieces
            .poll_recv(context)
            .map(|piece| piece.unwrap_or_else(|| Piece::Failed(truncated(&self.request_id))))
    }
}

/// The type of an error that the runtime did not describe.
///
/// Source: emulator, `fatalerror`.
pub(crate) const UNKNOWN: &str = "Runtime.Unknown";

/// The failure of an answer whose end is missing.
///
/// Source: emulator, `fatalerror`.
pub(crate) fn truncated(request_id: &str) -> FunctionFailure {
    let message = "the answer was cut off";
    let error_type = "Runtime.TruncatedResponse";
    FunctionFailure::of_service(request_id, FailureKind::Truncated, error_type, message)
}
