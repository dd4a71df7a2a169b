//! What a handler learns from its context, and when that is cancelled.

#[path = "support/lifecycle.rs"]
mod support;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto_tokio::{Context, Lifecycle, Options};
use tokio::time::timeout;

use support::{Event, Kind, PATIENCE, Service};

const DEADLINE: &str = "Lambda-Runtime-Deadline-Ms";
const MINUTE: Duration = Duration::from_secs(60);

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
    ask: impl AsyncFn(Context) -> T + Send + 'static,
) -> Vec<T> {
    let service = Service::start();
    let (sender, found) = channel();
    let run = service.run(lifecycle, async move |_, responder, context| {
        sender.send(ask(context).await).expect("the test waits");
        Ok(responder.send("it ran").await)
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
    let left = ask(Lifecycle::new(), [event(MINUTE, false)], async |context| context.remaining());
    let left = left[0].expect("the deadline is known");
    assert!(left <= MINUTE && left > MINUTE - PATIENCE, "{left:?}");
}

#[test]
fn the_cancellation_resolves_one_buffer_before_the_deadline() {
    // In 50 ms; without the buffer it would be in a minute.
    let waited = ask(buffer(60_000 - 50), [event(MINUTE, false)], async |context| {
        let (began, left) = (Instant::now(), context.cancellation().remaining());
        let resolved = timeout(PATIENCE, context.cancelled()).await.is_ok();
        (resolved, left, began.elapsed(), context.remaining())
    });
    let (resolved, left, waited, remaining) = waited[0];
    assert!(resolved, "after {waited:?}");
    assert!(left.is_some_and(|left| left <= Duration::from_millis(51)), "{left:?}");
    // No earlier than announced, and before the deadline itself.
    assert!(waited >= left.unwrap_or_default(), "{waited:?} {left:?}");
    assert!(remaining > Some(MINUTE - PATIENCE), "{remaining:?}");
}

#[test]
fn an_invocation_that_arrives_late_runs_with_its_cancellation_due() {
    let later = [
        // Less time left than the buffer, none left, and an hour past the deadline.
        event(Duration::from_millis(100), false),
        event(Duration::from_millis(5), true),
        event(Duration::from_secs(3600), true),
    ];
    let cancelled = ask(buffer(500), later, async |context| {
        context.cancelled().await;
        context.cancellation().is_cancelled()
    });
    assert_eq!(cancelled, [true; 3]);
}

#[test]
fn a_deadline_in_1970_is_unknown_and_never_cancels() {
    let events = [
        Event::new("id-1", "").header(DEADLINE, "600000"),
        Event::new("id-1", "").header(DEADLINE, "0"),
        Event::new("id-1", ""),
    ];
    let found = ask(Lifecycle::new(), events, async |context| {
        let resolved = timeout(Duration::from_millis(20), context.cancelled()).await.is_ok();
        (context.deadline(), context.remaining(), resolved)
    });
    assert_eq!(found, [(None, None, false); 3]);
}

#[test]
fn a_stop_does_not_cancel_an_invocation() {
    let service = Service::start();
    let (sender, cancelled) = channel();
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    let run = service.run_as(runtime, Lifecycle::new(), async move |_, responder, context| {
        stop.stop();
        let waited = timeout(Duration::from_millis(20), context.cancelled()).await;
        sender.send(waited.is_ok()).expect("the test waits");
        Ok(responder.send("").await)
    });
    let mut connection = service.connection();
    connection.invoke(event(MINUTE, false));
    connection.request().assert_response("id-1");
    connection.take_answer();
    run.expect_end();
    assert_eq!(cancelled.recv(), Ok(false));
}

#[test]
fn the_idle_gap_is_absent_for_the_first_invocation_and_present_for_the_others() {
    let events = || Event::new("id-1", "");
    let gaps = ask(Lifecycle::new(), [events(), events(), events()], async |context| {
        let long = Duration::from_secs(3600);
        context.idle_gap().map(|gap| gap.thawed_after(long))
    });
    assert_eq!(gaps, [None, Some(None), Some(None)]);
}

#[test]
fn a_context_and_its_future_outlive_their_invocation_on_another_task() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let (sender, told) = channel();
        let run = service.run(buffer(60_000 - 200), async move |_, responder, context| {
            let (cancelled, sender) = (context.cancelled(), sender.clone());
            tokio::spawn(async move {
                let of_the_context = context.cancelled();
                tokio::join!(cancelled, of_the_context);
                sender.send(context.cancellation().is_cancelled()).expect("the test waits");
            });
            Ok(responder.send("").await)
        });
        let mut connection = service.connection();
        connection.invoke(event(MINUTE, false));
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
        run.stop();
    }
}

#[cfg(feature = "tokio-util")]
mod tokens {
    use tokio::runtime::Handle;
    use tokio::task::yield_now;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn the_token_is_cancelled_when_the_cancellation_is_due_and_is_the_same_each_time() {
        let found = ask(buffer(60_000 - 50), [event(MINUTE, false)], async |context| {
            let (token, other) = (context.cancellation_token(), context.cancellation_token());
            let child = other.child_token();
            let waited = timeout(PATIENCE, token.cancelled()).await;
            (waited.is_ok(), child.is_cancelled(), context.cancellation().is_cancelled())
        });
        assert_eq!(found, [(true, true, true)]);
    }

    #[test]
    fn the_token_of_an_invocation_that_arrives_late_is_cancelled_from_the_start() {
        let late = event(Duration::from_secs(3600), true);
        let found = ask(buffer(500), [late], async |context| {
            // Before any other task has a chance to run.
            context.cancellation_token().is_cancelled()
        });
        assert_eq!(found, [true]);
    }

    #[test]
    fn no_task_is_left_when_the_context_is_gone_and_the_token_is_not_cancelled() {
        let minute = || event(MINUTE, false);
        let found = ask(Lifecycle::new(), [minute(), minute()], async |context| {
            let tasks = || Handle::current().metrics().num_alive_tasks();
            let before = tasks();
            let token = context.cancellation_token();
            let during = tasks();
            drop(context);
            // The task notices that it is aborted.
            while tasks() > before {
                yield_now().await;
            }
            (before, during, token.is_cancelled())
        });
        assert_eq!(found, [(0, 1, false); 2]);
    }

    #[test]
    fn spawned_work_keeps_the_token_alive_when_the_context_is_gone() {
        let service = Service::start();
        let (sender, told) = channel();
        let run = service.run(buffer(60_000 - 200), async move |invocation, responder, context| {
            let token: CancellationToken = context.cancellation_token();
            let sender = sender.clone();
            context.spawn_work(&invocation, "until cancelled", async move {
                token.cancelled().await;
                sender.send(()).expect("the test waits");
            });
            Ok(responder.send("").await)
        });
        let mut connection = service.connection();
        connection.invoke(event(MINUTE, false));
        connection.request().assert_response("id-1");
        connection.take_answer();
        told.recv_timeout(PATIENCE).expect("the token is cancelled");
        connection.expect_next();
        run.stop();
    }
}
