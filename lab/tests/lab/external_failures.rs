//! External extensions that end, hang or do not start, and what becomes of the others.

use std::thread;
use std::time::Duration;

use lambda_lab::{FailureKind, Function, InvokeError, Output};

use crate::external::{
    EVENT_NEXT, ID, Played, Scripts, UNTIL_END, WAIT, failure, register, respond, runtime,
};
use crate::support::{Connection, PATIENCE, lives, wait_until};

/// Waits until no process of this script runs.
#[track_caller]
fn all_end(scripts: &Scripts, name: &str) {
    wait_until(&format!("{name} has ended"), || {
        scripts.starts(name).iter().all(|(_, pid)| !lives(*pid))
    });
}

#[test]
fn an_extension_that_ends_by_itself_fails_the_invocation_and_all_start_again() {
    for (script, message) in [
        ("exit 0", "exit code 0"),
        ("exit 3", "exit status 3"),
        ("kill -s KILL $$", "signal: killed"),
    ] {
        let scripts = Scripts::new();
        let function = scripts.function(&["one"]).extension(scripts.add("two", script));
        let lab = function.start().unwrap();
        for _ in 0..2 {
            let failed = failure(&lab, "in");
            assert_eq!(failed, ("Extension.Crash".to_owned(), message.to_owned()));
        }
        assert_eq!(scripts.starts("two").len(), 2);
        all_end(&scripts, "one");
        // Nobody has registered.
        assert_eq!(scripts.starts("bootstrap"), []);
    }
}

#[test]
fn an_extension_that_ends_in_an_invocation_fails_it_and_all_start_again() {
    let scripts = Scripts::new();
    let [one, two] = ["one", "two"].map(|name| scripts.add(name, UNTIL_END));
    let lab = scripts.function(&[]).extension(one).extension(two).start().unwrap();
    for number in 1..3 {
        thread::scope(|scope| {
            let caller = scope.spawn(|| failure(&lab, "in"));
            let (api, _) = scripts.start("one", number);
            scripts.start("two", number);
            let mut one = Played::ready(&api, "one", r#"["INVOKE","SHUTDOWN"]"#);
            let _two = Played::ready(&api, "two", "[]");
            let (_, bootstrap) = scripts.start("bootstrap", number);
            let mut runtime = runtime(&api);
            runtime.response();
            one.event();
            scripts.end("two");
            let failed = caller.join().unwrap();
            assert_eq!(failed, ("Extension.Crash".to_owned(), "exit status 7".to_owned()));
            one.ask();
            assert_eq!(one.shutdown().0, "failure");
            assert!(!lives(bootstrap), "the runtime ends first");
            scripts.end("one");
            all_end(&scripts, "one");
        });
    }
}

#[test]
fn an_error_that_an_extension_reports_is_the_reason_of_its_exit() {
    for (call, error_type) in
        [("init/error", "Extension.InitError"), ("exit/error", "Extension.ExitError")]
    {
        let scripts = Scripts::new();
        let function = scripts.function(&[]).extension(scripts.add("one", UNTIL_END));
        let lab = function.start().unwrap();
        thread::scope(|scope| {
            let caller = scope.spawn(|| failure(&lab, "in"));
            let (api, _) = scripts.start("one", 1);
            let mut one = Played::register(&api, "one", r#"["INVOKE"]"#);
            let line = format!("POST /2020-01-01/extension/{call}");
            let headers =
                [(ID, one.id.as_str()), ("Lambda-Extension-Function-Error-Type", "Mine.X")];
            one.next.request(&line, &headers, "").assert_accepted();
            // It is too late to ask for events.
            let asked = one.next.request(EVENT_NEXT, &headers, "");
            assert_eq!(asked.status, 403);
            assert!(!caller.is_finished(), "an error alone ends nothing");
            scripts.end("one");
            let failed = caller.join().unwrap();
            assert_eq!(failed, (error_type.to_owned(), "exit status 7".to_owned()));
        });
    }
}

#[test]
fn an_extension_that_dies_without_waiting_for_the_reply_to_its_report_is_still_heard() {
    let bootstrap = std::env::current_exe().unwrap();
    let scripts = Scripts::new();
    let reporting = format!(
        "LAB_TEST=report-and-die exec {} --exact bootstrap --nocapture",
        bootstrap.display()
    );
    let lab = scripts.function(&[]).extension(scripts.add("one", &reporting)).start().unwrap();
    let failed = failure(&lab, "in");
    assert_eq!(failed, ("Extension.ExitError".to_owned(), "signal: killed".to_owned()));
}

#[test]
fn an_extension_that_ends_between_two_invocations_is_started_again() {
    let scripts = Scripts::new();
    let function = scripts.function(&[]).extension(scripts.add("one", UNTIL_END));
    let lab = function.start().unwrap();
    // The lab may notice the end only when the next invocation has begun, which fails then.
    let invoke = || loop {
        match lab.invoke_to_the_end("in", |_| ()) {
            Err(InvokeError::Function(failure))
                if failure.error_type().as_deref() == Some("Extension.Crash") => {}
            result => return result,
        }
    };
    for number in 1..3 {
        thread::scope(|scope| {
            let caller = scope.spawn(invoke);
            let (api, pid) = scripts.start("one", number);
            let _one = Played::ready(&api, "one", "[]");
            let (_, bootstrap) = scripts.start("bootstrap", number);
            let mut runtime = runtime(&api);
            respond(&mut runtime);
            caller.join().unwrap().unwrap();
            assert!(lives(bootstrap));
            scripts.end("one");
            wait_until("it has ended", || !lives(pid));
        });
    }
}

#[test]
fn extensions_that_never_register_or_never_ask_use_up_init_and_then_the_timeout() {
    for registers in [false, true] {
        let scripts = Scripts::new();
        let function = scripts.function(&["one"]).init_timeout(Duration::from_millis(300));
        let function = function.shutdown_timeout(Duration::from_millis(100));
        let lab = function.timeout(Duration::from_millis(400)).start().unwrap();
        thread::scope(|scope| {
            let caller = scope.spawn(|| failure(&lab, "in"));
            let mut runtimes = Vec::new();
            for number in 1..3 {
                let (api, _) = scripts.start("one", number);
                // A busy machine may be too slow for that.
                if registers && register(&api, "one", r#"{"events":["SHUTDOWN"]}"#).status == 200 {
                    runtimes.push(runtime(&api));
                }
            }
            let (_, message) = caller.join().unwrap();
            assert_eq!(message, "Task timed out after 0.40 seconds");
            assert_eq!(scripts.starts("one").len(), 2, "init is repeated once");
            all_end(&scripts, "one");
            if !registers {
                assert_eq!(scripts.starts("bootstrap"), []);
            }
        });
    }
}

#[test]
fn an_extension_that_does_not_ask_again_uses_up_the_timeout() {
    let scripts = Scripts::new();
    let timeout = Duration::from_secs(3);
    let lab = scripts.function(&["one"]).timeout(timeout).start().unwrap();
    thread::scope(|scope| {
        let end = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let (api, pid) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", r#"["INVOKE","SHUTDOWN"]"#);
        let (_, bootstrap) = scripts.start("bootstrap", 1);
        let began = std::time::Instant::now();
        let mut runtime = runtime(&api);
        respond(&mut runtime);
        one.event();
        wait_until("the runtime is ended", || !lives(bootstrap));
        assert!(began.elapsed() >= timeout);
        one.ask();
        assert_eq!(one.shutdown().0, "timeout");
        // The caller has its answer nevertheless.
        end.join().unwrap().unwrap();
        assert!(!lives(pid));
        let caller = scope.spawn(|| lab.invoke("again"));
        let (again, other) = scripts.start("one", 2);
        assert_eq!((again, other == pid), (api.clone(), false));
        let _one = Played::ready(&api, "one", "[]");
        scripts.start("bootstrap", 2);
        respond(&mut crate::external::runtime(&api));
        assert_eq!(caller.join().unwrap().unwrap().body, b"again");
    });
}

#[test]
fn a_runtime_that_fails_to_start_ends_its_extensions_with_the_reason_failure() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one"]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", r#"["SHUTDOWN"]"#);
        scripts.start("bootstrap", 1);
        let report = r#"{"errorType":"Mine.X","errorMessage":"no"}"#;
        Connection::open(&api).post("/2018-06-01/runtime/init/error", report).assert_accepted();
        assert_eq!(one.shutdown().0, "failure");
        let Err(InvokeError::Function(failure)) = caller.join().unwrap() else { panic!("failed") };
        assert_eq!(failure.error_type().as_deref(), Some("Mine.X"));
    });
}

#[test]
fn a_runtime_that_ends_by_itself_ends_its_extensions_with_the_reason_failure() {
    let scripts = Scripts::new();
    let function = Function::new(scripts.add("bootstrap", UNTIL_END)).timeout(PATIENCE);
    let function = function.output(Output::Discarded).extension(scripts.add("one", WAIT));
    let lab = function.start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, pid) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", r#"["INVOKE","SHUTDOWN"]"#);
        scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        runtime.response();
        scripts.end("bootstrap");
        one.event();
        one.ask();
        assert_eq!(one.shutdown().0, "failure");
        let Err(InvokeError::Function(failure)) = caller.join().unwrap() else { panic!("failed") };
        assert_eq!(failure.kind, FailureKind::Exit);
        assert_eq!(failure.error_type().as_deref(), Some("Runtime.ExitError"));
        wait_until("it is killed", || !lives(pid));
    });
}

#[test]
fn an_extension_or_a_runtime_that_cannot_be_started_fails_the_invocation() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one", "two"]).start().unwrap();
    std::fs::remove_file(scripts.file("two")).unwrap();
    for number in 1..3 {
        let (error_type, message) = failure(&lab, "in");
        assert_eq!(error_type, "Extension.LaunchError");
        let expected = format!("cannot start the extension {}", scripts.file("two").display());
        assert!(message.starts_with(&expected), "{message}");
        assert_eq!(scripts.starts("two"), []);
        assert!(scripts.starts("one").len() <= number);
        all_end(&scripts, "one");
    }
    scripts.add("two", WAIT);
    std::fs::remove_file(scripts.file("bootstrap")).unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| failure(&lab, "in"));
        let (api, _) = scripts.start("two", 1);
        let mut one = Played::ready(&api, "one", r#"["SHUTDOWN"]"#);
        let _two = Played::ready(&api, "two", "[]");
        assert_eq!(one.shutdown().0, "failure");
        let (error_type, message) = caller.join().unwrap();
        assert_eq!(error_type, "Runtime.InvalidEntrypoint");
        assert!(message.contains("bootstrap"), "{message}");
    });
}

#[test]
fn more_than_ten_external_extensions_fail_in_init_and_none_is_started() {
    let scripts = Scripts::new();
    let names: Vec<_> = (0..11).map(|number| format!("extension-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let lab = scripts.function(&names[..10]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start(names[9], 1);
        let _played: Vec<_> =
            names[..10].iter().map(|name| Played::ready(&api, name, "[]")).collect();
        scripts.start("bootstrap", 1);
        respond(&mut runtime(&api));
        caller.join().unwrap().unwrap();
    });
    drop(lab);
    let scripts = Scripts::new();
    let lab = scripts.function(&names).start().unwrap();
    for _ in 0..2 {
        let failed = failure(&lab, "in");
        assert_eq!(failed, ("Extension.LaunchError".into(), "ErrTooManyExtensions".into()));
    }
    assert_eq!(scripts.starts(names[0]), []);
    drop(lab);
    // The user gets to know it before.
    let mut command = crate::served::lab();
    command.arg("run");
    for name in &names {
        command.arg("--extension").arg(scripts.file(name));
    }
    let output = command.arg(scripts.file("bootstrap")).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let notice = "lambda-lab: 11 external extensions: Lambda allows 10 at most, so every \
                  invocation will fail with Extension.LaunchError\n";
    assert!(log.starts_with(notice), "{log}");
    assert_eq!(output.status.code(), Some(1));
}
