//! The test function on `lambda-proto-std`.

use std::io::Write;

use lambda_conformance::function::{Act, describe, lifecycle, start, with_prelude};
use lambda_proto_std::{ContentType, Error, Failure, Invocation, Reply, Response, Runtime, Sent};

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    runtime.init(start)?;
    runtime.lifecycle(lifecycle()).run(|invocation, reply, _context| handle(invocation, reply))
}

fn handle<'i>(invocation: Invocation<'i>, reply: Reply<'i>) -> Result<Sent<'i>, Failure> {
    match Act::of(invocation.body()) {
        Act::Echo => Ok(reply.send(invocation.body())),
        Act::Describe => reply.json(&describe(&invocation)),
        Act::Answer { bytes, content_type } => {
            let content_type = content_type.as_deref().map(ContentType::new).transpose()?;
            let body = b"a".repeat(bytes);
            Ok(reply.send(Response::new(&body).content_type(content_type)))
        }
        Act::Fail(fail) => Err(fail.into()),
        Act::Panic { message } => panic!("{message}"),
        Act::Stream { content_type, chunks, fail } => {
            let mut stream = reply.stream(ContentType::new(&content_type)?);
            chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()))?;
            fail.map_or_else(|| Ok(stream.finish()), |fail| Err(fail.into()))
        }
        Act::Http { status, headers, cookies, chunks } => {
            let mut stream = with_prelude(status, &headers, &cookies, |prelude| {
                prelude.map(|prelude| reply.stream_http(&prelude))
            })?;
            chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()))?;
            Ok(stream.finish())
        }
    }
}
