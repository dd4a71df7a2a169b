//! What the host says: each command encodes a request.

use super::{Channel, Wire};
use crate::api::{ContentType, ErrorReport};
use crate::client::receive::ReceiveBuffer;
use crate::client::{Storage, Warning, WarningKind};
use crate::machine::{CommandError, Machine, Phase};

/// Bytes that a request leaves free in a buffer that does not grow, for the reply to it.
const REPLY: usize = 512;

/// What is taken at first for a request and its reply.
const FIRST: usize = 1024;

const UNANSWERED: ErrorReport<'static> =
    ErrorReport::new("Runtime.NoResponse", "the handler gave up the invocation without an answer");

/// What a command of the machine has to write to.
type Encode<'e> = &'e mut dyn FnMut(&mut Machine, &mut [u8]) -> Result<usize, CommandError>;

impl<S: Storage> Channel<S> {
    pub(in crate::client) fn ask(
        &mut self,
        events: &mut ReceiveBuffer<S>,
    ) -> Result<(), CommandError> {
        let phase = self.machine.phase();
        if phase == Phase::Reporting {
            // The machine would take it as pipelined, and it would be written over the answer.
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
        self.encode(&mut |machine, out| machine.respond(content_type, body_length, out))?;
        self.host_answers(is_pipelined);
        Ok(())
    }

    /// Fails the invocation in hand because its handler wants it, and tells of it. After the answer
    /// there is nothing to fail.
    pub(in crate::client) fn fail(
        &mut self,
        report: &ErrorReport<'_>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) -> Result<(), CommandError> {
        let (error_type, message) = report.type_and_message();
        let phase = self.machine.phase();
        if phase != Phase::Invoking {
            self.note(WarningKind::FailedAfterAnswer { error_type, message }, tell);
            return Err(CommandError::WrongPhase(phase));
        }
        self.note(WarningKind::Failed { error_type, message }, tell);
        self.report(report)?;
        self.host_answers(false);
        Ok(())
    }

    /// Fails the invocation in flight, if there is one, because its handler has given it up.
    pub(in crate::client) fn give_up(
        &mut self,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) -> Result<(), CommandError> {
        if self.machine.phase() != Phase::Invoking {
            return Ok(());
        }
        self.note(WarningKind::Unanswered, tell);
        self.report(&UNANSWERED)?;
        self.host_answers(false);
        Ok(())
    }

    pub(in crate::client) fn stream(
        &mut self,
        content_type: ContentType<'_>,
    ) -> Result<(), CommandError> {
        self.encode(&mut |machine, out| machine.stream(content_type, out))?;
        self.host_answers(false);
        Ok(())
    }

    pub(in crate::client) fn chunk(&mut self, length: usize) -> Result<(), CommandError> {
        self.encode(&mut |machine, out| machine.chunk(length, out))
    }

    pub(in crate::client) fn finish(&mut self, is_pipelined: bool) -> Result<(), CommandError> {
        self.encode(&mut Machine::finish)?;
        self.host_answers(is_pipelined);
        Ok(())
    }

    pub(in crate::client) fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), CommandError> {
        self.encode_report(report, Machine::fail_init)?;
        self.host_answers(false);
        Ok(())
    }

    pub(in crate::client) fn restore_next(&mut self) -> Result<(), CommandError> {
        self.encode(&mut Machine::restore_next)?;
        self.host_answers(false);
        Ok(())
    }

    pub(in crate::client) fn fail_restore(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), CommandError> {
        self.encode_report(report, Machine::fail_restore)?;
        self.host_answers(false);
        Ok(())
    }

    /// The host waits to hear of its answer, behind which it may ask for the next invocation.
    fn host_answers(&mut self, is_pipelined: bool) {
        self.is_answer_due = true;
        if is_pipelined {
            // Where there is no memory for both, the host asks when it has heard of the answer.
            let _fits = self.encode_behind(self.request, &mut Machine::next);
        }
    }

    /// Fails the invocation: by a report, or at the end of its stream.
    pub(super) fn report(&mut self, report: &ErrorReport<'_>) -> Result<(), CommandError> {
        if self.machine.is_streaming() {
            self.encode_report(report, Machine::finish_with_error)
        } else {
            self.encode_report(report, Machine::fail)
        }
    }

    /// Encodes a request at the start of the buffer, which grows if it can.
    fn encode(&mut self, command: Encode<'_>) -> Result<(), CommandError> {
        if self.is_stream_broken() {
            return Err(CommandError::MustReconnect);
        }
        // A pooled storage is empty after it was released.
        self.drop_surplus();
        let storage = self.requests.storage();
        if storage.bytes().is_empty() {
            storage.grow(FIRST);
        }
        self.encode_behind(0, command)
    }

    /// Encodes behind so many bytes of the request.
    fn encode_behind(&mut self, at: usize, command: Encode<'_>) -> Result<(), CommandError> {
        // The machine changes nothing when the buffer is too small, and says how much it needs.
        let mut length = command(&mut self.machine, self.requests.request_room(at, REPLY));
        if let Err(CommandError::BufferTooSmall(too_small)) = length {
            let needed = at.saturating_add(too_small.needed).saturating_add(REPLY);
            self.requests.storage().grow(needed);
            length = command(&mut self.machine, self.requests.request_room(at, REPLY));
        }
        self.request = at + length?;
        self.requests.clear_behind(self.request);
        Ok(())
    }

    /// Gives up a connection on which bytes have come that answer nothing, so that the rest of them is not
    /// taken for the reply to what is sent now. The next step tells of it.
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

    /// Encodes a report, cut to what the buffer can take.
    fn encode_report(
        &mut self,
        report: &ErrorReport<'_>,
        command: fn(&mut Machine, &ErrorReport<'_>, &mut [u8]) -> Result<usize, CommandError>,
    ) -> Result<(), CommandError> {
        let whole = self.encode(&mut |machine, out| command(machine, report, out));
        let Err(CommandError::BufferTooSmall(_)) = whole else { return whole };
        // Memory that does not grow: first without the cause for X-Ray, then with ever shorter texts. The
        // head alone always fits, or the client ends.
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
