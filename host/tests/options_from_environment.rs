//! The options that environment variables set, read through a lookup instead of from the process.

use std::cell::RefCell;
use std::ffi::OsString;
use std::time::Duration;

use lambda_proto_host::environment::{INVALID_CONFIGURATION, options_from_lookup};
use lambda_proto_host::policy::{Options, Policy};
use lambda_proto_host::{Failure, lifecycle::Lifecycle};

fn read(variables: &[(&str, &str)]) -> Result<Options, Failure> {
    options_from_lookup(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

/// The message of a failure of these variables.
#[track_caller]
fn refused(variables: &[(&str, &str)]) -> String {
    let failure = read(variables).expect_err("a failure");
    let message = failure.message().to_owned();
    assert_eq!(failure.to_string(), format!("{INVALID_CONFIGURATION}: {message}"));
    message
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn drain(millis: u64) -> Policy {
    Policy::Drain { reserve: ms(millis) }
}

const INIT: &str = "LAMBDA_PROTO_INIT_TIMEOUT_MS";
const CANCELLATION: &str = "LAMBDA_PROTO_CANCELLATION_BUFFER_MS";
const SHUTDOWN: &str = "LAMBDA_PROTO_SHUTDOWN_DURATION_MS";
const BUFFER: &str = "LAMBDA_PROTO_SHUTDOWN_BUFFER_MS";
const STOP: &str = "LAMBDA_PROTO_STOP_TIMEOUT_MS";
const WORK: &str = "LAMBDA_PROTO_WORK";
const RESERVE: &str = "LAMBDA_PROTO_DRAIN_RESERVE_MS";
const SIGNALS: &str = "LAMBDA_PROTO_SIGNALS";

const ALL: [&str; 8] = [INIT, CANCELLATION, SHUTDOWN, BUFFER, STOP, WORK, RESERVE, SIGNALS];

#[test]
fn each_variable_sets_its_own_option_up_to_its_bounds() {
    let new = Options::new;
    let cases = [
        (INIT, "1", new().with_init_timeout(ms(1)).unwrap()),
        (INIT, "900000", new().with_init_timeout(ms(900_000)).unwrap()),
        (CANCELLATION, "0", new().with_cancellation_buffer(ms(0)).unwrap()),
        (CANCELLATION, "900000", new().with_cancellation_buffer(ms(900_000)).unwrap()),
        (SHUTDOWN, "0", new().with_shutdown_duration(ms(0)).unwrap()),
        (SHUTDOWN, "2000", new().with_shutdown_duration(ms(2_000)).unwrap()),
        (BUFFER, "0", new().with_shutdown_buffer(ms(0)).unwrap()),
        (BUFFER, "2000", new().with_shutdown_buffer(ms(2_000)).unwrap()),
        (STOP, "1", new().with_stop_timeout(ms(1)).unwrap()),
        (STOP, "900000", new().with_stop_timeout(ms(900_000)).unwrap()),
        (WORK, "drain", new().with_work(Policy::default()).unwrap()),
        (WORK, "report", new().with_work(Policy::Report).unwrap()),
        (WORK, "strict", new().with_work(Policy::Strict).unwrap()),
        (WORK, "abandon", new().with_work(Policy::Abandon).unwrap()),
        (RESERVE, "0", new().with_work(drain(0)).unwrap()),
        (RESERVE, "900000", new().with_work(drain(900_000)).unwrap()),
        (SIGNALS, "true", new().with_signals(true)),
        (SIGNALS, "false", new().with_signals(false)),
        (INIT, "007", new().with_init_timeout(ms(7)).unwrap()),
    ];
    for (name, value, expected) in cases {
        assert_eq!(read(&[(name, value)]).unwrap(), expected, "{name}={value}");
    }
}

#[test]
fn all_variables_together_set_all_options() {
    let values = ["1", "2", "3", "4", "5", "drain", "6", "true"];
    let variables: Vec<_> = ALL.into_iter().zip(values).collect();
    let options = read(&variables).unwrap();
    assert_eq!(options.init_timeout(), ms(1));
    assert_eq!(options.cancellation_buffer(), ms(2));
    assert_eq!(options.shutdown_window().duration(), ms(3));
    assert_eq!(options.shutdown_window().hooks(), ms(0));
    assert_eq!(options.stop_timeout(), ms(5));
    assert_eq!((options.work(), options.signals()), (drain(6), Some(true)));
}

#[test]
fn unset_and_empty_variables_set_nothing() {
    assert_eq!(read(&[]).unwrap(), Options::new());
    assert_eq!(read(&ALL.map(|name| (name, ""))).unwrap(), Options::new());
}

#[test]
fn each_variable_is_looked_up_once() {
    let names = RefCell::new(Vec::new());
    let options = options_from_lookup(&|name| {
        names.borrow_mut().push(name.to_owned());
        None
    });
    assert_eq!(options.unwrap(), Options::new());
    assert_eq!(names.into_inner(), ALL);
}

#[test]
fn a_value_that_is_not_a_decimal_number_is_refused() {
    for name in [INIT, CANCELLATION, SHUTDOWN, BUFFER, STOP, RESERVE] {
        for value in ["abc", "-3", "+3", " 8", "8 ", "0x8", "1.0", "1_000", "5s", "٣"] {
            assert_eq!(
                refused(&[(name, value)]),
                format!(
                    "{name} is {value:?}: not a number of milliseconds: write decimal digits only, \
                     such as 500"
                )
            );
        }
    }
}

#[test]
fn a_number_out_of_range_is_refused_with_the_error_that_code_gets() {
    let huge = "9".repeat(30);
    let cases = [
        (INIT, "0", "an init timeout of zero"),
        (INIT, "900001", "set 15 min or less"),
        (CANCELLATION, "900001", "every invocation would be cancelled immediately"),
        (SHUTDOWN, "2001", "set 2 s or less"),
        (BUFFER, "2001", "set less than the shutdown duration"),
        (STOP, "0", "a stop timeout of zero"),
        (STOP, "900001", "set 15 min or less"),
        (RESERVE, "900001", "a drain would never wait"),
        (INIT, &huge, "set 15 min or less"),
        (RESERVE, &huge, "a drain would never wait"),
    ];
    for (name, value, words) in cases {
        let message = refused(&[(name, value)]);
        assert!(message.starts_with(&format!("{name} is {value:?}: ")), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let error = Options::new().with_shutdown_duration(ms(2_001)).unwrap_err();
    assert_eq!(refused(&[(SHUTDOWN, "2001")]), format!("{SHUTDOWN} is \"2001\": {error}"));
}

#[test]
fn the_error_for_an_unknown_word_lists_the_known_ones() {
    for value in ["wait", "Drain", "drain "] {
        assert_eq!(
            refused(&[(WORK, value)]),
            format!(
                "{WORK} is {value:?}: not a work policy: write drain, report, strict or abandon"
            )
        );
    }
    for value in ["1", "yes", "True"] {
        assert_eq!(
            refused(&[(SIGNALS, value)]),
            format!("{SIGNALS} is {value:?}: not a boolean: write true or false")
        );
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_refused_and_shown() {
    use std::os::unix::ffi::OsStringExt;
    for name in ALL {
        let failure = options_from_lookup(&|looked_up| {
            (looked_up == name).then(|| OsString::from_vec(b"50\xff0".to_vec()))
        });
        let message = failure.unwrap_err().message().to_owned();
        assert_eq!(message, format!(r#"{name} is "50\xFF0": not UTF-8"#));
    }
}

#[test]
fn a_reserve_needs_a_drain() {
    assert_eq!(read(&[(RESERVE, "70")]).unwrap().work(), drain(70));
    assert_eq!(read(&[(WORK, "drain"), (RESERVE, "70")]).unwrap().work(), drain(70));
    for work in ["report", "strict", "abandon"] {
        let message = refused(&[(WORK, work), (RESERVE, "70")]);
        let expected = format!(
            "{RESERVE} is \"70\": a drain reserve with a work policy that does not drain: set the \
             policy to drain, or do not set the reserve"
        );
        assert_eq!(message, expected);
    }
}

#[test]
fn one_message_names_every_invalid_variable_and_no_valid_one() {
    let variables = [
        (SIGNALS, "on"),
        (INIT, "0"),
        (CANCELLATION, "100"),
        (STOP, "soon"),
        (WORK, "strict"),
        (RESERVE, "5"),
    ];
    let message = refused(&variables);
    let lines: Vec<_> = message.split("; ").collect();
    let names: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, [INIT, STOP, RESERVE, SIGNALS], "{message}");
}

#[test]
fn an_invalid_policy_is_named_once_beside_its_reserve() {
    let message = refused(&[(WORK, "wait"), (RESERVE, "5")]);
    assert!(message.starts_with(WORK) && !message.contains(RESERVE), "{message}");
}

#[test]
fn options_set_in_code_win_over_the_environment() {
    let environment = read(&[(INIT, "100"), (STOP, "200"), (RESERVE, "300"), (SIGNALS, "true")]);
    let code = Lifecycle::new()
        .options(Options::new().with_init_timeout(ms(7)).unwrap())
        .work(Policy::Strict)
        .signals(false)
        .into_parts()
        .options;
    let options = code.or(environment.unwrap());
    assert_eq!((options.init_timeout(), options.stop_timeout()), (ms(7), ms(200)));
    assert_eq!((options.work(), options.signals()), (Policy::Strict, Some(false)));
}
