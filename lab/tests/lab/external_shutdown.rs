//! How external extensions end: the event SHUTDOWN, its deadline, and signals.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_lab::{Function, InvokeError, Lab, Output};

use crate::external::{
    DEAF, EVENT_NEXT, ID, POLITE, Played, Scripts, UNTIL_END, WAIT, register, respond, runtime,
};
use crate::served::Served;
use crate::support::{Connection, PATIENCE, lives, request, wait_until};

const BOTH: &str = r#"["INVOKE","SHUTDOWN"]"#;

/// `lambda-lab serve` with these scripts as the bootstrap and as the extensions `one` and `two`.
fn served(scripts: &Scripts, options: &[&str], bootstrap: &str, extensions: [&str; 2]) -> Served {
    let files = [("one", extensions[0]), ("two", extensions[1])];
    let files = files.map(|(name, script)| scripts.add(name, script).display().to_string());
    let mut options = options.to_vec();
    files.iter().for_each(|file| options.extend(["--extension", file]));
    Served::start(&options, &format!("exec {}", scripts.add("bootstrap", bootstrap).display()))
}

/// Starts the function of this lab with an invocation. The extensions register for these events,
/// ask for the first one, and get that invocation if they registered for it.
fn started(scripts: &Scripts, served: &Served, events: [&str; 2]) -> [Played; 2] {
    let mut caller = served.invoke("1");
    let (api, _) = scripts.start("one", 1);
    scripts.start("two", 1);
    let names = [("one", events[0]), ("two", events[1])];
    let mut played = names.map(|(name, events)| Played::ready(&api, name, events));
    scripts.start("bootstrap", 1);
    let mut runtime = runtime(&api);
    for (played, events) in played.iter_mut().zip(events) {
        if events.contains("INVOKE") {
            played.event();
            played.ask();
        }
    }
    respond(&mut runtime);
    assert_eq!(caller.response().text(), "1");
    played
}

/// The milliseconds in "ended after 1.23 ms".
fn took(line: &str) -> f64 {
    let (_, rest) = line.split_once("ended after ").expect(line);
    rest.split_once(" ms").expect(line).0.parse().expect(line)
}

fn unix() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn extensions_get_the_shutdown_when_the_runtime_has_ended_and_end_by_themselves() {
    let scripts = Scripts::new();
    let options = ["--shutdown-timeout", "60"];
    let mut served = served(&scripts, &options, POLITE, [UNTIL_END, UNTIL_END]);
    let [mut one, mut two] = started(&scripts, &served, [BOTH, r#"["SHUTDOWN"]"#]);
    let before = unix();
    served.signal("TERM");
    wait_until("the runtime has got SIGTERM", || scripts.has("bootstrap.told"));
    let after = unix();
    assert!(one.next.has_nothing() && two.next.has_nothing());
    scripts.end("bootstrap");
    let line = served.line_with("shutdown (spindown): ");
    assert!(line.starts_with("SIGTERM; ended after ") && line.ends_with(", exit status: 0"));
    let event = one.event();
    assert_eq!(event.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(event.header("lambda-extension-event-identifier"), None);
    let (reason, deadline) = two.shutdown();
    assert_eq!(reason, "spindown");
    assert!((before + 60_000..=after + 60_000).contains(&deadline), "{before} {deadline} {after}");
    assert_eq!(
        event.text(),
        format!(
            "{{\"eventType\":\"SHUTDOWN\",\"deadlineMs\":{deadline},\
             \"shutdownReason\":\"spindown\"}}"
        )
    );
    for name in ["two", "one"] {
        assert!(lives(scripts.pid(name)));
        scripts.end(name);
        let line = served.line_with(&format!("shutdown (spindown): extension {name}: "));
        assert!(line.starts_with("SHUTDOWN; ended after ") && line.ends_with(", exit status: 7"));
        assert!(!lives(scripts.pid(name)));
    }
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
}

#[test]
fn the_runtime_and_the_extensions_are_killed_at_the_end_of_their_shares() {
    for (options, has_internal, share, whole) in [
        (&[][..], false, 300, 2000),
        (&[][..], true, 500, 2000),
        (&["--concurrency", "2"][..], false, 600, 2000),
        (&["--shutdown-timeout", "400ms"][..], false, 60, 400),
        (&["--shutdown-timeout", "0"][..], false, 0, 0),
    ] {
        let scripts = Scripts::new();
        let mut served = served(&scripts, options, DEAF, [WAIT, WAIT]);
        let _caller = served.invoke("1");
        let (api, _) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", r#"["SHUTDOWN"]"#);
        let mut two = Played::ready(&api, "two", "[]");
        let (_, bootstrap) = scripts.start("bootstrap", 1);
        if has_internal {
            assert_eq!(register(&api, "internal", "{}").status, 200);
        }
        // The shell of the script ignores SIGTERM when its children run.
        wait_until("it ignores SIGTERM", || ignores_sigterm(bootstrap));
        served.signal("TERM");
        let line = served.line_with("shutdown (spindown): ");
        let expected = format!("SIGTERM, and SIGKILL after {share} ms; ended after ");
        assert!(line.starts_with(&expected), "{line}");
        assert!(took(&line) >= f64::from(share), "{line}");
        // With no time at all, either may end first.
        let mut lines = [(); 2].map(|()| served.line_with("shutdown (spindown): extension "));
        lines.sort();
        let expected = format!("one: SHUTDOWN, and SIGKILL after {whole} ms; ended after ");
        assert!(lines[0].starts_with(&expected), "{lines:?}");
        let expected = "two: SIGKILL, as it has not registered for SHUTDOWN; ended after ";
        assert!(lines[1].starts_with(expected), "{lines:?}");
        if whole > 0 {
            assert_eq!(one.shutdown().0, "spindown");
        }
        assert!(two.next.is_closed() || two.next.response().status == 500);
        served.child.wait().unwrap();
        assert!(["bootstrap", "one", "two"].iter().all(|name| !lives(scripts.pid(name))));
    }
}

/// Whether a process ignores SIGTERM, by its mask in `/proc`.
fn ignores_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
    mask.is_some_and(|mask| u64::from_str_radix(mask, 16).unwrap() & (1 << 14) != 0)
}

#[test]
fn an_extension_that_did_not_register_is_killed_without_an_event() {
    let scripts = Scripts::new();
    let mut served = served(&scripts, &[], WAIT, [WAIT, WAIT]);
    let _caller = served.invoke("1");
    let (api, _) = scripts.start("one", 1);
    scripts.start("two", 1);
    let _two = Played::register(&api, "two", "[]");
    served.signal("TERM");
    for _ in 0..2 {
        let line = served.line_with("shutdown (spindown): extension ");
        assert!(line.contains(": SIGKILL, as it has not registered for SHUTDOWN; "), "{line}");
    }
    served.child.wait().unwrap();
    assert_eq!(scripts.starts("bootstrap"), []);
    assert!(!lives(scripts.pid("one")) && !lives(scripts.pid("two")));
}

#[test]
fn an_extension_that_asks_late_still_gets_its_shutdown() {
    let scripts = Scripts::new();
    let function = scripts.function(&[]).extension(scripts.add("one", UNTIL_END));
    let lab = function.shutdown_timeout(Duration::from_secs(60)).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 1);
        let mut one = Played::register(&api, "one", r#"["SHUTDOWN"]"#);
        let (_, bootstrap) = scripts.start("bootstrap", 1);
        let stop = scope.spawn(|| lab.stop());
        wait_until("the runtime has ended", || !lives(bootstrap));
        one.ask();
        assert_eq!(one.shutdown().0, "spindown");
        // Some extensions ask once more, and get no reply.
        one.ask();
        let mut other = Connection::open(&api);
        assert_eq!(other.request("GET /2018-06-01/ping", &[], "").text(), "pong");
        assert!(one.next.has_nothing() && !stop.is_finished());
        scripts.end("one");
        stop.join().unwrap();
        assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
    });
}

#[test]
fn an_extension_that_is_busy_with_an_invocation_gets_the_shutdown_with_its_next_call() {
    let scripts = Scripts::new();
    let function = scripts.function(&[]).extension(scripts.add("one", UNTIL_END));
    let lab = function.shutdown_timeout(Duration::from_secs(60)).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", BOTH);
        let (_, bootstrap) = scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        runtime.response();
        one.event();
        let stop = scope.spawn(|| lab.stop());
        wait_until("the runtime has ended", || !lives(bootstrap));
        one.ask();
        assert_eq!(one.shutdown().0, "spindown");
        scripts.end("one");
        stop.join().unwrap();
        assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
    });
}

#[test]
fn an_extension_that_ended_before_the_shutdown_is_named() {
    let scripts = Scripts::new();
    let mut served = served(&scripts, &[], WAIT, [UNTIL_END, UNTIL_END]);
    let [_one, mut two] = started(&scripts, &served, [BOTH, BOTH]);
    scripts.end("one");
    wait_until("it has ended", || !lives(scripts.pid("one")));
    served.signal("TERM");
    let line = served.line_with("shutdown (spindown): ");
    assert!(line.starts_with("SIGTERM; ended after "), "{line}");
    let line = served.line_with("shutdown (spindown): ");
    assert_eq!(line, "extension one had ended by itself, exit status: 7");
    assert_eq!(two.shutdown().0, "spindown");
    scripts.end("two");
    let line = served.line_with("shutdown (spindown): extension two: ");
    assert!(line.starts_with("SHUTDOWN; ended after "), "{line}");
    served.child.wait().unwrap();
}

#[test]
fn on_a_timeout_the_reason_is_timeout_and_the_temporary_folder_is_kept() {
    let scripts = Scripts::new();
    let keep = "touch \"$TMPDIR/kept\"";
    let one = scripts.add("one", &format!("ls \"$TMPDIR\" >> \"$0.found\"; {keep}; {WAIT}"));
    let timeout = Duration::from_millis(500);
    let lab = scripts.function(&[]).extension(one).timeout(timeout);
    let lab = lab.shutdown_timeout(Duration::from_millis(200)).start().unwrap();
    for number in 1..3 {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let (api, _) = scripts.start("one", number);
            let mut one = Played::ready(&api, "one", r#"["SHUTDOWN"]"#);
            scripts.start("bootstrap", number);
            let _runtime = runtime(&api);
            assert_eq!(one.shutdown().0, "timeout");
            let error = caller.join().unwrap().unwrap_err().to_string();
            assert!(error.ends_with("Task timed out after 0.50 seconds"), "{error}");
        });
    }
    let found = || std::fs::read_to_string(scripts.file("one.found")).unwrap();
    wait_until("the second one has found the file of the first", || found() == "kept\n");
}

#[test]
fn no_process_of_an_extension_outlives_a_killed_lab() {
    for (options, signal) in [(&[][..], "KILL"), (&["--freeze"][..], "KILL"), (&[][..], "INT")] {
        let scripts = Scripts::new();
        let with_child = "sleep 1000 & echo $! > \"$0.child\"; exec sleep 1000";
        let mut served = served(&scripts, options, WAIT, [with_child, WAIT]);
        let _played = started(&scripts, &served, ["[]", BOTH]);
        wait_until("the child runs", || scripts.has("one.child"));
        let child = std::fs::read_to_string(scripts.file("one.child")).unwrap();
        let pids = ["bootstrap", "one", "two"].map(|name| scripts.pid(name));
        let pids = [&pids[..], &[child.trim().parse().unwrap()]].concat();
        if !options.is_empty() {
            wait_until("they are stopped", || {
                pids.iter().all(|pid| crate::support::is_stopped(*pid))
            });
        }
        served.signal(signal);
        served.child.wait().unwrap();
        wait_until("all have ended", || pids.iter().all(|pid| !lives(*pid)));
    }
}

#[test]
fn a_second_signal_kills_extensions_that_take_their_time() {
    let scripts = Scripts::new();
    let options = ["--shutdown-timeout", "60"];
    let mut served = served(&scripts, &options, WAIT, [WAIT, WAIT]);
    let [mut one, _two] = started(&scripts, &served, [BOTH, BOTH]);
    served.signal("INT");
    assert_eq!(one.shutdown().0, "spindown");
    served.signal("INT");
    assert_eq!(served.child.wait().unwrap().code(), Some(130));
    wait_until("all have ended", || {
        ["bootstrap", "one", "two"].iter().all(|name| !lives(scripts.pid(name)))
    });
}

#[test]
fn run_and_a_dropped_lab_end_the_extensions_too() {
    let scripts = Scripts::new();
    let one = scripts.add("one", WAIT);
    let end = |end: fn(Lab)| {
        let number = scripts.starts("one").len() + 1;
        let function = Function::new(scripts.add("bootstrap", WAIT)).timeout(PATIENCE);
        let lab = function.output(Output::Discarded).extension(&one).start().unwrap();
        let api = lab.runtime_api();
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
            scripts.start("one", number);
            let _one = Played::ready(&api, "one", "[]");
            scripts.start("bootstrap", number);
            respond(&mut runtime(&api));
            caller.join().unwrap().unwrap();
        });
        let pid = scripts.start("one", number).1;
        assert!(lives(pid));
        end(lab);
        assert!(!lives(pid));
    };
    end(drop);
    end(|lab| lab.stop());

    let mut command = crate::served::lab();
    let bootstrap = scripts.add("runtime", WAIT);
    let child = command.args(["run", "--extension"]).arg(&one).arg(bootstrap).spawn().unwrap();
    let (api, pid) = scripts.start("one", 3);
    let mut one = Connection::open(&api);
    let name = [("Lambda-Extension-Name", "one")];
    let registered = one.request(crate::external::REGISTER, &name, "{}");
    let id = registered.header("lambda-extension-identifier").unwrap();
    one.send(request(EVENT_NEXT, &[(ID, id)], ""));
    scripts.start("runtime", 1);
    let mut runtime = runtime(&api);
    respond(&mut runtime);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), b"{}".to_vec()));
    assert!(!lives(pid));
}

#[test]
fn the_shutdown_after_a_timeout_does_not_count_as_duration() {
    let scripts = Scripts::new();
    let options = ["--timeout", "0.2", "--shutdown-timeout", "60"];
    let mut served = served(&scripts, &options, WAIT, [UNTIL_END, WAIT]);
    let mut caller = served.invoke("1");
    let (api, _) = scripts.start("one", 1);
    let mut one = Played::ready(&api, "one", r#"["SHUTDOWN"]"#);
    let _two = Played::ready(&api, "two", "[]");
    scripts.start("bootstrap", 1);
    let began = std::time::Instant::now();
    let _runtime = runtime(&api);
    assert_eq!(caller.response().text(), "Task timed out after 0.20 seconds");
    assert_eq!(one.shutdown().0, "timeout");
    // The time that must not count.
    thread::sleep(Duration::from_millis(500));
    scripts.end("one");
    let line = served.line_with("shutdown (timeout): extension one: ");
    let shutdown = took(&line);
    assert!(shutdown >= 500.0, "{line}");
    let line = served.line_with("\tDuration: ");
    let duration: f64 = line.split_once(" ms").unwrap().0.parse().unwrap();
    let both = began.elapsed().as_secs_f64() * 1000.0;
    assert!(duration >= 200.0 && duration + shutdown <= both, "{duration} {shutdown} {both}");
}
