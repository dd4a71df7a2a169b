//! Callers over HTTP: statuses, headers, and callers that misbehave.

use std::time::Duration;

use lambda_lab::{Lab, MAX_PAYLOAD};

use crate::support::{Connection, Response, external, function, json, request, script, wait_until};

const EMULATOR: &str = "/2015-03-31/functions/function/invocations";
const INVOKE_API: &str = "/2015-03-31/functions/my-function/invocations";

/// The event is text, which is posted as a JSON string.
fn posted(lab: &Lab, path: &str, event: &str) -> Response {
    Connection::open(lab.address()).post(path, json(event))
}

#[test]
fn an_answer_comes_with_the_headers_of_the_invoke_api() {
    let lab = function().start().unwrap();
    for path in [
        EMULATOR,
        INVOKE_API,
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af/invocations",
        "/2015-03-31/functions/f/invocations?Qualifier=live",
    ] {
        let answer = posted(&lab, path, "in");
        assert_eq!((answer.status, answer.text()), (200, json("in")), "{path}");
        assert_eq!(answer.header("x-amz-executed-version"), Some("$LATEST"));
        assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));
        assert_eq!(answer.header("x-amz-function-error"), None);
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    }
}

#[test]
fn a_connection_serves_many_invocations() {
    let lab = function().start().unwrap();
    let mut caller = Connection::open(lab.address());
    for number in 0..100 {
        assert_eq!(caller.post(EMULATOR, format!("{number}")).text(), number.to_string());
    }
}

#[test]
fn a_failure_is_reported_in_the_form_that_its_caller_expects() {
    let id = "00000000-0000-0000-0000-000000000000";
    let exit = format!(
        "{{\"errorType\":\"Runtime.ExitError\",\"errorMessage\":\
         \"RequestId: {id} Error: Runtime exited with error: exit status 3\"}}"
    );
    let timed_out = format!(
        "{{\"errorType\":\"Sandbox.Timedout\",\"errorMessage\":\
         \"RequestId: {id} Error: Task timed out after 0.40 seconds\"}}"
    );
    let told = r#"{"errorType":"Function.Told","errorMessage":"me"}"#;
    let lab = function().timeout(Duration::from_millis(400)).start().unwrap();
    for (path, event, status, body) in [
        (EMULATOR, "fail me", 200, told),
        (INVOKE_API, "fail me", 200, told),
        (EMULATOR, "exit 3", 502, exit.as_str()),
        (INVOKE_API, "exit 3", 200, exit.as_str()),
        (EMULATOR, "sleep 30000", 200, "Task timed out after 0.40 seconds"),
        (INVOKE_API, "sleep 30000", 200, timed_out.as_str()),
    ] {
        let answer = posted(&lab, path, event);
        let request_id = answer.header("x-amzn-requestid").expect("a request id");
        assert_eq!(answer.text().replace(request_id, id), body, "{path} {event}");
        assert_eq!(answer.status, status, "{path} {event}");
        assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn an_event_at_the_limit_is_accepted_and_one_byte_more_is_refused() {
    let lab = function().start().unwrap();
    let event = "1".repeat(MAX_PAYLOAD);
    let mut caller = Connection::open(lab.address());
    assert!(caller.post(INVOKE_API, &event).body == event.as_bytes());
    let refused = caller.post(INVOKE_API, format!("{event}1"));
    assert_eq!(refused.status, 413);
    assert_eq!(refused.header("x-amzn-errortype"), Some("RequestTooLargeException"));
    assert!(refused.text().contains("6291557 bytes"), "{}", refused.text());
    // The connection can still be used.
    assert_eq!(caller.post(INVOKE_API, "2").text(), "2");
}

#[test]
fn an_asynchronous_invocation_is_accepted_and_runs() {
    let file = std::env::temp_dir().join(format!("lambda-lab-test-{}", std::process::id()));
    let lab = script(&format!("echo ran > {}; exit 1", file.display())).start().unwrap();
    let mut caller = Connection::open(lab.address());
    let line = format!("POST {INVOKE_API}");
    let accepted = caller.request(&line, &[("X-Amz-Invocation-Type", "Event")], "{}");
    assert_eq!((accepted.status, accepted.body.len()), (202, 0));
    wait_until("the function has run", || file.exists());
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_dry_run_runs_nothing_and_an_unknown_type_is_refused() {
    let lab = script("exit 1").start().unwrap();
    let mut caller = Connection::open(lab.address());
    let line = format!("POST {INVOKE_API}");
    let dry = caller.request(&line, &[("X-Amz-Invocation-Type", "DryRun")], "{}");
    assert_eq!(dry.status, 204);
    let refused = caller.request(&line, &[("X-Amz-Invocation-Type", "event")], "{}");
    assert_eq!(refused.status, 400);
    assert_eq!(refused.header("x-amzn-errortype"), Some("InvalidParameterValueException"));
}

#[test]
fn a_client_context_that_cannot_be_a_header_is_refused() {
    let lab = script("exit 1").start().unwrap();
    let mut caller = Connection::open(lab.address());
    for (context, what) in [
        ("!!!", "not base64-encoded text"),
        ("/w==", "not base64-encoded text"),
        ("AA==", "client context contains a control character"),
    ] {
        let header = [("X-Amz-Client-Context", context)];
        let refused = caller.request(&format!("POST {INVOKE_API}"), &header, "{}");
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(what), "{}", refused.text());
        assert_eq!(refused.header("x-amzn-errortype"), Some("InvalidRequestContentException"));
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    let lab = script("exit 1").start().unwrap();
    let mut caller = Connection::open(lab.address());
    for path in ["/", "/2015-03-31/functions//invocations", "/2015-03-31/functions/a/b/invocations"]
    {
        assert_eq!(caller.post(path, "{}").status, 404, "{path}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let refused = caller.request(&format!("{method} {EMULATOR}"), &[], "");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
    }
}

#[test]
fn malformed_and_incomplete_requests_do_not_affect_other_callers() {
    let lab = function().start().unwrap();
    let head = format!("POST {EMULATOR} HTTP/1.1\r\nHost: localhost\r\n");
    let long = format!("{head}X: {}\r\n\r\n", "x".repeat(8 << 20));
    let many = format!("{head}{}\r\n", "X: y\r\n".repeat(100_000));
    let bad_chunks = format!("{head}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    let half_body = format!("{head}Content-Length: 100\r\n\r\nhalf");
    let huge = format!("{head}Content-Length: 99999999999999\r\n\r\nx");
    let endless = format!("{head}Content-Length: 18446744073709551616\r\n\r\n");
    let mut open = Vec::new();
    for bytes in
        ["", "P", &head, "\0\0\0", "GET", &long, &many, &bad_chunks, &half_body, &huge, &endless]
    {
        let mut stays = Connection::open(lab.address());
        stays.send_if_it_reads(bytes);
        open.push(stays);
        let mut leaves = Connection::open(lab.address());
        leaves.send_if_it_reads(bytes);
        drop(leaves);
        let mut says_so = Connection::open(lab.address());
        says_so.send_if_it_reads(bytes);
        says_so.end_writing();
        assert_eq!(posted(&lab, EMULATOR, "still here").text(), json("still here"));
    }
}

#[test]
fn a_caller_that_ends_writing_gets_its_answer() {
    let lab = function().start().unwrap();
    let mut caller = Connection::open(lab.address());
    caller.send(request(&format!("POST {EMULATOR}"), &[], "1"));
    caller.end_writing();
    assert_eq!(caller.response().text(), "1");
    assert!(caller.is_closed());
}

#[test]
fn a_caller_that_disconnects_at_any_stage_does_not_affect_others() {
    let lab = function().start().unwrap();
    let bytes = request(&format!("POST {EMULATOR}"), &[], json("answer-and-sleep 1"));
    for length in 0..=bytes.len() {
        Connection::open(lab.address()).send(&bytes[..length]);
    }
    assert_eq!(posted(&lab, EMULATOR, "still here").text(), json("still here"));
}

#[test]
fn both_servers_refuse_a_request_without_exactly_one_host_of_ascii() {
    let lab = external();
    let hosts = [&b""[..], b"Host: a\r\nHost: a\r\n", b"Host: localhost\xe9.example\r\n"];
    for (address, has_id) in [(lab.address().to_string(), true), (lab.runtime_api(), false)] {
        for hosts in hosts {
            let mut connection = Connection::open(&address);
            connection.send([b"GET /2018-06-01/ping HTTP/1.1\r\n", hosts, b"\r\n"].concat());
            let refused = connection.response();
            assert_eq!(refused.status, 400, "{hosts:?}");
            assert_eq!(refused.header("x-amzn-requestid").is_some(), has_id, "{hosts:?}");
            assert!(connection.is_closed(), "{hosts:?}");
        }
    }
    let mut old = Connection::open(lab.runtime_api());
    old.send("GET /2018-06-01/ping HTTP/1.0\r\n\r\n");
    assert_eq!(old.response().text(), "pong");
}
