//! The function of the vectors on `lambda-proto-std`.

use std::io::Write;

use lambda_conformance::function::{Act, Fail, describe, must_fail};
use lambda_proto_std::{
    ContentType, Error, Failure, HttpPrelude, Invocation, Lifecycle, Reply, Response, Runtime, Sent,
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
    runtime.lifecycle(lifecycle).run(|invocation, reply, _context| handle(invocation, reply))
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
        Act::Fail(fail) => Err(failure(fail)),
        Act::Panic { message } => panic!("{message}"),
        Act::Stream { content_type, chunks, fail } => {
            let mut stream = reply.stream(ContentType::new(&content_type)?);
            chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()))?;
            fail.map_or_else(|| Ok(stream.finish()), |fail| Err(failure(fail)))
        }
        Act::Http { status, headers, cookies, chunks } => {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            let cookies: Vec<_> = cookies.iter().map(|cookie| &**cookie).collect();
            let mut stream = reply.stream_http(&HttpPrelude::new(status, &headers, &cookies)?);
            chunks.iter().try_for_each(|chunk| stream.write_all(chunk.as_bytes()))?;
            Ok(stream.finish())
        }
    }
}

fn failure(fail: Fail) -> Failure {
    let message = fail.message();
    Failure::new(fail.error_type, message).stack_trace(fail.stack_trace)
}
