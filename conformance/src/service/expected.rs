use serde::Deserialize;
use serde_json::Value;

use crate::Bytes;
use crate::service::connection::{Answer, show};
use crate::service::known::Known;
use crate::service::pattern::{Differences, Headers, Marked, Words, compare_headers, is_alike};

/// The reply that a vector expects. Fields that it omits are not compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The status code.
    pub(super) status: u16,
    /// Header fields by their names, in any case. A field that is `null` must be absent.
    #[serde(default)]
    headers: Headers,
    /// The body, byte for byte.
    #[serde(default)]
    body: Option<Body>,
    /// The body as JSON: these members, in any order, and no others.
    #[serde(default)]
    json: Option<Value>,
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
        let header = |name: &str| answer.header(name);
        compare_headers(&self.headers, header, known, words, &mut differ).map_err(unusable)?;
        self.compare_body(answer, known, words, &mut differ).map_err(unusable)?;
        self.compare_json(answer, known, words, &mut differ).map_err(unusable)?;
        if is_other_status && self.body.is_none() && self.json.is_none() {
            // The body probably says why the status differs.
            differ.add(String::new(), body_of(answer));
        }
        differ.joined()
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

fn body_of(answer: &Answer) -> String {
    format!("body {}", show(&answer.body))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::service::pattern::Kind;

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
