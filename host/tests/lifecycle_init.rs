//! Init hooks: they run concurrently under one time limit, have one outcome that names all of them,
//! and can be cancelled.

use std::panic::panic_any;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_host::lifecycle::{
    INIT_ABORTED, INIT_ERROR, INIT_TIMEOUT, InitEnd, Lifecycle, Shutdown, Store, run_init,
};
use lambda_proto_host::policy::{Options, Policy};
use lambda_proto_host::{Failure, Format, Log};
use serde_json::Value;

/// A time limit that only a broken test reaches.
const LONG: Duration = Duration::from_secs(60);
/// Far below [`LONG`], but enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);

fn timeout(time: Duration) -> Options {
    Options::new().with_init_timeout(time).unwrap()
}

/// Runs the init hooks with ample time, unless the lifecycle sets the timeout.
fn run(lifecycle: Lifecycle) -> Result<(), Failure> {
    let end = run_until_stopped(lifecycle, &Shutdown::new(), &Log::to(|_| {}))?;
    assert_eq!(end, InitEnd::Done);
    Ok(())
}

fn run_until_stopped(
    lifecycle: Lifecycle,
    stopping: &Shutdown,
    log: &Log,
) -> Result<InitEnd, Failure> {
    let parts = lifecycle.into_parts();
    run_init(parts.init, &parts.options, &Store::default(), stopping, log)
}

fn patient() -> Lifecycle {
    Lifecycle::new().options(timeout(LONG))
}

/// The type, the message and the stack trace in the report to the service.
fn told(failure: &Failure) -> (String, String, Value) {
    let mut json = [0; 4096];
    let length = failure.as_error_report().encode_json(&mut json).unwrap();
    let mut json: Value = serde_json::from_slice(&json[..length]).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&json["errorType"]), text(&json["errorMessage"]), json["stackTrace"].take())
}

#[track_caller]
fn assert_fails(lifecycle: Lifecycle, error_type: &str, message: &str) {
    let (actual_type, actual_message, _) = told(&run(lifecycle).unwrap_err());
    assert_eq!((&*actual_type, &*actual_message), (error_type, message));
}

/// Two ends with which two hooks wait for each other, with a long timeout.
fn meeting() -> (Sender<()>, Receiver<()>) {
    mpsc::channel()
}

#[test]
fn without_hooks_it_succeeds_and_logs_nothing() {
    let log = Log::to(|record| panic!("{record}"));
    let end = run_until_stopped(Lifecycle::new(), &Shutdown::new(), &log).unwrap();
    assert_eq!(end, InitEnd::Done);
}

#[test]
fn hooks_run_concurrently() {
    let (one, from_one) = meeting();
    let (two, from_two) = meeting();
    // Neither ends before the other has begun.
    let lifecycle = patient()
        .on_init("one", move |_| {
            one.send(()).unwrap();
            from_two.recv_timeout(SOON).is_ok()
        })
        .on_init("two", move |_| {
            two.send(()).unwrap();
            from_one.recv_timeout(SOON).is_ok()
        });
    run(lifecycle).unwrap();
}

#[test]
fn each_hook_runs_once_on_its_own_thread_named_after_it() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let mut lifecycle = patient();
    for name in ["db", "cache", "db", "ze\0ro"] {
        let threads = Arc::clone(&threads);
        lifecycle = lifecycle.on_init(name, move |_| {
            let current = thread::current();
            let name = current.name().unwrap_or_default().to_owned();
            threads.lock().unwrap().push((name, current.id()));
        });
    }
    run(lifecycle).unwrap();
    let (mut names, ids): (Vec<_>, Vec<_>) = threads.lock().unwrap().drain(..).unzip();
    names.sort();
    assert_eq!(
        names,
        ["lambda-init-cache", "lambda-init-db", "lambda-init-db", "lambda-init-ze ro"]
    );
    assert!(!ids.contains(&thread::current().id()));
}

#[test]
fn a_hook_may_return_nothing_a_bool_or_a_result() {
    let good = || {
        patient()
            .on_init("nothing", |_| {})
            .on_init("true", |_| true)
            .on_init("ok", |_| Ok(()))
            .on_init("ok true", |_| Ok(true))
            .on_init("?", |init| {
                assert_eq!("17".parse::<u32>()?, 17);
                assert!(init.get::<u32>().is_none());
                Ok(())
            })
    };
    run(good()).unwrap();
    let aborted = r#"init hook "no" aborted the start"#;
    assert_fails(good().on_init("no", |_| false), INIT_ABORTED, aborted);
    assert_fails(good().on_init("no", |_| Ok(false)), INIT_ABORTED, aborted);
    assert_fails(
        good().on_init("no", |_| -> Result<(), Failure> { Err(Failure::new("A.B", "c")) }),
        INIT_ERROR,
        r#"init hook "no" failed: A.B: c"#,
    );
    assert_fails(
        good().on_init("no", |_| -> Result<bool, Failure> { Ok("x".parse::<u32>()? > 1) }),
        INIT_ERROR,
        r#"init hook "no" failed: Function.Error: invalid digit found in string"#,
    );
}

#[test]
fn a_panic_is_the_failure_of_its_hook() {
    let lifecycle =
        patient().on_init("fine", |_| {}).on_init("boom", |_| -> bool { panic!("no {}", "table") });
    let message = r#"init hook "boom" failed: Function.Panic: no table"#;
    assert_fails(lifecycle, INIT_ERROR, message);
    // The payload is not text, and panics again when it is dropped.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    let failure = run(patient().on_init("bomb", |_| -> bool { panic_any(Bomb) })).unwrap_err();
    assert!(failure.message().starts_with(r#"init hook "bomb" failed: Function.Panic: "#));
}

#[test]
fn the_stack_trace_and_the_cause_of_the_first_failure_are_kept() {
    let cause = r#"{"working_directory":"/","exceptions":[],"paths":[]}"#;
    let first = Failure::new("Function.NoTable", "gone").stack_trace("a\nb").xray_cause(cause);
    let lifecycle = patient()
        .on_init("second", |init| {
            // Fails after the other has failed.
            assert!(init.cancellation().wait(LONG));
            Err::<(), _>(Failure::new("Function.Late", "cancelled").stack_trace("c"))
        })
        .on_init("first", |_| Err::<(), _>(first));
    let (error_type, message, trace) = told(&run(lifecycle).unwrap_err());
    assert_eq!(error_type, INIT_ERROR);
    assert_eq!(
        message,
        "init hook \"first\" failed: Function.NoTable: gone; \
         init hook \"second\" failed: Function.Late: cancelled"
    );
    assert_eq!(trace, serde_json::json!(["a", "b"]));
}

/// The init timeout if a hook is late; the other hooks take much less.
const LATE: Duration = Duration::from_secs(3);

/// How a hook ends, and the text after its name in the message, in the order of precedence.
const ENDS: [(&str, &str); 5] = [
    ("done", ""),
    ("late", " had not ended after 3s"),
    ("aborts", " aborted the start"),
    ("panics", " failed: Function.Panic: boom"),
    ("fails", " failed: Function.Error: broken"),
];

#[test]
fn a_failure_outranks_an_abort_which_outranks_a_timeout_and_all_are_named() {
    // Late hooks run until the end of the test.
    let (end_of_test, ends) = mpsc::channel::<()>();
    let ends = Arc::new(Mutex::new(ends));
    // Concurrently, since each case with a late hook takes that long.
    thread::scope(|scope| {
        for one in 0..ENDS.len() {
            for two in one..ENDS.len() {
                let ends = Arc::clone(&ends);
                scope.spawn(move || assert_combination(one, two, &ends));
            }
        }
    });
    drop(end_of_test);
}

fn assert_combination(one: usize, two: usize, ends: &Arc<Mutex<Receiver<()>>>) {
    let mut lifecycle = Lifecycle::new();
    for (name, end) in [("one", one), ("two", two)] {
        let ends = Arc::clone(ends);
        lifecycle = lifecycle.on_init(name, move |_| match ENDS[end].0 {
            "late" => {
                let _end_of_test = ends.lock().unwrap().recv();
                Ok(true)
            }
            "aborts" => Ok(false),
            // Bypasses the panic hook, whose backtrace may take longer than `LATE`.
            "panics" => std::panic::resume_unwind(Box::new("boom")),
            "fails" => Err(Failure::from_display("broken")),
            _ => Ok(true),
        });
    }
    let is_late = [one, two].contains(&1);
    let time = if is_late { LATE } else { LONG };
    let result = run(lifecycle.options(timeout(time)));
    let Err(failure) = result else {
        assert_eq!((one, two), (0, 0));
        return;
    };
    let (error_type, message, _) = told(&failure);
    let expected = [INIT_TIMEOUT, INIT_ABORTED, INIT_ERROR, INIT_ERROR][one.max(two) - 1];
    assert_eq!(error_type, expected, "{message}");
    let mut lines: Vec<_> = message.split("; ").collect();
    lines.sort_unstable();
    let expected = [("one", one), ("two", two)]
        .into_iter()
        .filter(|(_, end)| *end > 0)
        .map(|(name, end)| format!("init hook {name:?}{}", ENDS[end].1));
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

#[test]
fn hooks_that_ignore_their_token_do_not_block_the_caller() {
    let start = Instant::now();
    let (end_of_test, ends) = mpsc::channel::<()>();
    let lifecycle =
        Lifecycle::new().options(timeout(Duration::from_millis(10))).on_init("deaf", move |_| {
            let _end_of_test = ends.recv_timeout(LONG);
        });
    let message = r#"init hook "deaf" had not ended after 10ms"#;
    assert_fails(lifecycle, INIT_TIMEOUT, message);
    assert!(start.elapsed() < SOON);
    drop(end_of_test);
}

#[test]
fn all_hooks_share_one_deadline_at_which_their_tokens_fire() {
    let (tell, told) = mpsc::channel();
    let time = Duration::from_millis(50);
    let mut lifecycle = Lifecycle::new().options(timeout(time));
    for name in ["a", "b", "c"] {
        let tell = tell.clone();
        lifecycle = lifecycle.on_init(name, move |init| {
            let first = init.remaining();
            let has_fired = init.cancellation().wait(LONG);
            tell.send((first, has_fired, init.remaining(), Instant::now())).unwrap();
        });
    }
    let start = Instant::now();
    let message = "init hook \"a\" had not ended after 50ms; init hook \"b\" had not ended after 50ms; \
                   init hook \"c\" had not ended after 50ms";
    // Hooks that end because their time is over count as late, however quick they are.
    assert_fails(lifecycle, INIT_TIMEOUT, message);
    for _ in 0..3 {
        let (first, has_fired, last, ended) = told.recv_timeout(LONG).unwrap();
        assert!(first <= time && has_fired && last.is_zero());
        assert!(ended >= start + time && ended < start + SOON);
    }
}

#[test]
fn a_failure_cancels_the_others_immediately() {
    let start = Instant::now();
    let lifecycle = patient()
        .on_init("waits", |init| {
            assert!(init.cancellation().wait(LONG));
            assert_eq!(init.remaining(), Duration::ZERO);
        })
        .on_init("fails", |_| Err::<(), _>(Failure::new("A.B", "c")));
    assert_fails(lifecycle, INIT_ERROR, r#"init hook "fails" failed: A.B: c"#);
    assert!(start.elapsed() < SOON);
}

#[test]
fn an_abort_does_not_cancel_the_others_since_a_failure_would_outrank_it() {
    let lifecycle = || {
        let (aborts, aborted) = meeting();
        patient()
            .on_init("aborts", move |_| {
                // Dropped when this hook has returned, or just before.
                let _aborts = aborts;
                false
            })
            .on_init("goes on", move |init| {
                assert!(aborted.recv_timeout(SOON).is_err());
                // Long enough to be cancelled.
                init.cancellation().wait(Duration::from_millis(10))
            })
    };
    let message = r#"init hook "aborts" aborted the start; init hook "goes on" aborted the start"#;
    assert_fails(lifecycle(), INIT_ABORTED, message);
    let lifecycle = lifecycle().on_init("fails", |_| Err::<(), _>(Failure::new("A.B", "c")));
    let failure = run(lifecycle).unwrap_err();
    assert!(failure.to_string().starts_with(&format!("{INIT_ERROR}: ")), "{failure}");
}

#[test]
fn a_hook_that_cancels_its_own_token_does_not_cancel_the_others() {
    let lifecycle = patient()
        .on_init("own", |init| {
            init.cancellation().cancel();
            init.cancellation().is_cancelled()
        })
        .on_init("other", |init| !init.cancellation().wait(Duration::from_millis(5)));
    run(lifecycle).unwrap();
}

#[test]
fn a_failure_is_logged_immediately_only_while_other_hooks_run() {
    let (lines, logged) = mpsc::channel();
    let log =
        Log::to(move |record| lines.send(record.to_string()).unwrap()).with_format(Format::Json);
    let (fails, failed) = meeting();
    let lifecycle = patient().on_init("fails", |_| Err::<(), _>(Failure::new("A.B", "c"))).on_init(
        "last",
        move |init| {
            // The token fires only after the line was logged.
            assert!(init.cancellation().wait(LONG));
            drop(fails);
            Err::<(), _>(Failure::new("D.E", "f"))
        },
    );
    run_until_stopped(lifecycle, &Shutdown::new(), &log).unwrap_err();
    assert!(failed.recv_timeout(LONG).is_err());
    drop(log);
    let lines: Vec<String> = logged.iter().collect();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], r#"init hook "fails" failed: A.B: c"#);
}

#[test]
fn hook_names_cannot_break_the_message_into_lines() {
    let lifecycle = patient().on_init("a\"; b\n", |_| false);
    assert_fails(lifecycle, INIT_ABORTED, r#"init hook "a\"; b\n" aborted the start"#);
}

/// Runs the hooks and stops them when `is_due` says so; returns the result and the logged lines.
fn stopped(lifecycle: Lifecycle, is_due: Receiver<()>) -> (Result<InitEnd, Failure>, Vec<String>) {
    let (lines, logged) = mpsc::channel();
    let log = Log::to(move |record| lines.send(record.to_string()).unwrap());
    let stopping = Shutdown::new();
    let end = thread::scope(|scope| {
        let stopping = &stopping;
        scope.spawn(move || {
            is_due.recv_timeout(SOON).unwrap();
            stopping.begin();
        });
        run_until_stopped(lifecycle, stopping, &log)
    });
    drop(log);
    (end, logged.iter().collect())
}

#[test]
fn a_stop_cancels_the_hooks_and_the_start_ends_as_soon_as_they_do() {
    let start = Instant::now();
    let (stop, is_due) = meeting();
    let lifecycle = patient()
        .on_init("waits", move |init| {
            stop.send(()).unwrap();
            assert!(init.cancellation().wait(LONG));
        })
        .on_init("fails when cancelled", |init| -> Result<(), Failure> {
            assert!(init.cancellation().wait(LONG));
            Err(Failure::new("Function.Cancelled", "no table"))
        })
        .on_init("aborts when cancelled", |init| !init.cancellation().wait(LONG));
    let (end, lines) = stopped(lifecycle, is_due);
    assert_eq!(end.unwrap(), InitEnd::Cancelled);
    assert!(start.elapsed() < SOON);
    let last = lines.last().unwrap();
    assert!(last.contains("the start was cancelled, as the runtime was stopped"), "{lines:?}");
    let failed = r#"init hook "fails when cancelled" failed: Function.Cancelled: no table"#;
    assert!(last.contains(failed), "{lines:?}");
    assert!(last.contains(r#"init hook "aborts when cancelled" aborted the start"#), "{lines:?}");
}

#[test]
fn a_hook_that_ignores_the_stop_is_waited_for_within_the_time_and_named() {
    let (lines, logged) = mpsc::channel();
    let log = Log::to(move |record| lines.send(record.to_string()).unwrap());
    let (stopping, (end_of_test, ends)) = (Shutdown::new(), meeting());
    let stop = stopping.clone();
    let lifecycle =
        Lifecycle::new().options(timeout(Duration::from_secs(2))).on_init("deaf", move |_| {
            stop.begin();
            let _end_of_test = ends.recv_timeout(LONG);
        });
    assert_eq!(run_until_stopped(lifecycle, &stopping, &log).unwrap(), InitEnd::Cancelled);
    let line = logged.try_recv().unwrap();
    assert!(line.contains(r#"init hook "deaf" had not ended after 2s"#), "{line}");
    drop(end_of_test);
}

#[test]
fn a_failure_before_the_stop_stays_a_failure() {
    let (failed, has_failed) = meeting();
    let (stop, is_due) = meeting();
    let lifecycle = patient()
        .on_init("fails", move |_| -> Result<(), Failure> {
            let _sent = failed.send(());
            Err(Failure::new("Function.NoTable", "gone"))
        })
        .on_init("stops", move |init| {
            has_failed.recv_timeout(SOON).unwrap();
            // Cancelled by the failure; the stop comes later.
            assert!(init.cancellation().wait(LONG));
            stop.send(()).unwrap();
        });
    let (end, _) = stopped(lifecycle, is_due);
    assert_eq!(told(&end.unwrap_err()).0, INIT_ERROR);
}

#[test]
fn after_a_stop_no_hook_begins() {
    let stopping = Shutdown::new();
    stopping.begin();
    let lifecycle = patient().on_init("never", |_| -> bool { panic!("it has begun") });
    let end = run_until_stopped(lifecycle, &stopping, &Log::to(|_| {})).unwrap();
    assert_eq!(end, InitEnd::Cancelled);
}

#[test]
fn a_lifecycle_has_its_hooks_and_the_default_options() {
    let parts = Lifecycle::new().into_parts();
    assert_eq!((parts.options, parts.work), (Options::new(), Policy::default()));
    assert!(parts.init.is_empty() && parts.shutdown.is_empty());
    assert!(parts.before_snapshot.is_empty() && parts.after_restore.is_empty());

    let options = timeout(LONG);
    let parts = Lifecycle::new()
        .options(options)
        .work(Policy::Strict)
        .on_init("a", |_| {})
        .on_init(String::from("b"), |_| {})
        .before_snapshot("c", |_| Ok(()))
        .after_restore("d", |_| Ok(()))
        .on_shutdown("e", |_| Ok(()))
        .into_parts();
    assert_eq!(parts.options, options.with_work(Policy::Strict).unwrap());
    assert_eq!(parts.work, Policy::Strict);
    assert_eq!(format!("{:?}", parts.init), r#"["a", "b"]"#);
    assert_eq!(format!("{:?}{:?}", parts.before_snapshot, parts.after_restore), r#"["c"]["d"]"#);
    assert_eq!(format!("{:?}", parts.shutdown), r#"["e"]"#);
}

#[test]
fn signals_are_handled_if_there_are_shutdown_hooks_or_the_function_says_so() {
    let without = || Lifecycle::new().on_init("a", |_| {}).before_snapshot("b", |_| Ok(()));
    let with = || without().on_shutdown("c", |_| Ok(()));
    for (lifecycle, are_heard) in [
        (without(), false),
        (with(), true),
        (without().signals(true), true),
        (with().signals(false), false),
    ] {
        assert_eq!(lifecycle.into_parts().signals, are_heard);
    }
}
