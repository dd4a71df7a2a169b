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
    /// The head of a stream, which is encoded when it is known what follows it, and that.
    Stream {
        content_type: OwnedContentType,
        follows: Follows,
    },
}

/// What follows the head of a stream.
#[derive(Clone, Copy)]
pub(super) enum Follows {
    /// There is no piece and no end yet. If the stream fails, an error is reported instead.
    Unknown,
    /// The first piece, of this length.
    Piece(usize),
    /// The end of a stream without a piece.
    End { is_pipelined: bool },
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
        self.pending =
            Pending::Stream { content_type: content_type.into(), follows: Follows::Unknown };
        self.expect_receipt(false);
        Ok(())
    }

    pub(in crate::client) fn chunk(&mut self, length: usize) -> Result<(), CommandError> {
        self.check_streaming()?;
        if length == 0 && self.is_head_held_back() {
            return Ok(());
        }
        if self.open(Follows::Piece(length))? {
            return Ok(());
        }
        self.check_piece_sent()?;
        self.encode(&mut |machine, out| machine.chunk(length, out))
    }

    pub(in crate::client) fn finish(&mut self, is_pipelined: bool) -> Result<(), CommandError> {
        self.check_streaming()?;
        if self.open(Follows::End { is_pipelined })? {
            return Ok(());
        }
        self.check_piece_sent()?;
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
        let Pending::Stream { follows, .. } = &self.pending else {
            return self.machine.is_streaming();
        };
        match follows {
            Follows::Unknown => true,
            Follows::Piece(_) => self.machine.is_streaming(),
            Follows::End { .. } => false,
        }
    }

    /// Whether a stream has begun and nothing of it has been encoded.
    pub(super) fn is_head_held_back(&self) -> bool {
        matches!(self.pending, Pending::Stream { follows: Follows::Unknown, .. })
    }

    /// Takes back the answer, or the part of a stream, whose body is gone.
    pub(in crate::client) fn withdraw(&mut self) {
        self.machine.withdraw();
        let is_unanswered = self.machine.phase() == Phase::Invoking && !self.machine.is_streaming();
        match &mut self.pending {
            // If no byte of the head was sent, it is held back again. If not, what follows it has
            // not been encoded.
            Pending::Stream { follows, .. } if is_unanswered => *follows = Follows::Unknown,
            Pending::Stream { .. } => self.pending = Pending::Nothing,
            Pending::Nothing if is_unanswered => self.is_answer_due = false,
            Pending::Nothing | Pending::Report(_) => {}
        }
    }

    /// The phase that the commands of the embedder lead to: that of the machine, unless the end of
    /// a stream waits for its head to be sent.
    pub(super) fn phase(&self) -> Phase {
        match self.pending {
            Pending::Stream { follows: Follows::End { .. }, .. } => Phase::Reporting,
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

    /// Refuses a command while the first piece waits for the head of its stream: the next step encodes
    /// it.
    pub(super) fn check_piece_sent(&self) -> Result<(), CommandError> {
        match self.pending {
            Pending::Stream { follows: Follows::Piece(length), .. } if !self.is_stream_broken() => {
                Err(CommandError::Unsent { length })
            }
            _ => Ok(()),
        }
    }

    /// Encodes the head of a stream that is held back; `next` is pending then. Returns `false` if
    /// no head is held back.
    fn open(&mut self, next: Follows) -> Result<bool, CommandError> {
        let Pending::Stream { content_type, follows: Follows::Unknown } = &self.pending else {
            return Ok(false);
        };
        let content_type = content_type.clone();
        self.encode(&mut |machine, out| machine.stream(content_type.content_type(), out))?;
        if let Pending::Stream { follows, .. } = &mut self.pending {
            *follows = next;
        }
        Ok(true)
    }

    /// Encodes what follows the head of a stream, which must have been sent.
    fn follow_head(&mut self) -> Result<(), CommandError> {
        let Pending::Stream { follows, .. } = &self.pending else { return Ok(()) };
        match *follows {
            Follows::Unknown => return Ok(()),
            Follows::Piece(length) => {
                self.encode(&mut |machine, out| machine.chunk(length, out))?;
            }
            Follows::End { is_pipelined } => {
                self.encode(&mut Machine::finish)?;
                self.expect_receipt(is_pipelined);
            }
        }
        self.pending = Pending::Nothing;
        Ok(())
    }
}
