//! External extensions: how they start and register, and the events that they get.

use std::thread;

use lambda_lab::{Event, Function, InvokeError, Output, StartError};

use crate::external::{EVENT_NEXT, ID, Played, Scripts, WAIT, ping, register, respond, runtime};
use crate::served::Served;
use crate::support::{Connection, PATIENCE, request, wait_until};

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
