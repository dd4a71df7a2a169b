//! Bootstraps that exit, hang, or do not start, and that none of their processes survives.

use std::time::{Duration, Instant};

use lambda_lab::{FailureKind, Function, FunctionFailure, InvokeError, Lab, Output};

use crate::support::{function, lives, raw, script, wait_until};

fn failure(lab: &Lab, event: &str) -> FunctionFailure {
    match lab.invoke(event) {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("no failure of the function: {other:?}"),
    }
}

fn pid(lab: &Lab) -> u32 {
    String::from_utf8(lab.invoke("pid").unwrap().body).unwrap().parse().unwrap()
}

#[test]
fn a_function_starts_with_its_first_invocation_and_stays() {
    let lab = function().start().unwrap();
    let first = pid(&lab);
    assert_eq!(pid(&lab), first);
    assert!(lives(first));
}

#[test]
fn an_exit_is_reported_and_the_function_is_started_again() {
    let lab = function().start().unwrap();
    let first = pid(&lab);
    let failure = failure(&lab, "exit 7");
    assert_eq!(failure.kind, FailureKind::Exit);
    assert_eq!(failure.error_type().unwrap(), "Runtime.ExitError");
    let message = failure.error_message().unwrap();
    assert!(message.ends_with("Error: Runtime exited with error: exit status 7"), "{message}");
    assert!(message.starts_with(&format!("RequestId: {} ", failure.request_id)), "{message}");
    assert_ne!(pid(&lab), first);
}

#[test]
fn a_function_that_exits_after_its_answer_is_started_again() {
    let lab = function().start().unwrap();
    let first = pid(&lab);
    assert_eq!(lab.invoke("answer-and-exit").unwrap().body, b"answered");
    assert_ne!(pid(&lab), first);
}

#[test]
fn a_function_that_takes_too_long_is_killed_and_started_again() {
    let lab = function().timeout(Duration::from_millis(500)).start().unwrap();
    let first = pid(&lab);
    let failure = failure(&lab, "sleep 60000");
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.to_string(), "Task timed out after 0.50 seconds");
    assert!(!lives(first));
    assert_ne!(pid(&lab), first);
}

#[test]
fn work_after_the_answer_delays_only_the_next_caller() {
    let lab = function().start().unwrap();
    pid(&lab);
    let began = Instant::now();
    assert_eq!(lab.invoke("answer-and-sleep 3000").unwrap().body, b"answered");
    let answered = began.elapsed();
    assert_eq!(lab.invoke("next").unwrap().body, b"next");
    assert!(answered < Duration::from_millis(3000), "{answered:?}");
    assert!(began.elapsed() >= Duration::from_millis(3000));
}

#[test]
fn invoke_to_the_end_waits_for_the_work_after_the_answer() {
    let lab = function().start().unwrap();
    let began = Instant::now();
    lab.invoke_to_the_end("answer-and-sleep 300", |_| ()).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn the_timeout_ends_the_work_after_the_answer() {
    let lab = function().timeout(Duration::from_millis(500)).start().unwrap();
    let first = pid(&lab);
    assert_eq!(lab.invoke("answer-and-sleep 60000").unwrap().body, b"answered");
    assert_ne!(pid(&lab), first);
}

#[test]
fn a_function_that_never_asks_for_an_event_times_out() {
    let lab = script("sleep 1000").timeout(Duration::from_millis(300));
    let lab = lab.init_timeout(Duration::from_millis(100)).start().unwrap();
    for _ in 0..2 {
        assert_eq!(failure(&lab, "in").to_string(), "Task timed out after 0.30 seconds");
    }
}

#[test]
fn a_function_that_exits_immediately_is_reported_every_time() {
    for (code, message) in [(0, "without providing a reason"), (9, "with error: exit status 9")] {
        let lab = script(&format!("exit {code}")).start().unwrap();
        for _ in 0..3 {
            let message = format!("Runtime exited {message}");
            assert!(failure(&lab, "in").to_string().ends_with(&message), "{code}");
        }
    }
}

#[test]
fn a_function_that_floods_its_output_is_not_blocked() {
    let lab = script("yes | head -c 100000000; yes >&2").timeout(Duration::from_secs(1));
    let lab = lab.init_timeout(Duration::from_millis(100)).start().unwrap();
    assert_eq!(failure(&lab, "in").kind, FailureKind::Timeout);
}

#[test]
fn the_error_for_a_program_that_cannot_start_names_it() {
    let file = std::env::temp_dir().join(format!("lambda-lab-gone-{}", std::process::id()));
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let lab = Function::new(&file).output(Output::Discarded).start().unwrap();
    std::fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        let failure = failure(&lab, "in");
        assert_eq!(failure.kind, FailureKind::Exit);
        assert_eq!(failure.error_type().unwrap(), "Runtime.InvalidEntrypoint");
        let reason = format!("cannot start {}", file.display());
        assert!(failure.to_string().contains(&reason), "{failure}");
    }
}

#[test]
fn an_answer_that_was_sent_before_the_process_died_is_delivered() {
    for (what, size) in [
        ("answer-and-die", 5),
        ("answer-and-die", 2_000_000),
        ("stream-and-die", 5),
        ("stream-and-die", 2_000_000),
    ] {
        let lab = raw(&format!("{what} {size}")).start().unwrap();
        for _ in 0..15 {
            assert_eq!(lab.invoke("in").map(|answer| answer.body.len()), Ok(size), "{what}");
        }
    }
    let lab = raw("fail-and-die 5").start().unwrap();
    for _ in 0..15 {
        assert_eq!(failure(&lab, "in").body, b"xxxxx");
    }
}

#[test]
fn half_an_answer_fails_with_the_reason_why_it_ended() {
    let lab = raw("half-an-answer-and-die").start().unwrap();
    for _ in 0..10 {
        let failure = failure(&lab, "in");
        assert_eq!(failure.error_type().unwrap(), "Runtime.ExitError", "{failure}");
    }
    let lab = raw("half-an-answer").timeout(Duration::from_millis(300)).start().unwrap();
    for _ in 0..3 {
        assert_eq!(failure(&lab, "in").kind, FailureKind::Timeout);
    }
}

#[test]
fn a_runtime_that_continues_after_its_init_error_is_not_mistaken_for_the_next_one() {
    let lab = raw("init-error-and-go-on").start().unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..8 {
        let failure = failure(&lab, "in");
        assert_eq!(failure.error_type().as_deref(), Some("Test.Init"), "{failure}");
        seen.insert(failure.error_message());
    }
    assert_eq!(seen.len(), 8, "each was started for its invocation");
}

#[test]
fn no_process_survives_the_lab() {
    let file = std::env::temp_dir().join(format!("lambda-lab-pids-{}", std::process::id()));
    let started = format!("sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait", file.display());
    let lab = script(&started).start().unwrap();
    let pids = std::thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let pids = || std::fs::read_to_string(&file).unwrap_or_default();
        wait_until("it has started", || pids().lines().count() == 2);
        lab.stop();
        assert!(caller.join().unwrap().is_err());
        pids()
    });
    std::fs::remove_file(&file).unwrap();
    for pid in pids.lines().map(|pid| pid.parse().unwrap()) {
        wait_until("it has ended", || !lives(pid));
    }
}

#[test]
fn the_environment_of_the_function_contains_its_settings() {
    let lab = function()
        .name("my-function")
        .handler("app.main")
        .memory(512)
        .variable("MINE", "my value")
        .variable("AWS_REGION", "eu-central-1")
        .argument("--test-threads=1")
        .start()
        .unwrap();
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", lab.runtime_api().as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", "my-function"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/my-function"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST"),
        ("AWS_REGION", "eu-central-1"),
        ("_HANDLER", "app.main"),
        ("LAMBDA_TASK_ROOT", folder.to_str().unwrap()),
        ("LAMBDA_RUNTIME_DIR", folder.to_str().unwrap()),
        ("TZ", ":UTC"),
        ("MINE", "my value"),
        ("_X_AMZN_TRACE_ID", ""),
    ] {
        let answer = lab.invoke(format!("env {name}")).unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), value, "{name}");
    }
    let arguments = lab.invoke("arguments").unwrap().body;
    assert_eq!(arguments, b"--exact|bootstrap|--nocapture|--test-threads=1");
}
