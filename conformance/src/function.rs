//! The test function that the vectors for clients require.

use lambda_proto::api::{HttpPrelude, InvocationHead, PreludeError};
use lambda_proto_host::Failure;
use lambda_proto_host::lifecycle::Lifecycle;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// What an event asks the function to do: a JSON object says so in its field `do`. Any other event
/// is returned unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Act {
    /// Return the event.
    #[serde(skip)]
    Echo,
    /// Return the headers of the event, as JSON.
    Describe,
    /// Fail.
    Fail(Fail),
    /// Panic, or throw an uncaught exception.
    Panic {
        /// The panic's message.
        message: String,
    },
    /// Answer with the letter `a`, repeated.
    Answer {
        /// The length of the answer.
        bytes: usize,
        /// The content type, if the event gives one.
        #[serde(default)]
        content_type: Option<String>,
    },
    /// Stream an answer.
    Stream {
        /// The content type.
        content_type: String,
        /// The pieces.
        #[serde(deserialize_with = "pieces")]
        chunks: Vec<String>,
        /// The failure that follows the pieces.
        #[serde(default)]
        fail: Option<Fail>,
    },
    /// Stream an HTTP response.
    Http {
        /// Its status.
        status: u16,
        /// The names and values of its headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// Its cookies.
        #[serde(default)]
        cookies: Vec<String>,
        /// The pieces of its body.
        #[serde(default)]
        chunks: Vec<String>,
    },
}

/// Pieces, each of which is a text or a repetition.
fn pieces<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Piece {
        Text(String),
        Repeated { repeat: String, times: usize },
    }
    let pieces = Vec::<Piece>::deserialize(deserializer)?;
    let text = |piece| match piece {
        Piece::Text(text) => text,
        Piece::Repeated { repeat, times } => repeat.repeat(times),
    };
    Ok(pieces.into_iter().map(text).collect())
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fail {
    /// Its type.
    #[serde(rename = "type")]
    pub error_type: String,
    /// Its message.
    pub message: String,
    /// Its stack trace, a line for each frame.
    #[serde(default)]
    pub stack_trace: String,
    /// How often the message is repeated.
    #[serde(default = "once")]
    pub times: usize,
}

fn once() -> usize {
    1
}

impl Fail {
    /// The message, repeated [`times`](Self::times) times.
    pub fn message(&self) -> String {
        self.message.repeat(self.times)
    }
}

impl Act {
    /// What this event asks for.
    pub fn of(event: &[u8]) -> Self {
        serde_json::from_slice(event).unwrap_or(Self::Echo)
    }

    /// Its name in the [needs](crate::client::Vector::needs) of a vector.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Describe => "describe",
            Self::Fail(_) => "fail",
            Self::Panic { .. } => "panic",
            Self::Answer { .. } => "answer",
            Self::Stream { .. } => "stream",
            Self::Http { .. } => "http",
        }
    }
}

/// The answer to [`Act::Describe`]: the headers of the event, `null` for each that is missing.
pub fn describe(head: &InvocationHead<'_>) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    json!({
        "request_id": head.request_id(),
        "attempt_id": head.attempt_id().map(text),
        "deadline_ms": head.deadline().map(|deadline| deadline.as_unix_millis()),
        "function_arn": head.invoked_function_arn(),
        "trace_id": head.trace_id(),
        "client_context": head.client_context().map(text),
        "cognito_identity": head.cognito_identity().map(text),
        "tenant_id": head.tenant_id(),
        "content_type": head.content_type().map(|it| text(it.as_bytes())),
    })
}

impl From<Fail> for Failure {
    fn from(fail: Fail) -> Self {
        let message = fail.message();
        Self::new(fail.error_type, message).stack_trace(fail.stack_trace)
    }
}

/// Calls `answer` with the prelude of an [HTTP response](Act::Http), or with the reason why there
/// can be no such prelude.
pub fn with_prelude<T>(
    status: u16,
    headers: &[(String, String)],
    cookies: &[String],
    answer: impl FnOnce(Result<HttpPrelude<'_>, PreludeError>) -> T,
) -> T {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let cookies: Vec<_> = cookies.iter().map(|cookie| &**cookie).collect();
    answer(HttpPrelude::new(status, &headers, &cookies))
}

/// The init of the function.
///
/// # Errors
///
/// A failure if the environment contains `CONFORMANCE_START=fail`.
pub fn start() -> Result<(), Failure> {
    fail_if_asked("CONFORMANCE_START", "Function.NoStart")
}

/// Hooks around a snapshot, which fail with `CONFORMANCE_BEFORE_SNAPSHOT=fail` and
/// `CONFORMANCE_AFTER_RESTORE=fail`.
pub fn lifecycle() -> Lifecycle {
    Lifecycle::new()
        .before_snapshot("hook", |_| {
            fail_if_asked("CONFORMANCE_BEFORE_SNAPSHOT", "Function.NoSnapshot")
        })
        .after_restore("hook", |_| fail_if_asked("CONFORMANCE_AFTER_RESTORE", "Function.NoRestore"))
}

fn fail_if_asked(variable: &str, error_type: &'static str) -> Result<(), Failure> {
    match std::env::var(variable) {
        Ok(value) if value == "fail" => Err(Failure::new(error_type, "it was to fail")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_a_text_or_a_repetition() {
        let event =
            br#"{"do":"stream","content_type":"a/b","chunks":["x",{"repeat":"ab","times":3},""]}"#;
        let Act::Stream { chunks, .. } = Act::of(event) else { panic!("no stream") };
        assert_eq!(chunks, ["x", "ababab", ""]);
    }

    #[test]
    fn an_event_without_a_known_act_is_returned() {
        for event in ["", "{}", "[1]", r#"{"do":"fly"}"#, r#"{"do":"stream","chunks":[1]}"#] {
            assert_eq!(Act::of(event.as_bytes()), Act::Echo, "{event}");
        }
    }
}
