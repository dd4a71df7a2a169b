//! The test function on `lambda-proto-tokio`.

use lambda_conformance::function::{Act, describe, lifecycle, start};
use lambda_proto_tokio::{
    ContentType, Error, Failure, HttpPrelude, Invocation, Responder, Response, ResponseStream,
    Runtime, Sent,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?;
    runtime.init(async || start()).await?;
    runtime
        .lifecycle(lifecycle())
        .run(async |invocation, responder, _context| handle(invocation, responder).await)
        .await
}

async fn handle<'i>(
    invocation: Invocation<'i>,
    responder: Responder<'i>,
) -> Result<Sent<'i>, Failure> {
    match Act::of(invocation.body()) {
        Act::Echo => Ok(responder.send(invocation.body()).await),
        Act::Describe => responder.json(describe(&invocation)).await,
        Act::Answer { bytes, content_type } => {
            let content_type = content_type.as_deref().map(ContentType::new).transpose()?;
            let body = b"a".repeat(bytes);
            Ok(responder.send(Response::new(&body).content_type(content_type)).await)
        }
        Act::Fail(fail) => Err(fail.into()),
        Act::Panic { message } => panic!("{message}"),
        Act::Stream { content_type, chunks, fail } => {
            let stream = responder.stream(ContentType::new(&content_type)?);
            let stream = write(stream, &chunks).await?;
            match fail {
                None => Ok(stream.finish().await),
                Some(fail) => Err(fail.into()),
            }
        }
        Act::Http { status, headers, cookies, chunks } => {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            let cookies: Vec<_> = cookies.iter().map(|cookie| &**cookie).collect();
            let prelude = HttpPrelude::new(status, &headers, &cookies)?;
            let stream = write(responder.stream_http(&prelude).await, &chunks).await?;
            Ok(stream.finish().await)
        }
    }
}

async fn write<'i>(
    mut stream: ResponseStream<'i>,
    chunks: &[String],
) -> Result<ResponseStream<'i>, Failure> {
    for chunk in chunks {
        stream.write_all(chunk.as_bytes()).await?;
    }
    Ok(stream)
}
