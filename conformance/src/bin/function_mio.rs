//! The test function on `lambda-proto-mio`.

use std::io::Write;
use std::thread;

use lambda_conformance::function::{Act, Fail, describe, lifecycle, start, with_prelude};
use lambda_proto_mio::{ContentType, Error, Invocation, Reply, Response, ResponseStream, Runtime};

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    runtime.init(start)?;
    runtime.lifecycle(lifecycle()).run(|invocation, reply, _context| handle(&invocation, reply))
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
        Act::Fail(fail) => reply.fail(fail.into()),
        Act::Panic { message } => panic!("{message}"),
        Act::Stream { content_type, chunks, fail } => match ContentType::new(&content_type) {
            Ok(content_type) => stream(reply.stream(content_type), chunks, fail),
            Err(error) => reply.fail(error.into()),
        },
        Act::Http { status, headers, cookies, chunks } => {
            with_prelude(status, &headers, &cookies, |prelude| match prelude {
                Ok(prelude) => stream(reply.stream_http(&prelude), chunks, None),
                Err(error) => reply.fail(error.into()),
            });
        }
    }
}

/// Streams on a thread, since the loop has other things to do while a piece waits to be taken.
fn stream(stream: ResponseStream, chunks: Vec<String>, fail: Option<Fail>) {
    thread::spawn(move || {
        let mut stream = stream.blocking();
        let mut write = || chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()));
        match (write(), fail) {
            (Ok(()), None) => stream.finish(),
            (Ok(()), Some(fail)) => stream.fail(fail.into()),
            (Err(error), _) => stream.fail(error.into()),
        }
    });
}
