//! What subscribers are told: an event with its time, as JSON.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::Source;
use super::buffer::Losses;
use super::platform::{Facts, Platform};
use super::schema::{Kind, Schema};
use super::time::Rfc3339;
use crate::go_json::{is_object, quoted};

/// An event, and when it happened.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Since the Unix epoch.
    pub(super) time: Duration,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Platform(Platform),
    Line(Line),
}

/// A line of output.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) source: Source,
    /// Without its line end.
    pub(super) text: Vec<u8>,
    /// The invocation that runs, if it is the only one.
    pub(super) request_id: Option<Arc<str>>,
    /// Whether the function logs JSON.
    pub(super) is_json: bool,
    /// The event as text and as an object, each once it has been rendered: all subscribers share it.
    forms: [OnceLock<Bytes>; 2],
}

impl Event {
    pub(super) fn kind(&self) -> Kind {
        match &self.what {
            What::Platform(_) => Kind::Platform,
            What::Line(Line { source: Source::Function, .. }) => Kind::Function,
            What::Line(Line { source: Source::Extension, .. }) => Kind::Extension,
        }
    }

    /// The event, or both that this schema has for it, in the form of the schema.
    pub(super) fn render(&self, facts: &Facts, schema: Schema) -> impl Iterator<Item = Bytes> {
        let of_platform = |(name, record): (&str, String)| rendered(self.time, name, &record);
        let [first, second] = match &self.what {
            What::Platform(event) => {
                [event.end(schema).map(of_platform), event.render(facts, schema).map(of_platform)]
            }
            What::Line(line) => [None, Some(self.line(line, schema))],
        };
        first.into_iter().chain(second)
    }

    fn line(&self, line: &Line, schema: Schema) -> Bytes {
        let is_object = line.is_object(schema);
        let form = &line.forms[usize::from(is_object)];
        let render = || rendered(self.time, self.kind().name(), &line.render(self.time, is_object));
        form.get_or_init(render).clone()
    }
}

impl Line {
    pub(super) fn new(
        source: Source,
        text: Vec<u8>,
        request_id: Option<Arc<str>>,
        is_json: bool,
    ) -> Self {
        Self { source, text, request_id, is_json, forms: Default::default() }
    }

    /// Whether the record of this schema is an object.
    fn is_object(&self, schema: Schema) -> bool {
        self.is_json && schema.has_objects()
    }

    /// Source: Lambda Developer Guide, "Lambda Telemetry API `Event` schema reference", `function`
    /// and `extension`: with JSON logging, lines are objects from version 2022-12-13 on; "Log-level
    /// filtering": output without a level has the level INFO.
    fn render(&self, time: Duration, as_object: bool) -> String {
        let message = || {
            let mut text = String::with_capacity(self.text.len());
            for chunk in self.text.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            quoted(&text)
        };
        if !as_object {
            return message();
        }
        if let Some(object) = is_object(&self.text) {
            return object.to_owned();
        }
        let (time, message) = (Rfc3339(time), message());
        let request_id = self.request_id.as_deref();
        let request_id =
            request_id.map_or(String::new(), |id| format!(",\"requestId\":{}", quoted(id)));
        format!("{{\"timestamp\":\"{time}\",\"level\":\"INFO\",\"message\":{message}{request_id}}}")
    }
}

/// What was dropped, as an event: the same in all schemas.
pub(super) fn of_losses(time: Duration, losses: &Losses) -> Bytes {
    let Losses { records, bytes, reason } = losses;
    let reason = quoted(reason);
    let record =
        format!("{{\"reason\":{reason},\"droppedRecords\":{records},\"droppedBytes\":{bytes}}}");
    rendered(time, "platform.logsDropped", &record)
}

fn rendered(time: Duration, event_type: &str, record: &str) -> Bytes {
    let time = Rfc3339(time);
    Bytes::from(format!("{{\"time\":\"{time}\",\"type\":\"{event_type}\",\"record\":{record}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(line: &Line, schema: Schema) -> String {
        let what = What::Line(line.clone());
        let event = Event { time: Duration::from_millis(1_665_532_953_007), what };
        let facts = Facts {
            name: "f".into(),
            memory: 128,
            initialization_type: "on-demand",
            instance_id: None,
            is_managed: false,
        };
        let mut events = event.render(&facts, schema);
        let text = String::from_utf8(events.next().unwrap().to_vec()).unwrap();
        assert_eq!(events.next(), None);
        let (name, rest) = match line.source {
            Source::Function => ("function", text),
            Source::Extension => ("extension", text),
        };
        let begin =
            format!("{{\"time\":\"2022-10-12T00:02:33.007Z\",\"type\":\"{name}\",\"record\":");
        let record = rest.strip_prefix(&begin).unwrap_or_else(|| panic!("{rest}"));
        record.strip_suffix('}').unwrap().to_owned()
    }

    #[test]
    fn a_line_is_a_string_unless_the_function_logs_json_and_the_schema_has_objects() {
        let object = r#" {"level":"WARN","message":"<m>","n":[1e400]} "#;
        for source in [Source::Function, Source::Extension] {
            for is_json in [false, true] {
                let text = object.as_bytes().to_vec();
                let line = Line::new(source, text, Some("id".into()), is_json);
                for schema in Schema::ALL {
                    let expected = match is_json && schema.has_objects() {
                        true => object.trim().to_owned(),
                        false => quoted(object),
                    };
                    assert_eq!(rendered(&line, schema), expected, "{schema:?}");
                }
            }
        }
    }

    #[test]
    fn with_json_logging_other_lines_become_objects_with_the_id_of_the_invocation() {
        let line = |text: &[u8], request_id: Option<&str>| {
            Line::new(Source::Function, text.to_vec(), request_id.map(Into::into), true)
        };
        let begin = r#"{"timestamp":"2022-10-12T00:02:33.007Z","level":"INFO","message":"#;
        let message = "\"said \\\"x\\\"\\t\u{fffd}\"";
        let schema = Schema::Telemetry20250129;
        let text = b"said \"x\"\t\xff";
        let expected = format!("{begin}{message},\"requestId\":\"id\"}}");
        assert_eq!(rendered(&line(text, Some("id")), schema), expected);
        assert_eq!(rendered(&line(text, None), schema), format!("{begin}{message}}}"));
        for text in ["", "[1]", "1", "null", "{", "{\"a\":1} x", "{\"a\":\u{1}}", "\"{}\""] {
            let expected = format!("{begin}{}}}", quoted(text));
            assert_eq!(rendered(&line(text.as_bytes(), None), schema), expected, "{text}");
        }
        // Valid but for its encoding.
        assert!(rendered(&line(b"{\"a\":\"\xff\"}", None), schema).starts_with(begin));
    }

    #[test]
    fn a_line_is_rendered_once_for_all_subscribers_to_a_form() {
        let line = Line::new(Source::Function, b"plain".to_vec(), None, true);
        let event = Event { time: Duration::ZERO, what: What::Line(line) };
        let facts = Facts {
            name: "f".into(),
            memory: 128,
            initialization_type: "on-demand",
            instance_id: None,
            is_managed: false,
        };
        let place = |event: &Event, schema| event.render(&facts, schema).next().unwrap().as_ptr();
        let text = place(&event, Schema::Logs20200815);
        assert_eq!(place(&event, Schema::Telemetry20220701), text);
        let object = place(&event, Schema::Telemetry20221213);
        assert_ne!(object, text);
        assert_eq!(place(&event.clone(), Schema::Telemetry20250129), object);
    }

    #[test]
    fn losses_are_an_event_with_their_reason() {
        let losses = Losses { records: 3, bytes: 70, reason: "r".into() };
        assert_eq!(
            of_losses(Duration::ZERO, &losses),
            r#"{"time":"1970-01-01T00:00:00.000Z","type":"platform.logsDropped","record":{"reason":"r","droppedRecords":3,"droppedBytes":70}}"#
        );
    }
}
