//! The example `async_batch` under the lab: which records of a batch are delivered again.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lambda_interop::under_lab::{Logged, Running};
use lambda_lab::InvokeError;
use serde_json::{Value, json};

/// Orders that are packed, that fail, and that make the work panic.
const GOOD: &str = r#"{"pieces":3}"#;
const BAD: &str = r#"{"pieces":0}"#;
const PANICS: &str = r#"{"pieces":1000}"#;
/// One that takes a minute.
const SLOW: &str = r#"{"pieces":3,"takes_ms":60000}"#;

fn start(source: &str) -> Running {
    Logged::example("async_batch", &[]).with(|function| function.handler(source)).start()
}

/// As [`start`], for invocations of which each is cancelled after 1.5 s. There is plenty of time
/// then until the timeout, also on a busy machine.
fn start_with_limit(source: &str) -> Running {
    let function = Logged::example("async_batch", &[]).with(|function| function.handler(source));
    let function = function.with(|it| it.timeout(Duration::from_secs(20)));
    function.with(|it| it.variable("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "18500")).start()
}

/// Invokes the function with these records, and returns the ids that it reports.
#[track_caller]
fn failures(running: &Running, records: impl IntoIterator<Item = Value>) -> Vec<String> {
    let records: Vec<Value> = records.into_iter().collect();
    let event = json!({ "Records": records }).to_string();
    let answer: Value = serde_json::from_slice(&running.lab.invoke(event).unwrap().body).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap().iter();
    failures.map(|item| item["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}

/// A message of a standard queue.
fn message((id, body): (&str, &str)) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": "a handle",
        "body": body,
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183" },
        "messageAttributes": {},
        "md5OfBody": "098f6bcd4621d373cade4e832627b4f6",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:orders",
        "awsRegion": "us-east-2"
    })
}

/// A message of this group, in a queue with this name.
fn grouped(queue: &str, group: &str, of: (&str, &str)) -> Value {
    let mut message = message(of);
    message["attributes"]["MessageGroupId"] = group.into();
    message["eventSourceARN"] = format!("arn:aws:sqs:us-east-2:123456789012:{queue}").into();
    message
}

/// A record of a stream of Kinesis with this partition key.
fn data(key: &str, (sequence, body): (&str, &str)) -> Value {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": sequence,
            "data": BASE64_STANDARD.encode(body),
            "approximateArrivalTimestamp": 1_545_084_650.987
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("shardId-000000000006:{sequence}"),
        "eventName": "aws:kinesis:record",
        "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/orders"
    })
}

/// A change of the item with this key.
fn change(key: &str, sequence: &str, name: &str, pieces: &str) -> Value {
    let mut change = json!({
        "ApproximateCreationDateTime": 1_545_084_650,
        "Keys": { "Id": { "N": key } },
        "SequenceNumber": sequence,
        "SizeBytes": 26,
        "StreamViewType": "NEW_IMAGE"
    });
    if name != "REMOVE" {
        change["NewImage"] = json!({ "Id": { "N": key }, "pieces": { "N": pieces } });
    }
    json!({
        "eventID": format!("event {sequence}"),
        "eventVersion": "1.0",
        "dynamodb": change,
        "awsRegion": "us-east-2",
        "eventName": name,
        "eventSourceARN": "arn:aws:dynamodb:us-east-2:123456789012:table/orders/stream/1",
        "eventSource": "aws:dynamodb"
    })
}

#[test]
fn only_messages_that_fail_panic_or_hold_no_order_are_reported() {
    let running = start("sqs");
    let batch = [
        ("good", GOOD),
        ("bad", BAD),
        ("panics", PANICS),
        ("no JSON", "{\"pieces\":"),
        ("no number", r#"{"pieces":"three"}"#),
        ("empty", ""),
        ("also good", GOOD),
    ];
    let reported = failures(&running, batch.map(message));
    assert_eq!(reported, ["bad", "panics", "no JSON", "no number", "empty"]);
    running.line_with(&["async_batch: bad: Function.NothingToPack: the order has no pieces"]);
    // The panic was the record's, not the invocation's: the same process goes on.
    let pid = running.pid();
    assert_eq!(failures(&running, [message(("good", GOOD))]), [""; 0]);
    assert_eq!(running.pid(), pid);
}

#[test]
fn all_messages_are_reported_if_all_fail_and_none_of_an_empty_batch() {
    let running = start("sqs");
    let batch = [("a", BAD), ("b", PANICS), ("c", "")];
    assert_eq!(failures(&running, batch.map(message)), ["a", "b", "c"]);
    assert_eq!(failures(&running, []), [""; 0]);
    assert_eq!(failures(&running, batch.map(message)), ["a", "b", "c"]);
}

#[test]
fn sixteen_messages_are_worked_on_at_the_same_time_and_no_more() {
    let running = start_with_limit("sqs");
    for slow in [15, 16] {
        let ids: Vec<String> = (0..slow).map(|number| number.to_string()).collect();
        let mut batch: Vec<_> = ids.iter().map(|id| message((id, SLOW))).collect();
        batch.push(message(("last", GOOD)));
        // The last one has its turn if there is a place beside the slow ones.
        let expected = ids.iter().map(String::as_str);
        let expected: Vec<_> = expected.chain((slow == 16).then_some("last")).collect();
        assert_eq!(failures(&running, batch), expected);
    }
}

#[test]
fn a_message_that_takes_too_long_is_reported_before_the_timeout() {
    let running = start_with_limit("sqs");
    let batch = [("good", GOOD), ("slow", SLOW), ("also good", GOOD)];
    assert_eq!(failures(&running, batch.map(message)), ["slow"]);
    running.line_with(&["the deadline is near"]);
}

#[test]
fn a_failure_without_an_id_fails_the_invocation_so_that_all_are_delivered_again() {
    let running = start("sqs");
    for id in [Value::Null, "".into()] {
        let mut nameless = message(("", BAD));
        nameless["messageId"] = id;
        let event = json!({ "Records": [message(("good", GOOD)), nameless] }).to_string();
        let error = running.lab.invoke(event).unwrap_err().to_string();
        assert!(error.contains("a record that failed has no id"), "{error}");
    }
}

#[test]
fn an_event_of_another_kind_fails_the_invocation() {
    let running = start("kinesis");
    for event in ["", "[]", r#"{"Records":7}"#, "{}"] {
        let error = running.lab.invoke(event).unwrap_err();
        let InvokeError::Function(failure) = error else { panic!("{error}") };
        assert_eq!(failure.error_type().as_deref(), Some("Runtime.UnmarshalError"), "{event}");
    }
    // Its records are not those of a stream, and have no id by which they could be reported.
    let error = running.lab.invoke(r#"{"Records":[{"messageId":"a"}]}"#).unwrap_err();
    assert!(error.to_string().contains("a record that failed has no id"), "{error}");
}

#[test]
fn a_record_that_is_not_one_of_its_source_fails_alone() {
    let running = start("sqs");
    let mut broken = message(("broken", GOOD));
    broken["attributes"] = json!(7);
    let batch = [message(("good", GOOD)), broken, message(("also good", GOOD))];
    assert_eq!(failures(&running, batch), ["broken"]);

    let running = start("kinesis");
    let mut broken = data("b", ("2", GOOD));
    broken["kinesis"]["data"] = "?".into();
    let batch = [data("a", ("1", GOOD)), broken, data("b", ("3", PANICS))];
    assert_eq!(failures(&running, batch), ["2", "3"]);
    running.line_with(&["async_batch: 2: Runtime.UnmarshalError"]);
    assert_eq!(running.find(&["async_batch: 3"]), None, "{}", running.log());

    let running = start("dynamodb");
    let mut broken = change("102", "222", "INSERT", "3");
    broken["dynamodb"].as_object_mut().unwrap().remove("SizeBytes");
    let batch = [change("101", "111", "INSERT", "3"), broken, change("103", "333", "REMOVE", "")];
    assert_eq!(failures(&running, batch), ["222"]);
    running.line_with(&["async_batch: 222: Runtime.UnmarshalError", "SizeBytes"]);
}

#[test]
fn the_rest_of_a_group_of_a_fifo_queue_is_reported_and_not_begun() {
    let running = start("sqs");
    let batch = [
        ("one", ("1", GOOD)),
        ("two", ("2", GOOD)),
        ("one", ("3", BAD)),
        ("two", ("4", GOOD)),
        ("one", ("5", PANICS)),
        ("one", ("6", GOOD)),
        ("two", ("7", GOOD)),
    ];
    let fifo = batch.map(|(group, it)| grouped("orders.fifo", group, it));
    assert_eq!(failures(&running, fifo), ["3", "5", "6"]);
    assert_eq!(running.find(&["async_batch: 5"]), None, "{}", running.log());
    // In a queue without order, a group means fairness only.
    let fair = batch.map(|(group, it)| grouped("orders", group, it));
    assert_eq!(failures(&running, fair), ["3", "5"]);
}

#[test]
fn a_late_message_of_a_fifo_queue_takes_the_rest_of_its_group_with_it() {
    let running = start_with_limit("sqs");
    let batch =
        [("one", ("1", SLOW)), ("two", ("2", GOOD)), ("one", ("3", GOOD)), ("two", ("4", GOOD))];
    let fifo = batch.map(|(group, it)| grouped("orders.fifo", group, it));
    assert_eq!(failures(&running, fifo), ["1", "3"]);
}

#[test]
fn everything_from_the_first_failure_of_a_kinesis_stream_on_is_reported() {
    let running = start("kinesis");
    let batch = [
        ("a", ("1", GOOD)),
        ("b", ("2", GOOD)),
        ("a", ("3", BAD)),
        ("b", ("4", GOOD)),
        ("c", ("5", "no JSON")),
    ];
    // The lowest sequence number is the checkpoint.
    let records = batch.map(|(key, it)| data(key, it));
    assert_eq!(failures(&running, records), ["3", "4", "5"]);
    assert_eq!(failures(&running, [data("a", ("1", GOOD))]), [""; 0]);
    assert_eq!(failures(&running, []), [""; 0]);
}

#[test]
fn nothing_after_the_first_failure_of_a_stream_is_begun() {
    let running = start("kinesis");
    // The second is being worked on when the first has failed, and so keeps the third waiting.
    let slow = r#"{"pieces":3,"takes_ms":300}"#;
    let batch = [("a", ("1", BAD)), ("b", ("2", slow)), ("b", ("3", PANICS)), ("a", ("4", PANICS))];
    assert_eq!(failures(&running, batch.map(|(key, it)| data(key, it))), ["1", "2", "3", "4"]);
    running.line_with(&["async_batch: 1: "]);
    for after in ["async_batch: 3", "async_batch: 4"] {
        assert_eq!(running.find(&[after]), None, "{}", running.log());
    }
}

#[test]
fn records_with_the_same_partition_key_are_worked_on_in_order() {
    let running = start("kinesis");
    // If the second began with the first, it would fail first, and not be the only one.
    let slow = r#"{"pieces":3,"takes_ms":300}"#;
    let batch = [("a", ("1", slow)), ("a", ("2", BAD)), ("b", ("3", GOOD))];
    let records = batch.map(|(key, it)| data(key, it));
    let began = Instant::now();
    assert_eq!(failures(&running, records), ["2", "3"]);
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn everything_from_the_first_failure_of_a_table_on_is_reported() {
    let running = start("dynamodb");
    let batch = [
        change("101", "111", "INSERT", "3"),
        change("102", "222", "INSERT", "3"),
        change("101", "333", "MODIFY", "0"),
        change("102", "444", "MODIFY", "3"),
        change("103", "555", "REMOVE", ""),
        change("101", "666", "MODIFY", "3"),
    ];
    // What needs no work cannot fail. It lies after the checkpoint, too.
    assert_eq!(failures(&running, batch), ["333", "444", "666"]);
    let batch = [change("101", "777", "REMOVE", ""), change("101", "888", "INSERT", "many")];
    assert_eq!(failures(&running, batch), ["888"]);
}
