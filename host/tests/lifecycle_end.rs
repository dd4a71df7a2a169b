//! Snapshot hooks, which run in order until the first failure, and shutdown hooks, which run
//! concurrently until their time is over.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_host::lifecycle::{
    AFTER_RESTORE_ERROR, BEFORE_SNAPSHOT_ERROR, Lifecycle, Resources, Shutdown, Store,
    run_after_restore, run_before_snapshot, run_shutdown,
};
use lambda_proto_host::{Failure, Format, Log};
use serde_json::Value;

/// A time limit that only a broken test reaches.
const LONG: Duration = Duration::from_secs(60);
/// Far below [`LONG`], but enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);

type Hook = fn() -> Result<(), Failure>;

/// Runs before-snapshot and after-restore hooks, of which one may fail; returns which ran, and the
/// results.
fn snapshot_hooks(fails: Option<(usize, Hook)>) -> [(Vec<usize>, Result<(), Failure>); 2] {
    let mut lifecycle = Lifecycle::new();
    let (before, after) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    for at in 0..4 {
        let hook = |ran: &Arc<Mutex<Vec<usize>>>| {
            let (ran, caller) = (Arc::clone(ran), thread::current().id());
            move |_: &Resources| {
                assert_eq!(thread::current().id(), caller);
                ran.lock().unwrap().push(at);
                match fails {
                    Some((place, fails)) if place == at => fails(),
                    _ => Ok(()),
                }
            }
        };
        lifecycle = lifecycle
            .before_snapshot(format!("before {at}"), hook(&before))
            .after_restore(format!("after {at}"), hook(&after));
    }
    let parts = lifecycle.into_parts();
    let results = [
        run_before_snapshot(parts.before_snapshot, &Resources::default()),
        run_after_restore(parts.after_restore, &Resources::default()),
    ];
    let ran = |ran: Arc<Mutex<Vec<usize>>>| std::mem::take(&mut *ran.lock().unwrap());
    let [first, second] = results;
    [(ran(before), first), (ran(after), second)]
}

#[test]
fn before_snapshot_hooks_run_in_reverse_and_after_restore_hooks_in_order() {
    let [(before, first), (after, second)] = snapshot_hooks(None);
    assert_eq!((before, after), (vec![3, 2, 1, 0], vec![0, 1, 2, 3]));
    first.unwrap();
    second.unwrap();
}

#[test]
fn without_snapshot_hooks_it_succeeds() {
    run_before_snapshot(Vec::new(), &Resources::default()).unwrap();
    run_after_restore(Vec::new(), &Resources::default()).unwrap();
}

#[test]
fn the_first_failure_or_panic_stops_the_snapshot_hooks_and_names_its_hook() {
    let fails: [(Hook, &str); 2] = [
        (|| Err(Failure::new("A.B", "c").stack_trace("frame")), "A.B: c"),
        (|| panic!("boom"), "Function.Panic: boom"),
    ];
    for (fails, why) in fails {
        let [(before, first), (after, second)] = snapshot_hooks(Some((1, fails)));
        assert_eq!((before, after), (vec![3, 2, 1], vec![0, 1]));
        assert_eq!(
            first.unwrap_err().to_string(),
            format!(r#"{BEFORE_SNAPSHOT_ERROR}: before-snapshot hook "before 1" failed: {why}"#)
        );
        assert_eq!(
            second.unwrap_err().to_string(),
            format!(r#"{AFTER_RESTORE_ERROR}: after-restore hook "after 1" failed: {why}"#)
        );
    }
}

#[test]
fn the_error_types_are_the_documented_ones() {
    assert_eq!(BEFORE_SNAPSHOT_ERROR, "Runtime.BeforeSnapshotError");
    assert_eq!(AFTER_RESTORE_ERROR, "Runtime.AfterRestoreError");
}

#[test]
fn the_stack_trace_of_a_failed_snapshot_hook_is_kept() {
    let parts = Lifecycle::new()
        .before_snapshot("a", |_| Err(Failure::new("A.B", "c").stack_trace("x\ny")))
        .into_parts();
    let failure = run_before_snapshot(parts.before_snapshot, &Resources::default()).unwrap_err();
    let mut json = [0; 1024];
    let length = failure.as_error_report().encode_json(&mut json).unwrap();
    let json: Value = serde_json::from_slice(&json[..length]).unwrap();
    assert_eq!(json["stackTrace"], serde_json::json!(["x", "y"]));
}

/// Runs the shutdown hooks with this time limit; returns the logged lines, which are all errors.
fn shut_down(lifecycle: Lifecycle, time: Duration) -> Vec<String> {
    shut_down_with(lifecycle, time).1
}

/// The same, with the error that names all hooks.
fn shut_down_with(lifecycle: Lifecycle, time: Duration) -> (Option<String>, Vec<String>) {
    let (log, lines) = log();
    let until = Instant::now() + time;
    let result = run_shutdown(
        lifecycle.into_parts().shutdown,
        until,
        &Shutdown::new(),
        &Store::default(),
        &log,
    );
    drop(log);
    let message = |line: String| {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "ERROR");
        line["message"].as_str().unwrap().to_owned()
    };
    (result.err().map(|error| error.to_string()), lines.iter().map(message).collect())
}

fn log() -> (Log, Receiver<String>) {
    let (lines, logged) = mpsc::channel();
    let log = Log::to(move |record| lines.send(record.to_string()).unwrap());
    (log.with_format(Format::Json), logged)
}

#[test]
fn without_shutdown_hooks_it_returns_immediately_and_logs_nothing() {
    let start = Instant::now();
    assert_eq!(shut_down_with(Lifecycle::new(), LONG), (None, vec![]));
    assert_eq!(shut_down_with(Lifecycle::new(), Duration::ZERO), (None, vec![]));
    assert!(start.elapsed() < SOON);
}

#[test]
fn shutdown_hooks_run_concurrently_and_are_waited_for_only_while_they_run() {
    let start = Instant::now();
    let (one, from_one) = mpsc::channel();
    let (two, from_two) = mpsc::channel();
    // Neither ends before the other has begun.
    let lifecycle = Lifecycle::new()
        .on_shutdown("one", move |_| {
            one.send(())?;
            Ok(from_two.recv_timeout(SOON)?)
        })
        .on_shutdown("two", move |_| {
            two.send(())?;
            Ok(from_one.recv_timeout(SOON)?)
        });
    assert!(shut_down(lifecycle, LONG).is_empty());
    assert!(start.elapsed() < SOON);
}

#[test]
fn every_failed_shutdown_hook_is_logged_by_name_and_stops_no_other() {
    let (ran, runs) = mpsc::channel();
    let lifecycle = Lifecycle::new()
        .on_shutdown("fails", |_| Err(Failure::new("A.B", "c")))
        .on_shutdown("panics", |_| panic!("boom"))
        .on_shutdown("fine", move |_| Ok(ran.send(thread::current().name().map(str::to_owned))?))
        .on_shutdown("fails too\n", |_| Err(Failure::from_display("d")));
    let (error, mut lines) = shut_down_with(lifecycle, LONG);
    let error = error.expect("hooks have failed");
    for line in &lines {
        assert!(error.contains(line), "{line}: {error}");
    }
    assert_eq!(error.matches("; ").count(), 2, "{error}");
    lines.sort();
    assert_eq!(
        lines,
        [
            r#"shutdown hook "fails too\n" failed: Function.Error: d"#,
            r#"shutdown hook "fails" failed: A.B: c"#,
            r#"shutdown hook "panics" failed: Function.Panic: boom"#,
        ]
    );
    assert_eq!(runs.recv().unwrap().unwrap(), "lambda-shutdown-fine");
}

#[test]
fn a_failed_shutdown_hook_is_logged_before_the_others_have_ended() {
    let (log, lines) = log();
    let lifecycle = Lifecycle::new()
        .on_shutdown("fails", |_| Err(Failure::new("A.B", "c")))
        .on_shutdown("reads the log", move |_| {
            let line = lines.recv_timeout(SOON)?;
            assert!(line.contains("A.B: c"), "{line}");
            // A second line would find the receiver gone, and panic.
            assert!(lines.recv_timeout(Duration::ZERO).is_err());
            Ok(())
        });
    let until = Instant::now() + LONG;
    let hooks = lifecycle.into_parts().shutdown;
    run_shutdown(hooks, until, &Shutdown::new(), &Store::default(), &log).unwrap_err();
}

#[test]
fn unfinished_shutdown_hooks_are_named_in_one_line_when_time_is_over() {
    let start = Instant::now();
    let time = Duration::from_millis(500);
    let (end_of_test, ends) = mpsc::channel::<()>();
    let lifecycle = Lifecycle::new()
        .on_shutdown("deaf", move |_| {
            let _end_of_test = ends.recv_timeout(LONG);
            Ok(())
        })
        .on_shutdown("fine", |_| Ok(()))
        .on_shutdown("fails", |_| Err(Failure::new("A.B", "c")))
        // It ends when its time is over, so not in time.
        .on_shutdown("obedient", |end| {
            assert!(end.cancellation().wait(LONG));
            Err(Failure::new("Function.Cancelled", "too late"))
        });
    let (error, lines) = shut_down_with(lifecycle, time);
    assert_eq!(
        lines,
        [
            r#"shutdown hook "fails" failed: A.B: c"#,
            r#"shutdown hooks had not ended when their time was over: "deaf", "obedient""#,
        ]
    );
    assert_eq!(
        error.unwrap(),
        r#"shutdown hook "fails" failed: A.B: c; shutdown hook "deaf" had not ended when its time was over; shutdown hook "obedient" had not ended when its time was over"#
    );
    assert!(start.elapsed() >= time && start.elapsed() < SOON);
    drop(end_of_test);
}

#[test]
fn every_shutdown_hook_has_its_own_token_which_fires_when_time_is_over() {
    let (tell, told) = mpsc::channel();
    let mut lifecycle = Lifecycle::new();
    for name in ["a", "b", "c"] {
        let tell = tell.clone();
        lifecycle = lifecycle.on_shutdown(name, move |end| {
            let (token, remaining) = (end.cancellation(), end.remaining());
            assert!(!token.is_cancelled() && !remaining.is_zero());
            if name == "a" {
                // Affects only this hook.
                token.cancel();
                assert!(end.remaining().is_zero());
            }
            let has_fired = token.wait(LONG);
            tell.send((name, remaining, has_fired, Instant::now()))?;
            Ok(())
        });
    }
    let time = Duration::from_millis(500);
    let start = Instant::now();
    let lines = shut_down(lifecycle, time);
    assert_eq!(lines, [r#"shutdown hooks had not ended when their time was over: "b", "c""#]);
    for _ in 0..3 {
        let (name, remaining, has_fired, ended) = told.recv_timeout(LONG).unwrap();
        assert!(remaining <= time && has_fired);
        assert_eq!(ended < start + time, name == "a", "{name}");
        assert!(ended < start + SOON);
    }
}

#[test]
fn without_time_left_no_shutdown_hook_begins_and_all_are_named() {
    let (begun, begins) = mpsc::channel();
    let lifecycle = Lifecycle::new()
        .on_shutdown("a", move |_| Ok(begun.send(())?))
        .on_shutdown("b", |_| Ok(()));
    let (error, lines) = shut_down_with(lifecycle, Duration::ZERO);
    let told = r#"shutdown hook "a" had no time to run; shutdown hook "b" had no time to run"#;
    assert_eq!(error.unwrap(), told);
    assert_eq!(lines, [r#"no time was left for shutdown hooks: "a", "b""#]);
    // The hook was dropped without running.
    assert_eq!(begins.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn the_end_of_the_process_cancels_shutdown_hooks_before_their_time_is_over() {
    let start = Instant::now();
    let ending = Shutdown::new();
    let ends = ending.clone();
    let hooks = Lifecycle::new()
        .on_shutdown("obedient", |end| {
            assert!(end.cancellation().wait(LONG));
            Ok(())
        })
        .on_shutdown("ends all", move |_| {
            ends.begin();
            Ok(())
        })
        .into_parts()
        .shutdown;
    run_shutdown(hooks, start + LONG, &ending, &Store::default(), &Log::to(|_| {})).unwrap();
    assert!(start.elapsed() < SOON);
}

#[test]
fn a_hook_without_time_whose_values_hang_or_panic_when_dropped_holds_nobody() {
    struct Guard(Option<Receiver<()>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            match &self.0 {
                Some(end_of_test) => drop(end_of_test.recv_timeout(LONG)),
                None => std::panic::resume_unwind(Box::new("on purpose")),
            }
        }
    }
    let (end_of_test, ends) = mpsc::channel();
    let (hangs, panics) = (Guard(Some(ends)), Guard(None));
    let hooks = Lifecycle::new()
        .on_shutdown("hangs", move |_| {
            let _held = &hangs;
            Ok(())
        })
        .on_shutdown("panics", move |_| {
            let _held = &panics;
            Ok(())
        })
        .into_parts()
        .shutdown;
    let start = Instant::now();
    run_shutdown(hooks, start, &Shutdown::new(), &Store::default(), &Log::to(|_| {})).unwrap_err();
    assert!(start.elapsed() < SOON);
    drop(end_of_test);
}
