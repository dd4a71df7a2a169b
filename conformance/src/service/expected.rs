use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;

use crate::Bytes;
use crate::service::connection::{Answer, show};
use crate::service::known::Known;

/// The reply that a vector expects. Fields that it omits are not compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The status code.
    pub(super) status: u16,
    /// Header fields by their names, in any case. A field that is `null` must be absent.
    #[serde(default)]
    headers: BTreeMap<String, Option<Pattern>>,
    /// The body, byte for byte.
    #[serde(default)]
    body: Option<Body>,
    /// The body as JSON: these members, in any order, and no others.
    #[serde(default)]
    json: Option<Value>,
}

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
struct Marked {
    words: Bytes,
}

/// The expected body.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Body {
    /// Exactly these bytes.
    Bytes(Bytes),
    /// The emulator's words.
    Marked(Marked),
}

/// The expected value of a header field.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Pattern {
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
struct IsA {
    /// The kind.
    is: Kind,
}

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// Any text.
    Any,
    /// Any text that is not empty.
    Text,
    /// A UUID: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
    Uuid,
    /// A time in milliseconds since 1970, at most a day ahead; in JSON a number.
    Deadline,
}

impl Expected {
    /// Compares a reply with this.
    ///
    /// # Errors
    ///
    /// The differences: what was expected, and what came.
    pub(super) fn compare(
        &self,
        answer: &Answer,
        known: &Known,
        words: Words,
    ) -> Result<(), (String, String)> {
        let mut differ = Differences::default();
        let is_other_status = self.status != answer.status;
        if is_other_status {
            differ.add(format!("status {}", self.status), format!("status {}", answer.status));
        }
        let unusable = |reason: String| (format!("a valid vector: {reason}"), String::new());
        self.compare_headers(answer, known, words, &mut differ).map_err(unusable)?;
        self.compare_body(answer, known, words, &mut differ).map_err(unusable)?;
        self.compare_json(answer, known, words, &mut differ).map_err(unusable)?;
        if is_other_status && self.body.is_none() && self.json.is_none() {
            // The body probably says why the status differs.
            differ.add(String::new(), body_of(answer));
        }
        differ.joined()
    }

    fn compare_headers(
        &self,
        answer: &Answer,
        known: &Known,
        words: Words,
        differ: &mut Differences,
    ) -> Result<(), String> {
        for (name, pattern) in &self.headers {
            let value = answer.header(name);
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

    fn compare_body(
        &self,
        answer: &Answer,
        known: &Known,
        words: Words,
        differ: &mut Differences,
    ) -> Result<(), String> {
        match &self.body {
            None => {}
            Some(Body::Marked(_)) if words == Words::Own && !answer.body.is_empty() => {}
            Some(Body::Marked(_)) if words == Words::Own => {
                differ.add("a body".to_owned(), body_of(answer));
            }
            Some(Body::Bytes(bytes) | Body::Marked(Marked { words: bytes })) => {
                let body = known.fill_in(bytes.as_slice())?;
                if body != answer.body {
                    differ.add(format!("body {}", show(&body)), body_of(answer));
                }
            }
        }
        Ok(())
    }

    fn compare_json(
        &self,
        answer: &Answer,
        known: &Known,
        words: Words,
        differ: &mut Differences,
    ) -> Result<(), String> {
        let Some(json) = &self.json else { return Ok(()) };
        let is_met = match serde_json::from_slice(&answer.body) {
            Ok(came) => is_alike(json, &came, known, words)?,
            Err(_) => false,
        };
        if !is_met {
            differ.add(format!("JSON {json}"), body_of(answer));
        }
        Ok(())
    }
}

/// How a reply differs from what was expected.
#[derive(Debug, Default)]
struct Differences {
    expected: Vec<String>,
    came: Vec<String>,
}

impl Differences {
    fn add(&mut self, expected: String, came: String) {
        self.expected.push(expected);
        self.came.push(came);
    }

    /// What was expected and what came, as an error, if there is a difference.
    fn joined(&self) -> Result<(), (String, String)> {
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

fn body_of(answer: &Answer) -> String {
    format!("body {}", show(&answer.body))
}

fn is_alike(expected: &Value, came: &Value, known: &Known, words: Words) -> Result<bool, String> {
    Ok(match (expected, came) {
        (Value::Object(expected), came) => {
            if let Ok(Marked { words: text }) = Marked::deserialize(expected) {
                let Value::String(came) = came else { return Ok(false) };
                let is_theirs = || known.fill_in(text.as_slice()).map(|it| it == came.as_bytes());
                return if words == Words::Own { Ok(true) } else { is_theirs() };
            }
            if let Ok(IsA { is }) = IsA::deserialize(expected) {
                return Ok(match came {
                    Value::String(text) if is != Kind::Deadline => is.is_met(text.as_bytes()),
                    Value::Number(number) if is == Kind::Deadline => {
                        is.is_met(number.to_string().as_bytes())
                    }
                    _ => false,
                });
            }
            let Value::Object(came) = came else { return Ok(false) };
            let mut are_alike = expected.len() == came.len();
            for (name, expected) in expected {
                are_alike &= match came.get(name) {
                    Some(came) => is_alike(expected, came, known, words)?,
                    None => false,
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
    fn is_met(self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Text => !value.trim_ascii().is_empty(),
            Self::Uuid => is_uuid(value),
            Self::Deadline => {
                let digits = std::str::from_utf8(value).ok();
                let is_plain = value.iter().all(u8::is_ascii_digit);
                let millis = digits.filter(|_| is_plain).and_then(|it| it.parse().ok());
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                millis.map(Duration::from_millis).is_some_and(|deadline| {
                    now < deadline && deadline < now + Duration::from_secs(24 * 60 * 60)
                })
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn answer() -> Answer {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() + 5_000;
        let headers = vec![
            ("X-Id".into(), ID.into()),
            ("X-Empty".into(), Vec::new()),
            ("X-Deadline".into(), deadline.to_string().into()),
        ];
        let body = format!(r#"{{"id":"{ID}","list":[1,{{"at":{deadline}}}],"text":"t"}}"#);
        Answer { status: 200, headers, body: body.into() }
    }

    /// The differences from the reply; empty if there are none.
    fn difference(expected: &str) -> String {
        difference_in(Words::Emulators, expected)
    }

    fn difference_in(words: Words, expected: &str) -> String {
        let mut known = Known::default();
        known.keep("k", answer());
        let expected: Expected = serde_json::from_str(expected).unwrap();
        match expected.compare(&answer(), &known, words) {
            Ok(()) => String::new(),
            Err((expected, came)) => format!("{expected} | {came}"),
        }
    }

    #[test]
    fn only_the_fields_of_the_vector_are_compared() {
        for expected in [
            r#"{"status": 200}"#,
            r#"{"status": 200, "headers": {"x-id": {"is": "uuid"}, "x-empty": {"is": "any"}}}"#,
            r#"{"status": 200, "headers": {"x-other": null}}"#,
            r#"{"status": 200, "headers": {"X-ID": "${k.x-id}", "x-empty": ""}}"#,
            r#"{"status": 200, "headers": {"x-deadline": {"is": "deadline"}}}"#,
            r#"{"status": 200, "headers": {"x-deadline": {"is": "text"}}}"#,
            r#"{"status": 200, "json": {"text": {"is": "text"}, "id": "${k.x-id}",
                "list": [1, {"at": {"is": "deadline"}}]}}"#,
        ] {
            assert_eq!(difference(expected), "", "{expected}");
        }
    }

    #[test]
    fn each_difference_shows_what_came() {
        for (expected, told) in [
            (r#"{"status": 202}"#, "status 202 | status 200; body "),
            (r#"{"status": 200, "headers": {"x-id": null}}"#, "x-id: absent | x-id: \"01"),
            (r#"{"status": 200, "headers": {"x-o": "v"}}"#, "x-o: \"v\" | x-o: absent"),
            (r#"{"status": 200, "headers": {"x-empty": {"is": "text"}}}"#, "of kind Text | "),
            (r#"{"status": 200, "headers": {"x-deadline": {"is": "uuid"}}}"#, "of kind Uuid | "),
            (r#"{"status": 200, "headers": {"x-id": {"is": "deadline"}}}"#, "of kind Deadline |"),
            (r#"{"status": 200, "body": "x"}"#, "body \"x\" | body "),
            (r#"{"status": 200, "json": {"id": "${k.x-id}"}}"#, "JSON {\"id\""),
            (r#"{"status": 200, "json": [1]}"#, "JSON [1] | body "),
            (
                r#"{"status": 200, "json": {"id": {"is": "uuid"}, "list": [2], "text": "t"}}"#,
                "JSON",
            ),
            (r#"{"status": 200, "body": "${x.y}"}"#, "unknown reference ${x.y}"),
            (r#"{"status": 404, "body": ""}"#, "status 404; body \"\" | status 200; body "),
        ] {
            let difference = difference(expected);
            assert!(difference.contains(told), "{expected}: {difference}");
        }
    }

    #[test]
    fn only_marked_texts_may_differ_in_a_services_own_words() {
        for (expected, is_met_by_theirs, is_met_by_own) in [
            // The answer's text is "t", its body is JSON, and it has no header X-Other.
            (r#"{"status": 200, "body": {"words": "other"}}"#, false, true),
            (r#"{"status": 200, "body": {"words": ""}}"#, false, true),
            (r#"{"status": 200, "headers": {"x-id": {"words": "other"}}}"#, false, true),
            (r#"{"status": 200, "headers": {"x-other": {"words": "other"}}}"#, false, true),
            (r#"{"status": 404, "body": {"words": "other"}}"#, false, false),
            (r#"{"status": 200, "headers": {"x-id": "other"}}"#, false, false),
            (r#"{"status": 200, "body": "other"}"#, false, false),
            (r#"{"status": 200, "headers": {"x-id": {"words": "${k.x-id}"}}}"#, true, true),
        ] {
            let is_met = |words| difference_in(words, expected).is_empty();
            assert_eq!(is_met(Words::Emulators), is_met_by_theirs, "{expected}");
            assert_eq!(is_met(Words::Own), is_met_by_own, "{expected}");
        }
        let list = r#"[1, {"at": {"is": "deadline"}}]"#;
        for (id, text, is_met_by_theirs, is_met_by_own) in [
            (r#"{"is": "uuid"}"#, r#"{"words": "t"}"#, true, true),
            (r#"{"is": "uuid"}"#, r#"{"words": "in other words"}"#, false, true),
            (r#""other""#, r#"{"words": "t"}"#, false, false),
            (r#"{"is": "uuid"}"#, r#""other""#, false, false),
        ] {
            let expected = format!(
                r#"{{"status": 200, "json": {{"id": {id}, "list": {list}, "text": {text}}}}}"#
            );
            let is_met = |words| difference_in(words, &expected).is_empty();
            assert_eq!(is_met(Words::Emulators), is_met_by_theirs, "{expected}");
            assert_eq!(is_met(Words::Own), is_met_by_own, "{expected}");
        }
        // An empty body is not a message, and a message must be a string.
        let expected: Expected =
            serde_json::from_str(r#"{"status": 200, "body": {"words": "w"}}"#).unwrap();
        let silent = Answer { body: Vec::new(), ..answer() };
        assert!(expected.compare(&silent, &Known::default(), Words::Own).is_err());
        for words in [Words::Emulators, Words::Own] {
            let expected = r#"{"status": 200, "json": {"id": {"is": "uuid"},
                "list": {"words": "x"}, "text": "t"}}"#;
            assert_ne!(difference_in(words, expected), "");
        }
    }

    #[test]
    fn a_deadline_is_at_most_a_day_ahead() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        for (value, is_met) in [
            ((now + 60_000).to_string(), true),
            ((now - 60_000).to_string(), false),
            ((now / 1000).to_string(), false),
            ((now + 100_000_000).to_string(), false),
            ((now * 1_000_000).to_string(), false),
            (format!("+{}", now + 60_000), false),
            ("9".repeat(30), false),
            (String::new(), false),
        ] {
            assert_eq!(Kind::Deadline.is_met(value.as_bytes()), is_met, "{value}");
        }
    }
}
