use std::time::Duration;

use serde::Deserialize;

use crate::{Error, Result};

/// What the caller of a function receives.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status. It does not show every failure; see [`failure`](Self::failure).
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body: the function's response, or the service's description of its failure.
    pub body: Vec<u8>,
}

/// The error document that the caller of a failed function receives.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionError {
    /// `errorType`
    pub error_type: String,
    /// `errorMessage`
    pub error_message: String,
    /// `stackTrace`
    pub stack_trace: Vec<String>,
}

/// Invokes one function over HTTP.
#[derive(Clone, Debug)]
pub struct Caller {
    agent: ureq::Agent,
    url: String,
}

/// How long a call waits for its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Larger than any response that a function may send.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as an error document, if it is one.
    pub fn function_error(&self) -> Option<FunctionError> {
        let error: FunctionError = serde_json::from_slice(&self.body).ok()?;
        (!error.error_type.is_empty()).then_some(error)
    }

    /// Why the function failed; `None` if it succeeded.
    ///
    /// AWS's emulator sends status 200 for functions that failed or timed out, and in its on-demand
    /// mode no header distinguishes them from a success. So the body decides: a JSON object with an
    /// `errorType` is a failure, and so is the emulator's text for a timeout. A function that sends
    /// such a body as its response cannot be distinguished from one that failed.
    pub fn failure(&self) -> Option<String> {
        let text = self.text();
        if let Some(error) = self.function_error() {
            return Some(format!("{}: {}", error.error_type, error.error_message));
        }
        if text.starts_with("Task timed out after ") {
            return Some(text);
        }
        (self.status != 200).then(|| format!("status {}: {text}", self.status))
    }
}

impl Caller {
    /// A caller that posts events to this URL.
    pub fn new(url: impl Into<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            // The emulator closes connections when it likes, and a POST is not sent twice.
            .max_idle_connections(0)
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Self { agent: config.into(), url: url.into() }
    }

    /// Invokes with an event, and waits for the answer, 30 s at most.
    ///
    /// # Errors
    ///
    /// An [`Error`] with the reason when there is no answer.
    pub fn invoke(&self, event: &[u8]) -> Result<Answer> {
        self.invoke_with(event, &[])
    }

    /// As [`invoke`](Self::invoke), with more headers.
    ///
    /// # Errors
    ///
    /// As [`invoke`](Self::invoke).
    pub fn invoke_with(&self, event: &[u8], headers: &[(&str, &str)]) -> Result<Answer> {
        let post = self.agent.post(&self.url);
        let post = headers.iter().fold(post, |post, (name, value)| post.header(*name, *value));
        let no_answer = |error: ureq::Error| {
            Error::new(format!(
                "no answer to an event of {} bytes from {}: {error}",
                event.len(),
                self.url
            ))
        };
        let response = post.send(event).map_err(no_answer)?;
        let (head, mut body) = response.into_parts();
        let body = body.with_config().limit(LARGEST_BODY).read_to_vec().map_err(no_answer)?;
        let headers = head.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Ok(Answer { status: head.status.as_u16(), headers: headers.collect(), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_decides_whether_a_function_failed() {
        let report = r#"{"errorType":"Function.X","errorMessage":"m"}"#;
        let cases = [
            (200, "hello", None),
            (200, r#"{"greeting":"Hello"}"#, None),
            (200, r#"{"errorMessage":"of my own"}"#, None),
            (200, "", None),
            (200, report, Some("Function.X: m")),
            (502, report, Some("Function.X: m")),
            (200, "Task timed out after 1.00 seconds", Some("Task timed out after 1.00 seconds")),
            (400, "busy", Some("status 400: busy")),
        ];
        for (status, body, failure) in cases {
            let answer = Answer { status, headers: Vec::new(), body: body.into() };
            assert_eq!(answer.failure().as_deref(), failure, "{status} {body}");
        }
    }
}
