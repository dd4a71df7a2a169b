//! The commands of a machine, as data.

use lambda_proto::api::{ContentType, ErrorReport};
use lambda_proto::machine::{CommandError, Machine};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Next,
    Respond,
    RespondEmpty,
    Fail,
    Stream,
    Chunk,
    EmptyChunk,
    Finish,
    FinishWithError,
    FailInit,
    RestoreNext,
    FailRestore,
}

/// The body of an answer, or of a chunk.
pub(crate) const BODY: &[u8] = b"GET /not/a/request HTTP/1.1\r\n\r\n0\r\n\r\n";

/// A report in which every part needs escaping.
const REPORT: ErrorReport<'static> =
    ErrorReport::new("Function.\r\nBroken\u{e9}", "it \"broke\"\r\n\0").stack_trace("a\n\nb\r\n");

impl Command {
    pub(crate) const ALL: [Self; 12] = [
        Self::Next,
        Self::Respond,
        Self::Fail,
        Self::Stream,
        Self::Chunk,
        Self::Finish,
        Self::FinishWithError,
        Self::EmptyChunk,
        Self::RespondEmpty,
        Self::FailInit,
        Self::RestoreNext,
        Self::FailRestore,
    ];

    pub(crate) fn give(self, to: &mut Machine, out: &mut [u8]) -> Result<usize, CommandError> {
        match self {
            Self::Next => to.next(out),
            Self::Respond => to.respond(Some(ContentType::JSON), BODY.len(), out),
            Self::RespondEmpty => to.respond(None, 0, out),
            Self::Fail => to.fail(&REPORT.xray_cause("{\"a\":\"\u{1f375}\r\n\"}"), out),
            Self::Stream => to.stream(ContentType::HTTP_INTEGRATION, out),
            Self::Chunk => to.chunk(BODY.len(), out),
            Self::EmptyChunk => to.chunk(0, out),
            Self::Finish => to.finish(out),
            Self::FinishWithError => to.finish_with_error(&REPORT, out),
            Self::FailInit => to.fail_init(&REPORT, out),
            Self::RestoreNext => to.restore_next(out),
            Self::FailRestore => to.fail_restore(&REPORT, out),
        }
    }

    /// The body, which is sent after the head that the command writes.
    pub(crate) fn body(self) -> &'static [u8] {
        if matches!(self, Self::Respond | Self::Chunk) { BODY } else { b"" }
    }
}
