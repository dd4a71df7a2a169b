use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;

use lambda_proto::api::ErrorReport;

/// Why a handler or the init of the function failed, as the service and the caller are told.
///
/// Every [`Error`] becomes a failure of type `Function.Error` with `?`; its sources become lines of
/// the stack trace. Set another type with [`Failure::new`] or [`Failure::error_type`]. The name of
/// a Rust type is never reported. Convert a value that is not an [`Error`] itself with
/// [`Failure::from_boxed`] (such as `anyhow::Error`) or [`Failure::from_display`].
///
/// ```
/// use lambda_proto_host::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse::<u32>()?)
/// }
///
/// let failure = parse("x").unwrap_err();
/// assert_eq!(failure.message(), "invalid digit found in string");
/// assert_eq!(failure.error_type("Function.NoNumber").to_string(), "Function.NoNumber: invalid digit found in string");
/// ```
#[derive(Clone, Debug)]
pub struct Failure {
    error_type: Cow<'static, str>,
    message: Cow<'static, str>,
    stack_trace: Cow<'static, str>,
    xray_cause: Option<String>,
}

impl Failure {
    /// A failure with a message and a type of the form `Category.Reason` (best `Function.` and a
    /// word that begins with a capital).
    pub fn new(
        error_type: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            error_type: error_type.into(),
            message: message.into(),
            stack_trace: Cow::Borrowed(""),
            xray_cause: None,
        }
    }

    /// A failure of type `Function.Error` from a boxed error, or a value that can be boxed as one,
    /// with its sources.
    ///
    /// ```
    /// use lambda_proto_host::Failure;
    ///
    /// fn load() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    ///     Err("there is no table")?
    /// }
    ///
    /// assert_eq!(load().map_err(Failure::from_boxed).unwrap_err().message(), "there is no table");
    /// ```
    pub fn from_boxed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::from_error(&*error.into())
    }

    /// A failure of type `Function.Error` with any displayable value as its message.
    pub fn from_display(message: impl std::fmt::Display) -> Self {
        Self::new("Function.Error", message.to_string())
    }

    /// A failure of type `Runtime.UnmarshalError`: the event is not what the function expects.
    pub fn unmarshal(reason: impl std::fmt::Display) -> Self {
        let message = format!("the event is not what the function expects: {reason}");
        Self::new("Runtime.UnmarshalError", message)
    }

    /// A failure of type `Runtime.MarshalError`: the result cannot be sent.
    pub fn marshal(reason: impl std::fmt::Display) -> Self {
        let message = format!("the result cannot be written as JSON: {reason}");
        Self::new("Runtime.MarshalError", message)
    }

    /// The same failure with another type.
    #[must_use]
    pub fn error_type(mut self, error_type: impl Into<Cow<'static, str>>) -> Self {
        self.error_type = error_type.into();
        self
    }

    /// The same failure with a stack trace, one frame per line.
    #[must_use]
    pub fn stack_trace(mut self, frames: impl Into<Cow<'static, str>>) -> Self {
        self.stack_trace = frames.into();
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

    /// The error report that is sent to the service.
    pub fn as_error_report(&self) -> ErrorReport<'_> {
        let report =
            ErrorReport::new(&self.error_type, &self.message).stack_trace(&self.stack_trace);
        match &self.xray_cause {
            Some(cause) => report.xray_cause(cause),
            None => report,
        }
    }

    fn from_error(error: &dyn Error) -> Self {
        let mut stack_trace = String::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let _infallible = writeln!(stack_trace, "caused by: {cause}");
            source = cause.source();
        }
        Self::new("Function.Error", error.to_string()).stack_trace(stack_trace)
    }

    /// A failure with the message in the payload of a panic.
    pub fn from_panic(payload: &(dyn Any + Send)) -> Self {
        Self::new(PANIC, panic_message(payload))
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

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::from_error(&error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}
