//! The policy of an extension with telemetry: what becomes of records, batches, invocations and log
//! lines. Two machines and a clock that the test sets.

mod ends;
mod own_logs;

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use lambda_proto::client::Storage;
use lambda_proto::lifecycle::Clocks;
use lambda_proto_extension::EnvironmentEvent;
use lambda_proto_extension::barrier::{Passage, Reason};
use lambda_proto_extension::collector::{
    Collector, Intake, OwnLogs, Step, Telemetry, TelemetryOptions,
};
use lambda_proto_extension::limits::MAX_DELIVERIES;
use lambda_proto_extension::subscription::TelemetryTypes;

const ALL: TelemetryTypes =
    TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION).and(TelemetryTypes::EXTENSION);
const START: u64 = 1_795_252_819_000;

fn at(millis: u64) -> Clocks {
    let monotonic = Duration::from_millis(millis);
    Clocks { monotonic, wall: Duration::from_millis(START) + monotonic }
}

fn collector() -> Collector {
    Collector::new(&TelemetryOptions::new(ALL), OwnLogs::Extension)
}

/// The event of an invocation with a timeout of 3 s.
fn invoke(collector: &mut Collector, id: &str, now: u64) {
    let deadline = START + now + 3_000;
    let document =
        format!(r#"{{"eventType":"INVOKE","deadlineMs":{deadline},"requestId":"{id}"}}"#);
    collector.event(&EnvironmentEvent::parse(document.as_bytes()).unwrap(), at(now));
}

fn shutdown(collector: &mut Collector, now: u64) {
    let deadline = START + now + 2_000;
    let document = format!(
        r#"{{"eventType":"SHUTDOWN","deadlineMs":{deadline},"shutdownReason":"spindown"}}"#
    );
    collector.event(&EnvironmentEvent::parse(document.as_bytes()).unwrap(), at(now));
}

fn function(text: &str) -> String {
    format!(r#"{{"type":"function","record":"{text}"}}"#)
}

fn extension(text: &str) -> String {
    format!(r#"{{"type":"extension","record":"{text}"}}"#)
}

fn of_invocation(kind: &str, id: &str) -> String {
    format!(r#"{{"type":"platform.{kind}","record":{{"requestId":"{id}"}}}}"#)
}

fn post(headers: &str, records: &[String]) -> Vec<u8> {
    let body = format!("[{}]", records.join(","));
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: s\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into()
}

/// What a handler and a log have seen of a connection, and the statuses of the replies.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    records: Vec<String>,
    warnings: Vec<String>,
    statuses: Vec<String>,
}

/// A connection, and the next bytes that it receives.
struct Connection {
    intake: Intake<Memory>,
    /// When it receives.
    now: u64,
}

/// Memory of a fixed size, or of one that others leave.
struct Memory {
    bytes: Vec<u8>,
    /// What it may grow to; `None` if it cannot grow.
    most: Option<Rc<Cell<usize>>>,
    is_contended: bool,
}

impl Storage for Memory {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn grow(&mut self, length: usize) {
        let Some(most) = &self.most else { return };
        let length = length.min(most.get());
        self.is_contended = length <= self.bytes.len();
        if !self.is_contended {
            self.bytes.resize(length, 0);
        }
    }

    fn release(&mut self) {
        self.bytes.truncate(SIZE);
    }

    fn shrink(&mut self, length: usize) {
        self.bytes.truncate(length.max(SIZE));
    }

    fn is_contended(&self) -> bool {
        self.is_contended
    }
}

/// The memory of a connection.
const SIZE: usize = 4096;

impl Connection {
    fn new() -> Self {
        Self::with(None)
    }

    /// A connection whose memory grows to this size.
    fn with(most: Option<Rc<Cell<usize>>>) -> Self {
        let memory = Memory { bytes: vec![0; SIZE], most, is_contended: false };
        Self { intake: Intake::new(memory), now: 0 }
    }

    /// Receives bytes, in as many reads as they need; the handler fails with the records that it
    /// does not take.
    fn receive(
        &mut self,
        collector: &mut Collector,
        mut bytes: &[u8],
        takes: impl Fn(&str) -> bool,
    ) -> Seen {
        let mut seen = Seen::default();
        let mut reply = Vec::new();
        loop {
            match self.intake.step(collector) {
                Step::Read if bytes.is_empty() => break,
                Step::Read => {
                    let room = self.intake.room();
                    let length = room.len().min(bytes.len());
                    room[..length].copy_from_slice(&bytes[..length]);
                    bytes = &bytes[length..];
                    self.intake.received(length, at(self.now));
                }
                Step::Write => {
                    reply.extend_from_slice(self.intake.unsent());
                    self.intake.sent(self.intake.unsent().len());
                }
                Step::Hand(telemetry) => {
                    let mut text = String::new();
                    match telemetry {
                        Telemetry::Record(record) => text.write_str(record.raw()).unwrap(),
                        Telemetry::Unread(unread) => write!(text, "{unread}").unwrap(),
                        _ => unreachable!("an intake hands out records only"),
                    }
                    let is_taken = takes(&text);
                    self.intake.handled(collector, is_taken);
                    seen.records.push(text);
                }
                Step::Warn(warning) => seen.warnings.push(warning.to_string()),
                Step::Pass => {}
                Step::Close => break,
            }
        }
        let reply = String::from_utf8(reply).unwrap();
        let heads = reply.split("\r\n\r\n").filter(|head| !head.is_empty());
        seen.statuses.extend(heads.map(|head| head[9..12].to_owned()));
        seen
    }
}

fn receive(collector: &mut Collector, bytes: &[u8], takes: impl Fn(&str) -> bool) -> Seen {
    Connection::new().receive(collector, bytes, takes)
}

fn takes_all(_: &str) -> bool {
    true
}

#[test]
fn a_batch_is_handed_out_record_by_record_and_taken() {
    let mut collector = collector();
    let records = [function("a"), "7".to_owned(), of_invocation("start", "id")];
    let seen = receive(&mut collector, &post("", &records), takes_all);
    assert_eq!(
        seen.records,
        [&records[0], "a telemetry record cannot be read: not a JSON object", &records[2]]
    );
    assert_eq!((seen.statuses, seen.warnings.len()), (vec!["200".to_owned()], 0));
}

#[test]
fn a_batch_is_handled_alike_wherever_it_is_cut() {
    let records = [function("a"), of_invocation("runtimeDone", "id"), extension("b")];
    let request = post("", &records);
    for cut in 0..=request.len() {
        let mut collector = collector();
        invoke(&mut collector, "id", 0);
        let mut connection = Connection::new();
        let mut records_seen =
            connection.receive(&mut collector, &request[..cut], takes_all).records;
        let rest = connection.receive(&mut collector, &request[cut..], takes_all);
        records_seen.extend(rest.records);
        assert_eq!(records_seen, records, "{cut}");
        assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone), "{cut}");
    }
}

#[test]
fn a_handler_that_fails_gets_the_batch_again_and_its_other_records_are_skipped() {
    let mut collector = collector();
    let request = post("", &[function("a"), function("b"), function("c")]);
    let seen = receive(&mut collector, &request, |record| !record.contains("\"b\""));
    assert_eq!(seen.records, [function("a"), function("b")]);
    assert_eq!(seen.statuses, ["503"]);
    assert_eq!(
        seen.warnings,
        ["the telemetry handler failed; its batch is asked for again (delivery 1 of 3)"]
    );
    let seen = receive(&mut collector, &request, takes_all);
    assert_eq!((seen.records.len(), seen.statuses), (3, vec!["200".to_owned()]));
    let losses = collector.losses();
    assert_eq!((losses.refused_batches, losses.given_up_batches), (1, 0));
}

#[test]
fn a_batch_that_always_fails_is_given_up_and_counted() {
    let mut collector = collector();
    let request = post("", &[function("a"), "7".to_owned()]);
    for _ in 1..MAX_DELIVERIES {
        assert_eq!(receive(&mut collector, &request, |_| false).statuses, ["503"]);
    }
    let seen = receive(&mut collector, &request, |_| false);
    assert_eq!(seen.statuses, ["200"]);
    assert_eq!(
        seen.warnings,
        ["the telemetry handler failed with 3 deliveries of a batch; given up, 2 records"]
    );
    let losses = collector.losses();
    assert_eq!((losses.refused_batches, losses.given_up_batches), (2, 1));
    assert_eq!(losses.unread_records, 1);
    assert!(collector.summary().unwrap().to_string().contains("given up: 1"));
}

#[test]
fn a_batch_with_a_sequence_id_that_was_taken_is_not_handed_out_again() {
    let mut collector = collector();
    let request = post("Sequence-Id: YQ==\r\n", &[function("a")]);
    assert_eq!(receive(&mut collector, &request, takes_all).records.len(), 1);
    let seen = receive(&mut collector, &request, takes_all);
    assert_eq!((seen.records.len(), seen.statuses), (0, vec!["200".to_owned()]));
}

#[test]
fn the_end_of_an_invocation_is_known_although_the_handler_fails() {
    let done = of_invocation("runtimeDone", "id");
    // With the record itself, or with one before it.
    for records in [vec![done.clone()], vec![function("a"), done]] {
        let mut collector = collector();
        invoke(&mut collector, "id", 0);
        let _seen = receive(&mut collector, &post("", &records), |_| false);
        assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone));
    }
}

/// A record of an invocation, with a field that has the wrong JSON type.
fn unreadable(kind: &str, id: &str) -> String {
    format!(
        r#"{{"type":"platform.{kind}","record":{{"requestId":"{id}","status":"success","spans":{{}}}}}}"#
    )
}

#[test]
fn the_end_of_an_invocation_is_known_although_another_field_of_its_record_is_wrong() {
    for kind in ["runtimeDone", "report"] {
        let mut collector = collector();
        invoke(&mut collector, "id", 0);
        let seen = receive(&mut collector, &post("", &[unreadable(kind, "id")]), takes_all);
        let text = "a telemetry record cannot be read: the field \"spans\" has the wrong JSON type";
        assert_eq!(seen.records, [text]);
        assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone), "{kind}");
    }
    // After a record with which the handler failed.
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let records = [function("a"), unreadable("runtimeDone", "id")];
    let _seen = receive(&mut collector, &post("", &records), |_| false);
    assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone));
}

#[test]
fn an_unreadable_record_of_another_invocation_does_not_end_the_wait() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let records = [
        unreadable("runtimeDone", "other"),
        unreadable("start", "id"),
        unreadable("runtimeDone", "id").replace(r#""id""#, "7"),
        r#"{"type":"platform.runtimeDone","record":"id"}"#.to_owned(),
        r#"{"type":7,"record":{"requestId":"id"}}"#.to_owned(),
    ];
    let _seen = receive(&mut collector, &post("", &records), takes_all);
    assert!(matches!(collector.check(at(1)), Passage::Wait { .. }));
}

#[test]
fn a_batch_with_an_unreadable_report_is_waited_for_until_it_was_handled() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let request = post("", &[of_invocation("runtimeDone", "id"), unreadable("report", "id")]);
    let _seen = receive(&mut collector, &request, |record| !record.contains("cannot be read"));
    shutdown(&mut collector, 10);
    assert!(matches!(collector.check(at(10)), Passage::Wait { .. }));
    let _seen = receive(&mut collector, &request, takes_all);
    assert_eq!(collector.check(at(20)), Passage::End(Reason::AllReported));
}

#[test]
fn a_batch_with_a_report_is_waited_for_until_it_was_handled() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let request = post("", &[of_invocation("runtimeDone", "id"), of_invocation("report", "id")]);
    let fails_with_report = |record: &str| !record.contains("report");
    let _seen = receive(&mut collector, &request, fails_with_report);
    shutdown(&mut collector, 10);
    assert!(matches!(collector.check(at(10)), Passage::Wait { .. }));
    let _seen = receive(&mut collector, &request, takes_all);
    assert_eq!(collector.check(at(20)), Passage::End(Reason::AllReported));
}

#[test]
fn a_batch_that_is_delivered_again_does_not_count_for_the_next_attempt() {
    let done = of_invocation("runtimeDone", "id");
    for records in [vec![done.clone()], vec![done, of_invocation("report", "id")]] {
        let mut collector = collector();
        invoke(&mut collector, "id", 0);
        let request = post("", &[records, vec![function("a")]].concat());
        let _seen = receive(&mut collector, &request, |record| !record.contains("function"));
        let _seen = receive(&mut collector, &request, takes_all);
        assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone));
        invoke(&mut collector, "id", 60_000);
        assert!(matches!(collector.check(at(60_000)), Passage::Wait { .. }));
    }
}

#[test]
fn a_flush_is_due_once_after_each_invocation_and_at_shutdown() {
    let mut collector = collector();
    assert!(!collector.take_flush());
    for _ in 0..2 {
        invoke(&mut collector, "id", 0);
        assert_eq!((collector.take_flush(), collector.take_flush()), (true, false));
    }
    shutdown(&mut collector, 10);
    assert_eq!((collector.take_flush(), collector.take_flush()), (true, false));
}

#[test]
fn without_records_of_the_platform_no_invocation_is_waited_for() {
    let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    invoke(&mut collector, "id", 0);
    assert_eq!(collector.check(at(0)), Passage::Ask(Reason::NoTelemetry));
}

/// A batch with a record that needs more memory than a connection has, among others.
fn with_a_long_record() -> Vec<String> {
    vec![function("a"), function(&"x".repeat(SIZE)), function("b")]
}

#[test]
fn a_record_for_which_others_leave_no_memory_comes_again() {
    let most = Rc::new(Cell::new(SIZE));
    let mut collector = collector();
    let mut connection = Connection::with(Some(most.clone()));
    let records = with_a_long_record();
    let request = post("", &records);
    let seen = connection.receive(&mut collector, &request, takes_all);
    assert_eq!(seen.records, [&*records[0], &*records[2]]);
    assert_eq!(seen.statuses, ["503"]);
    assert_eq!(
        seen.warnings,
        ["a telemetry record does not fit the memory that other connections leave; its batch is \
          asked for again (delivery 1 of 3)"]
    );
    // The other request is over.
    most.set(2 * SIZE);
    let seen = connection.receive(&mut collector, &request, takes_all);
    assert_eq!((seen.records, &seen.statuses[..]), (records, &["200".to_owned()][..]));
    let losses = collector.losses();
    assert_eq!((losses.refused_batches, losses.unread_records), (1, 0));
}

#[test]
fn a_record_for_which_there_is_never_memory_is_told_at_its_last_delivery_and_counted() {
    for headers in ["", "Sequence-Id: YQ==\r\n"] {
        let mut collector = collector();
        let mut connection = Connection::with(Some(Rc::new(Cell::new(SIZE))));
        let records = with_a_long_record();
        let request = post(headers, &records);
        for _ in 1..MAX_DELIVERIES {
            assert_eq!(connection.receive(&mut collector, &request, takes_all).statuses, ["503"]);
        }
        let seen = connection.receive(&mut collector, &request, takes_all);
        let bytes = records[1].len();
        let unread = format!(
            "a telemetry record cannot be read: its {bytes} bytes do not fit the memory that other \
             connections leave"
        );
        assert_eq!(seen.records, [&*records[0], &*records[2], &*unread]);
        assert_eq!((seen.statuses, seen.warnings.len()), (vec!["200".to_owned()], 0));
        let losses = collector.losses();
        assert_eq!((losses.refused_batches, losses.unread_records), (2, 1));
    }
}

#[test]
fn a_handler_that_fails_with_the_record_for_which_there_was_no_memory_gives_the_batch_up() {
    let mut collector = collector();
    let mut connection = Connection::with(Some(Rc::new(Cell::new(SIZE))));
    let request = post("", &with_a_long_record());
    let takes = |record: &str| !record.contains("memory");
    for status in ["503", "503", "200"] {
        assert_eq!(connection.receive(&mut collector, &request, takes).statuses, [status]);
    }
    assert_eq!(collector.losses().given_up_batches, 1);
}

#[test]
fn a_batch_that_was_taken_is_not_asked_for_again_for_want_of_memory() {
    let most = Rc::new(Cell::new(2 * SIZE));
    let mut collector = collector();
    let request = post("", &with_a_long_record());
    let mut connection = Connection::with(Some(most.clone()));
    assert_eq!(connection.receive(&mut collector, &request, takes_all).statuses, ["200"]);
    // The reply was lost, and others use the memory now.
    most.set(SIZE);
    let seen = connection.receive(&mut collector, &request, takes_all);
    assert_eq!((&seen.statuses[..], seen.warnings.len()), (&["200".to_owned()][..], 0));
    assert!(collector.losses().is_none());
}

#[test]
fn a_record_that_never_fits_is_told_at_once() {
    let mut collector = collector();
    let seen = receive(&mut collector, &post("", &with_a_long_record()), takes_all);
    assert_eq!((seen.records.len(), seen.statuses), (3, vec!["200".to_owned()]));
    assert_eq!(collector.losses().unread_records, 1);
}

#[test]
fn memory_is_given_back_between_requests() {
    let most = Rc::new(Cell::new(2 * SIZE));
    let mut collector = collector();
    let mut connection = Connection::with(Some(most));
    let request = post("", &with_a_long_record());
    let seen = connection.receive(&mut collector, &request, takes_all);
    assert_eq!(seen.statuses, ["200"]);
    assert_eq!(connection.intake.room().len(), SIZE);
    // Also if a part of the head of the next one has arrived.
    let (head, rest) = request.split_at(10);
    let seen = connection.receive(&mut collector, &[&request[..], head].concat(), takes_all);
    assert_eq!(seen.statuses, ["200"]);
    assert_eq!(connection.intake.room().len(), SIZE - head.len());
    let seen = connection.receive(&mut collector, rest, takes_all);
    assert_eq!((seen.records.len(), seen.statuses.len()), (3, 1));
    // The next one arrives with the end of the first.
    let both = [&request[..], &request[..]].concat();
    let seen = connection.receive(&mut collector, &both, takes_all);
    assert_eq!((seen.records.len(), seen.statuses.len()), (6, 2));
}
