use std::any::Any;
use std::convert::Infallible;
use std::io;

use lambda_proto_host::Failure;
use serde::{Deserialize, Serialize};

use super::Error;

/// An error as it is reported: its type and its message.
///
/// The errors of handlers convert into it. An error of the function has a type of its own if it
/// implements the conversion:
///
/// ```
/// use lambda_proto_tokio::lambda_runtime::{Diagnostic, LambdaEvent};
///
/// #[derive(Debug)]
/// struct NotFound(String);
///
/// impl From<NotFound> for Diagnostic {
///     fn from(NotFound(order): NotFound) -> Self {
///         Self {
///             error_type: "Function.OrderNotFound".into(),
///             error_message: format!("there is no order {order:?}"),
///         }
///     }
/// }
///
/// async fn find(event: LambdaEvent<String>) -> Result<(), NotFound> {
///     Err(NotFound(event.payload))
/// }
/// # drop(find);
/// ```
///
/// Other errors have the type `Function.Error`, unless they are a [`Failure`]
/// ([`Failure::into_boxed_error`]) or caused by one, or name their type through
/// [`ErrorType`](crate::ErrorType). The name of a Rust type is never reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// The error type, preferably `Function.` and a word that begins with a capital letter.
    pub error_type: String,
    /// The message.
    pub error_message: String,
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self {
            error_type: failure.reported_type().to_owned(),
            error_message: failure.message().to_owned(),
        }
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<Box<dyn std::error::Error>> for Diagnostic {
    fn from(error: Box<dyn std::error::Error>) -> Self {
        Failure::from_display(error).into()
    }
}

impl From<io::Error> for Diagnostic {
    fn from(error: io::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<String> for Diagnostic {
    fn from(message: String) -> Self {
        Failure::from(message).into()
    }
}

impl From<&'static str> for Diagnostic {
    fn from(message: &'static str) -> Self {
        Failure::from(message).into()
    }
}

impl From<Infallible> for Diagnostic {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(feature = "anyhow")]
impl From<anyhow::Error> for Diagnostic {
    fn from(error: anyhow::Error) -> Self {
        Failure::from(error).into()
    }
}

/// The failure of a handler's error. Of an error that is kept in a box, it keeps the causes.
pub(super) fn failure<E: Into<Diagnostic> + 'static>(error: E) -> Failure {
    let mut error = Some(error);
    if let Some(failure) = take::<Failure>(&mut error) {
        return failure;
    }
    if let Some(boxed) = take::<Error>(&mut error) {
        return boxed.into();
    }
    #[cfg(feature = "anyhow")]
    if let Some(error) = take::<anyhow::Error>(&mut error) {
        return error.into();
    }
    let diagnostic = error.map(Into::into);
    let Diagnostic { error_type, error_message } = diagnostic.expect("nothing has taken it");
    Failure::new(error_type, error_message)
}

/// Takes the error if it is of this type.
fn take<T: 'static>(error: &mut dyn Any) -> Option<T> {
    error.downcast_mut::<Option<T>>()?.take()
}
