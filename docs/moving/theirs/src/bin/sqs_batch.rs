//! A batch of SQS messages, of which those that fail are delivered again.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    pieces: u32,
}

async fn pack(message: &SqsMessage) -> Result<(), Error> {
    let order: Order = serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
    match order.pieces {
        0 => Err("the order has no pieces")?,
        _ => Ok(()),
    }
}

async fn handle(event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let records = event.payload.records;
    let results = join_all(records.iter().map(pack)).await;
    let mut response = SqsBatchResponse::default();
    for (message, result) in records.iter().zip(results) {
        if let Err(error) = result {
            let id = message.message_id.as_deref().unwrap_or_default();
            eprintln!("{id}: {error}");
            response.add_failure(id);
        }
    }
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
