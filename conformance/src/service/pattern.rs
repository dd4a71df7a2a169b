//! What a value may be where a vector has no literal one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;

use crate::Bytes;
use crate::service::connection::show;
use crate::service::known::Known;

/// Whose words the texts of messages are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Words {
    /// Those of AWS's emulator: texts that a vector marks as such are compared.
    #[default]
    Emulators,
    /// The service's own: such texts are not compared.
    Own,
}

/// A text for which only AWS's emulator is a source. A service may say the same in
/// [its own words](Words::Own).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marked {
    pub(super) words: Bytes,
}

/// The expected value of a header field.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Pattern {
    /// Exactly these bytes.
    Bytes(Bytes),
    /// A value that belongs to the emulator's words, as their length or type does.
    Marked(Marked),
    /// A value of this kind.
    Kind(IsA),
}

/// A kind, instead of a literal value.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IsA {
    /// The kind.
    pub(super) is: Kind,
}

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Any text.
    Any,
    /// Any text that is not empty.
    Text,
    /// A UUID: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
    Uuid,
    /// A time in milliseconds since 1970, at most a day ahead; in JSON a number.
    Deadline,
    /// A time of RFC 3339 in UTC, with milliseconds: `2026-11-30T04:05:06.789Z`.
    Time,
    /// A JSON number that is not negative.
    Number,
    /// A JSON integer that is not negative.
    Integer,
}

/// How what came differs from what was expected.
#[derive(Debug, Default)]
pub(super) struct Differences {
    expected: Vec<String>,
    came: Vec<String>,
}

impl Differences {
    pub(super) fn add(&mut self, expected: String, came: String) {
        self.expected.push(expected);
        self.came.push(came);
    }

    /// What was expected and what came, as an error, if there is a difference.
    pub(super) fn joined(&self) -> Result<(), (String, String)> {
        if self.came.is_empty() {
            return Ok(());
        }
        Err((join(&self.expected), join(&self.came)))
    }
}

fn join(parts: &[String]) -> String {
    let parts: Vec<_> = parts.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
    parts.join("; ")
}

/// The headers that are expected, by their names in any case. One that is `null` must be absent.
pub(super) type Headers = BTreeMap<String, Option<Pattern>>;

/// Compares headers, whose values `came` returns.
///
/// # Errors
///
/// What is wrong with the vector.
pub(super) fn compare_headers(
    expected: &Headers,
    came: impl Fn(&str) -> Option<Vec<u8>>,
    known: &Known,
    words: Words,
    differ: &mut Differences,
) -> Result<(), String> {
    for (name, pattern) in expected {
        let value = came(name);
        let is_met = match (pattern, &value) {
            (None, value) => value.is_none(),
            (Some(Pattern::Marked(_)), _) if words == Words::Own => true,
            (Some(_), None) => false,
            (
                Some(Pattern::Bytes(bytes) | Pattern::Marked(Marked { words: bytes })),
                Some(value),
            ) => known.fill_in(bytes.as_slice())? == *value,
            (Some(Pattern::Kind(IsA { is })), Some(value)) => is.is_met(value),
        };
        if !is_met {
            let expected = match pattern {
                None => "absent".into(),
                Some(Pattern::Bytes(bytes) | Pattern::Marked(Marked { words: bytes })) => {
                    show(bytes.as_slice())
                }
                Some(Pattern::Kind(IsA { is })) => format!("of kind {is:?}"),
            };
            let came = value.map_or("absent".into(), |value| show(&value));
            differ.add(format!("{name}: {expected}"), format!("{name}: {came}"));
        }
    }
    Ok(())
}

/// A text in the notation of [`Bytes`], which has repetitions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelt {
    bytes: Bytes,
}

/// A list each of whose items is like this.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Each {
    each: Value,
}

/// Whether JSON is as expected.
///
/// # Errors
///
/// What is wrong with the vector.
pub(super) fn is_alike(
    expected: &Value,
    came: &Value,
    known: &Known,
    words: Words,
) -> Result<bool, String> {
    Ok(match (expected, came) {
        (Value::Object(expected), came) => {
            if let Ok(Marked { words: text }) = Marked::deserialize(expected) {
                let Value::String(came) = came else { return Ok(false) };
                let is_theirs = || known.fill_in(text.as_slice()).map(|it| it == came.as_bytes());
                return if words == Words::Own { Ok(true) } else { is_theirs() };
            }
            if let Ok(IsA { is }) = IsA::deserialize(expected) {
                return Ok(is.is_met_by_json(came));
            }
            if let Ok(Each { each }) = Each::deserialize(expected) {
                let Value::Array(came) = came else { return Ok(false) };
                let mut are_alike = true;
                for came in came {
                    are_alike &= is_alike(&each, came, known, words)?;
                }
                return Ok(are_alike);
            }
            if let Ok(Spelt { bytes }) = Spelt::deserialize(expected) {
                let Value::String(came) = came else { return Ok(false) };
                return Ok(known.fill_in(bytes.as_slice())? == came.as_bytes());
            }
            let Value::Object(came) = came else { return Ok(false) };
            let is_known = |name: &String| {
                expected.contains_key(name) || expected.contains_key(&format!("{name}?"))
            };
            let mut are_alike = came.keys().all(is_known);
            for (name, expected) in expected {
                let (name, is_optional) = match name.strip_suffix('?') {
                    Some(name) => (name, true),
                    None => (name.as_str(), false),
                };
                are_alike &= match came.get(name) {
                    Some(came) => is_alike(expected, came, known, words)?,
                    None => is_optional,
                };
            }
            are_alike
        }
        (Value::Array(expected), Value::Array(came)) => {
            let mut are_alike = expected.len() == came.len();
            for (expected, came) in expected.iter().zip(came) {
                are_alike &= is_alike(expected, came, known, words)?;
            }
            are_alike
        }
        (Value::String(expected), Value::String(came)) => {
            known.fill_in(expected.as_bytes())? == came.as_bytes()
        }
        (expected, came) => expected == came,
    })
}

impl Kind {
    /// Whether a text is of this kind.
    pub(super) fn is_met(self, value: &[u8]) -> bool {
        let digits = || {
            let is_plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            std::str::from_utf8(value).ok().filter(|_| is_plain)
        };
        match self {
            Self::Any => true,
            Self::Text => !value.trim_ascii().is_empty(),
            Self::Uuid => is_uuid(value),
            Self::Deadline => {
                let millis = digits().and_then(|it| it.parse().ok());
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                millis.map(Duration::from_millis).is_some_and(|deadline| {
                    now < deadline && deadline < now + Duration::from_secs(24 * 60 * 60)
                })
            }
            Self::Time => is_time(value),
            Self::Number => {
                let number = std::str::from_utf8(value).ok().and_then(|it| it.parse::<f64>().ok());
                number.is_some_and(|number| number.is_finite() && number >= 0.0)
            }
            Self::Integer => digits().is_some(),
        }
    }

    /// Whether a value in JSON is of this kind: a number or a text.
    fn is_met_by_json(self, came: &Value) -> bool {
        match (self, came) {
            (Self::Deadline | Self::Number | Self::Integer, Value::Number(number)) => {
                self.is_met(number.to_string().as_bytes())
            }
            (Self::Deadline | Self::Number | Self::Integer, _) => false,
            (_, Value::String(text)) => self.is_met(text.as_bytes()),
            _ => false,
        }
    }
}

/// Whether these bytes are a UUID in its canonical form.
pub(super) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether these bytes are a time of RFC 3339 in UTC with milliseconds.
///
/// Source: Lambda Developer Guide, "Lambda Telemetry API Event schema reference".
pub(super) fn is_time(value: &[u8]) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    value.len() == FORM.len()
        && value.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_a_kind_or_not() {
        for (kind, value, is_met) in [
            ("time", r#""2026-11-30T04:05:06.789Z""#, true),
            ("time", r#""2026-11-30T04:05:06Z""#, false),
            ("time", r#""2026-11-30T04:05:06:789Z""#, false),
            ("time", r#""2026-11-30T04:05:06.789+00:00""#, false),
            ("time", "1700000000000", false),
            ("number", "0", true),
            ("number", "1.5", true),
            ("number", "-1", false),
            ("number", r#""1""#, false),
            ("integer", "3008", true),
            ("integer", "1.5", false),
            ("integer", "-1", false),
            ("any", "1", false),
            ("any", r#""""#, true),
        ] {
            let expected = serde_json::from_str(&format!(r#"{{"is": "{kind}"}}"#)).unwrap();
            let came = serde_json::from_str(value).unwrap();
            let is_alike = is_alike(&expected, &came, &Known::default(), Words::Own);
            assert_eq!(is_alike, Ok(is_met), "{kind}: {value}");
        }
    }

    #[test]
    fn a_text_may_be_spelt_with_repetitions() {
        let expected = serde_json::from_str(r#"{"bytes": ["<", {"repeat": "ab", "times": 2}]}"#);
        let expected = expected.unwrap();
        for (came, is_met) in [(r#""<abab""#, true), (r#""<aba""#, false), ("[]", false)] {
            let came = serde_json::from_str(came).unwrap();
            let is_alike = is_alike(&expected, &came, &Known::default(), Words::Own);
            assert_eq!(is_alike, Ok(is_met));
        }
    }

    #[test]
    fn members_may_be_optional_and_items_of_a_list_alike() {
        let expected = r#"{"a": 1, "b?": {"is": "text"}, "c?": {"each": {"n": {"is": "number"}}}}"#;
        let expected = serde_json::from_str(expected).unwrap();
        for (came, is_met) in [
            (r#"{"a": 1}"#, true),
            (r#"{"a": 1, "b": "t", "c": [{"n": 1}, {"n": 2.5}]}"#, true),
            (r#"{"a": 1, "c": []}"#, true),
            (r#"{"b": "t"}"#, false),
            (r#"{"a": 1, "b": ""}"#, false),
            (r#"{"a": 1, "c": [{"n": 1}, {"n": "2"}]}"#, false),
            (r#"{"a": 1, "c": {}}"#, false),
            (r#"{"a": 1, "d": 1}"#, false),
            ("[]", false),
        ] {
            let json = serde_json::from_str(came).unwrap();
            let is_alike = is_alike(&expected, &json, &Known::default(), Words::Own);
            assert_eq!(is_alike, Ok(is_met), "{came}");
        }
    }
}
