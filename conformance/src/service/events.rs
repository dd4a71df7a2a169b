//! The events that a listener has got, and those that a vector expects of them.

use serde::Deserialize;
use serde_json::Value;

use crate::service::known::Known;
use crate::service::pattern::{Words, is_alike, is_time};

/// An event that a vector expects.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// Its record, as the JSON of a reply.
    record: Value,
}

/// The state of a comparison.
pub(super) enum Found {
    /// The positions of all events.
    All(Vec<usize>),
    /// The events so far match, and this one is next.
    Waiting(usize),
    /// This event differs from what has come.
    Differs(usize, String),
}

/// The type in `without` that stands for each.
const ALL: &str = "*";

/// Removes the events at these positions, if no other event before the last is one of `without`.
pub(super) fn take(
    events: &mut Vec<Value>,
    positions: Vec<usize>,
    without: &[String],
) -> Result<(), (String, String)> {
    let last = positions.last().copied().unwrap_or_default();
    let mut others = events[..last].iter().enumerate();
    let unwanted = others.find_map(|(index, event)| {
        let is_unwanted = without.iter().any(|it| it == type_of(event) || it == ALL);
        (is_unwanted && !positions.contains(&index)).then(|| shown(event))
    });
    if let Some(unwanted) = unwanted {
        return Err((format!("no event of the types {}", without.join(", ")), unwanted));
    }
    for position in positions.into_iter().rev() {
        events.remove(position);
    }
    Ok(())
}

/// The events in their order. The next event of a type has to match the next one expected of it.
pub(super) fn find(
    events: &[Value],
    expected: &[Event],
    known: &Known,
    words: Words,
) -> Result<Found, String> {
    let (mut positions, mut begin) = (Vec::new(), 0);
    for (index, Event { kind, record }) in expected.iter().enumerate() {
        let found = events[begin..].iter().position(|event| type_of(event) == kind);
        let Some(found) = found else { return Ok(Found::Waiting(index)) };
        let event = &events[begin + found];
        if !is_alike(record, &event["record"], known, words)? {
            return Ok(Found::Differs(index, shown(event)));
        }
        positions.push(begin + found);
        begin += found + 1;
    }
    Ok(Found::All(positions))
}

pub(super) fn type_of(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_default()
}

pub(super) fn told(Event { kind, record }: &Event) -> String {
    format!("{kind} {record}")
}

/// An event, without what differs in each run.
fn shown(event: &Value) -> String {
    let mut record = event["record"].clone();
    normalise(&mut record);
    format!("{} {record}", type_of(event))
}

fn normalise(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_f64() != Some(0.0) => *value = "<number>".into(),
        Value::String(text) if is_time(text.as_bytes()) => *value = "<time>".into(),
        Value::Array(values) => values.iter_mut().for_each(normalise),
        Value::Object(values) => values.values_mut().for_each(normalise),
        _ => {}
    }
}

/// The events of a request.
pub(super) fn list(body: &[u8]) -> Result<Vec<Value>, String> {
    let events: Result<Vec<Value>, _> = serde_json::from_slice(body);
    let events = events.map_err(|_| "a request whose body is not a list".to_owned())?;
    events.into_iter().map(checked).collect()
}

/// The event of a line.
pub(super) fn event(line: &[u8]) -> Result<Value, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    checked(serde_json::from_slice(line).map_err(|_| "a line that is not JSON".to_owned())?)
}

/// Checks what every event has: a time, a type, a record, and nothing else.
fn checked(event: Value) -> Result<Value, String> {
    let members = event.as_object().map(|it| it.keys().map(String::as_str).collect::<Vec<_>>());
    let is_complete = members.is_some_and(|mut members| {
        members.sort_unstable();
        members == ["record", "time", "type"]
    });
    let has_time = event["time"].as_str().is_some_and(|time| is_time(time.as_bytes()));
    if is_complete && has_time && event["type"].is_string() {
        return Ok(event);
    }
    let (kind, time) = (type_of(&event), &event["time"]);
    Err(format!(
        "the event {kind:?}, whose time is {time}, or without exactly time, type and record"
    ))
}
