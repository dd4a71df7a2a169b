//! Takes a batch of orders from an SQS queue, a Kinesis stream or the stream of a DynamoDB table,
//! and reports the records that failed (`batchItemFailures`), so that only those are delivered
//! again.
//!
//! The handler setting of the function chooses the source: `sqs`, `kinesis` or `dynamodb`. The
//! event source mapping needs `ReportBatchItemFailures`; without it the answer is ignored, and all
//! records count as done [Lambda Developer Guide: Using Lambda with Amazon SQS, Kinesis,
//! DynamoDB].
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --handler sqs --event '{"Records":[
//!     {"messageId":"a","body":"{\"pieces\":3}"},{"messageId":"b","body":"{\"pieces\":0}"}]}' \
//!     target/release/examples/async_batch
//! ```
//!
//! # What fails, and what follows
//!
//! - A record fails by an error, by a panic, by a body that is not an order, because it is not a
//!   record of its source at all (base64 that is none, a member that is missing), or because it is
//!   not done shortly before the deadline ([`Context::cancelled`]). So a slow or a broken record
//!   costs its own delivery, and not that of the batch.
//! - Records are worked on concurrently, [`AT_ONCE`] at a time, except for those whose order
//!   counts: messages of a group in a FIFO queue, records with the same partition key, changes of
//!   the same item. After the first of them that fails, the others are not begun.
//! - SQS deletes every message that is not reported. So a failed message of a FIFO queue is
//!   reported with all messages of its group that follow it.
//! - A stream has one checkpoint: the lowest sequence number that is reported. All records from
//!   there on are delivered again, those that were done included. They are all reported, which
//!   says the same, and none of them is begun once the failure is known.
//!
//! A record may be delivered more than once in any case, so make the work idempotent. A record
//! that fails without an id cannot be reported. Then the invocation fails, and all records are
//! delivered again.
//!
//! [`Context::cancelled`]: lambda_proto_tokio::Context::cancelled

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_lambda_events::event::kinesis::KinesisEventRecord;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsMessage};
use futures_util::{FutureExt, StreamExt, stream};
use lambda_proto_tokio::{Error, Failure, Invocation, Lifecycle, Runtime};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

/// How many records are worked on at the same time.
const AT_ONCE: usize = 16;

/// What a record holds.
#[derive(Deserialize)]
struct Order {
    pieces: u32,
    #[serde(default)]
    takes_ms: u64,
}

/// The work for one record.
async fn pack(order: &Order) -> Result<(), Failure> {
    sleep(Duration::from_millis(order.takes_ms)).await;
    match order.pieces {
        0 => Err(Failure::new("Function.NothingToPack", "the order has no pieces")),
        1..1000 => Ok(()),
        pieces => panic!("no box holds {pieces} pieces"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // For contexts; there are no hooks.
    let runtime = Runtime::from_env()?.lifecycle(Lifecycle::new());
    let run = runtime.run(async |invocation, responder, context| {
        let source = Source::from_handler(context.environment().handler())?;
        let records = source.records(&invocation)?;
        let again = work(source, &records, context.cancelled()).await;
        // The responses to all sources look the same.
        let mut response = SqsBatchResponse::default();
        for record in again {
            let id = record.id.as_deref().filter(|id| !id.is_empty());
            response.add_failure(id.ok_or("a record that failed has no id")?);
        }
        responder.json(response).await
    });
    run.await
}

/// Works on all records until `cancelled` is ready, and returns those to deliver again.
async fn work(
    source: Source,
    records: &[Record],
    cancelled: impl Future<Output = ()>,
) -> Vec<&Record> {
    let done: Vec<_> = records.iter().map(|_| Cell::new(false)).collect();
    let first_failed = Cell::new(usize::MAX);
    let groups = stream::iter(groups(records)).for_each_concurrent(AT_ONCE, async |group| {
        for at in group {
            if source.has_checkpoint() && at > first_failed.get() {
                return;
            }
            // A panic has been logged when it arrives here.
            let packing = AssertUnwindSafe(records[at].pack()).catch_unwind();
            let result = packing.await.unwrap_or_else(|panic| Err(Failure::from_panic(&*panic)));
            if let Err(failure) = result {
                eprintln!("async_batch: {}: {failure}", records[at]);
                first_failed.set(at.min(first_failed.get()));
                return;
            }
            done[at].set(true);
        }
    });
    tokio::select! {
        () = groups => {}
        () = cancelled => eprintln!("async_batch: the deadline is near"),
    }
    let first = done.iter().position(|done| !done.get()).unwrap_or(records.len());
    let is_due = |at: usize| !done[at].get() || (source.has_checkpoint() && at > first);
    (0..records.len()).filter(|at| is_due(*at)).map(|at| &records[at]).collect()
}

/// The places of the records in groups, each in order.
fn groups(records: &[Record]) -> Vec<Vec<usize>> {
    let (mut groups, mut known) = (Vec::new(), HashMap::new());
    for (at, record) in records.iter().enumerate() {
        let new = groups.len();
        let place = record.group.as_ref().map_or(new, |group| *known.entry(group).or_insert(new));
        if place == new {
            groups.push(Vec::new());
        }
        groups[place].push(at);
    }
    groups
}

/// What records of all sources have in common.
struct Record {
    id: Option<String>,
    /// Records of the same group are worked on in order.
    group: Option<String>,
    order: Result<Order, Failure>,
}

impl Record {
    async fn pack(&self) -> Result<(), Failure> {
        pack(self.order.as_ref().map_err(Clone::clone)?).await
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id.as_deref().unwrap_or("a record without an id"))
    }
}

#[derive(Clone, Copy)]
enum Source {
    Sqs,
    Kinesis,
    DynamoDb,
}

impl Source {
    fn from_handler(handler: Option<&str>) -> Result<Self, Failure> {
        match handler {
            Some("sqs") => Ok(Self::Sqs),
            Some("kinesis") => Ok(Self::Kinesis),
            Some("dynamodb") => Ok(Self::DynamoDb),
            _ => Err(Failure::new("Function.NoSource", "the handler is no source of batches")),
        }
    }

    /// Whether everything after the first record that failed is delivered again.
    fn has_checkpoint(self) -> bool {
        !matches!(self, Self::Sqs)
    }

    fn records(self, invocation: &Invocation<'_>) -> Result<Vec<Record>, Failure> {
        let Batch { records } = invocation.json()?;
        let records = records.into_iter();
        Ok(match self {
            Self::Sqs => records.map(sqs).collect(),
            Self::Kinesis => records.map(kinesis).collect(),
            // An order that was removed is not packed.
            Self::DynamoDb => {
                records.filter(|record| record["eventName"] != "REMOVE").map(dynamodb).collect()
            }
        })
    }
}

/// The event of every source. One record that is not what it has to be does not fail the others.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Value>,
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn sqs(record: Value) -> Record {
    let id = text(&record["messageId"]);
    // Other queues have groups, too, but no order.
    let is_fifo = record["eventSourceARN"].as_str().is_some_and(|arn| arn.ends_with(".fifo"));
    let group = text(&record["attributes"]["MessageGroupId"]).filter(|_| is_fifo);
    let order = serde_json::from_value(record)
        .and_then(|message: SqsMessage| serde_json::from_str(&message.body.unwrap_or_default()));
    Record { id, group, order: order.map_err(Failure::unmarshal) }
}

fn kinesis(record: Value) -> Record {
    let id = text(&record["kinesis"]["sequenceNumber"]);
    let group = text(&record["kinesis"]["partitionKey"]);
    let order = serde_json::from_value(record)
        .and_then(|record: KinesisEventRecord| serde_json::from_slice(&record.kinesis.data));
    Record { id, group, order: order.map_err(Failure::unmarshal) }
}

fn dynamodb(record: Value) -> Record {
    let id = text(&record["dynamodb"]["SequenceNumber"]);
    // The same keys give the same text, since the members of a value are sorted.
    let group = Some(record["dynamodb"]["Keys"].to_string());
    let order = serde_json::from_value(record).map_err(Failure::unmarshal).and_then(
        |EventRecord { change, .. }| {
            serde_dynamo::from_item(change.new_image).map_err(Failure::unmarshal)
        },
    );
    Record { id, group, order }
}
