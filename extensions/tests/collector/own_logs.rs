//! The limits of what an extension may cause itself.

use lambda_proto_extension::collector::{Collector, OwnLogs, TelemetryOptions};
use lambda_proto_extension::limits::{MAX_OWN_LOGS, MAX_WARNINGS, OWN_LOGS_PERIOD};
use lambda_proto_extension::subscription::TelemetryTypes;

use super::{
    ALL, Connection, at, collector, extension, function, invoke, of_invocation, post, receive,
    takes_all,
};

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
fn own_log_lines_arrive_again_after_a_minute_without_any_event() {
    let options = TelemetryOptions::new(TelemetryTypes::EXTENSION).own_log_limit(2);
    let minute = u64::try_from(OWN_LOGS_PERIOD.as_millis()).unwrap();
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    let lines = post("", &vec![extension("line"); 5]);
    let mut connection = Connection::new();
    for (now, handed, warned) in [
        (0, 2, 1),
        (minute - 1, 0, 0),
        (minute, 2, 1),
        (minute + 1, 0, 0),
        (2 * minute - 1, 0, 0),
        (2 * minute, 2, 1),
    ] {
        connection.now = now;
        let seen = connection.receive(&mut collector, &lines, takes_all);
        assert_eq!((seen.records.len(), seen.warnings.len()), (handed, warned), "{now}");
    }
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
    let lines = (0..100).filter(|_| collector.may_log(at(0))).count();
    assert_eq!(lines, MAX_WARNINGS as usize);
    let summary = collector.summary().unwrap().to_string();
    assert!(summary.ends_with("; warnings not logged: 84"), "{summary}");
    invoke(&mut collector, "id", 0);
    assert!(collector.may_log(at(0)));
}

#[test]
fn lines_are_logged_again_after_a_minute_without_any_event() {
    let minute = u64::try_from(OWN_LOGS_PERIOD.as_millis()).unwrap();
    let mut collector = collector();
    let logged =
        |collector: &mut Collector, now| (0..100).filter(|_| collector.may_log(at(now))).count();
    assert_eq!(logged(&mut collector, 0), MAX_WARNINGS as usize);
    assert_eq!(logged(&mut collector, minute - 1), 0);
    assert_eq!(logged(&mut collector, minute), MAX_WARNINGS as usize);
}

#[test]
fn on_managed_instances_a_start_lets_no_own_log_line_arrive_again() {
    let options = TelemetryOptions::new(ALL).own_log_limit(2);
    let mut collector = Collector::new(&options, OwnLogs::Extension);
    collector.no_runtime_done();
    let lines = vec![extension("line"); 5];
    let with_start = [&[of_invocation("start", "id")], &lines[..]].concat();
    for handed in [3, 1, 1] {
        let seen = receive(&mut collector, &post("", &with_start), takes_all);
        assert_eq!(seen.records.len(), handed);
    }
}

#[test]
fn a_start_lets_no_further_warning_be_logged() {
    let mut collector = collector();
    let logged = |collector: &mut Collector| (0..100).filter(|_| collector.may_log(at(0))).count();
    assert_eq!(logged(&mut collector), MAX_WARNINGS as usize);
    let _seen = receive(&mut collector, &post("", &[of_invocation("start", "id")]), takes_all);
    assert_eq!(logged(&mut collector), 0);
}
