//! What a handler learns from its context.

mod support;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto_std::{Context, Lifecycle, Options};

use support::{Event, PATIENCE, Service};

const DEADLINE: &str = "Lambda-Runtime-Deadline-Ms";

/// An event whose deadline is `away` from now; in the past if `is_late`.
fn event(away: Duration, is_late: bool) -> Event {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = if is_late { now - away } else { now + away };
    Event::new("id-1", "").header(DEADLINE, at.as_millis().to_string())
}

/// What `ask` finds in the contexts of these events, one after the other.
fn ask<T: Send + 'static>(
    lifecycle: Lifecycle,
    events: impl IntoIterator<Item = Event>,
    ask: impl Fn(Context) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let service = Service::start();
    let (sender, found) = channel();
    let run = service.run_lifecycle(lifecycle, move |_, responder, context| {
        sender.send(ask(context)).expect("the test waits");
        Ok(responder.send("it ran"))
    });
    let mut connection = service.connection();
    for event in events {
        connection.invoke(event);
        let answer = connection.request();
        answer.assert_response("id-1");
        assert_eq!(answer.body, b"it ran");
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
    Receiver::into_iter(found).collect()
}

/// A lifecycle that cancels this long before the deadline.
fn buffer(millis: u64) -> Lifecycle {
    let options = Options::new().with_cancellation_buffer(Duration::from_millis(millis));
    Lifecycle::new().options(options.unwrap())
}

#[test]
fn the_remaining_time_is_the_time_to_the_deadline() {
    let minute = Duration::from_secs(60);
    let left = ask(Lifecycle::new(), [event(minute, false)], |context| context.remaining());
    let left = left[0].expect("the deadline is known");
    assert!(left <= minute && left > minute - PATIENCE, "{left:?}");
}

#[test]
fn the_cancellation_fires_one_buffer_before_the_deadline() {
    // It fires in 50 ms; without the buffer it would fire in a minute.
    let minute = Duration::from_secs(60);
    let waited = ask(buffer(60_000 - 50), [event(minute, false)], |context| {
        let cancellation = context.cancellation();
        let (began, left) = (Instant::now(), cancellation.remaining());
        let has_fired = cancellation.wait(PATIENCE);
        (has_fired, left, began.elapsed(), context.remaining())
    });
    let (has_fired, left, waited, remaining) = waited[0];
    assert!(has_fired, "after {waited:?}");
    assert!(left.is_some_and(|left| left <= Duration::from_millis(51)), "{left:?}");
    // No earlier than announced, and before the deadline itself.
    assert!(waited >= left.unwrap_or_default(), "{waited:?} {left:?}");
    assert!(remaining > Some(minute - PATIENCE), "{remaining:?}");
}

#[test]
fn an_invocation_that_arrives_late_runs_with_its_cancellation_due() {
    let later = [
        // Less time left than the buffer, none left, and an hour past the deadline.
        event(Duration::from_millis(100), false),
        event(Duration::from_millis(5), true),
        event(Duration::from_secs(3600), true),
    ];
    let cancelled = ask(buffer(500), later, |context| context.cancellation().is_cancelled());
    assert_eq!(cancelled, [true; 3]);
}

#[test]
fn a_deadline_in_1970_is_unknown_and_never_cancels() {
    let events = [
        Event::new("id-1", "").header(DEADLINE, "600000"),
        Event::new("id-1", "").header(DEADLINE, "0"),
        Event::new("id-1", ""),
    ];
    let found = ask(Lifecycle::new(), events, |context| {
        let cancellation = context.cancellation();
        let has_moment = cancellation.remaining().is_some();
        (context.deadline(), context.remaining(), cancellation.is_cancelled(), has_moment)
    });
    assert_eq!(found, [(None, None, false, false); 3]);
}

#[test]
fn the_idle_gap_is_absent_for_the_first_invocation_and_present_for_the_others() {
    let events = || Event::new("id-1", "");
    let gaps = ask(Lifecycle::new(), [events(), events(), events()], |context| {
        let long = Duration::from_secs(3600);
        context.idle_gap().map(|gap| gap.thawed_after(long))
    });
    assert_eq!(gaps, [None, Some(None), Some(None)]);
}

#[test]
fn the_idle_gap_is_the_time_between_asking_for_next_and_the_event() {
    let service = Service::start();
    let (sender, gaps) = channel();
    let run = service.run_lifecycle(Lifecycle::new(), move |_, responder, context| {
        let moment = Duration::from_millis(50);
        let gap = context.idle_gap().and_then(|gap| gap.thawed_after(moment));
        sender.send(gap).expect("the test waits");
        Ok(responder.send(""))
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request();
    connection.take_answer();
    connection.expect_next();
    // This waits for `support::MOMENT`.
    connection.expect_silence();
    connection.send(Event::new("id-2", "").bytes());
    connection.request().assert_response("id-2");
    connection.take_answer();
    connection.expect_next();
    run.stop();
    let gaps: Vec<_> = gaps.into_iter().collect();
    assert!(gaps[0].is_none() && gaps[1] >= Some(Duration::from_millis(50)), "{gaps:?}");
}
