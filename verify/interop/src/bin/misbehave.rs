//! A function that does what its event says, which is mostly something wrong.
//!
//! The event is JSON, for instance `{"do":"panic","message":"oh"}`; see [`Event`] for all of them.
//! With `--fail-init MESSAGE` or `--panic-init MESSAGE`, init fails.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use lambda_proto_std::{ContentType, Error, Failure, Invocation, Responder, Runtime, Sent};
use serde::Deserialize;
use serde_json::json;

/// What to do.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Event {
    /// Fail with a type, a message and a stack trace.
    Fail(Fail),
    /// Panic.
    Panic { message: String },
    /// Answer with this many bytes.
    Answer { bytes: usize },
    /// Answer `"done"`, later.
    Sleep { millis: u64 },
    /// Stream a response, and finish or fail.
    Stream { chunks: usize, bytes: usize, fail: Option<Fail> },
    /// Stream a line, then everything received from this address, and finish or fail.
    Relay { address: String, fail: Option<Fail> },
    /// Stream an HTTP response in exactly these chunks.
    Pieces { pieces: Vec<String> },
    /// Stream a chunk, then panic.
    StreamThenPanic { message: String },
    /// Answer with a value that JSON cannot represent: a map whose keys are not strings.
    Unserialisable,
    /// Answer `"sent"`, then panic.
    AnswerThenPanic { message: String },
    /// End the process without an answer.
    Exit { code: i32 },
    /// End the process by SIGABRT.
    Abort,
    /// Answer with the process id and the metadata of the invocation.
    Describe,
    /// Answer with the environment variables.
    Variables,
    /// Wait until `count` invocations are in flight, then answer with the tag and the request id.
    Meet { count: usize, tag: String },
}

#[derive(Deserialize)]
struct Fail {
    #[serde(rename = "type")]
    error_type: String,
    message: String,
    /// How often the message is repeated.
    #[serde(default)]
    times: Option<usize>,
    #[serde(default)]
    stack_trace: String,
}

impl From<Fail> for Failure {
    fn from(fail: Fail) -> Self {
        let message = fail.message.repeat(fail.times.unwrap_or(1));
        Self::new(fail.error_type, message).stack_trace(fail.stack_trace)
    }
}

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    runtime.init(|| match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(()),
        ["--fail-init", message] => {
            Err(Failure::new("Function.NoStart", message.to_owned()).stack_trace("in misbehave"))
        }
        ["--panic-init", message] => panic!("{message}"),
        ref other => {
            Err(Failure::new("Function.Usage", format!("unexpected arguments: {other:?}")))
        }
    })?;
    runtime.run(handle)
}

fn handle<'i>(invocation: Invocation<'i>, responder: Responder<'i>) -> Result<Sent<'i>, Failure> {
    match invocation.json()? {
        Event::Fail(fail) => Err(fail.into()),
        Event::Panic { message } => panic!("{message}"),
        Event::Answer { bytes } => Ok(responder.send("a".repeat(bytes).as_str())),
        Event::Sleep { millis } => {
            thread::sleep(Duration::from_millis(millis));
            responder.json("done")
        }
        Event::Stream { chunks, bytes, fail } => {
            let mut stream = responder.stream(ContentType::JSON);
            for chunk in 0..chunks {
                let letter = [b"abcdefghijklmnopqrstuvwxyz"[chunk % 26]];
                stream.write_all(&letter.repeat(bytes))?;
            }
            fail.map_or_else(|| Ok(stream.finish()), |fail| Err(fail.into()))
        }
        Event::Relay { address, fail } => {
            let mut stream = responder.stream(ContentType::JSON);
            stream.write_all(b"first\n")?;
            let mut source = TcpStream::connect(address)?;
            let mut room = [0; 1024];
            loop {
                match source.read(&mut room)? {
                    0 => break,
                    length => stream.write_all(&room[..length])?,
                }
            }
            fail.map_or_else(|| Ok(stream.finish()), |fail| Err(fail.into()))
        }
        Event::Pieces { pieces } => {
            let mut stream = responder.stream(ContentType::HTTP_INTEGRATION);
            pieces.iter().try_for_each(|piece| stream.write_all(piece.as_bytes()))?;
            Ok(stream.finish())
        }
        Event::StreamThenPanic { message } => {
            let mut stream = responder.stream(ContentType::JSON);
            stream.write_all(b"half")?;
            panic!("{message}")
        }
        Event::Unserialisable => responder.json(BTreeMap::from([((1, 2), "a key of two numbers")])),
        Event::AnswerThenPanic { message } => {
            let _sent = responder.send("sent");
            panic!("{message}")
        }
        Event::Exit { code } => std::process::exit(code),
        Event::Abort => std::process::abort(),
        Event::Describe => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            responder.json(json!({
                "process": std::process::id(),
                "request_id": invocation.request_id(),
                "attempt_id": invocation.attempt_id().map(text),
                "deadline": invocation.deadline().map(|deadline| deadline.as_unix_millis()),
                "function": invocation.invoked_function_arn(),
                "trace_id": invocation.trace_id(),
                "client_context": invocation.client_context().map(text),
                "tenant_id": invocation.tenant_id(),
            }))
        }
        Event::Variables => responder.json(std::env::vars().collect::<BTreeMap<_, _>>()),
        Event::Meet { count, tag } => {
            let met = meet(count);
            responder.json(json!({ "tag": tag, "met": met, "request_id": invocation.request_id() }))
        }
    }
}

/// Waits until `count` invocations have arrived here, 10 s at most; returns whether they have.
fn meet(count: usize) -> bool {
    static HERE: Mutex<usize> = Mutex::new(0);
    static ARRIVAL: Condvar = Condvar::new();
    let mut here = HERE.lock().expect("nothing panics with the lock held");
    *here += 1;
    ARRIVAL.notify_all();
    let waited = ARRIVAL.wait_timeout_while(here, Duration::from_secs(10), |here| *here < count);
    let (_here, waited) = waited.expect("nothing panics with the lock held");
    !waited.timed_out()
}
