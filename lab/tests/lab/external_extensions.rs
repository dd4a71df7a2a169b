//! External extensions: how they start and register, and the events that they get.

use std::thread;
use std::time::Duration;

use lambda_lab::{Event, FailureKind, Function, InvokeError, Output, StartError};

use crate::external::{
    EVENT_NEXT, ID, Played, Scripts, UNTIL_END, WAIT, failure, ping, register, respond, runtime,
};
use crate::served::Served;
use crate::support::{Connection, PATIENCE, lives, request, wait_until};

/// Waits until no process of this script runs.
#[track_caller]
fn all_end(scripts: &Scripts, name: &str) {
    wait_until(&format!("{name} has ended"), || {
        scripts.starts(name).iter().all(|(_, pid)| !lives(*pid))
    });
}

#[test]
fn the_runtime_starts_when_all_external_extensions_have_registered() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one", "two"]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 1);
        scripts.start("two", 1);
        assert_eq!(api, lab.runtime_api());
        let mut two = Played::register(&api, "two", "[]");
        // An internal extension does not count.
        let mut internal = Played::register(&api, "internal", "[]");
        ping(&api);
        assert_eq!(scripts.starts("bootstrap"), []);
        let mut one = Played::register(&api, "one", r#"["INVOKE","SHUTDOWN"]"#);
        scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        // It gets no event before all extensions have asked for one, the internal one included.
        one.ask();
        two.ask();
        ping(&api);
        assert!(runtime.has_nothing() && one.next.has_nothing());
        internal.ask();
        one.event();
        respond(&mut runtime);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn an_invocation_reaches_the_runtime_and_the_extensions_that_registered_for_it() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one", "two"]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke(Event::new("in").trace_id("Root=1-2-3")));
        let (api, _) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", r#"["INVOKE"]"#);
        let mut two = Played::ready(&api, "two", r#"["SHUTDOWN"]"#);
        scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        let event = one.event();
        let next = respond(&mut runtime);
        let expected = format!(
            "{{\"eventType\":\"INVOKE\",\"deadlineMs\":{},\"requestId\":\"{}\",\
             \"invokedFunctionArn\":\"{}\",\
             \"tracing\":{{\"type\":\"X-Amzn-Trace-Id\",\"value\":\"Root=1-2-3\"}}}}",
            next.header("lambda-runtime-deadline-ms").unwrap(),
            next.id(),
            next.header("lambda-runtime-invoked-function-arn").unwrap(),
        );
        assert_eq!(event.text(), expected);
        assert_eq!(event.header("content-type"), Some("application/json"));
        assert_eq!(event.header("lambda-extension-event-identifier").unwrap().len(), 36);
        assert_eq!(caller.join().unwrap().unwrap().body, b"in");
        assert!(two.next.has_nothing());
    });
}

#[test]
fn an_invocation_is_over_when_each_extension_that_got_it_has_asked_again() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one", "two", "idle"]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let (api, _) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", r#"["INVOKE"]"#);
        let mut two = Played::ready(&api, "two", r#"["INVOKE"]"#);
        let _idle = Played::ready(&api, "idle", "[]");
        scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        respond(&mut runtime);
        let second = scope.spawn(|| lab.invoke("second"));
        one.event();
        one.ask();
        two.event();
        ping(&api);
        assert!(!caller.is_finished() && runtime.has_nothing() && one.next.has_nothing());
        two.ask();
        caller.join().unwrap().unwrap();
        assert_eq!(respond(&mut runtime).text(), "second");
        one.event();
        two.event();
        // The caller does not wait for them.
        assert_eq!(second.join().unwrap().unwrap().body, b"second");
    });
}

#[test]
fn a_registration_is_refused_in_the_order_of_the_services_checks() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one"]).start().unwrap();
    let order = |from: &str| {
        format!(
            "State transition from {from} to Registered failed for extension one. \
             Error: State transition is not allowed"
        )
    };
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 1);
        register(&api, "one", "").assert_refused(
            403,
            "InvalidRequestFormat",
            "unexpected end of JSON input",
        );
        register(&api, "one", r#"{"events":["SHUTDOWN","NOPE"]}"#).assert_refused(
            403,
            "Extension.InvalidEventType",
            "NOPE: ErrorInvalidEventType",
        );
        // Nine more make ten.
        for number in 1..10 {
            assert_eq!(register(&api, &number.to_string(), "{}").status, 200);
        }
        let limit = "Extension limit (10) reached";
        register(&api, "11th", "{}").assert_refused(403, "Extension.TooManyExtensions", limit);
        let mut one = Played::register(&api, "one", r#"["INVOKE"]"#);
        let invalid = "Extension.InvalidExtensionState";
        register(&api, "one", "{}").assert_refused(403, invalid, &order("Registered"));
        register(&api, "one", r#"{"events":["NOPE"]}"#).assert_refused(
            403,
            "Extension.InvalidEventType",
            "NOPE: ErrorInvalidEventType",
        );
        scripts.start("bootstrap", 1);
        one.ask();
        let _runtime = runtime(&api);
        wait_until("registration is closed", || {
            register(&api, "late", "{}").text().contains("closed")
        });
        // It is known which extension that is, so it is not told that registration is closed.
        register(&api, "one", "{}").assert_refused(403, invalid, &order("Ready"));
        let mut second = Connection::open(&api);
        let message = format!(
            "State transition from Ready to Ready failed for extension {}. \
             Error: State transition is not allowed",
            one.id
        );
        second.request(EVENT_NEXT, &[(ID, &one.id)], "").assert_refused(403, invalid, &message);
        lab.stop();
        assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
    });
}

#[test]
fn the_reply_to_a_registration_describes_the_function() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one"]).name("mine").handler("app.main").start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 1);
        let headers =
            [("Lambda-Extension-Name", "one"), ("Lambda-Extension-Accept-Feature", "accountId")];
        let mut connection = Connection::open(&api);
        let reply = connection.request(crate::external::REGISTER, &headers, r#"{"events":null}"#);
        let document = r#"{"functionName":"mine","functionVersion":"$LATEST","handler":"app.main","accountId":"012345678912"}"#;
        assert_eq!((reply.status, reply.text()), (200, format!("{document}\n")));
        lab.stop();
        assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
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
    for number in 1..3 {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
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
}

#[test]
fn an_extension_that_cannot_be_used_is_refused_at_the_start() {
    let scripts = Scripts::new();
    std::fs::create_dir(scripts.file("folder")).unwrap();
    std::fs::create_dir(scripts.file("other")).unwrap();
    let twin = scripts.add("other/one", WAIT);
    std::fs::write(scripts.file("text"), "text").unwrap();
    let one = scripts.add("one", WAIT);
    let function = || Function::new("/bin/true").output(Output::Discarded);
    let same = format!("{} and {} have the same file name", one.display(), twin.display());
    for (function, reason) in [
        (function().extension("/nonexistent/one"), "extension: no program /nonexistent/one"),
        (function().extension("sh"), "build it first"),
        (function().extension(scripts.file("folder")), "it is a folder"),
        (function().extension(scripts.file("text")), "it is not a program"),
        (function().extension(&one).extension(&twin), same.as_str()),
        (
            Function::external().extension(&one),
            "an external extension applies only to a program that the lab starts",
        ),
    ] {
        let error = function.start().unwrap_err();
        assert!(matches!(error, StartError::Setting(_)), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn the_options_start_extensions_by_relative_paths_and_refuse_wrong_ones() {
    let scripts = Scripts::new();
    scripts.add("bootstrap", WAIT);
    scripts.add("one", "echo from $0 >&2; exit 3");
    let mut command = crate::served::lab();
    command.current_dir(scripts.file("")).args(["run", "--extension", "one", "./bootstrap"]);
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("from {}\n", scripts.file("one").display())), "{log}");
    assert!(log.contains(" Error: exit status 3\nExtension.Crash\n"), "{log}");
    let line = "shutdown (failure): extension one had ended by itself, exit status: 3\n";
    assert!(log.contains(line), "{log}");
    for command in ["run", "serve"] {
        let mut lab = crate::served::lab();
        let lab = lab.current_dir(scripts.file("")).args([command, "--extension", "two"]);
        let output = lab.arg("./bootstrap").output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{log}");
        let reason = format!("lambda-lab: extension: no program {}", scripts.file("two").display());
        assert!(log.starts_with(&reason), "{log}");
    }
}

#[test]
fn an_extension_has_the_environment_of_the_function_without_what_describes_the_runtime() {
    let scripts = Scripts::new();
    let dump = "env -0 > \"$0.env\"; mv \"$0.env\" \"$0.seen\"; exec sleep 1000";
    let function = Function::new(scripts.add("bootstrap", dump)).timeout(PATIENCE);
    let function = function.output(Output::Discarded).extension(scripts.add("one", dump));
    let function = function.handler("app.main").variable("MINE", "my value");
    let lab = function.variable("_MINE", "hidden").variable("AWS_SECRET_ACCESS_KEY", "secret");
    let lab = lab.start().unwrap();
    let seen = |name: &str| {
        let file = scripts.file(&format!("{name}.seen"));
        wait_until("it has started", || file.exists());
        let text = std::fs::read_to_string(file).unwrap();
        let variables = text.split('\0').filter_map(|it| it.split_once('='));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        variables.collect::<std::collections::BTreeMap<_, _>>()
    };
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 1);
        let _one = Played::register(&api, "one", "[]");
        let (runtime, mut extension) = (seen("bootstrap"), seen("one"));
        let hidden = [
            "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "LAMBDA_RUNTIME_DIR",
            "LAMBDA_TASK_ROOT",
            "_HANDLER",
            "_MINE",
        ];
        for name in hidden {
            assert!(runtime.contains_key(name), "{name}");
            assert_eq!(extension.get(name), None, "{name}");
        }
        // A shell may set it.
        extension.remove("_");
        let mut rest = runtime.clone();
        rest.retain(|name, _| !name.starts_with('_') && !hidden.contains(&name.as_str()));
        assert_eq!(extension, rest);
        assert_eq!(extension["AWS_LAMBDA_RUNTIME_API"], api);
        assert_eq!(extension["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand");
        assert_eq!(extension["AWS_SECRET_ACCESS_KEY"], "secret");
        assert!(std::path::Path::new(&extension["TMPDIR"]).is_dir(), "shared with the runtime");
        lab.stop();
        assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
    });
}

#[test]
fn the_output_of_an_extension_goes_to_standard_error_and_into_the_tail_of_the_log() {
    let scripts = Scripts::new();
    let print = "echo to its output; echo to its error >&2; exec sleep 1000";
    let one = scripts.add("one", print).display().to_string();
    let script = format!("exec {}", scripts.add("bootstrap", WAIT).display());
    let mut served = Served::start(&["--extension", &one], &script);
    let mut caller = Connection::open(&served.address);
    let line = "POST /2015-03-31/functions/function/invocations";
    caller.send(request(line, &[("X-Amz-Log-Type", "Tail")], "1"));
    let (api, _) = scripts.start("one", 1);
    served.line_with("to its output");
    served.line_with("to its error");
    let _one = Played::ready(&api, "one", "[]");
    scripts.start("bootstrap", 1);
    respond(&mut runtime(&api));
    let answer = caller.response();
    let tail = answer.header("x-amz-log-result").expect("a tail");
    let tail = base64_of(tail);
    assert!(tail.contains("\nto its output\nto its error\n"), "{tail}");
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    String::from_utf8(bytes).unwrap()
}
