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
//! - A record fails by an error, by a panic, by a body that is not an order, or because it is not
//!   done shortly before the deadline ([`Context::cancelled`]). So a slow record costs its own
//!   delivery, and not that of the batch.
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

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_lambda_events::event::{dynamodb, kinesis};
use futures_util::{FutureExt, StreamExt, stream};
use lambda_proto_tokio::{Error, Failure, Invocation, Lifecycle, Runtime};
use serde::Deserialize;
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
        Ok(match self {
            Self::Sqs => sqs(invocation.json()?),
            Self::Kinesis => kinesis(invocation.json()?),
            Self::DynamoDb => dynamodb(invocation.json()?),
        })
    }
}

fn sqs(event: SqsEvent) -> Vec<Record> {
    let record = |message: SqsMessage| {
        // Other queues have groups, too, but no order.
        let is_fifo = message.event_source_arn.is_some_and(|arn| arn.ends_with(".fifo"));
        let group = message.attributes.get("MessageGroupId").filter(|_| is_fifo).cloned();
        let order = serde_json::from_str(&message.body.unwrap_or_default());
        Record { id: message.message_id, group, order: order.map_err(Failure::unmarshal) }
    };
    event.records.into_iter().map(record).collect()
}

fn kinesis(event: kinesis::KinesisEvent) -> Vec<Record> {
    let record = |record: kinesis::KinesisEventRecord| {
        let order = serde_json::from_slice(&record.kinesis.data).map_err(Failure::unmarshal);
        let kinesis::KinesisRecord { sequence_number, partition_key, .. } = record.kinesis;
        Record { id: Some(sequence_number), group: Some(partition_key), order }
    };
    event.records.into_iter().map(record).collect()
}

fn dynamodb(event: dynamodb::Event) -> Vec<Record> {
    // An order that was removed is not packed.
    let changes = event.records.into_iter().filter(|record| record.event_name != "REMOVE");
    let record = |dynamodb::EventRecord { change, .. }: dynamodb::EventRecord| {
        // Through a value, whose members are sorted.
        let keys = serde_json::to_value(&change.keys).map(|keys| keys.to_string());
        let order = serde_dynamo::from_item(change.new_image).map_err(Failure::unmarshal);
        Record { id: change.sequence_number, group: keys.ok(), order }
    };
    changes.map(record).collect()
}
