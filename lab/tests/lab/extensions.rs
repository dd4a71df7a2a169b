//! Internal extensions: their calls, and the replies.

use std::thread;
use std::time::Duration;

use lambda_lab::{Event, FailureKind, Function, InvokeError, Lab, Output};

use crate::support::{
    Connection, NEXT, PATIENCE, Response, await_process, external, of, request, script, wait_until,
};

const REGISTER: &str = "POST /2020-01-01/extension/register";
const EVENT_NEXT: &str = "GET /2020-01-01/extension/event/next";
const INIT_ERROR: &str = "POST /2020-01-01/extension/init/error";
const EXIT_ERROR: &str = "POST /2020-01-01/extension/exit/error";
const ID: &str = "Lambda-Extension-Identifier";

fn register(lab: &Lab, name: &str, body: &str) -> Response {
    let mut connection = Connection::open(lab.runtime_api());
    connection.request(REGISTER, &[("Lambda-Extension-Name", name)], body)
}

fn registered(lab: &Lab, body: &str) -> String {
    let response = register(lab, "mine", body);
    assert_eq!(response.status, 200, "{}", response.text());
    response.header("lambda-extension-identifier").unwrap().to_owned()
}

/// A new connection on which the extension asks for its next event.
fn asked(lab: &Lab, id: &str) -> Connection {
    let mut connection = Connection::open(lab.runtime_api());
    connection.send(request(EVENT_NEXT, &[(ID, id)], ""));
    connection
}

/// A connection that shows the lab that the process which uses it is there.
fn present(lab: &Lab) -> Connection {
    let mut connection = Connection::open(lab.runtime_api());
    assert_eq!(connection.request("GET /2018-06-01/ping", &[], "").text(), "pong");
    connection
}

/// Waits for a reply. By then, the lab has most likely read what other connections sent before.
fn ping(lab: &Lab) {
    present(lab);
}

fn respond(runtime: &mut Connection, event: &Response) {
    runtime.post(&of(&event.id(), "response"), &event.body).assert_accepted();
}

#[test]
fn the_reply_to_a_registration_describes_the_function() {
    let lab = Function::external().name("my-function").handler("app.\"main\"");
    let lab = lab.output(Output::Discarded).start().unwrap();
    let mut ids = Vec::new();
    for (features, account) in [
        ("", ""),
        ("accountId", ",\"accountId\":\"012345678912\""),
        ("other, accountId ", ",\"accountId\":\"012345678912\""),
        ("accountid", ""),
    ] {
        let name = format!("extension {}", ids.len());
        let headers = [
            ("Lambda-Extension-Name", name.as_str()),
            ("Lambda-Extension-Accept-Feature", features),
        ];
        let response = Connection::open(lab.runtime_api()).request(REGISTER, &headers, "{}");
        assert_eq!(response.status, 200);
        let expected = format!(
            "{{\"functionName\":\"my-function\",\"functionVersion\":\"$LATEST\",\
             \"handler\":\"app.\\\"main\\\"\"{account}}}\n"
        );
        assert_eq!(response.text(), expected);
        assert_eq!(response.header("content-type"), Some("application/json"));
        ids.push(response.header("lambda-extension-identifier").unwrap().to_owned());
    }
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn a_registration_is_refused_in_the_order_of_the_services_checks() {
    let lab = external();
    let _process = present(&lab);
    let no_name = ("Extension.InvalidExtensionName", "Empty extension name");
    let end = ("InvalidRequestFormat", "unexpected end of JSON input");
    let deprecated = (
        "InvalidRequestFormat",
        "configurationKeys are deprecated; use environment variables instead",
    );
    let unknown = ("Extension.InvalidEventType", "NOPE: ErrorInvalidEventType");
    let shutdown =
        ("Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension");
    let taken = ("Extension.InvalidExtensionState", "Extension with this name already registered");
    let limit = ("Extension.TooManyExtensions", "Extension limit (10) reached");
    let closed = ("Extension.RegistrationClosed", "Extension registration closed already");
    let assert_refused = |name: &str, body: &str, (error_type, message): (&str, &str)| {
        register(&lab, name, body).assert_refused(403, error_type, message);
    };
    assert_refused("", "nonsense", no_name);
    assert_refused("a", "", end);
    assert_refused("a", r#"{"events":["NOPE"],"configurationKeys":["x"]}"#, deprecated);
    assert_refused("a", r#"{"events":["INVOKE","NOPE","SHUTDOWN"]}"#, unknown);
    assert_refused("a", r#"{"events":["SHUTDOWN","NOPE"]}"#, shutdown);
    assert_eq!(register(&lab, "a", r#"{"events":["INVOKE"]}"#).status, 200);
    assert_refused("a", "{}", taken);
    assert_refused("a", r#"{"events":["NOPE"]}"#, unknown);
    for number in 1..10 {
        assert_eq!(register(&lab, &number.to_string(), "{}").status, 200);
    }
    assert_refused("11th", "{}", limit);
    assert_refused("a", "{}", limit);
    Connection::open(lab.runtime_api()).send(request(NEXT, &[], ""));
    wait_until("registration is closed", || register(&lab, "late", "{}").text().contains("closed"));
    assert_refused("a", "{}", closed);
    assert_refused("late", r#"{"events":["SHUTDOWN"]}"#, shutdown);
    assert_refused("late", "", end);
}

#[test]
fn a_registration_is_read_by_the_rules_of_go() {
    let lab = external();
    let format = |message: &str| ("InvalidRequestFormat", message.to_owned());
    let event =
        |name: &str| ("Extension.InvalidEventType", format!("{name}: ErrorInvalidEventType"));
    let go_type = r#"struct { handler.RegisterRequest; ConfigurationKeys []string \"json:\\\"configurationKeys\\\"\" }"#;
    for (body, (error_type, message)) in [
        ("[]", format(&format!("json: cannot unmarshal array into Go value of type {go_type}"))),
        ("null x", format("invalid character 'x' after top-level value")),
        (r#"{"EVENTS":["NOPE"]}"#, event("NOPE")),
        (r#"{"events":["A"],"Events":["B"]}"#, event("B")),
        (r#"{"events":["<\ud800>"]}"#, event("\\u003c\u{fffd}\\u003e")),
    ] {
        register(&lab, "mine", body).assert_refused(403, error_type, &message);
    }
    assert_eq!(register(&lab, "null", "null").status, 200);
    assert_eq!(register(&lab, "\u{e9}", r#"{"events":["INVOKE"],"events":null}"#).status, 200);
}

#[test]
fn calls_without_a_valid_identifier_are_refused_with_the_reason() {
    let lab = external();
    let mut connection = Connection::open(lab.runtime_api());
    let nobody = "00000000-0000-0000-0000-000000000000";
    for line in [EVENT_NEXT, INIT_ERROR, EXIT_ERROR] {
        for headers in [&[][..], &[(ID, "")]] {
            connection.request(line, headers, "").assert_refused(
                403,
                "Extension.MissingExtensionIdentifier",
                "Missing Lambda-Extension-Identifier header",
            );
        }
        connection.request(line, &[(ID, "me")], "").assert_refused(
            403,
            "Extension.InvalidExtensionIdentifier",
            "Invalid Lambda-Extension-Identifier",
        );
        let headers = [(ID, nobody), ("Lambda-Extension-Function-Error-Type", "T")];
        let message = match line {
            EVENT_NEXT => format!("Unknown extension {nobody}"),
            _ => "Unknown Lambda-Extension-Identifier".to_owned(),
        };
        let unknown = "Extension.UnknownExtensionIdentifier";
        connection.request(line, &headers, "").assert_refused(403, unknown, &message);
    }
    let id = registered(&lab, "{}");
    for line in [INIT_ERROR, EXIT_ERROR] {
        connection.request(line, &[(ID, &id)], "{}").assert_refused(
            403,
            "Extension.MissingHeader",
            "Lambda-Extension-Function-Error-Type not found",
        );
    }
}

#[test]
fn an_extension_gets_each_invocation_that_the_runtime_gets() {
    let lab = external();
    let id = registered(&lab, r#"{"events":["INVOKE"]}"#);
    let mut extension = Connection::open(lab.runtime_api());
    let mut runtime = Connection::open(lab.runtime_api());
    let mut seen = Vec::new();
    for trace_id in [None, Some("Root=1-2-3")] {
        let event = Event::new("in");
        let event = trace_id.map_or(event.clone(), |it| event.trace_id(it));
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke(event));
            extension.send(request(EVENT_NEXT, &[(ID, &id)], ""));
            let next = runtime.request(NEXT, &[], "");
            let event = extension.response();
            let deadline = next.header("lambda-runtime-deadline-ms").unwrap();
            let arn = next.header("lambda-runtime-invoked-function-arn").unwrap();
            let tracing = trace_id.map_or(String::new(), |it| {
                format!(",\"tracing\":{{\"type\":\"X-Amzn-Trace-Id\",\"value\":\"{it}\"}}")
            });
            let expected = format!(
                "{{\"eventType\":\"INVOKE\",\"deadlineMs\":{deadline},\"requestId\":\"{}\",\
                 \"invokedFunctionArn\":\"{arn}\"{tracing}}}",
                next.id()
            );
            assert_eq!((event.status, event.text()), (200, expected));
            assert_eq!(event.header("content-type"), Some("application/json"));
            seen.push(event.header("lambda-extension-event-identifier").unwrap().to_owned());
            respond(&mut runtime, &next);
            assert_eq!(caller.join().unwrap().unwrap().body, b"in");
        });
    }
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn an_extension_without_events_waits_through_all_invocations_to_the_end() {
    let lab = external();
    let id = registered(&lab, "{}");
    let mut extension = asked(&lab, &id);
    let mut runtime = Connection::open(lab.runtime_api());
    for _ in 0..3 {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let next = runtime.request(NEXT, &[], "");
            respond(&mut runtime, &next);
            caller.join().unwrap().unwrap();
        });
    }
    assert!(extension.has_nothing());
    lab.stop();
    assert!(extension.is_closed() || extension.response().status == 500);
}

#[test]
fn no_event_is_delivered_before_every_extension_has_asked() {
    for body in ["{}", r#"{"events":["INVOKE"]}"#] {
        let lab = external();
        let id = registered(&lab, body);
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let mut runtime = present(&lab);
            runtime.send(request(NEXT, &[], ""));
            wait_until("registration is closed", || {
                // The name is taken, so this never registers anything.
                register(&lab, "mine", "{}").text().contains("closed")
            });
            ping(&lab);
            assert!(runtime.has_nothing(), "{body}");
            let _extension = asked(&lab, &id);
            let next = runtime.response();
            respond(&mut runtime, &next);
            assert_eq!(caller.join().unwrap().unwrap().body, b"in");
        });
    }
}

#[test]
fn an_invocation_is_over_when_its_extension_has_asked_again() {
    let lab = external();
    let id = registered(&lab, r#"{"events":["INVOKE"]}"#);
    let mut extension = asked(&lab, &id);
    let mut runtime = Connection::open(lab.runtime_api());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let next = runtime.request(NEXT, &[], "");
        assert_eq!(extension.response().status, 200);
        respond(&mut runtime, &next);
        runtime.send(request(NEXT, &[], ""));
        let second = scope.spawn(|| lab.invoke("second"));
        ping(&lab);
        assert!(!caller.is_finished());
        assert!(runtime.has_nothing());
        extension.send(request(EVENT_NEXT, &[(ID, &id)], ""));
        caller.join().unwrap().unwrap();
        let next = runtime.response();
        assert_eq!((next.text().as_str(), extension.response().status), ("second", 200));
        respond(&mut runtime, &next);
        second.join().unwrap().unwrap();
    });
}

#[test]
fn an_extension_that_does_not_ask_again_uses_up_the_timeout() {
    let lab = Function::external().timeout(Duration::from_millis(300));
    let lab = lab.output(Output::Discarded).start().unwrap();
    let id = registered(&lab, r#"{"events":["INVOKE"]}"#);
    let _extension = asked(&lab, &id);
    let mut runtime = Connection::open(lab.runtime_api());
    thread::scope(|scope| {
        let began = std::time::Instant::now();
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let next = runtime.request(NEXT, &[], "");
        respond(&mut runtime, &next);
        runtime.send(request(NEXT, &[], ""));
        // The caller has its answer nevertheless.
        caller.join().unwrap().unwrap();
        assert!(began.elapsed() >= Duration::from_millis(300));
    });
}

#[test]
fn a_second_open_next_is_refused_and_a_disconnected_extension_may_ask_again() {
    let lab = external();
    let id = registered(&lab, r#"{"events":["INVOKE"]}"#);
    let mut first = asked(&lab, &id);
    let mut runtime = Connection::open(lab.runtime_api());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let next = runtime.request(NEXT, &[], "");
        respond(&mut runtime, &next);
        runtime.send(request(NEXT, &[], ""));
        assert!(first.response().text().contains(&next.id()));
        first.send(request(EVENT_NEXT, &[(ID, &id)], ""));
        // The invocation is over when the lab has read the second request of the extension.
        caller.join().unwrap().unwrap();
    });
    let mut second = Connection::open(lab.runtime_api());
    let message = format!(
        "State transition from Ready to Ready failed for extension {id}. \
         Error: State transition is not allowed"
    );
    let refused = second.request(EVENT_NEXT, &[(ID, &id)], "");
    refused.assert_refused(403, "Extension.InvalidExtensionState", &message);
    drop(first);
    // The lab may need a moment to see that the connection ended; until then it may get the event.
    for _ in 0..20 {
        ping(&lab);
    }
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let next = runtime.response();
        wait_until("the first has gone", || {
            let event = second.request(EVENT_NEXT, &[(ID, &id)], "");
            event.status == 200 && event.text().contains(&next.id())
        });
        respond(&mut runtime, &next);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn an_error_of_an_extension_becomes_the_reason_of_the_exit() {
    for (line, error_type) in
        [(INIT_ERROR, "Extension.InitError"), (EXIT_ERROR, "Extension.ExitError")]
    {
        let lab = script("exec sleep 1000").start().unwrap();
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let pid = await_process(&lab);
            let id = registered(&lab, "{}");
            let mut extension = Connection::open(lab.runtime_api());
            let headers = [(ID, id.as_str()), ("Lambda-Extension-Function-Error-Type", "Mine.X")];
            for _ in 0..2 {
                extension.request(line, &headers, "{\"errorType\":\"X\"}").assert_accepted();
            }
            let asks = extension.request(EVENT_NEXT, &headers, "");
            assert!(asks.text().contains("to Ready failed for extension"), "{}", asks.text());
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            let Err(InvokeError::Function(failure)) = caller.join().unwrap() else {
                panic!("the process has ended")
            };
            assert_eq!(failure.kind, FailureKind::Exit);
            assert_eq!(failure.error_type().as_deref(), Some(error_type), "{failure}");
        });
    }
}

#[test]
fn a_new_process_starts_without_the_extensions_of_the_previous_one() {
    let lab = script("exec sleep 1000").start().unwrap();
    for _ in 0..2 {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let pid = await_process(&lab);
            registered(&lab, "{}");
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            caller.join().unwrap().unwrap_err();
        });
    }
}

#[test]
fn on_managed_instances_extensions_get_no_events_but_delay_the_first_invocations() {
    let lab = Function::external().concurrency(2).timeout(PATIENCE);
    let lab = lab.output(Output::Discarded).start().unwrap();
    for body in [r#"{"events":["INVOKE"]}"#, r#"{"events":["SHUTDOWN"]}"#] {
        register(&lab, "mine", body).assert_refused(
            403,
            "Extension.InvalidEventType",
            "No events allowed for internal extensions",
        );
    }
    let id = registered(&lab, "{}");
    let mut slots = [(); 2].map(|()| Connection::open(lab.runtime_api()));
    thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(|| lab.invoke("in")));
        for slot in &mut slots {
            slot.send(request(NEXT, &[], ""));
        }
        ping(&lab);
        assert!(slots.iter_mut().all(Connection::has_nothing));
        let mut extension = asked(&lab, &id);
        for slot in &mut slots {
            let next = slot.response();
            respond(slot, &next);
        }
        for caller in callers {
            caller.join().unwrap().unwrap();
        }
        assert!(extension.has_nothing());
    });
}

#[test]
fn other_paths_and_methods_of_the_extensions_api_are_refused() {
    let lab = external();
    let mut connection = Connection::open(lab.runtime_api());
    for path in ["", "event", "event/next/", "registers"] {
        let refused = connection.request(&format!("GET /2020-01-01/extension/{path}"), &[], "");
        assert_eq!((refused.status, refused.text().as_str()), (404, "404 page not found\n"));
    }
    for (line, allowed) in [
        ("GET /2020-01-01/extension/register", "POST"),
        ("POST /2020-01-01/extension/event/next", "GET"),
        ("PUT /2020-01-01/extension/init/error", "POST"),
        ("GET /2020-01-01/extension/exit/error", "POST"),
    ] {
        let refused = connection.request(line, &[], "");
        assert_eq!((refused.status, refused.header("allow")), (405, Some(allowed)), "{line}");
    }
}
