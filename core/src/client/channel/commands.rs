//! Commands of the embedder: each encodes a request.

use super::{Channel, Pending, Wire};
use crate::api::{ContentType, ErrorReport};
use crate::client::receive::ReceiveBuffer;
use crate::client::{Storage, Warning, WarningKind};
use crate::machine::{CommandError, Machine, Phase};

/// Bytes that a request leaves free for its reply in a buffer that does not grow.
const REPLY: usize = 512;

/// First size of an empty storage, for a request and its reply.
const FIRST: usize = 1024;

const UNANSWERED: ErrorReport<'static> =
    ErrorReport::new("Runtime.NoResponse", "the handler ended without answering the invocation");

/// A command of the machine, which encodes into the given buffer.
pub(super) type Encode<'e> =
    &'e mut dyn FnMut(&mut Machine, &mut [u8]) -> Result<usize, CommandError>;

impl<S: Storage> Channel<S> {
    pub(in crate::client) fn ask(
        &mut self,
        events: &mut ReceiveBuffer<S>,
    ) -> Result<(), CommandError> {
        let phase = self.machine.phase();
        if phase == Phase::Reporting {
            // The machine would accept it as pipelined, and its bytes would overwrite the answer.
            return Err(CommandError::WrongPhase(phase));
        }
        self.encode(&mut Machine::next)?;
        events.clear();
        Ok(())
    }

    pub(in crate::client) fn respond(
        &mut self,
        content_type: Option<ContentType<'_>>,
        body_length: usize,
        is_pipelined: bool,
    ) -> Result<(), CommandError> {
        self.check_answer_may_begin()?;
        self.encode(&mut |machine, out| machine.respond(content_type, body_length, out))?;
        self.expect_receipt(is_pipelined);
        Ok(())
    }

    /// Fails the invocation in flight because its handler failed, and warns. After the answer, it
    /// only warns.
    pub(in crate::client) fn fail(
        &mut self,
        report: &ErrorReport<'_>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) -> Result<(), CommandError> {
        let (error_type, message, stack_trace) = report.parts();
        let phase = self.phase();
        if phase != Phase::Invoking {
            self.note(WarningKind::FailedAfterAnswer { error_type, message, stack_trace }, tell);
            return Err(CommandError::WrongPhase(phase));
        }
        self.note(WarningKind::Failed { error_type, message, stack_trace }, tell);
        self.report(report)?;
        self.expect_receipt(false);
        Ok(())
    }

    /// Fails the invocation in flight, if there is one, because its handler gave no answer.
    pub(in crate::client) fn give_up(
        &mut self,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) -> Result<(), CommandError> {
        if self.machine.phase() != Phase::Invoking || self.phase() != Phase::Invoking {
            return Ok(());
        }
        self.note(WarningKind::Unanswered, tell);
        self.report(&UNANSWERED)?;
        self.expect_receipt(false);
        Ok(())
    }

    pub(in crate::client) fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), CommandError> {
        self.encode_report(report, Machine::fail_init)?;
        self.expect_receipt(false);
        Ok(())
    }

    pub(in crate::client) fn restore_next(&mut self) -> Result<(), CommandError> {
        self.encode(&mut Machine::restore_next)?;
        self.expect_receipt(false);
        Ok(())
    }

    pub(in crate::client) fn fail_restore(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), CommandError> {
        self.encode_report(report, Machine::fail_restore)?;
        self.expect_receipt(false);
        Ok(())
    }

    /// Records that a receipt is due, and asks for the next invocation after the answer if
    /// pipelined.
    pub(super) fn expect_receipt(&mut self, is_pipelined: bool) {
        self.is_answer_due = true;
        if is_pipelined {
            // If the memory does not hold both, the embedder asks after the receipt.
            let _fits = self.encode_after(self.request, &mut Machine::next);
        }
    }

    /// Fails the invocation: with a report, or at the end of its stream if its head has been
    /// encoded.
    pub(super) fn report(&mut self, report: &ErrorReport<'_>) -> Result<(), CommandError> {
        self.check_piece_sent()?;
        if self.machine.is_streaming() {
            self.encode_report(report, Machine::finish_with_error)?;
        } else {
            self.encode_report(report, Machine::fail)?;
        }
        self.pending = Pending::Nothing;
        Ok(())
    }

    /// Encodes a request at the start of the buffer, which grows if it can.
    pub(super) fn encode(&mut self, command: Encode<'_>) -> Result<(), CommandError> {
        if self.is_stream_broken() {
            return Err(CommandError::MustReconnect);
        }
        // A pooled storage is empty after it has been released.
        self.drop_surplus();
        let storage = self.requests.storage();
        if storage.bytes().is_empty() {
            storage.grow(FIRST);
        }
        self.encode_after(0, command)
    }

    /// Encodes after the first `at` bytes of the request.
    fn encode_after(&mut self, at: usize, command: Encode<'_>) -> Result<(), CommandError> {
        // The machine changes nothing when the buffer is too small, and says how much it needs.
        let mut length = command(&mut self.machine, self.requests.request_room(at, REPLY));
        if let Err(CommandError::BufferTooSmall(too_small)) = length {
            let needed = at.saturating_add(too_small.needed).saturating_add(REPLY);
            self.requests.storage().grow(needed);
            length = command(&mut self.machine, self.requests.request_room(at, REPLY));
        }
        self.request = at + length?;
        self.requests.clear_after(self.request);
        Ok(())
    }

    /// Gives up a connection on which unsolicited bytes have arrived, so that the rest of them are
    /// not taken for the reply to this request. The next step warns of it.
    fn drop_surplus(&mut self) {
        if self.machine.awaits().is_some() || !self.requests.is_raw() {
            return;
        }
        if let Err(error) = self.requests.take(&mut self.machine) {
            self.surplus = Some(error);
        }
        let _nothing_is_outstanding = self.machine.on_disconnect();
        (self.wire, self.has_news, self.ending) = (Wire::Down, false, None);
    }

    /// Encodes a report, cut to fit the buffer.
    fn encode_report(
        &mut self,
        report: &ErrorReport<'_>,
        command: fn(&mut Machine, &ErrorReport<'_>, &mut [u8]) -> Result<usize, CommandError>,
    ) -> Result<(), CommandError> {
        let whole = self.encode(&mut |machine, out| command(machine, report, out));
        let Err(CommandError::BufferTooSmall(_)) = whole else { return whole };
        // The memory does not grow: drop the cause for X-Ray first, then shorten the texts. If the
        // head alone does not fit, the command fails.
        let report = report.without_xray_cause();
        let mut limit = report.json_len();
        loop {
            let shorter =
                self.encode(&mut |machine, out| command(machine, &report.limit(limit), out));
            match shorter {
                Err(CommandError::BufferTooSmall(_)) if limit > 0 => limit /= 2,
                other => return other,
            }
        }
    }
}
