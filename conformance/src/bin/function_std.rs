//! The test function on `lambda-proto-std`.

use std::io::Write;

use lambda_conformance::function::{Act, describe, lifecycle, start, with_prelude};
use lambda_proto_std::{
    ContentType, Error, Failure, Invocation, Responder, Response, Runtime, Sent,
};

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    runtime.init(start)?;
    runtime
        .lifecycle(lifecycle())
        .run(|invocation, responder, _context| handle(invocation, responder))
}

fn handle<'i>(invocation: Invocation<'i>, responder: Responder<'i>) -> Result<Sent<'i>, Failure> {
    match Act::of(invocation.body()) {
        Act::Echo => Ok(responder.send(invocation.body())),
        Act::Describe => responder.json(describe(&invocation)),
        Act::Answer { bytes, content_type } => {
            let content_type = content_type.as_deref().map(ContentType::new).transpose()?;
            let body = b"a".repeat(bytes);
            Ok(responder.send(Response::new(&body).content_type(content_type)))
        }
        Act::Fail(fail) => Err(fail.into()),
        Act::Panic { message } => panic!("{message}"),
        Act::Stream { content_type, chunks, fail } => {
            let mut stream = responder.stream(ContentType::new(&content_type)?);
            chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()))?;
            fail.map_or_else(|| Ok(stream.finish()), |fail| Err(fail.into()))
        }
        Act::Http { status, headers, cookies, chunks } => {
            let mut stream = with_prelude(status, &headers, &cookies, |prelude| {
                prelude.map(|prelude| responder.stream_http(&prelude))
            })?;
            chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()))?;
            Ok(stream.finish())
        }
    }
}
