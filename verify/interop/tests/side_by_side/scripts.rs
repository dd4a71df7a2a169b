//! The scripts, in groups: each group is a test.

use std::net::TcpListener;

use crate::script::{DESCRIBE, End, PATH, Script};
use End::{Answered, Described, Failed, Refused, Streamed, TimedOut};

/// The largest event and the largest response: 6 MiB and 100 bytes.
const LARGEST: usize = 6 * 1024 * 1024 + 100;

/// JSON of this size: a text, or a digit if there is no room for one.
fn json(size: usize) -> Vec<u8> {
    let letters = |size: usize| (0..size).map(|index| b'a' + (index % 26) as u8);
    match size {
        1 => b"1".into(),
        _ => [b"\"", &*letters(size - 2).collect::<Vec<_>>(), b"\""].concat(),
    }
}

pub(crate) fn sizes() -> Vec<Script> {
    vec![
        Script::echo("events of every size")
            .event("0 bytes", Answered, "")
            .event("1 byte", Answered, json(1))
            .event("2,048 bytes", Answered, json(2_048))
            .event("2,049 bytes", Answered, json(2_049))
            .event("64 KiB", Answered, json(65_536))
            .event("1 MiB", Answered, json(1 << 20))
            .event("the largest", Answered, json(LARGEST))
            .event("0 bytes again", Answered, ""),
        Script::echo("an event that is too large")
            .event("one byte too many", Refused, "1".repeat(LARGEST + 1))
            .event("after it", Answered, "{}"),
        Script::echo("an event that is not JSON")
            .event("a word", Refused, "nonsense")
            .event("after it", Answered, "{}"),
        Script::misbehave("answers of every size")
            .event("0 bytes", Answered, r#"{"do":"answer","bytes":0}"#)
            .event("the largest", Answered, r#"{"do":"answer","bytes":6291556}"#)
            .event("one byte too many", Failed, r#"{"do":"answer","bytes":6291557}"#)
            .describe(),
    ]
}

pub(crate) fn failures() -> Vec<Script> {
    let fail = r#"{"do":"fail","type":"Function.Broken","message":"it's \"broken\": \\ é",
        "stack_trace":"in a\nin b"}"#;
    let after = r#"{"do":"answer_then_panic","message":"too late"}"#;
    vec![
        Script::misbehave("failures in one process")
            .describe()
            .event("fail", Failed, fail)
            .event("panic", Failed, r#"{"do":"panic","message":"the pump is dry"}"#)
            .event("no JSON", Failed, "\"nonsense\"")
            .event("panic after the answer", Answered, after)
            .describe(),
    ]
}

pub(crate) fn ends_of_the_process() -> Vec<Script> {
    let error = r#"next; post error -d '{"errorType":"Function.Last"}'; exit 3"#;
    vec![
        Script::misbehave("processes that end")
            .describe()
            .event("exit 3", Failed, r#"{"do":"exit","code":3}"#)
            .describe()
            .event("exit 0", Failed, r#"{"do":"exit","code":0}"#)
            .describe()
            .event("abort", Failed, r#"{"do":"abort"}"#)
            .describe(),
        Script::shell("a process that is killed", "next; kill -KILL $$")
            .event("killed", Failed, "{}")
            .event("killed again", Failed, "{}"),
        Script::shell(
            "a process that ends after its response",
            "next; post response -d done; exit 3",
        )
        .event("answer", Answered, "{}")
        .event("answer again", Answered, "{}"),
        Script::shell("a process that ends after its error", error)
            .event("error", Failed, "{}")
            .event("error again", Failed, "{}"),
    ]
}

pub(crate) fn timeouts() -> Vec<Script> {
    vec![
        Script::misbehave("an invocation that takes too long")
            .timeout_seconds(1)
            .describe()
            .event("sleep", TimedOut, r#"{"do":"sleep","millis":60000}"#)
            .describe(),
        Script::new("a start that takes too long", "/bin/sleep")
            .argument("60")
            .timeout_seconds(1)
            .event("start", TimedOut, "{}")
            .event("start again", TimedOut, "{}"),
        Script::shell("an answer and no next", "next; post response -d done; sleep 60")
            .timeout_seconds(1)
            .event("answer", Answered, "{}")
            .event("answer again", Answered, "{}"),
    ]
}

pub(crate) fn starts_that_fail() -> Vec<Script> {
    let no_end = r#"curl -sS -d '{"errorType":"Function.NoEnd"}' "$api/init/error"; sleep 60"#;
    vec![
        Script::misbehave("an error in init")
            .argument("--fail-init")
            .argument("no config")
            .event("error", Failed, "{}")
            .event("error again", Failed, "{}"),
        Script::misbehave("a panic in init")
            .argument("--panic-init")
            .argument("no luck")
            .event("panic", Failed, "{}"),
        Script::new("exit 0 in init", "/bin/true").event("start", Failed, "{}"),
        Script::new("exit 1 in init", "/bin/false").event("start", Failed, "{}"),
        Script::shell("killed in init", "kill -TERM $$").event("start", Failed, "{}"),
        Script::shell("an error in init and no end", no_end)
            .timeout_seconds(1)
            .event("error", Failed, "{}")
            .event("error again", Failed, "{}"),
    ]
}

pub(crate) fn streams() -> Vec<Script> {
    // Nothing accepts the connection, so the function never receives anything from it.
    let silent = Box::leak(Box::new(TcpListener::bind("127.0.0.1:0").expect("a free port")));
    let address = silent.local_addr().expect("it listens");
    let relay = format!(r#"{{"do":"relay","address":"{address}"}}"#);

    let stream = r#"{"do":"stream","chunks":26,"bytes":10000}"#;
    let midway = r#"{"do":"stream","chunks":2,"bytes":3,
        "fail":{"type":"Function.Midway","message":"half is enough"}}"#;
    let pieces = r#"{"do":"pieces","pieces":["{\"statusCode\":201}",
        "\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000","text"]}"#;
    let trailers = [("TE", "trailers")];
    vec![
        Script::misbehave("streams")
            .describe()
            .event("26 chunks", Streamed, stream)
            .event("no chunk", Streamed, r#"{"do":"stream","chunks":0,"bytes":0}"#)
            .event("an HTTP response", Streamed, pieces)
            .event("a failure midway", Streamed, midway)
            .event("a panic midway", Streamed, r#"{"do":"stream_then_panic","message":"m"}"#)
            .request("to a reader of trailers", Streamed, "POST", PATH, &trailers, stream)
            .request("a failure to a reader of trailers", Streamed, "POST", PATH, &trailers, midway)
            .event("7 MB", Streamed, r#"{"do":"stream","chunks":7,"bytes":1000000}"#)
            .describe(),
        Script::misbehave("a stream that takes too long")
            .timeout_seconds(1)
            .event("stream", Streamed, relay)
            .describe(),
    ]
}

pub(crate) fn paths_and_methods() -> Vec<Script> {
    let mut script = Script::misbehave("paths and methods").describe();
    for (name, end, method, path) in [
        ("the root", Refused, "POST", "/"),
        ("the root, GET", Refused, "GET", "/"),
        ("another name", Refused, "POST", "/2015-03-31/functions/other/invocations"),
        ("no name", Refused, "POST", "/2015-03-31/functions//invocations"),
        ("a trailing slash", Refused, "POST", "/2015-03-31/functions/function/invocations/"),
        ("a query", Described, "POST", "/2015-03-31/functions/function/invocations?Qualifier=1"),
        ("another date", Refused, "POST", "/2015-04-01/functions/function/invocations"),
        ("the Runtime API", Refused, "GET", "/2018-06-01/runtime/invocation/next"),
        ("ping", Refused, "GET", "/2018-06-01/ping"),
        ("GET", Refused, "GET", PATH),
        ("PUT", Refused, "PUT", PATH),
        ("DELETE", Refused, "DELETE", PATH),
        ("HEAD", Refused, "HEAD", PATH),
    ] {
        script = script.request(name, end, method, path, &[], DESCRIBE);
    }
    vec![script.describe()]
}

pub(crate) fn what_comes_with_an_event() -> Vec<Script> {
    const CONTEXT: &str = "X-Amz-Client-Context";
    let mut script = Script::misbehave("the metadata of an event");
    for (name, end, header, value) in [
        ("client context", Described, CONTEXT, "eyJjdXN0b20iOnsiYSI6IjEifX0="),
        ("client context beyond ASCII", Described, CONTEXT, "eyJhIjoiw6kifQ=="),
        ("client context with a line break", Described, CONTEXT, "ewp9"),
        ("client context that is not JSON", Described, CONTEXT, "dGV4dA=="),
        ("empty client context", Described, CONTEXT, ""),
        ("client context without padding", Refused, CONTEXT, "dGV4dA"),
        ("client context that is not base64", Refused, CONTEXT, "?"),
        ("client context that is not text", Refused, CONTEXT, "/////w=="),
        ("tenant id", Described, "X-Amz-Tenant-Id", "blue"),
        ("trace id", Described, "X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3f;Sampled=1"),
        ("content type", Described, "Content-Type", "text/csv"),
        ("request id", Described, "X-Amzn-RequestId", "mine"),
    ] {
        script = script.request(name, end, "POST", PATH, &[(header, value)], DESCRIBE);
    }
    let control = [(CONTEXT, "ewF9")];
    let name = "client context with a control character";
    vec![
        script.describe(),
        Script::misbehave(name).request(name, Refused, "POST", PATH, &control, DESCRIBE),
    ]
}

pub(crate) fn invocation_types() -> Vec<Script> {
    let mut script = Script::misbehave("invocation types");
    for (name, end) in [
        ("RequestResponse", Described),
        ("DryRun", Refused),
        ("Nonsense", Refused),
        // This one is last: the lab replies to it before the function has been invoked.
        ("Event", Refused),
    ] {
        let header = [("X-Amz-Invocation-Type", name)];
        script = script.request(name, end, "POST", PATH, &header, DESCRIBE);
    }
    vec![script]
}

pub(crate) fn what_a_function_sees() -> Vec<Script> {
    let tell = r#"while next; do
        printf '%s' "$event" | grep -v '^Date: ' |
            post response -H 'Content-Type: text/plain' --data-binary @-
    done"#;
    let headers =
        [("X-Amz-Client-Context", "e30="), ("X-Amz-Tenant-Id", "t"), ("Content-Type", "text/csv")];
    vec![
        Script::misbehave("the environment of a function").event(
            "variables",
            Answered,
            r#"{"do":"variables"}"#,
        ),
        Script::shell("the reply to next", tell)
            .event("a small event", Answered, "{}")
            .request("an event with headers", Answered, "POST", PATH, &headers, "\"event\"")
            .event("an event in chunks", Answered, "1".repeat(2049)),
    ]
}
