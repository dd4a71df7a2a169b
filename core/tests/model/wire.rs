//! The bytes of every request and of every kind of reply, written from the documentation of the
//! API.

use crate::support::{ATTEMPT_ID, BODY, Command, REQUEST_ID};
use base64::Engine;

pub(crate) const ADDRESS: &str = "127.0.0.1:9001";
pub(crate) const USER_AGENT: &str = "model/1";
const REPORT: &str = "{\"errorType\":\"Function.Broken\",\"errorMessage\":\"it broke\"}";

/// The bytes that the machine must send after a command.
pub(crate) fn request(command: Command, has_attempt: bool, is_behind_chunk: bool) -> Vec<u8> {
    let common = format!("HTTP/1.1\r\nHost: {ADDRESS}\r\nUser-Agent: {USER_AGENT}\r\n");
    let attempt = match has_attempt {
        true => format!("Lambda-Runtime-Invocation-Id: {ATTEMPT_ID}\r\n"),
        false => String::new(),
    };
    let post = |path: &str, ids: &str| format!("POST /2018-06-01/runtime/{path} {common}{ids}");
    let answer = |call: &str| post(&format!("invocation/{REQUEST_ID}/{call}"), &attempt);
    let report = format!(
        "Content-Type: application/vnd.aws.lambda.error+json\r\n\
         Lambda-Runtime-Function-Error-Type: Function.Broken\r\nContent-Length: {}\r\n\r\n{REPORT}",
        REPORT.len()
    );
    let line_end = if is_behind_chunk { "\r\n" } else { "" };
    let text = match command {
        Command::Next => format!("GET /2018-06-01/runtime/invocation/next {common}\r\n"),
        Command::RestoreNext => format!("GET /2018-06-01/runtime/restore/next {common}\r\n"),
        Command::Respond => {
            let length = BODY.len();
            let head = answer("response");
            let body = String::from_utf8_lossy(BODY);
            format!(
                "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        }
        Command::Stream => {
            answer("response")
                + "Content-Type: text/plain; charset=utf-8\r\n\
               Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\
               Trailer: Lambda-Runtime-Function-Error-Type\r\n\
               Trailer: Lambda-Runtime-Function-Error-Body\r\n\r\n"
        }
        Command::Chunk => {
            format!("{line_end}{:x}\r\n{}", BODY.len(), String::from_utf8_lossy(BODY))
        }
        Command::EmptyChunk => String::new(),
        Command::Finish => format!("{line_end}0\r\n\r\n"),
        Command::FinishWithError => {
            let report = base64::engine::general_purpose::STANDARD.encode(REPORT);
            format!(
                "{line_end}0\r\nLambda-Runtime-Function-Error-Type: Function.Broken\r\n\
                 Lambda-Runtime-Function-Error-Body: {report}\r\n\r\n"
            )
        }
        Command::Fail => answer("error") + &report,
        Command::FailInit => post("init/error", "") + &report,
        Command::FailRestore => post("restore/error", "") + &report,
    };
    text.into_bytes()
}

/// Input that arrives in one piece, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    /// An event, with or without an attempt id.
    Event { has_attempt: bool },
    /// An event of 9 bytes of which [`TAIL`] is missing.
    CutEvent,
    /// An event that lasts until the connection ends.
    EndlessEvent,
    /// An event with invalid chunks.
    BrokenEvent,
    /// An event that cannot be answered.
    NamelessEvent,
    /// A whole reply with this status.
    Answer(u16),
    /// A whole reply, after which the service closes the connection.
    LastAnswer(u16),
    /// A reply of 9 bytes of which [`TAIL`] is missing.
    CutAnswer(u16),
    /// The missing bytes of a cut event or reply.
    Tail,
    /// The beginning of a head.
    HalfHead,
    /// The bytes that complete a half head to a reply with this status.
    HeadTail(u16),
    /// 100: the final reply follows.
    Interim,
    /// 101: another protocol follows.
    Switch,
    /// Bytes of another protocol.
    Nonsense,
}

/// The number of missing bytes of a cut event or reply.
pub(crate) const TAIL: usize = 7;
pub(crate) const EVENT: &[u8] = b"\"Ada\"";
pub(crate) const CUT: &[u8] = b"{ ";
pub(crate) const ENDLESS: &[u8] = b"hello";

impl Said {
    pub(crate) const ALL: [Self; 29] = [
        Self::Event { has_attempt: false },
        Self::Event { has_attempt: true },
        Self::CutEvent,
        Self::EndlessEvent,
        Self::BrokenEvent,
        Self::NamelessEvent,
        Self::Answer(202),
        Self::Answer(204),
        Self::Answer(400),
        Self::Answer(403),
        Self::Answer(404),
        Self::Answer(408),
        Self::Answer(410),
        Self::Answer(413),
        Self::Answer(500),
        Self::Answer(503),
        Self::LastAnswer(202),
        Self::LastAnswer(204),
        Self::CutAnswer(202),
        Self::CutAnswer(403),
        Self::CutAnswer(500),
        Self::CutAnswer(503),
        Self::Tail,
        Self::HalfHead,
        Self::HeadTail(202),
        Self::HeadTail(408),
        Self::Interim,
        Self::Switch,
        Self::Nonsense,
    ];

    pub(crate) fn bytes(self) -> Vec<u8> {
        let id = format!("Lambda-Runtime-Aws-Request-Id: {REQUEST_ID}\r\n");
        let head = |status: u16, fields: &str| format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let event = |fields: &str| head(200, &format!("{id}{fields}"));
        let with = |head: String, body: &[u8]| [head.as_bytes(), body].concat();
        match self {
            Self::Event { has_attempt: false } => with(event("Content-Length: 5\r\n"), EVENT),
            Self::Event { has_attempt: true } => with(
                event(&format!(
                    "Lambda-Runtime-Invocation-Id: {ATTEMPT_ID}\r\nContent-Length: 5\r\n"
                )),
                EVENT,
            ),
            Self::CutEvent => with(event("Content-Length: 9\r\n"), CUT),
            Self::EndlessEvent => with(event(""), ENDLESS),
            Self::BrokenEvent => with(event("Transfer-Encoding: chunked\r\n"), b"so\r\n"),
            Self::NamelessEvent => head(200, "Content-Length: 0\r\n").into(),
            Self::Answer(status) => head(status, "Content-Length: 0\r\n").into(),
            Self::LastAnswer(status) => {
                head(status, "Connection: close\r\nContent-Length: 0\r\n").into()
            }
            Self::CutAnswer(status) => with(head(status, "Content-Length: 9\r\n"), CUT),
            Self::Tail => b"\"a\": 1}".to_vec(),
            Self::HalfHead => b"HTTP/1.".to_vec(),
            Self::HeadTail(status) => format!("1 {status} X\r\nContent-Length: 0\r\n\r\n").into(),
            Self::Interim => head(100, "").into(),
            Self::Switch => head(101, "").into(),
            Self::Nonsense => b"220 ready\r\n\r\n".to_vec(),
        }
    }

    /// Whether it holds an empty line, which ends a head.
    pub(crate) fn ends_a_head(self) -> bool {
        !matches!(self, Self::Tail | Self::HalfHead)
    }
}
