//! The environment variables of a runtime, read once, at the start.

use std::env;
use std::ffi::OsString;

use lambda_proto::Endpoint;

use crate::Error;

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// The address of the Runtime API, from `AWS_LAMBDA_RUNTIME_API`.
///
/// # Errors
///
/// [`Error::MissingVariable`] or [`Error::InvalidVariable`].
pub fn endpoint() -> Result<Endpoint, Error> {
    parse_endpoint(env::var_os(RUNTIME_API))
}

/// How many invocations this environment runs at once, from `AWS_LAMBDA_MAX_CONCURRENCY`: 1 if that is
/// unset, empty, 0 or no number.
pub fn concurrency() -> usize {
    parse_concurrency(env::var(MAX_CONCURRENCY).ok().as_deref())
}

fn parse_endpoint(value: Option<OsString>) -> Result<Endpoint, Error> {
    let value = value.ok_or(Error::MissingVariable { name: RUNTIME_API })?;
    Endpoint::parse(&value.to_string_lossy())
        .map_err(|reason| Error::InvalidVariable { name: RUNTIME_API, reason })
}

/// Unset, empty, 0 or no number: one. No upper bound, as in AWS's own clients of 2026
/// (aws-lambda-java-libs 2.8.7 removed its own).
fn parse_concurrency(value: Option<&str>) -> usize {
    value.and_then(|value| value.parse().ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_above_one_means_several_slots() {
        let cases = [
            (None, 1),
            (Some(""), 1),
            (Some("0"), 1),
            (Some("1"), 1),
            (Some("abc"), 1),
            (Some("-3"), 1),
            (Some("99999999999999999999999"), 1),
            (Some("8"), 8),
            (Some("1000"), 1000),
        ];
        for (value, slots) in cases {
            assert_eq!(parse_concurrency(value), slots, "{value:?}");
        }
    }

    #[test]
    fn a_missing_address_names_the_variable_and_what_to_do() {
        let message = parse_endpoint(None).unwrap_err().to_string();
        assert!(message.contains("AWS_LAMBDA_RUNTIME_API is not set"), "{message}");
        assert!(message.contains("lambda-lab run PROGRAM"), "{message}");
    }

    #[test]
    fn a_wrong_address_shows_the_variable_the_value_and_the_reason() {
        let message = parse_endpoint(Some("127.0.0.1:port".into())).unwrap_err().to_string();
        assert!(message.contains("AWS_LAMBDA_RUNTIME_API"), "{message}");
        assert!(message.contains("127.0.0.1:port"), "{message}");
        assert!(message.contains("the port is not a number"), "{message}");
    }
}
