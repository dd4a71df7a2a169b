//! The function of the vectors on `lambda-proto-mio`.

use std::io::Write;
use std::thread;

use lambda_conformance::function::{Act, Fail, describe, must_fail};
use lambda_proto_mio::{
    ContentType, Error, Failure, HttpPrelude, Invocation, Lifecycle, Reply, Response, Runtime,
    StreamReply,
};

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    let fails = |hook, error_type| match must_fail(hook) {
        true => Err(Failure::new(error_type, "it was to fail")),
        false => Ok(()),
    };
    runtime.init(|| fails("CONFORMANCE_START", "Function.NoStart"))?;
    let lifecycle = Lifecycle::new()
        .before_snapshot("hook", move |_| {
            fails("CONFORMANCE_BEFORE_SNAPSHOT", "Function.NoSnapshot")
        })
        .after_restore("hook", move |_| fails("CONFORMANCE_AFTER_RESTORE", "Function.NoRestore"));
    runtime.lifecycle(lifecycle).run(|invocation, reply, _context| handle(&invocation, reply))
}

fn handle(invocation: &Invocation, reply: Reply) {
    match Act::of(invocation.body()) {
        Act::Echo => reply.send(invocation.body()),
        Act::Describe => reply.json(&describe(&invocation.head())),
        Act::Answer { bytes, content_type } => {
            match content_type.as_deref().map(ContentType::new).transpose() {
                Ok(kind) => reply.send(Response::from(b"a".repeat(bytes)).content_type(kind)),
                Err(error) => reply.fail(error.into()),
            }
        }
        Act::Fail(fail) => reply.fail(failure(fail)),
        Act::Panic { message } => panic!("{message}"),
        Act::Stream { content_type, chunks, fail } => match ContentType::new(&content_type) {
            Ok(content_type) => stream(reply.stream(content_type), chunks, fail),
            Err(error) => reply.fail(error.into()),
        },
        Act::Http { status, headers, cookies, chunks } => {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            let cookies: Vec<_> = cookies.iter().map(|cookie| &**cookie).collect();
            match HttpPrelude::new(status, &headers, &cookies) {
                Ok(prelude) => stream(reply.stream_http(&prelude), chunks, None),
                Err(error) => reply.fail(error.into()),
            }
        }
    }
}

/// Streams on a thread, since the loop has other things to do while a piece waits to be taken.
fn stream(stream: StreamReply, chunks: Vec<String>, fail: Option<Fail>) {
    thread::spawn(move || {
        let mut stream = stream.blocking();
        let mut write = || chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()));
        match (write(), fail) {
            (Ok(()), None) => stream.finish(),
            (Ok(()), Some(fail)) => stream.fail(failure(fail)),
            (Err(error), _) => stream.fail(error.into()),
        }
    });
}

fn failure(fail: Fail) -> Failure {
    let message = fail.message();
    Failure::new(fail.error_type, message).stack_trace(fail.stack_trace)
}
