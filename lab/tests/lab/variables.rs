//! What the function sees of the environment of the lab.

use std::collections::BTreeMap;
use std::process::Command;

use crate::served::lab;

/// Variables that describe another Lambda, and may hold its secrets.
const FOREIGN: [&str; 12] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_EXEC_WRAPPER",
    "AWS_LAMBDA_FUNCTION_TIMEOUT",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
    "_LAMBDA_TELEMETRY_LOG_FD",
    "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET",
    "_X_AMZN_TRACE_ID",
];

/// The variables of a function in a lab that is started by this command, with more of them.
fn seen(options: &[&str], prepare: impl FnOnce(&mut Command)) -> BTreeMap<String, String> {
    let mut command = lab();
    prepare(&mut command);
    let output = command.arg("run").args(options).args(["env", "-0"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    // The last line of the lab before it is that of the start.
    let (_, text) = text.split_once(" Version: $LATEST\n").expect("it was started");
    let variables = text.split('\0').filter_map(|it| it.split_once('='));
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_function_sees_the_variables_of_the_lab_without_those_of_another_lambda() {
    let seen = seen(&[], |command| {
        command.envs(FOREIGN.map(|name| (name, "foreign")));
        for name in ["_HANDLER", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "TMPDIR", "TZ"] {
            command.env(name, if name == "TMPDIR" { "/tmp" } else { "foreign" });
        }
        command.env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_LAMBDAS", "mine");
        command.env("LAMBDA_PROTO_LOG", "mine").env("AWS_PROFILE", "mine");
    });
    for name in FOREIGN {
        assert_eq!(seen.get(name), None, "{name}");
    }
    assert!(!seen.values().any(|value| value == "foreign"), "{seen:?}");
    assert_eq!(seen["AWS_SECRET_ACCESS_KEY"], "secret");
    for name in ["AWS_LAMBDAS", "LAMBDA_PROTO_LOG", "AWS_PROFILE"] {
        assert_eq!(seen[name], "mine", "{name}");
    }
    assert_eq!((seen["_HANDLER"].as_str(), seen["TZ"].as_str()), ("", ":UTC"));
}

#[test]
fn a_clean_environment_has_only_what_the_lab_sets_and_path() {
    let seen = seen(&["--clean-env", "--env", "MINE=my value"], |command| {
        command.envs(FOREIGN.map(|name| (name, "foreign")));
        command.env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "eu-central-1");
    });
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "AWS_DEFAULT_REGION",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            "AWS_LAMBDA_FUNCTION_NAME",
            "AWS_LAMBDA_FUNCTION_VERSION",
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_REGION",
            "LAMBDA_RUNTIME_DIR",
            "LAMBDA_TASK_ROOT",
            "MINE",
            "PATH",
            "TMPDIR",
            "TZ",
            "_HANDLER",
        ]
    );
    assert_eq!(seen["MINE"], "my value");
    assert_eq!(seen["AWS_REGION"], "us-east-1");
    assert_eq!(seen["PATH"], std::env::var("PATH").unwrap());
}

#[test]
fn a_variable_that_is_given_replaces_any_other() {
    let names = [
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_EXECUTION_ENV",
        "LAMBDA_TASK_ROOT",
        "TMPDIR",
        "TZ",
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
    ];
    let given = names.map(|name| format!("--env={name}=given"));
    let given = given.each_ref().map(String::as_str);
    let seen = seen(&given, |command| {
        command.env("AWS_EXECUTION_ENV", "foreign");
    });
    for name in names {
        assert_eq!(seen[name], "given", "{name}");
    }
}
