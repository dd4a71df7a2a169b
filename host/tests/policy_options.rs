//! What options are taken, and what they make of a shutdown.

use std::time::Duration;

use lambda_proto_host::policy::{InvalidOption, Options};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_defaults_are_those_of_the_model() {
    let options = Options::new();
    assert_eq!(options, Options::default());
    assert_eq!(options.init_timeout(), Duration::from_secs(5));
    assert_eq!(options.cancellation_buffer(), ms(500));
    let window = options.shutdown_window();
    assert_eq!(
        (window.duration(), window.hooks(), window.invocation()),
        (ms(500), ms(450), ms(50))
    );
}

#[test]
fn what_makes_sense_is_taken_up_to_its_bounds() {
    let quarter = Duration::from_secs(900);
    for timeout in [Duration::from_nanos(1), Duration::from_secs(10), quarter] {
        let options = Options::new().with_init_timeout(timeout).unwrap();
        assert_eq!(options.init_timeout(), timeout);
    }
    for buffer in [Duration::ZERO, ms(1), quarter] {
        let options = Options::new().with_cancellation_buffer(buffer).unwrap();
        assert_eq!(options.cancellation_buffer(), buffer);
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
fn nonsense_is_refused_and_the_error_says_what_to_do() {
    let options = Options::new();
    let nano = Duration::from_nanos(1);
    let over_quarter = Duration::from_secs(900) + nano;
    let over_two = Duration::from_secs(2) + nano;
    let cases = [
        (options.with_init_timeout(Duration::ZERO), InvalidOption::NoInitTimeout, "give more"),
        (
            options.with_init_timeout(over_quarter),
            InvalidOption::InitTimeoutTooLong,
            "give 15 min or less",
        ),
        (
            options.with_cancellation_buffer(Duration::MAX),
            InvalidOption::CancellationBufferTooLong,
            "give less than the timeout of the function",
        ),
        (
            options.with_cancellation_buffer(over_quarter),
            InvalidOption::CancellationBufferTooLong,
            "cancelled at once",
        ),
        (
            options.with_shutdown_duration(over_two),
            InvalidOption::ShutdownTooLong,
            "give 2 s or less",
        ),
        (
            options.with_shutdown_buffer(over_two),
            InvalidOption::ShutdownBufferTooLong,
            "give less than the shutdown duration",
        ),
    ];
    for (result, error, words) in cases {
        assert_eq!(result, Err(error));
        assert!(error.to_string().contains(words), "{error}");
    }
}
