//! The arithmetic of the lifecycle: time limits, gaps between clock readings, the shutdown.

use std::time::Duration;

use lambda_proto::api::Deadline;
use lambda_proto::lifecycle::{Clocks, ShutdownWindow, TimeLimit};
use proptest::prelude::*;

/// The wall clock when the tests begin, in milliseconds since the Unix epoch.
const EPOCH: u64 = 1_795_252_819_000;
const DAY: u64 = 24 * 60 * 60 * 1000;
const BUFFER: Duration = Duration::from_millis(500);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Both clocks, each this number of milliseconds after the beginning of the test.
fn at(monotonic: u64, wall: u64) -> Clocks {
    Clocks { monotonic: ms(1_000_000 + monotonic), wall: ms(EPOCH + wall) }
}

/// The limit of an invocation that arrives at the beginning, `until` milliseconds before its
/// deadline.
fn limit(until: i64) -> TimeLimit {
    let deadline = Deadline::from_unix_millis(EPOCH.saturating_add_signed(until));
    TimeLimit::on_arrival(Some(deadline), at(0, 0))
}

#[test]
fn an_invocation_is_cancelled_by_the_buffer_before_its_deadline() {
    let limit = limit(3_000);
    assert_eq!(limit.deadline(), Some(Deadline::from_unix_millis(EPOCH + 3_000)));
    assert_eq!(limit.remaining(at(0, 0)), Some(ms(3_000)));
    assert_eq!(limit.cancel_at(BUFFER), Some(at(2_500, 0).monotonic));
    assert_eq!(limit.cancel_at(Duration::ZERO), Some(at(3_000, 0).monotonic));
    assert!(!limit.is_cancellation_due(BUFFER, at(2_499, 2_499)));
    assert!(limit.is_cancellation_due(BUFFER, at(2_500, 2_500)));
    assert_eq!(limit.remaining(at(9_000, 9_000)), Some(Duration::ZERO));
}

#[test]
fn an_invocation_that_arrives_late_is_cancelled_immediately_and_not_refused() {
    for until in [500, 499, 1, 0, -1, -3_000, -(DAY as i64)] {
        let limit = limit(until);
        assert!(limit.deadline().is_some(), "{until}");
        assert_eq!(limit.cancel_at(BUFFER), Some(at(0, 0).monotonic), "{until}");
        assert!(limit.is_cancellation_due(BUFFER, at(0, 0)), "{until}");
        assert_eq!(limit.remaining(at(0, 0)), Some(ms(until.max(0) as u64)), "{until}");
    }
}

#[test]
fn a_deadline_more_than_a_day_away_is_unknown() {
    let day = DAY as i64;
    for until in [-(day + 1), day + 1, i64::MAX, i64::MIN] {
        let limit = limit(until);
        assert_eq!(limit.deadline(), None, "{until}");
        assert_eq!(limit.remaining(at(0, 0)), None, "{until}");
        assert_eq!(limit.cancel_at(BUFFER), None, "{until}");
        assert!(!limit.is_cancellation_due(BUFFER, at(u64::MAX / 4, u64::MAX / 4)), "{until}");
    }
    assert_eq!(limit(day).deadline().map(Deadline::as_unix_millis), Some(EPOCH + DAY));
    // Deadlines that local services send.
    for millis in [0, 5_000, 600_000, u64::MAX] {
        let limit = TimeLimit::on_arrival(Some(Deadline::from_unix_millis(millis)), at(0, 0));
        assert_eq!(limit.deadline(), None, "{millis}");
    }
    assert_eq!(TimeLimit::on_arrival(None, at(0, 0)).cancel_at(BUFFER), None);
}

#[test]
fn the_clock_that_leaves_less_time_counts() {
    let limit = limit(3_000);
    for (now, left, why) in [
        (at(1_000, 1_000), 2_000, "both agree"),
        (at(0, 1_000), 2_000, "the monotonic clock stood still"),
        (at(1_000, 0), 2_000, "the wall clock stood still"),
        (at(1_000, 2_900), 100, "the wall clock was set forward"),
        (Clocks { wall: Duration::ZERO, ..at(1_000, 0) }, 2_000, "the wall clock was set back"),
        (
            Clocks { monotonic: Duration::ZERO, ..at(0, 1_000) },
            2_000,
            "the monotonic clock restarted",
        ),
        (Clocks { monotonic: Duration::ZERO, wall: Duration::ZERO }, 3_000, "both went back"),
    ] {
        assert_eq!(limit.remaining(now), Some(ms(left)), "{why}");
    }
}

#[test]
fn the_gap_is_the_larger_of_what_both_clocks_say() {
    let hour = 3_600_000;
    for (now, length, why) in [
        (at(250, 250), 250, "both agree"),
        (at(250, hour), hour, "the monotonic clock stood still in a freeze"),
        (at(hour, hour), hour, "it did not stand still"),
        (at(250, 0), 250, "the wall clock was set back to where it was"),
        (Clocks { wall: ms(EPOCH - hour), ..at(250, 0) }, 250, "it was set back further"),
        (Clocks { monotonic: ms(5), ..at(0, hour) }, hour, "the monotonic clock restarted"),
        (Clocks { monotonic: ms(5), wall: ms(5) }, 0, "both went backwards"),
    ] {
        assert_eq!(now.since(at(0, 0)).length(), ms(length), "{why}");
    }
}

#[test]
fn a_thaw_is_detected_by_its_length_or_by_a_monotonic_clock_that_went_backwards() {
    let least = ms(1_000);
    let thawed = |now: Clocks| now.since(at(0, 0)).thawed_after(least);
    assert_eq!(thawed(at(999, 999)), None);
    assert_eq!(thawed(at(1_000, 999)), Some(ms(1_000)));
    assert_eq!(thawed(at(2, 600_000)), Some(ms(600_000)));
    // The wall clock was set back: no thaw.
    assert_eq!(thawed(Clocks { wall: Duration::ZERO, ..at(20, 0) }), None);
    // The environment was restored on another machine.
    let monotonic = Duration::from_secs(999);
    assert_eq!(thawed(Clocks { monotonic, ..at(0, 40) }), Some(ms(40)));
    assert_eq!(thawed(Clocks { monotonic, wall: Duration::ZERO }), Some(Duration::ZERO));
    assert_eq!(at(0, 0).since(at(0, 0)).thawed_after(Duration::ZERO), Some(Duration::ZERO));
}

#[test]
fn an_invocation_in_flight_at_shutdown_has_the_time_that_the_hooks_leave() {
    let window = ShutdownWindow::new(ms(500), ms(50));
    let signal = at(0, 0);
    assert_eq!(window.cancel_at(signal), at(50, 0).monotonic);
    // Without an invocation, the buffer is left after the hooks.
    assert_eq!(window.hooks_until(signal, signal), at(450, 0).monotonic);
    assert_eq!(window.hooks_until(signal, at(50, 0)), at(500, 0).monotonic);
    // Hooks that begin late have less time, and none beyond SIGKILL.
    assert_eq!(window.hooks_until(signal, at(200, 0)), at(500, 0).monotonic);
    assert_eq!(window.hooks_until(signal, at(700, 0)), at(500, 0).monotonic);
}

#[test]
fn with_an_empty_window_everything_is_due_when_the_signal_comes() {
    let window = ShutdownWindow::new(Duration::ZERO, ms(50));
    assert_eq!(window.cancel_at(at(7, 0)), at(7, 0).monotonic);
    assert_eq!(window.hooks_until(at(7, 0), at(7, 0)), at(7, 0).monotonic);
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..4 * DAY).prop_map(|away| ms(EPOCH - 2 * DAY + away)),
        (any::<u64>(), 0..1_000_000_000u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
    ]
}

fn any_clocks() -> impl Strategy<Value = Clocks> {
    (any_time(), any_time()).prop_map(|(monotonic, wall)| Clocks { monotonic, wall })
}

fn any_window() -> impl Strategy<Value = ShutdownWindow> {
    (0..=2_000u64, 0..=2_000u64)
        .prop_map(|(duration, buffer)| ShutdownWindow::new(ms(duration), ms(buffer)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_arithmetic_holds_for_all_readings_and_deadlines(
        arrival in any_clocks(), now in any_clocks(), buffer in any_time(),
        millis in prop_oneof![any::<u64>(), EPOCH - 2 * DAY..EPOCH + 2 * DAY],
    ) {
        let deadline = Deadline::from_unix_millis(millis);
        let limit = TimeLimit::on_arrival(Some(deadline), arrival);
        let away = ms(millis).abs_diff(arrival.wall);
        prop_assert_eq!(limit.deadline().is_some(), away <= ms(DAY));
        let Some(left) = limit.remaining(now) else {
            prop_assert_eq!(limit.cancel_at(buffer), None);
            prop_assert!(!limit.is_cancellation_due(buffer, now));
            return Ok(());
        };
        prop_assert!(left <= deadline.remaining(now.wall));
        prop_assert!(left <= deadline.remaining(arrival.wall));
        prop_assert_eq!(limit.is_cancellation_due(buffer, now), left <= buffer);
        let cancel_at = limit.cancel_at(buffer).unwrap();
        prop_assert!(cancel_at >= arrival.monotonic);
        prop_assert!(cancel_at.saturating_sub(arrival.monotonic) <= ms(DAY));
    }

    #[test]
    fn a_gap_is_the_greater_of_both_clocks(one in any_clocks(), two in any_clocks(), least in any_time()) {
        let gap = two.since(one);
        let by_monotonic = two.monotonic.saturating_sub(one.monotonic);
        let length = by_monotonic.max(two.wall.saturating_sub(one.wall));
        prop_assert_eq!(gap.length(), length);
        let is_thawed = length >= least || two.monotonic < one.monotonic;
        prop_assert_eq!(gap.thawed_after(least), is_thawed.then_some(length));
    }

    #[test]
    fn a_shutdown_window_is_divided_completely(window in any_window(), signal in any_clocks(), late in 0..3_000u64) {
        prop_assert_eq!(window.invocation() + window.hooks(), window.duration());
        let kill = signal.monotonic.saturating_add(window.duration());
        prop_assert!(window.cancel_at(signal) <= kill);
        let begun = Clocks { monotonic: signal.monotonic.saturating_add(ms(late)), ..signal };
        let until = window.hooks_until(signal, begun);
        prop_assert!(until <= kill);
        prop_assert!(until.saturating_sub(begun.monotonic) <= window.hooks());
        if begun.monotonic <= window.cancel_at(signal) && kill < Duration::MAX {
            prop_assert_eq!(until - begun.monotonic, window.hooks());
        }
    }
}
