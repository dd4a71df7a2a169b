//! The Invoke API as SDKs know it: payloads, function names, asynchronous events, request ids.

use std::time::Duration;

use lambda_lab::{Event, Function, Lab, MAX_PAYLOAD, Output};

use crate::served::{Served, lab};
use crate::support::{
    Connection, NEXT, Response, external, function, json, of, request, script, wait_until,
};

const EVENT: [(&str, &str); 1] = [("X-Amz-Invocation-Type", "Event")];

fn path(function: &str) -> String {
    format!("/2015-03-31/functions/{function}/invocations")
}

/// Posts an event to this function, answers it, and returns what the runtime and the caller got.
fn exchanged(lab: &Lab, path: &str, event: impl AsRef<[u8]>) -> (Response, Response) {
    let mut caller = Connection::open(lab.address());
    caller.send(request(&format!("POST {path}"), &[], event));
    let mut runtime = Connection::open(lab.runtime_api());
    let next = runtime.request(NEXT, &[], "");
    runtime.post(&of(&next.id(), "response"), "1").assert_accepted();
    (next, caller.response())
}

#[track_caller]
fn assert_exception(response: &Response, status: u16, exception: &str, message: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("x-amzn-errortype"), Some(exception));
    assert!(response.text().contains(message), "{}", response.text());
}

#[test]
fn no_payload_is_an_empty_object() {
    let lab = external();
    for name in ["function", "my-function"] {
        let (next, _) = exchanged(&lab, &path(name), "");
        assert_eq!(next.text(), "{}");
    }
}

#[test]
fn a_payload_that_is_not_json_is_refused() {
    let lab = script("exit 1").start().unwrap();
    let mut caller = Connection::open(lab.address());
    for (payload, reason) in [
        // What AWS CLI 2 makes of `{"key":1}` without `--cli-binary-format`.
        (&b"\x97\xff\xabkey"[..], "invalid UTF-8 at byte 0"),
        (b"STRING_VALUE", "expected value at line 1 column 1"),
        (b"{\"a\":1} and more", "trailing characters"),
        (b"{'a':1}", "key must be a string"),
        (b"{\"a\":1,}", "key must be a string"),
        (b"\"a\nb\"", "control character"),
        (b"\"\xff\"", "invalid UTF-8 at byte 1"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"NaN", "expected"),
        (b" ", "EOF"),
        (b"[", "EOF"),
    ] {
        for (name, headers) in [("function", &[][..]), ("f", &[][..]), ("f", &EVENT[..])] {
            let refused = caller.request(&format!("POST {}", path(name)), headers, payload);
            let exception = "InvalidRequestContentException";
            assert_exception(&refused, 400, exception, "Could not parse request body into json: ");
            assert_exception(&refused, 400, exception, reason);
            assert!(refused.text().starts_with(r#"{"Type":"User","message":""#));
        }
    }
}

#[test]
fn every_json_text_is_passed_on_unchanged() {
    let lab = function().start().unwrap();
    let mut caller = Connection::open(lab.address());
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for event in [
        "null",
        " { \"a\" : 1, \"a\" : 2 } \r\n",
        "123456789012345678901234567890.5e99999",
        r#""\ud800 and \u0000""#,
        "\"é😀\"",
        &deep,
        &deep_objects,
    ] {
        let answer = caller.post(&path("f"), event);
        assert!(answer.body == event.as_bytes(), "{} {:.80}", answer.status, answer.text());
    }
}

#[test]
fn the_function_sees_the_arn_that_was_invoked() {
    let lab = external();
    let own = "arn:aws:lambda:us-east-1:012345678912:function";
    for (name, arn, version) in [
        ("function", format!("{own}:test_function"), "$LATEST"),
        ("function?Qualifier=live", format!("{own}:test_function:live"), "$LATEST"),
        ("my-fn", format!("{own}:my-fn"), "$LATEST"),
        ("my-fn:live", format!("{own}:my-fn:live"), "$LATEST"),
        ("my-fn?Qualifier=live", format!("{own}:my-fn:live"), "$LATEST"),
        ("my-fn:live?Qualifier=live", format!("{own}:my-fn:live"), "$LATEST"),
        ("my-fn?Qualifier=", format!("{own}:my-fn"), "$LATEST"),
        ("my-fn?a=b&Qualifier=7", format!("{own}:my-fn:7"), "7"),
        ("my-fn:%24LATEST", format!("{own}:my-fn:$LATEST"), "$LATEST"),
        ("my-fn:$LATEST.PUBLISHED", format!("{own}:my-fn:$LATEST.PUBLISHED"), "$LATEST.PUBLISHED"),
        ("a.b_c-D", format!("{own}:a.b_c-D"), "$LATEST"),
        (
            "123456789012:function:my-fn:live",
            "arn:aws:lambda:us-east-1:123456789012:function:my-fn:live".into(),
            "$LATEST",
        ),
        (
            "arn%3Aaws-cn%3Alambda%3Acn-north-1%3A123456789012%3Afunction%3Amy-fn",
            "arn:aws-cn:lambda:cn-north-1:123456789012:function:my-fn".into(),
            "$LATEST",
        ),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:my-fn:3",
            "arn:aws:lambda:eu-west-1:123456789012:function:my-fn:3".into(),
            "3",
        ),
    ] {
        let (name, query) = name
            .split_once('?')
            .map_or((name, String::new()), |(name, query)| (name, format!("?{query}")));
        let (next, answer) = exchanged(&lab, &format!("{}{query}", path(name)), "{}");
        let heard = next.header("lambda-runtime-invoked-function-arn");
        assert_eq!(heard, Some(arn.as_str()), "{name}{query}");
        assert_eq!(answer.header("x-amz-executed-version"), Some(version), "{name}{query}");
    }
}

#[test]
fn names_and_qualifiers_that_lambda_refuses_are_refused_in_its_words() {
    let lab = script("exit 1").start().unwrap();
    let mut caller = Connection::open(lab.address());
    let long = "f".repeat(65);
    let longer = "f".repeat(257);
    let alias = "a".repeat(129);
    for (name, query, exception, message) in [
        ("a%20b", "", "ValidationException", "Value 'a b' at 'functionName' failed to satisfy"),
        ("a%2Fb", "", "ValidationException", "satisfy regular expression pattern"),
        ("%ff", "", "ValidationException", "functionName"),
        (":live", "", "ValidationException", "functionName"),
        ("a:", "", "ValidationException", "functionName"),
        ("a:b:c:d", "", "ValidationException", "functionName"),
        ("a:$NEWEST", "", "ValidationException", "functionName"),
        ("arn:aws:lambda:us-east-1:1:function:f", "", "ValidationException", "functionName"),
        ("arn:aws:s3:us-east-1:123456789012:function:f", "", "ValidationException", "arn:aws:s3"),
        ("arn:aws:lambda:a%0Ab:123456789012:function:f", "", "ValidationException", "a\\nb"),
        (&long, "", "ValidationException", "length less than or equal to 64"),
        (&longer, "", "ValidationException", "length less than or equal to 256"),
        ("f", "?Qualifier=a%20b", "ValidationException", "Value 'a b' at 'qualifier'"),
        ("f", &format!("?Qualifier={alias}"), "ValidationException", "less than or equal to 128"),
        (
            "f:live",
            "?Qualifier=test",
            "InvalidParameterValueException",
            "derived qualifier from the function name does not match the specified qualifier",
        ),
    ] {
        let refused = caller.post(&format!("{}{query}", path(name)), "{}");
        assert_exception(&refused, 400, exception, message);
    }
}

#[test]
fn every_answer_has_a_request_id_and_that_of_an_invocation_is_what_the_function_sees() {
    let lab = external();
    let (next, answer) = exchanged(&lab, &path("f"), "1");
    assert_eq!(answer.header("x-amzn-requestid"), Some(next.id().as_str()));

    let mut caller = Connection::open(lab.address());
    let line = format!("POST {}", path("f"));
    let accepted = caller.request(&line, &EVENT, "2");
    assert_eq!(accepted.status, 202);
    let mut runtime = Connection::open(lab.runtime_api());
    let next = runtime.request(NEXT, &[], "");
    assert_eq!(accepted.header("x-amzn-requestid"), Some(next.id().as_str()));

    let dry = [("X-Amz-Invocation-Type", "DryRun")];
    let large = "1".repeat(MAX_PAYLOAD + 1);
    let get = format!("GET {}", path("f"));
    let mut seen = Vec::new();
    for (line, headers, body, status) in [
        (line.as_str(), &dry[..], "3", 204),
        (&line, &[], "no JSON", 400),
        (&line, &[("Origin", "http://page.example")], "4", 403),
        ("POST /", &[], "5", 404),
        (&get, &[], "", 405),
        (&line, &[], &large, 413),
    ] {
        let response = caller.request(line, headers, body);
        assert_eq!(response.status, status);
        seen.push(response.header("x-amzn-requestid").expect("a request id").to_owned());
    }
    caller.send(request(&line, &[], "6"));
    lab.stop();
    let stopped = caller.response();
    assert_exception(&stopped, 500, "ServiceException", "the lab has been stopped");
    seen.push(stopped.header("x-amzn-requestid").expect("a request id").to_owned());
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert!(seen.len() == count && seen.iter().all(|id| id.len() == 36), "{seen:?}");
}

#[test]
fn an_asynchronous_event_may_have_one_mebibyte() {
    let lab = external();
    let mut caller = Connection::open(lab.address());
    let line = format!("POST {}", path("f"));
    let event = "1".repeat(1 << 20);
    assert_eq!(caller.request(&line, &EVENT, &event).status, 202);
    let refused = caller.request(&line, &EVENT, format!("{event}1"));
    let message = "1048577 byte payload is too large for the Event invocation type \
                   (limit 1048576 bytes)";
    assert_exception(&refused, 413, "RequestTooLargeException", message);
    let next = Connection::open(lab.runtime_api()).request(NEXT, &[], "");
    assert_eq!(next.body.len(), 1 << 20);
}

#[test]
fn asynchronous_events_for_which_there_is_no_room_are_refused() {
    // The first one must not time out, which would make room, before all have been posted.
    let function = Function::external().timeout(Duration::from_secs(3600));
    let lab = function.output(Output::Discarded).start().unwrap();
    let mut caller = Connection::open(lab.address());
    let line = format!("POST {}", path("f"));
    let event = "1".repeat(1 << 20);
    for number in 0..64 {
        assert_eq!(caller.request(&line, &EVENT, &event).status, 202, "{number}");
    }
    let refused = caller.request(&line, &EVENT, "{}");
    assert_exception(&refused, 429, "TooManyRequestsException", "too many asynchronous events");
    // An answer makes room again.
    let mut runtime = Connection::open(lab.runtime_api());
    let next = runtime.request(NEXT, &[], "");
    runtime.post(&of(&next.id(), "response"), "1").assert_accepted();
    wait_until("there is room", || caller.request(&line, &EVENT, "{}").status == 202);
}

#[test]
fn an_asynchronous_event_that_cannot_be_a_header_is_refused() {
    let lab = script("exit 1").start().unwrap();
    let headers = [EVENT[0], ("X-Amz-Client-Context", "AA==")];
    let line = format!("POST {}", path("f"));
    let refused = Connection::open(lab.address()).request(&line, &headers, "{}");
    assert_exception(&refused, 400, "InvalidRequestContentException", "control character");
}

#[test]
fn an_embedded_event_is_not_checked_unless_it_is_made_as_json() {
    let lab = function().start().unwrap();
    for event in [&b""[..], b"\xff", b"no JSON"] {
        assert_eq!(lab.invoke(event).unwrap().body, event);
    }
    assert_eq!(lab.invoke(Event::json("").unwrap()).unwrap().text(), "{}");
    assert_eq!(lab.invoke(Event::json("[1]").unwrap()).unwrap().text(), "[1]");
    let error = Event::json("hello").unwrap_err().to_string();
    assert_eq!(error, "expected value at line 1 column 1");
}

#[test]
fn the_region_is_the_same_in_both_variables_and_in_the_arn() {
    let one = |function: Function| {
        let lab = function.start().unwrap();
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .map(|name| lab.invoke(format!("env {name}")).unwrap().text());
        (variables, lab.invoke("arn").unwrap().text())
    };
    for (variables, region, partition) in [
        (&[("AWS_REGION", "eu-west-1")][..], "eu-west-1", "aws"),
        (&[("AWS_DEFAULT_REGION", "cn-north-1")], "cn-north-1", "aws-cn"),
        (&[("AWS_DEFAULT_REGION", "a-1"), ("AWS_REGION", "b-1")], "b-1", "aws"),
    ] {
        let function = variables
            .iter()
            .fold(function(), |function, (name, value)| function.variable(*name, *value));
        let (seen, arn) = one(function);
        assert_eq!(seen, [region, region]);
        assert_eq!(
            arn,
            format!("arn:{partition}:lambda:{region}:012345678912:function:test_function")
        );
    }
}

#[test]
fn each_invocation_has_a_trace_id_of_its_own_unless_the_caller_sends_one() {
    let lab = function().start().unwrap();
    let mut caller = Connection::open(lab.address());
    let first = caller.post(&path("f"), json("trace")).text();
    let second = caller.post(&path("f"), json("trace")).text();
    assert!(first.starts_with("Root=1-") && first.ends_with(";Sampled=0"), "{first}");
    assert_ne!(first, second);
    let own = [("X-Amzn-Trace-Id", "Root=1-2-3;Own=4")];
    let line = format!("POST {}", path("f"));
    assert_eq!(caller.request(&line, &own, json("trace")).text(), "Root=1-2-3;Own=4");
    assert_eq!(lab.invoke(Event::new("trace").trace_id("")).unwrap().text(), "");
}

#[test]
fn run_sends_its_trace_id_and_reports_only_a_sampled_one() {
    let bootstrap = std::env::current_exe().unwrap();
    for (id, reported) in [
        ("Root=1-2-3;Parent=4;Sampled=1", Some("XRAY TraceId: 1-2-3\tSegmentId: 4\tSampled: true")),
        ("Root=1-2-3;Parent=4;Sampled=0", None),
        ("", None),
    ] {
        let mut command = lab();
        command.args(["run", "--trace-id", id, "--event", &json("trace")]).arg(&bootstrap);
        let output = command.args(["--exact", "bootstrap", "--nocapture"]).output().unwrap();
        let lines = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), id, "{lines}");
        assert_eq!(lines.contains("XRAY"), reported.is_some(), "{lines}");
        assert!(lines.contains(reported.unwrap_or_default()), "{lines}");
    }
}

#[test]
fn a_served_function_sees_the_region_of_the_labs_environment() {
    let mut served = Served::start(
        &["--env", "AWS_DEFAULT_REGION=eu-west-3"],
        "echo region $AWS_REGION $AWS_DEFAULT_REGION >&2; exit 1",
    );
    let _caller = served.invoke_in_background();
    assert_eq!(served.line_with("region "), "eu-west-3 eu-west-3");
}
