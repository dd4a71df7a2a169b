//! The test function on `lambda-proto-mio`.

use std::io::Write;
use std::thread;

use lambda_conformance::function::{Act, Fail, describe, lifecycle, start, with_prelude};
use lambda_proto_mio::{
    ContentType, Error, Failure, Invocation, Responder, Response, ResponseStream, Runtime, Sent,
};

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    runtime.init(start)?;
    runtime
        .lifecycle(lifecycle())
        .run(|invocation, responder, _context| handle(&invocation, responder))
}

fn handle(invocation: &Invocation, responder: Responder) -> Result<Sent, Failure> {
    match Act::of(invocation.body()) {
        Act::Echo => Ok(responder.send(invocation.body())),
        Act::Describe => responder.json(describe(&invocation.head())),
        Act::Answer { bytes, content_type } => {
            let content_type = content_type.as_deref().map(ContentType::new).transpose()?;
            Ok(responder.send(Response::from(b"a".repeat(bytes)).content_type(content_type)))
        }
        Act::Fail(fail) => Err(fail.into()),
        Act::Panic { message } => panic!("{message}"),
        Act::Stream { content_type, chunks, fail } => {
            let content_type = ContentType::new(&content_type)?;
            let (responder, sent) = responder.defer();
            write(responder.stream(content_type), chunks, fail);
            Ok(sent)
        }
        Act::Http { status, headers, cookies, chunks } => {
            let (responder, sent) = responder.defer();
            let stream = with_prelude(status, &headers, &cookies, |prelude| {
                prelude.map(|prelude| responder.stream_http(&prelude))
            })?;
            write(stream, chunks, None);
            Ok(sent)
        }
    }
}

/// Writes on a thread, so that the event loop can continue while a write blocks.
fn write(mut stream: ResponseStream, chunks: Vec<String>, fail: Option<Fail>) {
    thread::spawn(move || {
        let mut write = || chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()));
        match (write(), fail) {
            (Ok(()), None) => stream.finish(),
            (Ok(()), Some(fail)) => stream.fail(fail),
            (Err(error), _) => stream.fail(error),
        }
    });
}
