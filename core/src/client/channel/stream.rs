//! A stream: its head is held back until there is a piece or an end.

use super::Channel;
use crate::api::{ContentType, ErrorReport, OwnedContentType};
use crate::client::Storage;
use crate::machine::{CommandError, Machine, Phase};

/// What is yet to be encoded for the invocation in flight. While anything but a report is pending,
/// a receipt is due; once that is settled, nothing is pending.
#[expect(clippy::large_enum_variant, reason = "one in each client, which has no other memory")]
pub(super) enum Pending {
    Nothing,
    /// The error of an event that was lost or did not fit.
    Report(&'static ErrorReport<'static>),
    /// The head of a stream that has no piece and no end yet. If the stream fails, an error is
    /// reported instead.
    Head(OwnedContentType),
    /// The first piece of a stream, of this length, after the head.
    Piece(usize),
    /// The end of a stream without a piece, after the head.
    End {
        is_pipelined: bool,
    },
}

impl<S: Storage> Channel<S> {
    pub(in crate::client) fn stream(
        &mut self,
        content_type: ContentType<'_>,
    ) -> Result<(), CommandError> {
        self.check_answer_may_begin()?;
        let phase = self.machine.phase();
        if phase != Phase::Invoking || self.machine.is_streaming() {
            return Err(CommandError::WrongPhase(phase));
        }
        if self.machine.must_reconnect() {
            return Err(CommandError::MustReconnect);
        }
        // Nothing is sent before there is a piece or an end, so that a stream that fails before its
        // first piece is an error and not a response.
        self.pending = Pending::Head(content_type.into());
        self.expect_receipt(false);
        Ok(())
    }

    pub(in crate::client) fn chunk(&mut self, length: usize) -> Result<(), CommandError> {
        self.check_streaming()?;
        if length == 0 && matches!(self.pending, Pending::Head(_)) {
            return Ok(());
        }
        if self.open(Pending::Piece(length))? {
            return Ok(());
        }
        self.follow_head()?;
        self.encode(&mut |machine, out| machine.chunk(length, out))
    }

    pub(in crate::client) fn finish(&mut self, is_pipelined: bool) -> Result<(), CommandError> {
        self.check_streaming()?;
        if self.open(Pending::End { is_pipelined })? {
            return Ok(());
        }
        self.follow_head()?;
        self.encode(&mut Machine::finish)?;
        self.expect_receipt(is_pipelined);
        Ok(())
    }

    /// Encodes whatever is pending and needs nothing more from the embedder.
    #[cold]
    pub(super) fn encode_pending(&mut self) -> Result<(), CommandError> {
        match self.pending {
            Pending::Report(report) => self.report(report),
            _ => self.follow_head(),
        }
    }

    /// Whether the embedder has begun a stream and not ended it.
    pub(in crate::client) fn is_streaming(&self) -> bool {
        match self.pending {
            Pending::Head(_) => true,
            Pending::End { .. } => false,
            Pending::Nothing | Pending::Report(_) | Pending::Piece(_) => {
                self.machine.is_streaming()
            }
        }
    }

    /// The phase that the commands of the embedder lead to: that of the machine, unless the end of
    /// a stream waits for its head to be sent.
    pub(super) fn phase(&self) -> Phase {
        match self.pending {
            Pending::End { .. } => Phase::Reporting,
            _ => self.machine.phase(),
        }
    }

    /// Refuses an answer if a stream has begun, or if the client has an error to report.
    pub(super) fn check_answer_may_begin(&self) -> Result<(), CommandError> {
        match self.pending {
            Pending::Nothing => Ok(()),
            _ => Err(CommandError::WrongPhase(self.phase())),
        }
    }

    fn check_streaming(&self) -> Result<(), CommandError> {
        if self.is_streaming() { Ok(()) } else { Err(CommandError::WrongPhase(self.phase())) }
    }

    /// Encodes the head of a stream that is held back; `follows` is pending then. Returns `false`
    /// if no head is held back.
    fn open(&mut self, follows: Pending) -> Result<bool, CommandError> {
        let Pending::Head(content_type) = &self.pending else { return Ok(false) };
        let content_type = content_type.clone();
        self.encode(&mut |machine, out| machine.stream(content_type.content_type(), out))?;
        self.pending = follows;
        Ok(true)
    }

    /// Encodes what follows the head of a stream, which must have been sent.
    pub(super) fn follow_head(&mut self) -> Result<(), CommandError> {
        match self.pending {
            Pending::Piece(length) => {
                self.encode(&mut |machine, out| machine.chunk(length, out))?;
            }
            Pending::End { is_pipelined } => {
                self.encode(&mut Machine::finish)?;
                self.expect_receipt(is_pipelined);
            }
            Pending::Nothing | Pending::Report(_) | Pending::Head(_) => return Ok(()),
        }
        self.pending = Pending::Nothing;
        Ok(())
    }
}
