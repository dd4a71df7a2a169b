//! Processes that are stopped between invocations.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_lab::Lab;

use crate::served::{Served, TELL};
use crate::support::{
    Connection, NEXT, await_process, function, is_stopped, lives, marked, of, request, script,
    wait_until,
};

fn pid(lab: &Lab) -> u32 {
    lab.invoke("pid").unwrap().text().parse().unwrap()
}

/// Plays the runtime for one invocation, up to its following `next`. Returns the event.
fn respond(runtime: &mut Connection) -> crate::support::Response {
    let next = runtime.response();
    let answer = request(&format!("POST {}", of(&next.id(), "response")), &[], &next.body);
    runtime.send([answer, request(NEXT, &[], "")].concat());
    runtime.response().assert_accepted();
    next
}

#[test]
fn a_process_is_stopped_after_each_invocation_and_continued_for_the_next() {
    let lab = function().freeze().start().unwrap();
    let first = pid(&lab);
    for _ in 0..5 {
        wait_until("it is stopped", || is_stopped(first));
        assert_eq!(pid(&lab), first);
    }
    wait_until("it is stopped", || is_stopped(first));
}

#[test]
fn without_freezing_a_process_keeps_running() {
    let lab = function().start().unwrap();
    let first = pid(&lab);
    lab.invoke_to_the_end("in", |_| ()).unwrap();
    assert_eq!(pid(&lab), first);
    assert!(!is_stopped(first));
}

#[test]
fn all_processes_of_the_function_are_stopped_and_continued() {
    let mark = format!("LAB_TEST_FREEZE={}", std::process::id());
    let (name, value) = mark.split_once('=').unwrap();
    let lab = script("sleep 1000 & sleep 1000 & wait").variable(name, value).freeze();
    let lab = lab.start().unwrap();
    let mut runtime = Connection::open(lab.runtime_api());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        await_process(&lab);
        wait_until("all run", || marked(&mark).len() == 3);
        runtime.send(request(NEXT, &[], ""));
        respond(&mut runtime);
        caller.join().unwrap().unwrap();
        let all = marked(&mark);
        wait_until("all are stopped", || all.iter().all(|pid| is_stopped(*pid)));
        let caller = scope.spawn(|| lab.invoke("again"));
        let next = runtime.response();
        wait_until("all are continued", || all.iter().all(|pid| !is_stopped(*pid)));
        runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
        caller.join().unwrap().unwrap();
        assert!(all.iter().all(|pid| !is_stopped(*pid)));
    });
}

#[test]
fn a_process_is_not_stopped_before_runtime_and_extension_have_asked() {
    let lab = script("exec sleep 1000").freeze().start().unwrap();
    let mut runtime = Connection::open(lab.runtime_api());
    let mut extension = Connection::open(lab.runtime_api());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let pid = await_process(&lab);
        let name = [("Lambda-Extension-Name", "mine")];
        let line = "POST /2020-01-01/extension/register";
        let registered = extension.request(line, &name, r#"{"events":["INVOKE"]}"#);
        let id = registered.header("lambda-extension-identifier").unwrap();
        let ask = request(
            "GET /2020-01-01/extension/event/next",
            &[("Lambda-Extension-Identifier", id)],
            "",
        );
        extension.send(&ask);
        runtime.send(request(NEXT, &[], ""));
        respond(&mut runtime);
        assert_eq!(extension.response().status, 200);
        let mut other = Connection::open(lab.runtime_api());
        assert_eq!(other.request("GET /2018-06-01/ping", &[], "").text(), "pong");
        assert!(!caller.is_finished() && !is_stopped(pid));
        extension.send(&ask);
        caller.join().unwrap().unwrap();
        wait_until("it is stopped", || is_stopped(pid));
    });
}

#[test]
fn work_after_the_answer_is_done_before_the_process_is_stopped() {
    let lab = function().freeze().start().unwrap();
    let first = pid(&lab);
    lab.invoke("answer-and-sleep 300").unwrap();
    // The process was continued for the invocation, and sleeps in its handler.
    assert!(!is_stopped(first));
    wait_until("it is stopped", || is_stopped(first));
}

#[test]
fn a_pretended_freeze_moves_only_deadlines_and_dates() {
    let away = Duration::from_secs(600);
    let timeout = Duration::from_secs(20);
    let lab = script("exec sleep 1000").freeze_for(away).timeout(timeout).start().unwrap();
    let mut runtime = Connection::open(lab.runtime_api());
    let mut caller = Connection::open(lab.address());
    let line = "POST /2015-03-31/functions/function/invocations";
    let mut pid = None;
    for thaws in 0..3 {
        let before = SystemTime::now() + away * thaws;
        caller.send(request(line, &[], "1"));
        let pid = *pid.get_or_insert_with(|| {
            let pid = await_process(&lab);
            runtime.send(request(NEXT, &[], ""));
            pid
        });
        let next = respond(&mut runtime);
        let after = SystemTime::now() + away * thaws;
        let deadline = next.header("lambda-runtime-deadline-ms").unwrap();
        let deadline = UNIX_EPOCH + Duration::from_millis(deadline.parse().unwrap());
        let least = before + timeout - Duration::from_millis(1);
        assert!(deadline >= least && deadline <= after + timeout, "{thaws}");
        assert!(lab.now() >= before && lab.now() < after + away);
        let answer = caller.response();
        assert_eq!(answer.text(), "1");
        for date in [next.header("date"), answer.header("date")] {
            let date = httpdate::parse_http_date(date.unwrap()).unwrap();
            // Dates have whole seconds, and hyper's may be a second old.
            assert!(date >= before - Duration::from_secs(2) && date <= after, "{thaws}: {date:?}");
        }
        wait_until("it is stopped", || is_stopped(pid));
    }
}

#[test]
fn a_pretended_freeze_does_not_change_timeouts() {
    let lab = function().freeze_for(Duration::from_secs(3600)).timeout(Duration::from_secs(1));
    let lab = lab.start().unwrap();
    let first = pid(&lab);
    wait_until("it is stopped", || is_stopped(first));
    let began = std::time::Instant::now();
    assert_eq!(
        lab.invoke("sleep 60000").unwrap_err().to_string(),
        "the function has failed: Task timed out after 1.00 seconds"
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(!lives(first));
    assert_ne!(pid(&lab), first);
}

#[test]
fn a_thaw_is_logged_with_its_real_and_its_pretended_time() {
    for (option, text) in [
        (&["--freeze"][..], " ms"),
        (&["--freeze-for", "10m"], " ms; moved the clock forward by 600 s"),
    ] {
        let bootstrap = std::env::current_exe().unwrap();
        let script = format!("exec {} --exact bootstrap --nocapture", bootstrap.display());
        let mut served = Served::start(option, &script);
        let pid = served.invoke("pid").response().text().parse().unwrap();
        wait_until("it is stopped", || is_stopped(pid));
        assert_eq!(served.invoke("1").response().text(), "1");
        let line = served.line_with("thawed after ");
        assert!(line.ends_with(text), "{line}");
    }
}

#[test]
fn a_signal_that_ends_the_lab_also_ends_a_stopped_process() {
    for (signal, code) in
        [("INT", Some(130)), ("TERM", Some(143)), ("HUP", Some(129)), ("KILL", None)]
    {
        let bootstrap = std::env::current_exe().unwrap();
        // A child too, so that there is more than one process to end.
        let script = format!(
            "sleep 1000 & echo child $! >&2; exec {} --exact bootstrap --nocapture",
            bootstrap.display()
        );
        let mut served = Served::start(&["--freeze"], &script);
        let pid: u32 = served.invoke("pid").response().text().parse().unwrap();
        let child: u32 = served.line_with("child ").parse().unwrap();
        wait_until("both are stopped", || is_stopped(pid) && is_stopped(child));
        served.signal(signal);
        assert_eq!(served.child.wait().unwrap().code(), code, "{signal}");
        wait_until("both have ended", || !lives(pid) && !lives(child));
    }
}

#[test]
fn a_stopped_process_with_an_extension_is_continued_and_ends_by_itself() {
    // The shell waits without starting further processes: with `vfork`, a shell whose child is
    // stopped before its exec hangs in the kernel, and is not stopped itself.
    let script =
        format!("trap 'echo politely >&2; exit 7' TERM; sleep 1000 & {TELL}while :; do wait; done");
    let mut served = Served::start(&["--freeze"], &script);
    let mut caller = served.invoke("1");
    let (mut runtime, pid) = served.told();
    let name = [("Lambda-Extension-Name", "mine")];
    let line = "POST /2020-01-01/extension/register";
    let registered = runtime.request(line, &name, "{}");
    let id = registered.header("lambda-extension-identifier").unwrap();
    let id = [("Lambda-Extension-Identifier", id)];
    let mut extension = Connection::open(&served.api);
    extension.send(request("GET /2020-01-01/extension/event/next", &id, ""));
    runtime.send(request(NEXT, &[], ""));
    respond(&mut runtime);
    assert_eq!(caller.response().text(), "1");
    wait_until("it is stopped", || is_stopped(pid));
    served.signal("TERM");
    served.line_with("politely");
    let line = served.line_with("shutdown (spindown): ");
    assert!(line.starts_with("SIGTERM; ended after"), "{line}");
    assert!(line.ends_with(" ms, exit status: 7"), "{line}");
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
    assert!(!lives(pid));
}

#[test]
fn run_leaves_no_stopped_process() {
    let bootstrap = std::env::current_exe().unwrap();
    let mut command = crate::served::lab();
    command.args(["run", "--freeze", "--event", "\"pid\""]).arg(bootstrap);
    let output = command.args(["--exact", "bootstrap", "--nocapture"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let pid = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    assert!(!lives(pid));
}
