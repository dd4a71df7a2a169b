use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lambda_proto::api::ErrorReport;

use crate::Failure;

/// An error of a function that names its type in reports.
///
/// A runtime that knows it (`Runtime::error_type`) asks it for the type of every [`Failure`] that
/// was made of it, also where it is the cause of another error, such as inside of `anyhow::Error`.
/// Where it is all of an `anyhow::Error`, or a context, this takes the feature `anyhow`.
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
    /// The type: `Function.` and a word that begins with a capital.
    fn error_type(&self) -> &str;
}

/// The errors whose types a runtime asks for.
#[derive(Clone, Default)]
pub struct ErrorTypes(Vec<TypeOf>);

/// Returns the type that the error of a failure names, if it is the one that this knows.
type TypeOf = for<'f> fn(&'f Failure) -> Option<&'f str>;

impl ErrorTypes {
    /// Adds an error. Of several that an error and its causes match, the first one added counts.
    pub fn add<E: ErrorType>(&mut self) {
        self.0.push(|failure| failure.downcast_ref::<E>().map(E::error_type));
    }

    /// The report of a failure, with the type that its error names, unless the failure has one.
    pub fn report<'f>(&self, failure: &'f Failure) -> ErrorReport<'f> {
        match self.find(failure) {
            Some(error_type) => failure.report_as(error_type),
            None => failure.as_error_report(),
        }
    }

    /// The same failure with the type that its error names, unless it has one.
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
        // This is code of the function, which may panic.
        let find = || self.0.iter().find_map(|type_of| type_of(failure));
        catch_unwind(AssertUnwindSafe(find)).unwrap_or_default()
    }
}

impl fmt::Debug for ErrorTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ErrorTypes").field(&self.0.len()).finish()
    }
}
