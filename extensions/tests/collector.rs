//! The policy of an extension with telemetry: what becomes of records, batches, invocations and log
//! lines. Two machines and a clock that the test sets.

use std::fmt::Write;
use std::time::Duration;

use lambda_proto::lifecycle::Clocks;
use lambda_proto_extension::EnvironmentEvent;
use lambda_proto_extension::barrier::{Passage, Reason};
use lambda_proto_extension::collector::{
    Collector, Intake, OwnLogs, Step, Telemetry, TelemetryOptions,
};
use lambda_proto_extension::limits::{
    MAX_DELIVERIES, MAX_OWN_LOGS, MAX_WAIT_FOR_BATCHES, MAX_WARNINGS,
};
use lambda_proto_extension::subscription::TelemetryTypes;
use lambda_proto_extension::telemetry::Losses;

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
    intake: Intake<Box<Memory>>,
}

struct Memory([u8; 4096]);

impl lambda_proto::client::Storage for Box<Memory> {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn grow(&mut self, _length: usize) {}
}

impl Connection {
    fn new() -> Self {
        Self { intake: Intake::new(Box::new(Memory([0; 4096]))) }
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
                    self.intake.received(length);
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
fn an_unreadable_report_counts_when_it_was_handled() {
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
fn a_report_counts_when_it_was_handled() {
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
fn a_report_that_never_comes_is_named_at_the_end() {
    let mut collector = collector();
    invoke(&mut collector, "8f18", 0);
    let _seen =
        receive(&mut collector, &post("", &[of_invocation("runtimeDone", "8f18")]), takes_all);
    shutdown(&mut collector, 1_000);
    // 2 s, less the reserve.
    let at_most = Duration::from_millis(1_800);
    assert_eq!(collector.check(at(1_000)), Passage::Wait { at_most });
    assert_eq!(collector.check(at(2_800)), Passage::End(Reason::DeadlineNear));
    let summary = collector.summary().unwrap().to_string();
    assert!(summary.starts_with("telemetry at the end: no platform.report of 8f18; "), "{summary}");
}

#[test]
fn an_extension_that_lost_nothing_has_nothing_to_say_at_the_end() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let records = [of_invocation("runtimeDone", "id"), of_invocation("report", "id")];
    let _seen = receive(&mut collector, &post("", &records), takes_all);
    shutdown(&mut collector, 10);
    assert_eq!(collector.check(at(10)), Passage::End(Reason::AllReported));
    assert!(collector.summary().is_none());
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

#[test]
fn a_batch_that_has_begun_is_waited_for_but_not_for_long() {
    let request = post("", &[of_invocation("runtimeDone", "id"), function("late")]);
    for is_completed in [true, false] {
        let mut collector = collector();
        let mut connection = Connection::new();
        invoke(&mut collector, "id", 0);
        let _seen = connection.receive(&mut collector, &request[..request.len() - 3], takes_all);
        assert_eq!(collector.check(at(1)), Passage::Wait { at_most: MAX_WAIT_FOR_BATCHES });
        if is_completed {
            let _seen =
                connection.receive(&mut collector, &request[request.len() - 3..], takes_all);
            assert_eq!(collector.check(at(2)), Passage::Ask(Reason::RuntimeDone));
        } else {
            assert!(matches!(collector.check(at(100)), Passage::Wait { .. }));
            assert_eq!(collector.check(at(101)), Passage::Ask(Reason::RuntimeDone));
            connection.intake.lost();
            let seen = connection.receive(&mut collector, &[], takes_all);
            assert_eq!(seen.warnings, ["a telemetry batch broke off with its connection"]);
            assert_eq!(collector.losses(), broken(1));
        }
    }
}

fn broken(batches: u64) -> Losses {
    let mut losses = Losses::default();
    losses.broken_batches = batches;
    losses
}

#[test]
fn a_loop_of_own_log_lines_ends() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    // The extension logs two lines for each record that it gets. Lambda delivers them.
    let (mut waiting, mut handed, mut warnings) = (1, 0, Vec::new());
    while waiting > 0 {
        let records = vec![extension("line"); waiting.min(500)];
        let seen = receive(&mut collector, &post("", &records), takes_all);
        waiting = waiting - records.len() + 2 * seen.records.len();
        handed += seen.records.len();
        warnings.extend(seen.warnings);
    }
    assert_eq!(handed, MAX_OWN_LOGS as usize);
    assert_eq!(collector.losses().withheld_records, u64::from(MAX_OWN_LOGS) + 1);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("1000 log records of the type `extension` "), "{warning}");
}

#[test]
fn own_log_lines_arrive_again_after_the_next_event_and_the_next_start() {
    let options = TelemetryOptions::new(ALL).own_log_limit(2);
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    let handed = |collector: &mut Collector, records: &[String]| {
        receive(collector, &post("", records), takes_all).records.len()
    };
    let lines = vec![extension("line"); 5];
    assert_eq!(handed(&mut collector, &lines), 2);
    assert_eq!(handed(&mut collector, &lines), 0);
    invoke(&mut collector, "id", 0);
    assert_eq!(handed(&mut collector, &lines), 2);
    let with_start = [&[of_invocation("start", "id")], &lines[..]].concat();
    assert_eq!(handed(&mut collector, &with_start), 3);
}

#[test]
fn the_records_of_others_are_never_withheld() {
    let options = TelemetryOptions::new(ALL).own_log_limit(0);
    let records = [extension("e"), function("f"), of_invocation("start", "id")];
    let handed = |own| {
        let mut collector = Collector::new(&options, own);
        receive(&mut collector, &post("", &records), takes_all).records
    };
    assert_eq!(handed(OwnLogs::Extension), records[1..]);
    // In the process of the runtime, the function's log is its own.
    assert_eq!(handed(OwnLogs::Function), [records[0].clone(), records[2].clone()]);
}

#[test]
fn a_hostile_client_cannot_fill_the_log() {
    let mut collector = collector();
    let lines = (0..100).filter(|_| collector.may_log()).count();
    assert_eq!(lines, MAX_WARNINGS as usize);
    let summary = collector.summary().unwrap().to_string();
    assert!(summary.ends_with("; warnings not logged: 84"), "{summary}");
    invoke(&mut collector, "id", 0);
    assert!(collector.may_log());
}

#[test]
fn a_batch_without_an_array_is_over_although_it_is_never_decided() {
    let mut collector = collector();
    invoke(&mut collector, "id", 0);
    let request = b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}";
    let seen = receive(&mut collector, request, takes_all);
    assert_eq!(seen.statuses, ["400"]);
    let _seen =
        receive(&mut collector, &post("", &[of_invocation("runtimeDone", "id")]), takes_all);
    assert_eq!(collector.check(at(1)), Passage::Ask(Reason::RuntimeDone));
}
