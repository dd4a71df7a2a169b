//! The environment variables, read through a lookup instead of from the process.

use std::cell::RefCell;
use std::ffi::OsString;

use lambda_proto_host::environment::{Environment, InitializationType};
use lambda_proto_host::{Format, Level};

fn with(variables: &[(&str, &str)]) -> Environment {
    Environment::from_lookup(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

type Text = fn(&Environment) -> Option<&str>;

const TEXTS: [(&str, Text); 16] = [
    ("_HANDLER", Environment::handler),
    ("LAMBDA_TASK_ROOT", Environment::task_root),
    ("LAMBDA_RUNTIME_DIR", Environment::runtime_dir),
    ("AWS_EXECUTION_ENV", Environment::execution_env),
    ("AWS_LAMBDA_FUNCTION_NAME", Environment::function_name),
    ("AWS_LAMBDA_FUNCTION_VERSION", Environment::function_version),
    ("AWS_LAMBDA_LOG_GROUP_NAME", Environment::log_group),
    ("AWS_LAMBDA_LOG_STREAM_NAME", Environment::log_stream),
    ("AWS_REGION", Environment::region),
    ("AWS_DEFAULT_REGION", Environment::region),
    ("AWS_LAMBDA_METADATA_API", Environment::metadata_api),
    ("AWS_LAMBDA_METADATA_TOKEN", Environment::metadata_token),
    ("AWS_ACCOUNT_ID", Environment::account_id),
    ("AWS_XRAY_CONTEXT_MISSING", Environment::xray_context_missing),
    ("AWS_XRAY_DAEMON_ADDRESS", Environment::xray_daemon_address),
    ("TZ", Environment::time_zone),
];

#[test]
fn every_text_comes_from_its_own_variable() {
    for (name, own) in TEXTS {
        let environment = with(&[(name, "a value")]);
        assert_eq!(own(&environment), Some("a value"), "{name}");
        let read = TEXTS.into_iter().filter(|(_, text)| text(&environment).is_some());
        // The region comes from one of two variables.
        let expected = if name.ends_with("REGION") { 2 } else { 1 };
        assert_eq!(read.count(), expected, "{name}");
    }
}

#[test]
fn an_empty_environment_has_no_values_and_the_text_format() {
    for environment in [with(&[]), Environment::default()] {
        for (name, text) in TEXTS {
            assert_eq!(text(&environment), None, "{name}");
        }
        assert_eq!(environment.memory_size_mb(), None);
        assert_eq!(environment.initialization_type(), None);
        assert_eq!(environment.log_format(), Format::Text);
        assert_eq!(environment.log_level(), None);
        assert_eq!(environment.telemetry_log_fd(), None);
    }
}

#[test]
fn a_variable_that_is_empty_is_absent() {
    let environment = Environment::from_lookup(&|_| Some(OsString::new()));
    for (name, text) in TEXTS {
        assert_eq!(text(&environment), None, "{name}");
    }
    assert_eq!(environment.initialization_type(), None);
    assert_eq!(environment.memory_size_mb(), None);
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_absent() {
    use std::os::unix::ffi::OsStringExt;
    let wrong = |_: &str| Some(OsString::from_vec(b"JSON\xff".to_vec()));
    let environment = Environment::from_lookup(&wrong);
    for (name, text) in TEXTS {
        assert_eq!(text(&environment), None, "{name}");
    }
    assert_eq!(environment.initialization_type(), None);
    assert_eq!(environment.memory_size_mb(), None);
    assert_eq!(environment.telemetry_log_fd(), None);
    assert_eq!(environment.log_format(), Format::Text);
}

#[test]
fn a_number_that_does_not_parse_is_absent() {
    let cases = [
        ("128", Some(128)),
        ("10240", Some(10_240)),
        ("4294967295", Some(u32::MAX)),
        ("4294967296", None),
        ("-1", None),
        ("12.5", None),
        (" 128", None),
        ("128 MB", None),
        ("0x80", None),
        ("many", None),
    ];
    for (text, number) in cases {
        let environment =
            with(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", text), ("_LAMBDA_TELEMETRY_LOG_FD", text)]);
        assert_eq!(environment.memory_size_mb(), number, "{text}");
        assert_eq!(environment.telemetry_log_fd(), number, "{text}");
    }
}

#[test]
fn known_initialization_types_are_recognised_and_unknown_ones_kept() {
    let cases = [
        ("on-demand", InitializationType::OnDemand),
        ("provisioned-concurrency", InitializationType::ProvisionedConcurrency),
        ("snap-start", InitializationType::SnapStart),
        ("lambda-managed-instances", InitializationType::ManagedInstances),
        ("SNAP-START", InitializationType::Other("SNAP-START")),
        ("of-tomorrow", InitializationType::Other("of-tomorrow")),
    ];
    for (text, expected) in cases {
        let environment = with(&[("AWS_LAMBDA_INITIALIZATION_TYPE", text)]);
        assert_eq!(environment.initialization_type(), Some(expected));
    }
}

#[test]
fn the_default_region_counts_only_without_a_region() {
    let both = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "us-east-1")];
    assert_eq!(with(&both).region(), Some("eu-west-1"));
    assert_eq!(with(&both[1..]).region(), Some("us-east-1"));
    assert_eq!(with(&[("AWS_REGION", ""), both[1]]).region(), Some("us-east-1"));
}

#[test]
fn format_and_level_are_read_in_any_letter_case() {
    for text in ["JSON", "json", "Json", "jSoN"] {
        assert_eq!(with(&[("AWS_LAMBDA_LOG_FORMAT", text)]).log_format(), Format::Json, "{text}");
    }
    for text in ["Text", "text", "TEXT", "JSON ", "json5", "xml"] {
        assert_eq!(with(&[("AWS_LAMBDA_LOG_FORMAT", text)]).log_format(), Format::Text, "{text}");
    }
    for level in Level::ALL {
        for text in [level.to_string(), level.to_string().to_lowercase()] {
            let environment = with(&[("AWS_LAMBDA_LOG_LEVEL", &text)]);
            assert_eq!(environment.log_level(), Some(level), "{text}");
        }
    }
    for text in ["WARNING", "INFO ", "3", "OFF"] {
        assert_eq!(with(&[("AWS_LAMBDA_LOG_LEVEL", text)]).log_level(), None, "{text}");
    }
}

#[test]
fn every_variable_is_looked_up_once_and_credentials_never() {
    let asked = RefCell::new(Vec::new());
    let environment = Environment::from_lookup(&|name| {
        asked.borrow_mut().push(name.to_owned());
        Some("x".into())
    });
    assert_eq!((environment.handler(), environment.handler()), (Some("x"), Some("x")));
    let mut asked = asked.into_inner();
    let count = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), count, "{asked:?}");
    let is_credential = |name: &String| name.contains("KEY") || name.contains("SESSION");
    assert!(!asked.iter().any(is_credential), "{asked:?}");
}

#[test]
fn debug_shows_the_variables_that_are_set_but_no_secret() {
    let environment =
        with(&[("AWS_LAMBDA_METADATA_TOKEN", "hush"), ("AWS_LAMBDA_FUNCTION_NAME", "orders")]);
    let shown = format!("{environment:?}");
    assert!(shown.contains("AWS_LAMBDA_FUNCTION_NAME") && shown.contains("orders"), "{shown}");
    assert!(shown.contains("AWS_LAMBDA_METADATA_TOKEN") && !shown.contains("hush"), "{shown}");
}

#[test]
fn the_environment_of_the_process_is_read_once() {
    let first = Environment::of_process();
    assert!(std::ptr::eq(first, Environment::of_process()));
    assert_eq!(format!("{first:?}"), format!("{:?}", Environment::read()));
}
