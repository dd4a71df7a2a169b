use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;

use lambda_proto::api::ErrorReport;

/// Why a handler, or the start of the function, failed: what the service and the caller are told.
///
/// Every error becomes one with `?`, of type `Function.Error`; the errors behind it become lines of
/// its stack trace. Give another type with [`Failure::new`] or [`Failure::error_type`]. The name of a
/// Rust type is never told. What is no [`Error`] itself becomes one with [`Failure::from_boxed`]
/// (`anyhow::Error` is such) or [`Failure::from_display`].
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
    /// A failure of a type, in the form `Category.Reason` (best `Function.` and a word that begins with
    /// a capital), and a message.
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

    /// A failure of type `Function.Error` of a boxed error, or of what can be boxed as one, with the
    /// errors behind it.
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

    /// A failure of type `Function.Error` with anything as its message.
    pub fn from_display(message: impl std::fmt::Display) -> Self {
        Self::new("Function.Error", message.to_string())
    }

    /// An event that is not what the function expects, of type `Runtime.UnmarshalError`.
    pub fn unmarshal(reason: impl std::fmt::Display) -> Self {
        let message = format!("the event is not what the function expects: {reason}");
        Self::new("Runtime.UnmarshalError", message)
    }

    /// A result that cannot be sent, of type `Runtime.MarshalError`.
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

    /// The same failure with a stack trace, one frame a line.
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

    /// The same failure told in other words.
    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.message = message.into();
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The report of it that the service is sent.
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

    /// What the payload of a panic says of itself.
    pub fn from_panic(payload: &(dyn Any + Send)) -> Self {
        Self::new(PANIC, panic_message(payload))
    }
}

/// The error type of an invocation that nobody has answered.
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
