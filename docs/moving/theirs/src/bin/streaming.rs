//! An HTTP response whose body is sent line by line.

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Error, LambdaEvent, MetadataPrelude, run, service_fn};
use serde::Deserialize;

#[derive(Deserialize)]
struct Request {
    lines: u32,
}

async fn stream(event: LambdaEvent<Request>) -> Result<Response<Body>, Error> {
    let mut metadata_prelude = MetadataPrelude::default();
    metadata_prelude.headers.insert("content-type", "text/plain".parse()?);
    let (mut sender, stream) = channel();
    tokio::spawn(async move {
        for line in 1..=event.payload.lines {
            if sender.send_data(format!("line {line}\n").into()).await.is_err() {
                break;
            }
        }
    });
    Ok(Response { metadata_prelude, stream })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(stream)).await
}
