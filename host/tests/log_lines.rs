//! Log lines: their format, which of them are written, and that no content can break them.

use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lambda_proto::api::{Call, Outcome};
use lambda_proto::client::{Warning, WarningKind};
use lambda_proto_host::{Fields, Format, Level, Log, Record};
use proptest::prelude::*;
use serde_json::Value;

/// A log configured by the environment, and the lines that it has written.
fn log_of(variables: &[(&str, &str)]) -> (Log, Lines) {
    let log = Log::from_lookup(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    });
    let lines = Lines::default();
    let written = lines.clone();
    (log.with_writer(move |record| written.0.lock().unwrap().push(record.to_string())), lines)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    #[track_caller]
    fn take_one(&self) -> String {
        let lines = self.take();
        let [line] = &lines[..] else { panic!("one line was expected: {lines:?}") };
        line.clone()
    }

    #[track_caller]
    fn take_json(&self) -> Value {
        let line = self.take_one();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

const FORMAT: &str = "AWS_LAMBDA_LOG_FORMAT";
const LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
const TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// The levels that a log writes.
fn written(log: &Log, lines: &Lines) -> Vec<Level> {
    let is_written = |level: &Level| {
        log.write(&Record::new(*level, format_args!("x")));
        let is_written = lines.take().len() == 1;
        assert_eq!(is_written, log.is_enabled(*level));
        is_written
    };
    Level::ALL.into_iter().filter(is_written).collect()
}

#[test]
fn in_json_every_level_passes_itself_and_higher_levels() {
    for (at, level) in Level::ALL.into_iter().enumerate() {
        for name in [level.to_string(), level.to_string().to_lowercase()] {
            let (log, lines) = log_of(&[(FORMAT, "JSON"), (LEVEL, &name)]);
            assert_eq!((log.format(), log.level()), (Format::Json, level));
            assert_eq!(written(&log, &lines), Level::ALL[at..], "{name}");
        }
    }
}

#[test]
fn in_text_the_level_of_the_environment_is_ignored() {
    for format in ["Text", "text", "anything", ""] {
        for level in Level::ALL {
            let (log, lines) = log_of(&[(FORMAT, format), (LEVEL, level.as_str())]);
            assert_eq!(log.format(), Format::Text);
            assert_eq!(written(&log, &lines), Level::ALL[2..], "{format} {level}");
        }
    }
}

#[test]
fn without_a_valid_level_it_is_info() {
    for variables in [&[(FORMAT, "JSON")][..], &[(FORMAT, "JSON"), (LEVEL, "LOUD")], &[]] {
        let (log, lines) = log_of(variables);
        assert_eq!(written(&log, &lines), Level::ALL[2..], "{variables:?}");
    }
}

#[test]
fn managed_instances_log_json_whatever_the_variable_says() {
    for format in ["Text", "", "JSON"] {
        let (log, _) = log_of(&[(TYPE, "lambda-managed-instances"), (FORMAT, format)]);
        assert_eq!(log.format(), Format::Json, "{format}");
    }
    let (log, _) = log_of(&[(TYPE, "on-demand"), (FORMAT, "Text")]);
    assert_eq!(log.format(), Format::Text);
}

#[test]
fn a_program_may_override_the_environment() {
    let (log, lines) = log_of(&[]);
    let log = log.with_level(Level::Trace).with_format(Format::Json);
    assert_eq!(written(&log, &lines), Level::ALL);
    log.write(&Record::new(Level::Trace, format_args!("x")));
    assert_eq!(lines.take_json()["level"], "TRACE");
}

#[test]
fn a_json_line_has_the_parts_of_the_record_in_order() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_689_600_042);
    let add = |fields: &mut Fields<'_>| {
        fields.text("table", format_args!("users"));
        fields.json("rows", format_args!("{}", 3));
        fields.json("ids", format_args!("[1,\"a\"]"));
    };
    let record = Record::new(Level::Warn, format_args!("slow")).at(time).logger("orders::load");
    log.write(&record.request_id("8476a536").fields(&add));
    let expected = concat!(
        r#"{"timestamp":"2025-01-01T00:00:00.042Z","level":"WARN","message":"slow","#,
        r#""logger":"orders::load","requestId":"8476a536","table":"users","rows":3,"ids":[1,"a"]}"#
    );
    assert_eq!(lines.take_one(), expected);
}

#[test]
fn parts_that_a_record_lacks_are_left_out_of_its_line() {
    let nothing = Record::new(Level::Info, format_args!("")).at(SystemTime::UNIX_EPOCH);
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    log.write(&nothing);
    assert_eq!(lines.take_one(), r#"{"timestamp":"1970-01-01T00:00:00.000Z","level":"INFO"}"#);
    let (log, lines) = log_of(&[]);
    log.write(&nothing);
    assert_eq!(lines.take_one(), "");
}

#[test]
fn a_line_has_the_time_of_its_writing() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    let time_of = |line: &Value| line["timestamp"].as_str().unwrap().to_owned();
    let shown = |time| {
        let record = Record::new(Level::Info, format_args!("")).at(time).format(Format::Json);
        time_of(&serde_json::from_str(&record.to_string()).unwrap())
    };
    let earliest = shown(SystemTime::now());
    log.write(&Record::new(Level::Info, format_args!("")));
    let latest = shown(SystemTime::now());
    let time = time_of(&lines.take_json());
    assert!(earliest <= time && time <= latest, "{earliest} {time} {latest}");
}

#[test]
fn a_text_line_has_invocation_message_and_fields() {
    let (log, lines) = log_of(&[]);
    let add = |fields: &mut Fields<'_>| {
        fields.text("table", format_args!("the \"users\""));
        fields.json("rows", format_args!("{}", 3));
    };
    let record = Record::new(Level::Warn, format_args!("slow")).logger("orders").fields(&add);
    log.write(&record.request_id("8476a536"));
    let expected = r#"invocation 8476a536: slow table="the \"users\"" rows=3"#;
    assert_eq!(lines.take_one(), expected);
}

#[test]
fn a_field_cannot_pass_for_a_reserved_one() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    let names = ["timestamp", "level", "message", "logger", "requestId"];
    let add = |fields: &mut Fields<'_>| {
        names.iter().for_each(|name| fields.text(name, format_args!("forged")));
    };
    let record = Record::new(Level::Info, format_args!("x")).logger("l").request_id("r");
    log.write(&record.fields(&add));
    let line = lines.take_json();
    for name in names {
        assert_ne!(line[name], "forged", "{line}");
        assert_eq!(line[format!("_{name}")], "forged", "{line}");
    }
}

/// Texts that forge log lines or confuse terminals.
const HOSTILE: [&str; 12] = [
    "\"}\n{\"level\":\"FATAL\",\"message\":\"forged",
    "a\r\nb\u{b}c\u{c}d",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m\u{9c}\u{85}",
    "line\u{2028}line\u{2029}line",
    "\0\u{1}\u{1f}\u{7f}\u{80}\u{9f}",
    "\\\\\\\"\\n\\u0022",
    "\u{202e}gnp.exe\u{feff}",
    "𝄞🍵é\u{301}\u{10ffff}\u{fffe}",
    "{}{0}{name:?}%s%n",
    "\t\t",
    "",
];

fn breaks_a_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

#[test]
fn a_hostile_text_survives_in_json_and_never_breaks_the_line() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    for text in HOSTILE {
        let add = |fields: &mut Fields<'_>| fields.text(text, format_args!("{text}"));
        let message = format_args!("{text}");
        let record = Record::new(Level::Error, message).request_id(text).logger(text);
        log.write(&record.fields(&add));
        let line = lines.take_one();
        assert!(!line.chars().any(breaks_a_line), "{line:?}");
        let json: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(json["level"], "ERROR");
        assert_eq!(json[text], text);
        for name in ["message", "requestId", "logger"] {
            assert_eq!(json[name].as_str().unwrap_or_default(), text, "{name}");
        }
    }
}

#[test]
fn a_hostile_text_is_harmless_in_text() {
    let (log, lines) = log_of(&[]);
    for text in HOSTILE {
        log.write(&Record::new(Level::Error, format_args!("{text}")));
        let line = lines.take_one();
        let leads_astray = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!line.chars().any(leads_astray), "{line:?}");
        // Everything except the message has no line breaks either.
        let add = |fields: &mut Fields<'_>| fields.text(text, format_args!("{text}"));
        log.write(&Record::new(Level::Error, format_args!("m")).request_id(text).fields(&add));
        let line = lines.take_one();
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn a_json_field_with_line_breaks_stays_in_its_line() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    let add = |fields: &mut Fields<'_>| fields.json("list", format_args!("[\n  1,\r\n\t2\n]"));
    log.write(&Record::new(Level::Info, format_args!("x")).fields(&add));
    let line = lines.take_one();
    assert!(!line.chars().any(breaks_a_line), "{line:?}");
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["list"], serde_json::json!([1, 2]));
}

proptest! {
    #[test]
    fn every_record_is_one_line_of_json_that_says_what_it_says(
        message in any::<String>(),
        logger in any::<String>(),
        id in any::<String>(),
        value in any::<String>(),
    ) {
        let add = |fields: &mut Fields<'_>| fields.text("field", format_args!("{value}"));
        let text = format_args!("{message}");
        let record = Record::new(Level::Info, text).format(Format::Json);
        let line = record.logger(&logger).request_id(&id).fields(&add).to_string();
        prop_assert!(!line.chars().any(breaks_a_line), "{line:?}");
        let json: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(json["message"].as_str().unwrap_or_default(), message);
        prop_assert_eq!(json["logger"].as_str().unwrap_or_default(), logger);
        prop_assert_eq!(json["requestId"].as_str().unwrap_or_default(), id);
        prop_assert_eq!(json["field"].as_str(), Some(&*value));
    }
}

/// A `Display` that fails in the middle.
struct Failing;

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        Err(fmt::Error)
    }
}

#[test]
fn a_message_whose_display_fails_leaves_a_whole_line() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    let add = |fields: &mut Fields<'_>| fields.text("field", format_args!("{Failing}"));
    log.write(&Record::new(Level::Info, format_args!("{Failing}")).fields(&add));
    let line = lines.take_json();
    assert_eq!((&line["message"], &line["field"]), (&Value::from("half"), &Value::from("half")));
}

/// A `Display` that writes to the log.
struct Logging<'l>(&'l Log);

impl fmt::Display for Logging<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.warn(format_args!("inner"));
        f.write_str("outer")
    }
}

#[test]
fn a_message_may_log_while_it_is_displayed() {
    let (log, lines) = log_of(&[]);
    let inner = log.clone();
    let outer = Log::to(move |record| {
        assert_eq!(record.to_string(), "outer");
    });
    outer.error(format_args!("{}", Logging(&inner)));
    assert_eq!(lines.take(), ["inner"]);
    // And to standard error, whose lock is not held during that time.
    Log::default().error(format_args!("{}", Logging(&Log::default())));
}

#[test]
fn a_filtered_record_is_not_formatted() {
    let (log, lines) = log_of(&[(FORMAT, "JSON"), (LEVEL, "ERROR")]);
    log.warn(format_args!("{}", Logging(&log.clone().with_level(Level::Trace))));
    assert_eq!(lines.take(), [""; 0]);
}

#[test]
fn a_warning_that_loses_an_answer_is_an_error_and_others_are_warnings() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    let refused = |call| WarningKind::Refused { outcome: Outcome::new(call, 403), detail: b"" };
    let (error_type, message, stack_trace) = ("Function.X", "y", "");
    let cases = [
        (refused(Call::Next), "WARN"),
        (refused(Call::Response), "ERROR"),
        (refused(Call::Error), "ERROR"),
        (refused(Call::InitError), "ERROR"),
        (WarningKind::SentAgain, "WARN"),
        (WarningKind::FateUnknown, "ERROR"),
        (WarningKind::Unsent, "ERROR"),
        (WarningKind::EventLost, "ERROR"),
        (WarningKind::EventTooLarge, "ERROR"),
        (WarningKind::Unanswered, "ERROR"),
        (WarningKind::Failed { error_type, message, stack_trace }, "ERROR"),
        (WarningKind::FailedAfterAnswer { error_type, message, stack_trace }, "WARN"),
    ];
    for (kind, level) in cases {
        log.warning(&Warning { request_id: "8476a536", kind });
        let line = lines.take_json();
        assert_eq!(line["level"], level, "{kind:?}");
        assert_eq!(line["logger"], "lambda-proto");
        assert_eq!(line["requestId"], "8476a536");
        let without_id = Warning { request_id: "", kind }.to_string();
        assert_eq!(line["message"], without_id);
    }
}

const STACK_TRACE: &str = "caused by: no\ncaused by: route\nsrc/main.rs:7:9\n   0: main\n";

fn failed(stack_trace: &str) -> Warning<'_> {
    let (error_type, message) = ("Function.X", "y");
    let kind = WarningKind::Failed { error_type, message, stack_trace };
    Warning { request_id: "8476a536", kind }
}

#[test]
fn the_causes_of_a_failure_follow_its_message_and_the_frames_follow_the_line() {
    let (log, lines) = log_of(&[]);
    log.warning(&failed(STACK_TRACE));
    let line = "invocation 8476a536: failed: Function.X: y: no: route\n    src/main.rs:7:9\n       0: main";
    assert_eq!(lines.take_one(), line);
    log.warning(&failed("caused by: no"));
    assert_eq!(lines.take_one(), "invocation 8476a536: failed: Function.X: y: no");
}

#[test]
fn in_json_a_failure_has_type_message_and_stack_trace_as_fields() {
    let (log, lines) = log_of(&[(FORMAT, "JSON")]);
    log.warning(&failed(STACK_TRACE));
    let line = lines.take_json();
    assert_eq!(line["message"], "failed: Function.X: y");
    assert_eq!(line["errorType"], "Function.X");
    assert_eq!(line["errorMessage"], "y");
    let frames = ["caused by: no", "caused by: route", "src/main.rs:7:9", "   0: main"];
    assert_eq!(line["stackTrace"], serde_json::json!(frames));
    log.warning(&failed(""));
    assert_eq!(lines.take_json().get("stackTrace"), None);
}

#[test]
fn a_panic_in_the_writer_does_not_reach_its_caller() {
    let log = Log::to(|_| panic!("the writer is broken"));
    log.error(format_args!("goes to standard error"));
}

#[test]
fn a_warning_in_text_is_the_line_that_it_displays() {
    let (log, lines) = log_of(&[]);
    for request_id in ["8476a536", ""] {
        let warning = Warning { request_id, kind: WarningKind::Unanswered };
        log.warning(&warning);
        assert_eq!(lines.take_one(), warning.to_string());
    }
}
