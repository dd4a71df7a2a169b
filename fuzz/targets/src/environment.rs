//! Parses environment variables of a runtime.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use lambda_proto_host::environment::Environment;
use lambda_proto_host::{Format, Level};

use crate::input::Input;

/// Variables with arbitrary values are parsed correctly, and the secret one is not shown.
///
/// The input is lines of `NAME=VALUE`.
pub fn environment(data: &[u8]) {
    let mut input = Input::new(data);
    let mut variables: Vec<(String, Vec<u8>)> = Vec::new();
    while !input.is_empty() {
        let mut line = Input::new(input.until(b'\n'));
        let name = line.text(b'=');
        variables.push((name, line.rest().to_vec()));
    }
    let value = |name: &str| {
        let variable = variables.iter().find(|(known, _)| known == name);
        variable.map(|(_, value)| OsString::from_vec(value.clone()))
    };
    let text = |name: &str| {
        let text = value(name).and_then(|value| value.into_string().ok());
        text.filter(|text| !text.is_empty())
    };
    let environment = Environment::from_lookup(&value);

    assert_eq!(environment.handler(), text("_HANDLER").as_deref());
    assert_eq!(environment.function_name(), text("AWS_LAMBDA_FUNCTION_NAME").as_deref());
    let region = text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION"));
    assert_eq!(environment.region(), region.as_deref());
    let number = |name| text(name).and_then(|text| text.parse().ok());
    assert_eq!(environment.memory_size_mb(), number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
    assert_eq!(environment.telemetry_log_fd(), number("_LAMBDA_TELEMETRY_LOG_FD"));

    let level = text("AWS_LAMBDA_LOG_LEVEL");
    let expected = level.as_deref().and_then(|level| {
        Level::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(level))
    });
    assert_eq!(environment.log_level(), expected);
    let format = text("AWS_LAMBDA_LOG_FORMAT").unwrap_or_default();
    let kind = text("AWS_LAMBDA_INITIALIZATION_TYPE");
    assert_eq!(environment.initialization_type().is_some(), kind.is_some());
    let is_json =
        format.eq_ignore_ascii_case("json") || kind.as_deref() == Some("lambda-managed-instances");
    assert_eq!(environment.log_format() == Format::Json, is_json);

    if let Some(token) = environment.metadata_token() {
        // Only then is the token certain not to occur in another variable.
        let is_told_apart = token.len() > 8
            && !variables.iter().any(|(name, value)| {
                name != "AWS_LAMBDA_METADATA_TOKEN"
                    && String::from_utf8_lossy(value).contains(token)
            });
        let shown = format!("{environment:?}");
        let is_shown = shown.contains(&format!("{token:?}"));
        assert!(!is_told_apart || !is_shown, "{shown}");
    }
}
