//! Which options are accepted, and the shutdown window that they define.

use std::time::Duration;

use lambda_proto_host::lifecycle::Lifecycle;
use lambda_proto_host::policy::{InvalidOption, Options, Policy};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let options = Options::new();
    assert_eq!(options, Options::default());
    assert_eq!(options.init_timeout(), Duration::from_secs(5));
    assert_eq!(options.cancellation_buffer(), ms(500));
    let window = options.shutdown_window();
    assert_eq!(
        (window.duration(), window.hooks(), window.invocation()),
        (ms(500), ms(450), ms(50))
    );
    assert_eq!(options.stop_timeout(), Duration::from_secs(2));
    assert_eq!((options.work(), options.signals()), (Policy::default(), None));
}

#[test]
fn values_are_accepted_up_to_their_bounds() {
    let quarter = Duration::from_secs(900);
    for timeout in [Duration::from_nanos(1), Duration::from_secs(10), quarter] {
        let options = Options::new().with_init_timeout(timeout).unwrap();
        assert_eq!(options.init_timeout(), timeout);
    }
    for buffer in [Duration::ZERO, ms(1), quarter] {
        let options = Options::new().with_cancellation_buffer(buffer).unwrap();
        assert_eq!(options.cancellation_buffer(), buffer);
    }
    for timeout in [Duration::from_nanos(1), Duration::from_secs(3), quarter] {
        let options = Options::new().with_stop_timeout(timeout).unwrap();
        assert_eq!(options.stop_timeout(), timeout);
    }
    let drain = |reserve| Policy::Drain { reserve };
    for policy in [drain(Duration::ZERO), drain(quarter), Policy::Report, Policy::Strict] {
        assert_eq!(Options::new().with_work(policy).unwrap().work(), policy);
    }
    for are_handled in [true, false] {
        assert_eq!(Options::new().with_signals(are_handled).signals(), Some(are_handled));
    }
    for (duration, buffer, hooks) in
        [(0, 50, 0), (300, 50, 250), (500, 0, 500), (2000, 2000, 0), (300, 400, 0), (600, 100, 500)]
    {
        let options = Options::new()
            .with_shutdown_duration(ms(duration))
            .and_then(|options| options.with_shutdown_buffer(ms(buffer)))
            .unwrap();
        let window = options.shutdown_window();
        assert_eq!((window.duration(), window.hooks()), (ms(duration), ms(hooks)));
        assert_eq!(window.invocation() + window.hooks(), window.duration());
    }
}

#[test]
fn values_out_of_bounds_are_refused_and_the_error_says_what_to_do() {
    let options = Options::new();
    let nano = Duration::from_nanos(1);
    let over_quarter = Duration::from_secs(900) + nano;
    let over_two = Duration::from_secs(2) + nano;
    let cases = [
        (options.with_init_timeout(Duration::ZERO), InvalidOption::NoInitTimeout, "set more"),
        (
            options.with_init_timeout(over_quarter),
            InvalidOption::InitTimeoutTooLong,
            "set 15 min or less",
        ),
        (
            options.with_cancellation_buffer(Duration::MAX),
            InvalidOption::CancellationBufferTooLong,
            "set less than the timeout of the function",
        ),
        (
            options.with_cancellation_buffer(over_quarter),
            InvalidOption::CancellationBufferTooLong,
            "cancelled immediately",
        ),
        (
            options.with_shutdown_duration(over_two),
            InvalidOption::ShutdownTooLong,
            "set 2 s or less",
        ),
        (
            options.with_shutdown_buffer(over_two),
            InvalidOption::ShutdownBufferTooLong,
            "set less than the shutdown duration",
        ),
        (options.with_stop_timeout(Duration::ZERO), InvalidOption::NoStopTimeout, "set more"),
        (
            options.with_stop_timeout(over_quarter),
            InvalidOption::StopTimeoutTooLong,
            "set 15 min or less",
        ),
        (
            options.with_work(Policy::Drain { reserve: over_quarter }),
            InvalidOption::DrainReserveTooLong,
            "set less than the timeout of the function",
        ),
    ];
    for (result, error, words) in cases {
        assert_eq!(result, Err(error));
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// Options that set everything, each to a different value.
fn all(millis: u64, work: Policy, signals: bool) -> Options {
    Options::new()
        .with_init_timeout(ms(millis))
        .and_then(|options| options.with_cancellation_buffer(ms(millis + 1)))
        .and_then(|options| options.with_shutdown_duration(ms(millis + 2)))
        .and_then(|options| options.with_shutdown_buffer(ms(millis + 3)))
        .and_then(|options| options.with_stop_timeout(ms(millis + 4)))
        .and_then(|options| options.with_work(work))
        .unwrap()
        .with_signals(signals)
}

#[test]
fn options_that_are_open_are_taken_from_the_others() {
    let one = all(100, Policy::Strict, false);
    let other = all(200, Policy::Report, true);
    assert_eq!(one.or(other), one);
    assert_eq!(one.or(Options::new()), one);
    assert_eq!(Options::new().or(other), other);

    let some = Options::new().with_stop_timeout(ms(7)).unwrap().with_signals(false).or(other);
    let expected = other.with_stop_timeout(ms(7)).unwrap().with_signals(false);
    assert_eq!(some, expected);
}

#[test]
fn an_option_set_to_its_default_is_not_taken_from_the_others() {
    let five = Options::new().with_init_timeout(Duration::from_secs(5)).unwrap();
    assert_ne!(five, Options::new());
    assert_eq!(five.or(all(200, Policy::Report, true)).init_timeout(), Duration::from_secs(5));
}

#[test]
fn a_lifecycle_keeps_its_options_unless_they_are_set_again() {
    let parts = Lifecycle::new()
        .work(Policy::Strict)
        .signals(true)
        .options(Options::new().with_init_timeout(ms(7)).unwrap())
        .options(Options::new().with_stop_timeout(ms(8)).unwrap())
        .into_parts();
    assert_eq!((parts.work, parts.signals), (Policy::Strict, true));
    assert_eq!((parts.options.init_timeout(), parts.options.stop_timeout()), (ms(7), ms(8)));

    let all = all(100, Policy::Report, false);
    let parts = Lifecycle::new().work(Policy::Strict).signals(true).options(all).into_parts();
    assert_eq!((parts.options, parts.work, parts.signals), (all, Policy::Report, false));
}
