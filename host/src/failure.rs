use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lambda_proto::api::ErrorReport;

use crate::log::{LoggedError, one_line};

/// Why a handler or the init of the function failed, as reported to the service and the caller.
///
/// The `?` operator converts any error that can be boxed: a `thiserror` enum, an `anyhow::Error`, a
/// boxed error, a string. The failure has the message of the error, and the causes of the error are
/// the first lines of the stack trace. The error itself is kept, for
/// [`downcast_ref`](Self::downcast_ref).
///
/// Its error type is `Function.Error`, unless the error [names its type](crate::ErrorType).
/// [`Failure::new`] and [`Failure::error_type`] set any other type. The name of a Rust type is never
/// reported.
///
/// ```
/// use lambda_proto_host::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     if text.is_empty() {
///         return Err("there is no number")?;
///     }
///     Ok(text.parse::<u32>()?)
/// }
///
/// assert_eq!(parse("").unwrap_err().message(), "there is no number");
/// let failure = parse("x").unwrap_err();
/// assert_eq!(failure.message(), "invalid digit found in string");
/// assert!(failure.downcast_ref::<std::num::ParseIntError>().is_some());
/// assert_eq!(failure.error_type("Function.NoNumber").to_string(), "Function.NoNumber: invalid digit found in string");
/// ```
///
/// A value that cannot be boxed as an error, such as one that borrows from the event, needs
/// [`Failure::from_display`].
#[derive(Clone)]
pub struct Failure {
    /// `None` until it is known.
    error_type: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    /// The causes of the error, then the frames, a line each.
    stack_trace: Cow<'static, str>,
    /// The length of the causes in bytes.
    causes: usize,
    xray_cause: Option<String>,
    origin: Option<Arc<Origin>>,
}

/// The type of a failure whose error has no name.
const UNNAMED: &str = "Function.Error";

/// The prefix of the lines of a stack trace that are causes.
const CAUSED_BY: &str = "caused by: ";

impl Failure {
    /// A failure with a message and a type of the form `Category.Reason`, preferably `Function.`
    /// and a word that begins with a capital letter.
    pub fn new(
        error_type: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::from_message(message.into()).error_type(error_type)
    }

    /// A failure of type `Function.Error` with any displayable value as its message.
    pub fn from_display(message: impl fmt::Display) -> Self {
        Self::from_message(message.to_string().into())
    }

    /// A failure of type `Runtime.UnmarshalError`: the event is not what the function expects.
    pub fn unmarshal(reason: impl fmt::Display) -> Self {
        let message = format!("the event is not what the function expects: {reason}");
        Self::new("Runtime.UnmarshalError", message)
    }

    /// A failure of type `Runtime.MarshalError`: the result cannot be sent.
    pub fn marshal(reason: impl fmt::Display) -> Self {
        let message = format!("the result cannot be written as JSON: {reason}");
        Self::new("Runtime.MarshalError", message)
    }

    /// The same failure with another type.
    #[must_use]
    pub fn error_type(mut self, error_type: impl Into<Cow<'static, str>>) -> Self {
        self.error_type = Some(error_type.into());
        self
    }

    /// The same failure with a stack trace, one frame per line, after the causes of its error.
    #[must_use]
    pub fn stack_trace(mut self, frames: impl Into<Cow<'static, str>>) -> Self {
        let frames = frames.into();
        self.stack_trace = match self.stack_trace.get(..self.causes).unwrap_or_default() {
            "" => frames,
            causes => format!("{causes}{frames}").into(),
        };
        self
    }

    /// The same failure with a cause for X-Ray; see [`ErrorReport::xray_cause`].
    #[must_use]
    pub fn xray_cause(mut self, json: impl Into<String>) -> Self {
        self.xray_cause = Some(json.into());
        self
    }

    /// The same failure with another message.
    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.message = message.into();
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error type that is reported, unless the error that the failure was made from
    /// [names another](crate::ErrorType).
    pub fn reported_type(&self) -> &str {
        self.error_type.as_deref().unwrap_or(UNNAMED)
    }

    /// The first error of this type among the error that the failure was made from and its causes.
    pub fn downcast_ref<E: Error + Send + Sync + 'static>(&self) -> Option<&E> {
        #[cfg(feature = "anyhow")]
        if let Some(Origin::Anyhow(Some(error))) = self.origin.as_deref()
            && let Some(error) = error.downcast_ref()
        {
            return Some(error);
        }
        self.chain().find_map(|error| match error.downcast_ref::<BoxedFailure>() {
            // It finds more in an `anyhow::Error` than the chain of causes shows.
            Some(boxed) => boxed.0.downcast_ref(),
            None => error.downcast_ref(),
        })
    }

    /// The failure as an error, for functions that take only those, such as the layers of tower.
    ///
    /// A failure that is made from this error, for example by `?`, is the same failure again.
    ///
    /// ```
    /// use lambda_proto_host::Failure;
    ///
    /// let error = Failure::new("Function.Late", "it took too long").into_boxed_error();
    /// assert_eq!(error.to_string(), "it took too long");
    /// assert_eq!(Failure::from(error).to_string(), "Function.Late: it took too long");
    /// ```
    pub fn into_boxed_error(self) -> Box<dyn Error + Send + Sync> {
        Box::new(BoxedFailure(self))
    }

    /// The error report for the service. It does not ask the error for its type; runtimes use
    /// [`ErrorTypes::report`](crate::ErrorTypes::report), which does.
    pub fn as_error_report(&self) -> ErrorReport<'_> {
        self.report_as(self.reported_type())
    }

    pub(crate) fn report_as<'f>(&'f self, error_type: &'f str) -> ErrorReport<'f> {
        let Self { message, stack_trace, xray_cause, .. } = self;
        let report = ErrorReport::new(error_type, message).stack_trace(stack_trace);
        match xray_cause {
            Some(cause) => report.xray_cause(cause),
            None => report,
        }
    }

    pub(crate) fn as_logged(&self) -> LoggedError<'_> {
        let Self { message, stack_trace, .. } = self;
        LoggedError { error_type: self.reported_type(), message, stack_trace }
    }

    /// Whether it has frames besides its causes.
    pub(crate) fn has_frames(&self) -> bool {
        frames(&self.stack_trace).next().is_some()
    }

    /// Whether it has no type yet, so that its error may name it.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.error_type.is_none()
    }

    /// The error that this was made from, then its causes.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let mut next = self.origin.as_deref().map(Origin::error);
        std::iter::from_fn(move || {
            let error = next?;
            next = error.source();
            Some(error)
        })
    }

    /// A failure with the message in the payload of a panic.
    pub fn from_panic(payload: &(dyn Any + Send)) -> Self {
        Self::new(PANIC, panic_message(payload))
    }

    fn from_message(message: Cow<'static, str>) -> Self {
        let stack_trace = Cow::Borrowed("");
        Self { error_type: None, message, stack_trace, causes: 0, xray_cause: None, origin: None }
    }

    fn from_origin(origin: Origin) -> Self {
        let mut failure = Self::from_display(origin.error());
        failure.origin = Some(Arc::new(origin));
        let mut causes = String::new();
        let mut error_type = None;
        let mut told = one_line(&failure.message);
        for cause in failure.chain() {
            // An error that only passes on its cause has the same message.
            let message = one_line(&cause.to_string());
            if message != told {
                let _infallible = writeln!(causes, "{CAUSED_BY}{message}");
                told = message;
            }
            let boxed = cause.downcast_ref::<BoxedFailure>();
            error_type = error_type.or_else(|| boxed?.0.error_type.clone());
        }
        failure.error_type = error_type;
        failure.causes = causes.len();
        failure.stack_trace = causes.into();
        failure
    }
}

/// The causes in a stack trace, which are its first lines.
pub(crate) fn causes(stack_trace: &str) -> impl Iterator<Item = &str> {
    stack_trace.lines().map_while(|line| line.strip_prefix(CAUSED_BY))
}

/// The frames in a stack trace, which are the lines after the causes.
pub(crate) fn frames(stack_trace: &str) -> impl Iterator<Item = &str> {
    stack_trace.lines().skip_while(|line| line.starts_with(CAUSED_BY))
}

/// The error that a failure was made from.
enum Origin {
    Boxed(Option<Box<dyn Error + Send + Sync>>),
    #[cfg(feature = "anyhow")]
    Anyhow(Option<anyhow::Error>),
}

impl Origin {
    #[cfg(not(feature = "anyhow"))]
    fn new<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> Self {
        Self::Boxed(Some(error.into()))
    }

    /// Keeps an `anyhow::Error` as it is, since converting it into a box hides the type of its
    /// error.
    #[cfg(feature = "anyhow")]
    fn new<E: Into<Box<dyn Error + Send + Sync>> + 'static>(error: E) -> Self {
        let mut error = Some(error);
        if let Some(error) = (&mut error as &mut dyn Any).downcast_mut::<Option<anyhow::Error>>() {
            return Self::Anyhow(error.take());
        }
        Self::Boxed(error.map(Into::into))
    }

    /// The failure that was [boxed](Failure::into_boxed_error), if this is one.
    fn take_boxed_failure(&mut self) -> Option<Failure> {
        match self {
            Self::Boxed(boxed) => match boxed.take()?.downcast::<BoxedFailure>() {
                Ok(failure) => Some(failure.0),
                Err(error) => {
                    *boxed = Some(error);
                    None
                }
            },
            #[cfg(feature = "anyhow")]
            Self::Anyhow(_) => None,
        }
    }

    fn error(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Boxed(Some(error)) => &**error,
            #[cfg(feature = "anyhow")]
            Self::Anyhow(Some(error)) => &**error,
            // The error is missing only during the drop.
            _ => &fmt::Error,
        }
    }
}

/// A failure as an error. Its causes are those of the failure.
struct BoxedFailure(Failure);

impl Error for BoxedFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The error that the failure was made from has the same message, but its own type.
        self.0.chain().next()
    }
}

impl fmt::Display for BoxedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for BoxedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Dropping an error of the function may panic, and happens after its handler has returned.
impl Drop for Origin {
    fn drop(&mut self) {
        let _has_panicked = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Boxed(error) => drop(error.take()),
            #[cfg(feature = "anyhow")]
            Self::Anyhow(error) => drop(error.take()),
        }));
    }
}

/// The error type of an invocation that was not answered.
pub const NO_RESPONSE: &str = "Runtime.NoResponse";

/// The error type of a panic.
pub const PANIC: &str = "Function.Panic";

pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    message.unwrap_or("the handler panicked").to_owned()
}

impl<'f> From<&'f Failure> for ErrorReport<'f> {
    fn from(failure: &'f Failure) -> Self {
        failure.as_error_report()
    }
}

/// Clones the failure, so that one that is still needed can be reported by reference.
impl From<&Self> for Failure {
    fn from(failure: &Self) -> Self {
        failure.clone()
    }
}

/// The error must be `'static`, like every boxed error. A function cannot implement another
/// conversion for its own error, which would conflict with this one; it implements
/// [`ErrorType`](crate::ErrorType) to name the type.
impl<E: Into<Box<dyn Error + Send + Sync>> + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut origin = Origin::new(error);
        match origin.take_boxed_failure() {
            Some(failure) => failure,
            None => Self::from_origin(origin),
        }
    }
}

/// The type, the message and the causes, on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reported_type(), self.message)?;
        causes(&self.stack_trace).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("error_type", &self.error_type)
            .field("message", &self.message)
            .field("stack_trace", &self.stack_trace)
            .finish_non_exhaustive()
    }
}
