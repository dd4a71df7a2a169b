//! A batch of SQS messages, of which those that fail are delivered again.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use lambda_proto_tokio::{Error, Failure, Runtime};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    pieces: u32,
}

async fn pack(message: &SqsMessage) -> Result<(), Failure> {
    let order: Order = serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
    match order.pieces {
        0 => Err("the order has no pieces")?,
        _ => Ok(()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let run = Runtime::from_env()?.run(async |invocation, responder| {
        let event: SqsEvent = invocation.json()?;
        let results = join_all(event.records.iter().map(pack)).await;
        let mut response = SqsBatchResponse::default();
        for (message, result) in event.records.iter().zip(results) {
            if let Err(error) = result {
                let id = message.message_id.as_deref().unwrap_or_default();
                eprintln!("{id}: {error}");
                response.add_failure(id);
            }
        }
        responder.json(response).await
    });
    run.await
}
