//! Tests the lifecycle of the examples and of a function of these tests under the lab, which really
//! stops the processes and sends them SIGTERM. Also counts the system calls of an invocation.

use std::path::Path;
use std::thread;
use std::time::Duration;

use lambda_interop::system_calls::{EachCosts, SystemCalls, Trace};
use lambda_interop::under_lab::{Logged, PATIENCE, wait_until};
use lambda_interop::{Pace, Process, ScriptedService};
use lambda_lab::{Function, InvokeError};
use lambda_proto_std::{Failure, Lifecycle, Runtime};

/// The variable that tells [`bootstrap`] what to do; without it, `bootstrap` does nothing.
const BEHAVIOUR: &str = "TEST_BEHAVIOUR";

/// The function of the tests below, which run it as another process.
#[test]
#[ignore = "not a test: other tests run it as their function"]
fn bootstrap() {
    let Ok(behaviour) = std::env::var(BEHAVIOUR) else { return };
    let lifecycle = Lifecycle::new().on_shutdown("flush", |_| {
        eprintln!("shutdown hook");
        Ok(())
    });
    let lifecycle = match &*behaviour {
        "cannot start" => lifecycle.on_init("table", |_| -> Result<(), Failure> {
            Err(Failure::new("Function.NoTable", "there is no table"))
        }),
        _ => lifecycle,
    };
    let result = Runtime::from_env().and_then(|runtime| {
        runtime.lifecycle(lifecycle).run(|invocation, responder, context| match &*behaviour {
            "echo" => Ok(responder.send(invocation.body())),
            "echo pipelined" => Ok(responder.send_and_next(invocation.body())),
            "never answers" => {
                eprintln!("cancelled: {}", context.cancellation().wait(PATIENCE));
                loop {
                    thread::park();
                }
            }
            _ => Err(Failure::new("Function.What", behaviour.clone())),
        })
    });
    if let Err(error) = result {
        eprintln!("Error: {error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// Runs [`bootstrap`] with this behaviour.
fn behaving(behaviour: &str) -> Logged {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "bootstrap", "--ignored", "--nocapture"];
    Logged::program(&program, &arguments).with(|it| it.variable(BEHAVIOUR, behaviour))
}

const LEFT_BEHIND: &str = "a task of an answered invocation still runs";
const ENDS_LATE: &str = "a task that was left behind at the end of its invocation has ended";

#[test]
fn a_drain_ends_the_work_before_the_environment_is_frozen() {
    let running =
        Logged::example("post_response", &["drain", "200"]).with(Function::freeze).start();
    for _ in 0..2 {
        let id = running.invoke();
        // The next invocation has been asked for by now, and the work ended before that.
        running.line_with(&[&format!("{id}: the work ends")]);
        running.wait_for_freeze();
    }
    assert!(!running.log().contains(LEFT_BEHIND), "{}", running.log());
    assert!(!running.log().contains(ENDS_LATE), "{}", running.log());
}

#[test]
fn reported_work_is_frozen_and_ends_after_the_thaw_under_its_own_request_id() {
    let running =
        Logged::example("post_response", &["report", "300"]).with(Function::freeze).start();
    let first = running.invoke();
    running.line_with(&[LEFT_BEHIND, &first, "write the books"]);
    running.wait_for_freeze();
    // Longer than the work takes: it does not progress while it is frozen.
    thread::sleep(Duration::from_millis(400));
    assert!(!running.log().contains("the work ends"), "{}", running.log());
    let second = running.invoke_until(&[ENDS_LATE, &first]);
    running.line_with(&[&format!("{first}: the work ends")]);
    let log = running.log();
    let late: Vec<_> =
        log.lines().filter(|it| it.contains(ENDS_LATE) && it.contains(&first)).collect();
    assert!(late.len() == 1 && !late[0].contains(&second), "{log}");
}

#[test]
fn abandoned_work_ends_after_the_thaw_without_a_log_line() {
    let running =
        Logged::example("post_response", &["abandon", "300"]).with(Function::freeze).start();
    let first = running.invoke();
    running.wait_for_freeze();
    running.invoke_until(&[&format!("{first}: the work ends")]);
    running.lab.stop();
    assert!(!running.log().contains("lambda-proto"), "{}", running.log());
}

#[test]
fn under_the_strict_policy_unfinished_work_ends_the_process() {
    let running = Logged::example("post_response", &["strict", "10000"]).start();
    let first = running.lab.invoke("{}").unwrap().request_id;
    running.wait_for(&["post_response: a task of an answered invocation still runs"]);
    running.line_with(&[LEFT_BEHIND, &first]);
    // Another process serves the next invocation.
    let second = running.lab.invoke("{}").unwrap().request_id;
    running.wait_for(&[LEFT_BEHIND, &second]);
}

/// The example on each transport that has it; all behave alike.
const LIFECYCLES: [&str; 2] = ["lifecycle", "async_lifecycle"];

#[test]
fn a_thawed_function_knows_how_long_it_was_frozen() {
    for example in LIFECYCLES {
        let running = Logged::example(example, &[]).with(Function::freeze).start();
        running.invoke();
        running.wait_for_freeze();
        // The length of the freeze that the function must notice.
        thread::sleep(Duration::from_millis(1_050));
        running.invoke();
        running.line_with(&["the environment was frozen for 1 s"]);
        running.wait_for_freeze();
        running.invoke();
        let log = running.log();
        assert_eq!(log.matches("the environment was frozen").count(), 1, "{log}");
    }
}

#[test]
fn a_pretended_freeze_moves_the_next_deadline_by_its_length() {
    for example in LIFECYCLES {
        let minutes = Duration::from_secs(600);
        let running = Logged::example(example, &[]).with(|it| it.freeze_for(minutes)).start();
        running.invoke();
        running.wait_for_freeze();
        running.invoke();
        // The timeout is 300 s. The lab moves the deadline, not the function's clock.
        assert!(running.line_with(&["it has 300 s"]) < running.line_with(&["it has 900 s"]));
    }
}

#[test]
fn a_snapshot_is_taken_between_its_hooks() {
    for example in LIFECYCLES {
        let running = Logged::example(example, &[]).with(Function::snapstart).start();
        running.wait_for(&["before the snapshot: connections are closed"]);
        running.wait_for_freeze();
        assert!(!running.log().contains("after the restore"), "{}", running.log());
        running.invoke();
        let order = [
            "init hook \"greeting\"",
            "init hook \"slow\" is done",
            "before the snapshot",
            "after the restore",
            "is invoked",
        ];
        let lines: Vec<_> = order.iter().map(|part| running.line_with(&[part])).collect();
        assert!(lines.is_sorted(), "{lines:?}: {}", running.log());
        running.lab.stop();
        // Its extension has reconnected and asked for events again, so the process gets SIGTERM.
        running.line_with(&["shutdown hook \"flush\" has"]);
    }
}

#[test]
fn a_stopped_function_runs_its_shutdown_hooks() {
    for (example, freeze) in LIFECYCLES.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let function = Logged::example(example, &[]);
        let function = if freeze { function.with(Function::freeze) } else { function };
        let running = function.start();
        running.invoke();
        if freeze {
            running.wait_for_freeze();
        }
        running.lab.stop();
        running.line_with(&["SIGTERM: no more invocations are taken"]);
        running.line_with(&["shutdown hook \"flush\" has"]);
        running.line_with(&["shutdown hook \"forget\" failed: Function.Forgotten"]);
        running.line_with(&["the end of main"]);
        running.line_with(&["Error: shutdown hook \"forget\" failed: Function.Forgotten"]);
    }
}

#[test]
fn a_function_without_shutdown_hooks_is_killed_without_a_log_line() {
    let running = Logged::example("post_response", &["drain", "0"]).start();
    running.invoke();
    let before = running.log();
    running.lab.stop();
    assert_eq!(running.log(), before);
}

#[test]
fn a_handler_that_outlives_its_timeout_is_cancelled_and_shutdown_hooks_run() {
    let timeout = Duration::from_millis(700);
    let running = behaving("never answers").with(|it| it.timeout(timeout)).start();
    for round in 1..=2 {
        let error = running.lab.invoke("{}").unwrap_err();
        assert!(error.to_string().contains("timed out after 0.70 seconds"), "{error}");
        // The token is cancelled 500 ms before the deadline; the hooks run when the process ends.
        wait_until("the hooks have run", || {
            running.log().matches("shutdown hook\n").count() == round
        });
        assert_eq!(running.log().matches("cancelled: true").count(), round, "{}", running.log());
    }
}

#[test]
fn a_failed_init_is_reported_to_the_caller() {
    let running = behaving("cannot start").start();
    let error = running.lab.invoke("{}").unwrap_err();
    let InvokeError::Function(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.error_type().as_deref(), Some("Runtime.InitError"), "{error}");
    let message = "init hook \"table\" failed: Function.NoTable: there is no table";
    assert!(error.to_string().contains(message), "{error}");
    running.wait_for(&["Error: the function could not start", message]);
    assert!(!running.log().contains("shutdown hook"), "{}", running.log());
}

/// The system calls of a function with a lifecycle, from its start to its end.
fn trace(behaviour: &str, events: usize, pace: Pace) -> SystemCalls {
    let service = ScriptedService::start(events, 128, pace);
    let name = format!("lifecycle-calls-{}.txt", service.address());
    let trace = Trace::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    let mut command = trace.command(&std::env::current_exe().unwrap());
    command.args(["--exact", "bootstrap", "--ignored", "--nocapture"]).env(BEHAVIOUR, behaviour);
    command.env("AWS_LAMBDA_RUNTIME_API", service.address());
    let mut process = Process::start(&mut command).unwrap_or_else(|error| {
        panic!("{error}\nthis test counts system calls with strace: apt-get install strace")
    });
    let right = service.finish();
    assert_eq!(right.unwrap_or_else(|error| panic!("{error}: {}", process.output())), events);
    process.wait().unwrap();
    trace.calls().unwrap()
}

/// The system calls per invocation.
fn cost(behaviour: &str, pace: Pace) -> EachCosts {
    const EVENTS: usize = 200;
    let once = trace(behaviour, EVENTS, pace);
    trace(behaviour, 2 * EVENTS, pace).each_beyond(&once, EVENTS)
}

#[test]
fn an_invocation_with_a_lifecycle_costs_four_system_calls() {
    cost("echo", Pace::OneByOne).assert_are(&[("writev", 2.0), ("recvfrom", 2.0)]);
}

#[test]
fn a_pipelined_invocation_with_a_lifecycle_costs_two_system_calls() {
    let cost = cost("echo pipelined", Pace::NextIsWaiting);
    cost.assert_are(&[("writev", 1.0), ("recvfrom", 1.0)]);
}
