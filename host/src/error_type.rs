use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lambda_proto::api::ErrorReport;

use crate::Failure;

/// An error of the function that chooses the error type in its reports.
///
/// Register it with the runtime (`Runtime::error_type`). The runtime then asks it for the type of
/// every [`Failure`] made from it, even if it is the cause of another error, for example inside an
/// `anyhow::Error`. If an `anyhow::Error` consists of this error alone, or has it as a
/// context, this requires the feature `anyhow`.
///
/// ```
/// use lambda_proto_host::{ErrorType, ErrorTypes, Failure};
///
/// #[derive(Debug)]
/// enum TableError {
///     NotFound(String),
///     Full,
/// }
///
/// impl std::fmt::Display for TableError {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         match self {
///             Self::NotFound(table) => write!(f, "there is no table {table:?}"),
///             Self::Full => f.write_str("the table is full"),
///         }
///     }
/// }
///
/// impl std::error::Error for TableError {}
///
/// impl ErrorType for TableError {
///     fn error_type(&self) -> &str {
///         match self {
///             Self::NotFound(_) => "Function.TableNotFound",
///             Self::Full => "Function.TableFull",
///         }
///     }
/// }
///
/// let mut types = ErrorTypes::default();
/// types.add::<TableError>();
/// let failure = Failure::from(TableError::Full);
/// assert_eq!(types.named(failure).to_string(), "Function.TableFull: the table is full");
/// ```
pub trait ErrorType: Error + Send + Sync + 'static {
    /// The error type: `Function.` and a word that begins with a capital letter.
    fn error_type(&self) -> &str;
}

/// The errors that a runtime asks for the types of its reports.
#[derive(Clone, Default)]
pub struct ErrorTypes(Vec<TypeOf>);

/// Returns the error type of a failure if it was made from one particular type of error.
type TypeOf = for<'f> fn(&'f Failure) -> Option<&'f str>;

impl ErrorTypes {
    /// Adds a type of error. If an error and its causes match several, the first one added wins.
    pub fn add<E: ErrorType>(&mut self) {
        self.0.push(|failure| failure.downcast_ref::<E>().map(E::error_type));
    }

    /// The report of a failure. If the failure has no type, its error names it.
    pub fn report<'f>(&self, failure: &'f Failure) -> ErrorReport<'f> {
        match self.find(failure) {
            Some(error_type) => failure.report_as(error_type),
            None => failure.as_error_report(),
        }
    }

    /// The same failure. If it has no type, it gets the one that its error names.
    #[must_use]
    pub fn named(&self, failure: Failure) -> Failure {
        match self.find(&failure).map(str::to_owned) {
            Some(error_type) => failure.error_type(error_type),
            None => failure,
        }
    }

    fn find<'f>(&self, failure: &'f Failure) -> Option<&'f str> {
        if self.0.is_empty() || !failure.is_unnamed() {
            return None;
        }
        // The function's code runs here, and may panic.
        let find = || self.0.iter().find_map(|type_of| type_of(failure));
        catch_unwind(AssertUnwindSafe(find)).unwrap_or_default()
    }
}

impl fmt::Debug for ErrorTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ErrorTypes").field(&self.0.len()).finish()
    }
}
