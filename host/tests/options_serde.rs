//! Options that `serde` reads and writes.
#![cfg(feature = "serde")]

use std::time::Duration;

use lambda_proto_host::environment::options_from_lookup;
use lambda_proto_host::policy::{Options, Policy};
use serde_json::{Value, from_value, json, to_value};

#[track_caller]
fn read(document: Value) -> Options {
    from_value(document).unwrap()
}

#[track_caller]
fn refused(document: Value) -> String {
    from_value::<Options>(document).unwrap_err().to_string()
}

#[test]
fn every_option_survives_a_round_trip() {
    let document = json!({
        "init_timeout_ms": 8000,
        "cancellation_buffer_ms": 0,
        "shutdown_duration_ms": 2000,
        "shutdown_buffer_ms": 100,
        "stop_timeout_ms": 900_000,
        "work": "drain",
        "drain_reserve_ms": 250,
        "signals": false,
    });
    let options = read(document.clone());
    assert_eq!(options.init_timeout(), Duration::from_secs(8));
    assert_eq!(options.shutdown_window().hooks(), Duration::from_millis(1900));
    assert_eq!(options.work(), Policy::Drain { reserve: Duration::from_millis(250) });
    assert_eq!(to_value(options).unwrap(), document);
}

#[test]
fn options_that_are_open_stay_open() {
    assert_eq!(read(json!({})), Options::new());
    assert_eq!(read(to_value(Options::new()).unwrap()), Options::new());
    let options = read(json!({"stop_timeout_ms": 7, "init_timeout_ms": null}));
    assert_eq!(options, Options::new().with_stop_timeout(Duration::from_millis(7)).unwrap());
}

#[test]
fn every_policy_survives_a_round_trip() {
    let reserve = Duration::from_millis(70);
    for policy in [Policy::Drain { reserve }, Policy::Report, Policy::Strict, Policy::Abandon] {
        let options = Options::new().with_work(policy).unwrap();
        assert_eq!(read(to_value(options).unwrap()), options);
    }
}

#[test]
fn a_fraction_of_a_millisecond_is_rounded_up_so_that_it_stays_valid() {
    let options = Options::new().with_init_timeout(Duration::from_nanos(1)).unwrap();
    let written = to_value(options).unwrap();
    assert_eq!(written["init_timeout_ms"], 1);
    assert_eq!(read(written).init_timeout(), Duration::from_millis(1));
}

#[test]
fn a_value_out_of_range_is_refused_with_the_error_that_code_gets() {
    let error = Options::new().with_shutdown_duration(Duration::from_secs(3)).unwrap_err();
    assert_eq!(
        refused(json!({"shutdown_duration_ms": 3000})),
        format!("shutdown_duration_ms: {error}")
    );
    let message = refused(json!({"init_timeout_ms": 0, "work": "strict", "drain_reserve_ms": 5}));
    assert!(message.contains("init_timeout_ms: an init timeout of zero"), "{message}");
    assert!(message.contains("; drain_reserve_ms: a drain reserve with a"), "{message}");
}

#[test]
fn unknown_keys_and_words_are_refused() {
    assert!(refused(json!({"init_timeout": 5})).contains("unknown field `init_timeout`"));
    assert!(refused(json!({"work": "wait"})).contains("unknown variant `wait`"));
    assert!(refused(json!({"signals": "true"})).contains("expected a boolean"));
    assert!(refused(json!({"stop_timeout_ms": -1})).contains("expected u64"));
}

#[test]
fn the_keys_are_the_variables_in_lower_case_without_the_prefix() {
    let names = std::cell::RefCell::new(Vec::new());
    let _none_is_set = options_from_lookup(&|name| {
        let name = name.strip_prefix("LAMBDA_PROTO_").expect("the prefix");
        names.borrow_mut().push(name.to_lowercase());
        None
    });
    let mut names = names.into_inner();
    names.sort();
    let document = to_value(Options::new()).unwrap();
    let mut keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, names);
}
