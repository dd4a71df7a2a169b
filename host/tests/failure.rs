//! Errors that become failures, and the error types of their reports.

use std::error::Error;
use std::fmt;
use std::io;

use lambda_proto_host::{ErrorType, ErrorTypes, Failure};

#[derive(Debug, thiserror::Error)]
enum TableError {
    #[error("there is no table {0:?}")]
    NotFound(String),
    #[error("the table cannot be read")]
    Unreadable(#[from] io::Error),
}

impl ErrorType for TableError {
    fn error_type(&self) -> &str {
        match self {
            Self::NotFound(_) => "Function.TableNotFound",
            Self::Unreadable(_) => "Function.TableUnreadable",
        }
    }
}

fn table_types() -> ErrorTypes {
    let mut types = ErrorTypes::default();
    types.add::<TableError>();
    types
}

/// The failure of a handler that returns with `?`; a closure, like most handlers.
fn fail<T: 'static>(fail: impl FnOnce() -> Result<T, Failure>) -> Failure {
    fail().map(drop).unwrap_err()
}

#[test]
fn the_question_mark_operator_turns_any_error_into_a_failure() {
    let boxed: Box<dyn Error + Send + Sync> = "boxed".into();
    let cases = [
        (fail(|| Ok("x".parse::<u32>()?)), "invalid digit found in string"),
        (fail(|| Ok(Err::<(), _>(TableError::NotFound("a".into()))?)), "there is no table \"a\""),
        (fail(|| Ok(Err::<(), _>(boxed)?)), "boxed"),
        (fail(|| Ok(Err::<(), _>(anyhow::anyhow!("any {}", "how"))?)), "any how"),
        (fail(|| Ok(Err::<(), _>("a text")?)), "a text"),
        (fail(|| Ok(Err::<(), _>(format!("a {}", "String"))?)), "a String"),
        (fail(|| Err::<(), _>(Failure::new("Function.Own", "own"))), "own"),
    ];
    for (failure, message) in cases {
        assert_eq!(failure.message(), message);
    }
}

#[test]
fn an_error_that_names_its_type_is_reported_with_it() {
    let failure = Failure::from(TableError::NotFound("a".into()));
    assert_eq!(failure.to_string(), "Function.Error: there is no table \"a\"");
    let named = table_types().named(failure.clone()).to_string();
    assert_eq!(named, "Function.TableNotFound: there is no table \"a\"");
    // A type that the function sets takes precedence.
    let own = table_types().named(failure.error_type("Function.Own")).to_string();
    assert_eq!(own, "Function.Own: there is no table \"a\"");
}

#[test]
fn the_causes_of_an_error_follow_its_message() {
    let failure = Failure::from(TableError::from(io::Error::other("first\nsecond")));
    let failure = table_types().named(failure);
    assert_eq!(
        failure.to_string(),
        "Function.TableUnreadable: the table cannot be read: first second"
    );
}

#[test]
fn a_cause_inside_an_anyhow_error_names_the_type() {
    let error = || anyhow::Error::from(TableError::NotFound("a".into()));
    let failure = table_types().named(error().context("no order").context("no answer").into());
    let line = "Function.TableNotFound: no answer: no order: there is no table \"a\"";
    assert_eq!(failure.to_string(), line);
    assert!(matches!(failure.downcast_ref(), Some(TableError::NotFound(_))));
    // Context around an error that is not an `anyhow::Error` yet.
    let result: Result<(), TableError> = Err(TableError::NotFound("a".into()));
    let error = anyhow::Context::context(result, "no answer").unwrap_err();
    let failure = table_types().named(error.into());
    assert!(failure.to_string().starts_with("Function.TableNotFound: no answer"), "{failure}");
}

#[cfg(feature = "anyhow")]
#[test]
fn an_anyhow_error_that_is_only_this_error_has_its_type() {
    let error = anyhow::Error::from(TableError::NotFound("a".into()));
    let failure = table_types().named(error.into());
    assert_eq!(failure.to_string(), "Function.TableNotFound: there is no table \"a\"");
    assert!(failure.downcast_ref::<TableError>().is_some());
}

#[cfg(feature = "anyhow")]
#[test]
fn an_error_that_is_context_in_an_anyhow_error_names_the_type() {
    let result: Result<(), io::Error> = Err(io::Error::other("the disk is full"));
    let context = TableError::NotFound("a".into());
    let error = anyhow::Context::context(result, context).unwrap_err();
    let failure = table_types().named(error.into());
    let line = "Function.TableNotFound: there is no table \"a\": the disk is full";
    assert_eq!(failure.to_string(), line);
}

/// An error that only passes on another one, with its message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Passes(#[source] Box<dyn Error + Send + Sync>);

#[test]
fn a_cause_is_told_once_however_many_errors_pass_it_on() {
    let full = Passes(Box::new(Passes("the disk is full".into())));
    let failure = Failure::from(Passes(Box::new(TableError::from(io::Error::other(full)))));
    let line = "Function.Error: the table cannot be read: the disk is full";
    assert_eq!(failure.to_string(), line);
    let again = Failure::from(Passes(failure.into_boxed_error()));
    assert_eq!(again.to_string(), line);
}

#[test]
fn a_stack_trace_follows_the_causes_and_replaces_an_earlier_one() {
    let failure = Failure::from(TableError::from(io::Error::other("the disk is full")));
    let failure = failure.stack_trace("one").stack_trace("two\nthree");
    let line = "Function.Error: the table cannot be read: the disk is full";
    assert_eq!(failure.to_string(), line);
    let printed = format!("{failure:?}");
    assert!(printed.contains("caused by: the disk is full\\ntwo\\nthree\""), "{printed}");
}

#[test]
fn a_backtrace_does_not_get_into_the_message() {
    let failure = Failure::from(anyhow::anyhow!("first").context("second"));
    assert_eq!(failure.message(), "second");
    assert_eq!(failure.to_string(), "Function.Error: second: first");
}

/// An error that panics when it is asked for its type, and when it is dropped.
#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl Error for Broken {}

impl ErrorType for Broken {
    fn error_type(&self) -> &str {
        panic!("it has no type")
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        panic!("it does not go")
    }
}

#[test]
fn a_panic_when_an_error_is_asked_or_dropped_is_contained() {
    let mut types = ErrorTypes::default();
    types.add::<Broken>();
    let failure = types.named(Failure::from(Broken));
    assert_eq!(failure.to_string(), "Function.Error: broken");
    drop(failure);
}

#[test]
fn a_failure_that_was_boxed_is_the_same_failure_again() {
    let failure = Failure::new("Function.Late", "it took too long").stack_trace("a frame");
    let again = Failure::from(failure.into_boxed_error());
    assert_eq!(again.to_string(), "Function.Late: it took too long");
    assert!(format!("{again:?}").contains("a frame"));
}

#[test]
fn an_error_caused_by_a_boxed_failure_has_its_type_and_its_message_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("the layer has failed")]
    struct Layer(#[source] Box<dyn Error + Send + Sync>);

    let number = "x".parse::<u32>().unwrap_err();
    let inner = Failure::from(number).error_type("Function.NoNumber");
    let failure = Failure::from(Layer(inner.into_boxed_error()));
    let expected = "Function.NoNumber: the layer has failed: invalid digit found in string";
    assert_eq!(failure.to_string(), expected);
    assert!(failure.downcast_ref::<std::num::ParseIntError>().is_some());
}

#[cfg(feature = "anyhow")]
#[test]
fn an_anyhow_error_in_a_boxed_failure_is_found_inside_of_another_error() {
    #[derive(Debug, thiserror::Error)]
    #[error("the layer has failed")]
    struct Layer(#[source] Box<dyn Error + Send + Sync>);

    let inner = anyhow::anyhow!("first").context(TableError::NotFound("users".to_owned()));
    let failure = Failure::from(Layer(Failure::from(inner).into_boxed_error()));
    assert!(matches!(failure.downcast_ref(), Some(TableError::NotFound(_))));
    assert_eq!(table_types().named(failure).reported_type(), "Function.TableNotFound");
}
