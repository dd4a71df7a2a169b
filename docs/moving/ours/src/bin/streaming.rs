//! An HTTP response whose body is sent line by line.

use lambda_proto_tokio::{Error, HttpPrelude, Runtime};
use serde::Deserialize;

#[derive(Deserialize)]
struct Request {
    lines: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let run = Runtime::from_env()?.run(async |invocation, responder| {
        let request: Request = invocation.json()?;
        let prelude = HttpPrelude::new(200, &[("content-type", "text/plain")], &[])?;
        let mut body = responder.stream_http(&prelude).await;
        for line in 1..=request.lines {
            body.write_all(format!("line {line}\n").as_bytes()).await?;
        }
        Ok(body.finish().await)
    });
    run.await
}
