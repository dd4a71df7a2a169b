//! Bootstraps whose first process leaves its process group: every wait ends, and so do they.

use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{FailureKind, Function, InvokeError, Lab, Output};

use crate::served::{Served, TELL};
use crate::support::{
    Connection, NEXT, PATIENCE, await_process, is_stopped, lives, marked, of, request, script,
    wait_until,
};

/// The bootstrap of these tests, as the leader of a session of its own.
fn leaver() -> Function {
    Function::new("setsid")
        .argument(std::env::current_exe().unwrap())
        .argument("--exact")
        .argument("bootstrap")
        .argument("--nocapture")
        .timeout(PATIENCE)
        .output(Output::Discarded)
}

fn pid(lab: &Lab) -> u32 {
    lab.invoke("pid").unwrap().text().parse().unwrap()
}

fn mark(lab: &Lab) -> String {
    format!("AWS_LAMBDA_RUNTIME_API={}", lab.runtime_api())
}

#[test]
fn a_timeout_reaches_the_caller_and_ends_the_process() {
    let lab = leaver().timeout(Duration::from_millis(500)).start().unwrap();
    let first = pid(&lab);
    let Err(InvokeError::Function(failure)) = lab.invoke("sleep 60000") else {
        panic!("it has timed out")
    };
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(!lives(first));
    assert_ne!(pid(&lab), first);
}

#[test]
fn an_init_that_takes_too_long_ends_with_all_its_processes() {
    let lab = script("exec setsid sh -c 'sleep 1000 & sleep 1000 & wait'")
        .timeout(Duration::from_millis(300))
        .init_timeout(Duration::from_millis(100))
        .start()
        .unwrap();
    let failure = lab.invoke("1").unwrap_err().to_string();
    assert!(failure.ends_with("Task timed out after 0.30 seconds"), "{failure}");
    wait_until("all have ended", || marked(&mark(&lab)).iter().all(|pid| !lives(*pid)));
}

#[test]
fn a_restore_that_takes_too_long_ends_the_process() {
    let lab = script("exec setsid sleep 1000")
        .restore_timeout(Duration::from_millis(200))
        .start()
        .unwrap();
    let process = await_process(&lab);
    let mut runtime = Connection::open(lab.runtime_api());
    runtime.send(request("GET /2018-06-01/runtime/restore/next", &[], ""));
    wait_until("its snapshot has been taken", || is_stopped(process));
    let failure = lab.invoke("1").unwrap_err().to_string();
    assert!(failure.contains("Restore timed out after 0.20 seconds"), "{failure}");
    assert!(!lives(process));
}

#[test]
fn stop_and_drop_end_the_process() {
    for end in [|lab: Lab| lab.stop(), |lab: Lab| drop(lab)] {
        let lab = leaver().start().unwrap();
        let first = pid(&lab);
        end(lab);
        assert!(!lives(first));
    }
}

#[test]
fn an_exit_is_reported() {
    let lab = leaver().start().unwrap();
    let failure = lab.invoke("exit 7").unwrap_err().to_string();
    assert!(failure.ends_with("Runtime exited with error: exit status 7"), "{failure}");
}

#[test]
fn freezing_reaches_the_process_and_its_children() {
    // Without a command in the foreground: a shell may start that with `vfork`, and a parent that
    // is stopped before its child executes the command is in the state `D`, not `T`.
    let script = script("exec setsid sh -c 'sleep 1000 & sleep 1000 & wait'");
    let lab = script.freeze().start().unwrap();
    let mut runtime = Connection::open(lab.runtime_api());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("1"));
        wait_until("all run", || marked(&mark(&lab)).len() == 3);
        let next = runtime.request(NEXT, &[], "");
        runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
        runtime.send(request(NEXT, &[], ""));
        caller.join().unwrap().unwrap();
        let all = marked(&mark(&lab));
        wait_until("all are stopped", || all.iter().all(|pid| is_stopped(*pid)));
        let caller = scope.spawn(|| lab.invoke("1"));
        let next = runtime.response();
        wait_until("all are continued", || all.iter().all(|pid| !is_stopped(*pid)));
        runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn a_process_with_an_extension_gets_sigterm_once() {
    let script = format!(
        "exec setsid sh -c \"trap 'echo politely >&2' TERM; {}sleep 1000 & \
         while :; do wait; sleep 0.2; done\"",
        TELL.replace('$', "\\$")
    );
    let mut served = Served::start(&["--shutdown-timeout", "1"], &script);
    let _caller = served.invoke_in_background();
    let (mut api, pid) = served.told();
    let name = [("Lambda-Extension-Name", "mine")];
    assert_eq!(api.request("POST /2020-01-01/extension/register", &name, "{}").status, 200);
    served.signal("TERM");
    let rest = served.rest();
    assert_eq!(rest.matches("politely").count(), 1, "{rest}");
    assert!(rest.contains("SIGTERM, and SIGKILL after 1000 ms; ended after"), "{rest}");
    assert!(!lives(pid));
}

#[test]
fn signals_that_end_the_lab_end_the_process_and_its_children() {
    for (signal, code) in
        [("INT", Some(130)), ("TERM", Some(143)), ("HUP", Some(129)), ("KILL", None)]
    {
        let bootstrap = std::env::current_exe().unwrap();
        let script = format!(
            "exec setsid sh -c 'sleep 1000 & echo both $$ $! >&2; \
             exec {} --exact bootstrap --nocapture'",
            bootstrap.display()
        );
        let mut served = Served::start(&[], &script);
        assert_eq!(served.invoke("1").response().text(), "1");
        let both = served.line_with("both ");
        let both: Vec<u32> = both.split(' ').map(|pid| pid.parse().unwrap()).collect();
        // Only a lab that has seen the start return has named the process to the guard.
        served.line_with("REPORT ");
        let began = Instant::now();
        served.signal(signal);
        assert_eq!(served.child.wait().unwrap().code(), code, "{signal}");
        assert!(began.elapsed() < PATIENCE, "{signal}");
        wait_until("both have ended", || both.iter().all(|pid| !lives(*pid)));
    }
}

#[test]
fn children_in_groups_of_their_own_end_with_the_process_in_any_program() {
    // As a shell with job control starts them.
    let lab = script("setsid sleep 1000 & (set -m; sleep 1000 & wait) & wait").start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("1"));
        wait_until("all run", || marked(&mark(&lab)).len() == 4);
        let all = marked(&mark(&lab));
        lab.stop();
        caller.join().unwrap().unwrap_err();
        wait_until("all have ended", || all.iter().all(|pid| !lives(*pid)));
    });
}
