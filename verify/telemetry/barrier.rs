//! When the extension asks for its next event, and when it ends.

use std::time::{Duration, Instant};

use super::support::{LONG, Run, function, options, report, request, runtime_done, takes_all};

/// The time until a deadline that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(700);

#[test]
fn it_asks_for_the_next_event_only_when_the_runtime_is_done() {
    let mut run = Run::start(options(), takes_all());
    run.invoke("id-1", LONG);
    for record in [function("a"), runtime_done("id-0"), report("id-0")] {
        assert_eq!(run.post(&[record]), 200);
        run.api.expect_silence();
    }
    assert_eq!(run.post(&[runtime_done("id-1")]), 200);
    run.api.expect_extension_next();
}

#[test]
fn a_runtime_that_is_done_before_its_event_is_not_waited_for() {
    let mut run = Run::start(options(), takes_all());
    run.api.expect_extension_next();
    assert_eq!(run.post(&[runtime_done("id")]), 200);
    run.expect(&runtime_done("id"));
    run.api.answer(200, "", r#"{"eventType":"INVOKE","deadlineMs":7,"requestId":"id"}"#);
    run.expect("INVOKE id");
    run.expect("flush RuntimeDone");
    run.api.expect_extension_next();
}

#[test]
fn a_runtime_that_is_never_done_is_waited_for_until_shortly_before_the_deadline() {
    let mut run = Run::start(options(), takes_all());
    run.invoke("id-1", SHORT);
    run.expect("flush DeadlineNear");
    // Telemetry is silent, so the next invocation is not held up.
    run.invoke("id-2", LONG);
    run.expect("flush Silent");
    // It comes again.
    assert_eq!(run.post(&[report("id-1")]), 200);
    run.expect(&report("id-1"));
    run.invoke("id-3", LONG);
    run.api.expect_silence();
    assert_eq!(run.post(&[runtime_done("id-3")]), 200);
    run.api.expect_extension_next();
}

#[test]
fn a_runtime_that_is_done_in_the_rest_of_a_failed_batch_is_not_waited_for() {
    let handle = |text: &str| if text == function("a") { Err("no space")? } else { Ok(None) };
    let mut run = Run::start(options(), Box::new(handle));
    run.invoke("id", LONG);
    let request = request(&[function("a"), runtime_done("id"), function("never whole")]);
    let length_of_rest = runtime_done("id").len() + ",]".len() + function("never whole").len();
    let (first, rest) = request.split_at(request.len() - length_of_rest);
    let mut client = run.client();
    client.send(first);
    run.expect(&function("a"));
    // It is read after all that the failure causes.
    run.api.expect_silence();
    client.send(&rest[..rest.len() - 5]);
    run.expect("flush RuntimeDone");
    run.api.expect_extension_next();
}

#[test]
fn at_shutdown_it_waits_for_the_last_report() {
    let mut run = Run::start(options(), takes_all());
    run.invoke("id", LONG);
    assert_eq!(run.post(&[runtime_done("id")]), 200);
    run.expect_all(&[runtime_done("id"), "flush RuntimeDone".to_owned()]);
    run.shut_down(LONG);
    run.api.expect_silence();
    assert_eq!(run.post(&[function("late"), report("id"), function("later")]), 200);
    let handled = [function("late"), report("id"), function("later")];
    run.expect_all(&handled);
    run.expect("flush AllReported");
    let lines = run.service.lines().clone();
    run.end().unwrap();
    assert_eq!(lines.all(), [""; 0]);
}

#[test]
fn a_report_that_never_comes_is_named_at_the_end() {
    let mut run = Run::start(options(), takes_all());
    run.invoke("8f18", LONG);
    assert_eq!(run.post(&[runtime_done("8f18")]), 200);
    run.expect_all(&[runtime_done("8f18"), "flush RuntimeDone".to_owned()]);
    run.shut_down(SHORT);
    run.expect("flush DeadlineNear");
    let lines = run.service.lines().clone();
    run.end().unwrap();
    lines.wait_for("telemetry at the end: no platform.report of 8f18; ");
}

#[test]
fn a_batch_that_is_cut_off_does_not_hold_up_the_next_event() {
    let mut run = Run::start(options(), takes_all());
    run.invoke("id", LONG);
    let request = request(&[runtime_done("id"), function("never whole")]);
    let mut client = run.client();
    client.send(&request[..request.len() - 5]);
    run.expect_all(&[runtime_done("id"), "flush RuntimeDone".to_owned()]);
    run.api.expect_extension_next();
    drop(client);
    run.service.lines().wait_for("a telemetry batch broke off with its connection");
}

#[test]
fn an_event_that_cannot_be_read_is_asked_for_again_after_a_pause() {
    let mut run = Run::start(options(), takes_all());
    let begun = Instant::now();
    for _ in 0..5 {
        run.give("<html>");
    }
    run.api.expect_extension_next();
    // After the first one at once, then after at least 25, 50, 100 and 200 ms.
    assert!(begun.elapsed() >= Duration::from_millis(375), "{:?}", begun.elapsed());
    run.api.answer(200, "", r#"{"eventType":"INVOKE","deadlineMs":7,"requestId":"id"}"#);
    run.expect("INVOKE id");
    run.service.lines().wait_for("an event cannot be read, asking for the next: ");
}
