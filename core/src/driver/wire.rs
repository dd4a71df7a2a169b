//! One connection and what is sent on it.

use heapless::Vec;

use super::inbox::{Found, Inbox};
use super::reply::{Answer, StreamOver};
use super::{DriverError, Host, Link, Notice, Storage, Trouble};
use crate::api::Then;
use crate::{CommandError, ContentType, ErrorReport, Machine, Phase, Recovery, Reply};

pub(super) struct Wire<H: Host, S: Storage> {
    pub(super) machine: Machine,
    pub(super) host: H,
    /// What ends the driver, found where it could not be returned.
    pub(super) error: Option<DriverError<H::Error>>,
    link: Option<H::Link>,
    /// Holds the heads of requests, then the replies to them.
    out: Inbox<S>,
    lost: u32,
    detail: Vec<u8, 512>,
}

/// What a step of the driver leads to.
pub(super) enum Flow {
    Done,
    Again,
    Stop,
}

/// The stream has ended or failed.
pub(super) struct Broken;

impl<H: Host, S: Storage> Wire<H, S> {
    pub(super) fn new(machine: Machine, host: H, out: S) -> Self {
        Self {
            machine,
            host,
            error: None,
            link: None,
            out: Inbox::new(out),
            lost: 0,
            detail: Vec::new(),
        }
    }

    /// Makes sure of a connection, before a request.
    pub(super) fn connect(&mut self) -> Result<(), DriverError<H::Error>> {
        if self.machine.must_reconnect() {
            self.link = None;
            self.machine.on_disconnect();
        }
        if self.link.is_none() {
            self.link = Some(self.host.connect(self.lost).map_err(DriverError::Connect)?);
        }
        Ok(())
    }

    /// Gives up the connection and asks what follows.
    pub(super) fn lost(&mut self) -> Recovery {
        // A connection that the service closed behind a complete answer was no loss.
        if !self.machine.must_reconnect() {
            self.lost = self.lost.saturating_add(1);
        }
        self.link = None;
        self.machine.on_disconnect()
    }

    /// Encodes a request at the start of the buffer, which grows if it can.
    pub(super) fn encode(
        &mut self,
        mut command: impl FnMut(&mut Machine, &mut [u8]) -> Result<usize, CommandError>,
    ) -> Result<usize, DriverError<H::Error>> {
        self.out.clear();
        let first = command(&mut self.machine, self.out.storage().bytes_mut());
        let Err(CommandError::BufferTooSmall(too_small)) = first else {
            return first.map_err(DriverError::Command);
        };
        self.out.storage().grow(too_small.needed);
        command(&mut self.machine, self.out.storage().bytes_mut()).map_err(DriverError::Command)
    }

    /// Encodes a report, cut to what the buffer can take.
    pub(super) fn encode_report(
        &mut self,
        report: &ErrorReport<'_>,
        mut command: impl FnMut(
            &mut Machine,
            &ErrorReport<'_>,
            &mut [u8],
        ) -> Result<usize, CommandError>,
    ) -> Result<usize, DriverError<H::Error>> {
        let whole = self.encode(|machine, out| command(machine, report, out));
        let Err(DriverError::Command(CommandError::BufferTooSmall(_))) = whole else {
            return whole;
        };
        let report = report.without_xray_cause();
        let smaller = self.encode(|machine, out| command(machine, &report, out));
        let Err(DriverError::Command(CommandError::BufferTooSmall(too_small))) = smaller else {
            return smaller;
        };
        let excess = too_small.needed - self.out.storage().bytes().len();
        let report = report.limit(report.json_len().saturating_sub(excess));
        self.encode(|machine, out| command(machine, &report, out))
    }

    /// Sends what was encoded, with the body and a pipelined request.
    pub(super) fn transmit(&mut self, length: usize, body: &[u8]) -> Result<(), Broken> {
        let link = self.link.as_mut().ok_or(Broken)?;
        let head = self.out.storage().bytes().get(..length).ok_or(Broken)?;
        while self.machine.unsent_len() > 0 {
            match link.write_parts(self.machine.unsent(head, body)) {
                Ok(0) => return Err(Broken),
                Ok(length) => self.machine.sent(length),
                Err(error) if is_interrupted(&error) => {}
                Err(_) => return Err(Broken),
            }
        }
        Ok(())
    }

    /// Reads once; 0 at the end of the stream.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Result<usize, Broken> {
        read(self.link.as_mut(), room)
    }

    /// Sends an answer that can be encoded again, and waits for the reply unless the next invocation
    /// is asked for in the same write.
    pub(super) fn answer(
        &mut self,
        body: &[u8],
        is_pipelined: bool,
        mut encode: impl FnMut(&mut Self) -> Result<usize, DriverError<H::Error>>,
    ) -> Answer {
        loop {
            match self.try_answer(body, is_pipelined, &mut encode) {
                Ok(Some(answer)) => return answer,
                Ok(None) => self.note(Trouble::SentAgain),
                Err(error) => {
                    self.error = Some(error);
                    return Answer::FateUnknown;
                }
            }
        }
    }

    /// `None` if the same answer is to be sent again.
    fn try_answer(
        &mut self,
        body: &[u8],
        is_pipelined: bool,
        encode: &mut impl FnMut(&mut Self) -> Result<usize, DriverError<H::Error>>,
    ) -> Result<Option<Answer>, DriverError<H::Error>> {
        self.connect()?;
        let mut length = encode(self)?;
        if is_pipelined && !self.host.is_stopping() {
            length += self.append_next(length)?;
        }
        let is_sent = self.transmit(length, body).is_ok();
        if is_sent && self.machine.is_asked() {
            return Ok(Some(Answer::Pipelined));
        }
        self.await_reply()
    }

    fn append_next(&mut self, length: usize) -> Result<usize, DriverError<H::Error>> {
        let too_small = {
            let rest = self.out.storage().bytes_mut().get_mut(length..).unwrap_or_default();
            match self.machine.next(rest) {
                Err(CommandError::BufferTooSmall(too_small)) => too_small,
                other => return other.map_err(DriverError::Command),
            }
        };
        self.out.storage().grow(length.saturating_add(too_small.needed));
        let rest = self.out.storage().bytes_mut().get_mut(length..).unwrap_or_default();
        self.machine.next(rest).map_err(DriverError::Command)
    }

    /// Waits for the reply to what was sent; `None` if it is to be sent again.
    pub(super) fn await_reply(&mut self) -> Result<Option<Answer>, DriverError<H::Error>> {
        if let Some(reply) = self.read_reply()? {
            self.note_outcome(reply);
            return Ok(Some(Answer::Known(reply)));
        }
        Ok(match self.lost() {
            Recovery::SendAgain => None,
            Recovery::Answered(reply) => {
                self.note_outcome(reply);
                Some(Answer::Known(reply))
            }
            _ => {
                self.note(Trouble::FateUnknown);
                Some(Answer::FateUnknown)
            }
        })
    }

    /// `None` if the connection ended first.
    fn read_reply(&mut self) -> Result<Option<Reply>, DriverError<H::Error>> {
        self.out.clear();
        loop {
            match self.out.take(&mut self.machine)? {
                Some(Found::Reply(reply)) => {
                    // What stands behind it answers nothing: the machine says so.
                    self.out.take(&mut self.machine)?;
                    return Ok(Some(reply));
                }
                Some(Found::Detail(detail)) => keep(&mut self.detail, detail),
                Some(Found::Piece | Found::InvocationEnd) => {}
                None => {
                    let room = self.out.room(&self.machine).ok_or(DriverError::NoRoom)?;
                    match read(self.link.as_mut(), room) {
                        Ok(length @ 1..) => self.out.filled(length),
                        Ok(_) => match self.out.end_of_stream(&mut self.machine) {
                            Some(Found::Reply(reply)) => return Ok(Some(reply)),
                            _ => return Ok(None),
                        },
                        Err(Broken) => return Ok(None),
                    }
                }
            }
        }
    }

    /// Fails the invocation in hand: by a report, or at the end of its stream. After its answer there
    /// is nothing to fail.
    pub(super) fn fail_in_hand(&mut self, report: &ErrorReport<'_>) -> Answer {
        if self.machine.phase() != Phase::Invoking {
            let (error_type, message) = report.type_and_message();
            self.note(Trouble::FailedAfterAnswer { error_type, message });
            return Answer::FateUnknown;
        }
        if self.machine.is_streaming() {
            return self.finish_stream(Some(report), false);
        }
        self.answer(&[], false, |wire| wire.encode_report(report, Machine::fail))
    }

    /// Ends the stream, which is never sent again.
    pub(super) fn finish_stream(
        &mut self,
        report: Option<&ErrorReport<'_>>,
        is_pipelined: bool,
    ) -> Answer {
        if !self.machine.is_streaming() {
            return Answer::FateUnknown;
        }
        self.answer(&[], is_pipelined, |wire| match report {
            Some(report) => wire.encode_report(report, Machine::finish_with_error),
            None => wire.encode(Machine::finish),
        })
    }

    pub(super) fn begin_stream(&mut self, content_type: ContentType<'_>) {
        let begun = self
            .connect()
            .and_then(|()| self.encode(|machine, out| machine.stream(content_type, out)));
        match begun.map(|length| self.transmit(length, &[])) {
            Ok(Ok(())) => {}
            Ok(Err(Broken)) => self.stream_broke(),
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn write_chunk(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        if !self.machine.is_streaming() {
            return Err(StreamOver);
        }
        match self.encode(|machine, out| machine.chunk(piece.len(), out)) {
            Ok(length) if self.transmit(length, piece).is_ok() => return Ok(()),
            Ok(_) => self.stream_broke(),
            Err(error) => self.error = Some(error),
        }
        Err(StreamOver)
    }

    /// The service takes no more: it may have said why before it hung up.
    fn stream_broke(&mut self) {
        if let Err(error) = self.await_reply() {
            self.error = Some(error);
        }
    }

    pub(super) fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), DriverError<H::Error>> {
        self.connect()?;
        let length = self.encode_report(report, Machine::fail_init)?;
        let _ = self.transmit(length, &[]);
        if let Some(reply) = self.read_reply()?
            && !reply.is_accepted()
        {
            self.notice(reply);
        }
        Ok(())
    }

    /// Takes note of a complete reply: resets the count of losses, tells of refusals, ends on 500.
    pub(super) fn note_outcome(&mut self, reply: Reply) {
        if !reply.is_accepted() {
            self.notice(reply);
        }
        match reply.then() {
            Then::Continue => self.answer_arrived(),
            // Connecting anew is what the host knows how to put off, longer each time.
            Then::ContinueAfterPause => {
                self.link = None;
                self.machine.on_disconnect();
                self.lost = self.lost.max(1).saturating_add(1);
            }
            Then::Exit => self.error = Some(DriverError::Service(reply)),
        }
    }

    pub(super) fn answer_arrived(&mut self) {
        self.lost = 0;
    }

    pub(super) fn keep_detail(&mut self, detail: &[u8]) {
        keep(&mut self.detail, detail);
    }

    fn notice(&mut self, reply: Reply) {
        let trouble = Trouble::Refused { reply, detail: &self.detail };
        let request_id = self.machine.latest_ids().request_id();
        self.host.notice(&Notice { request_id, trouble });
        self.detail.clear();
    }

    pub(super) fn note(&mut self, trouble: Trouble<'_>) {
        let request_id = self.machine.latest_ids().request_id();
        self.host.notice(&Notice { request_id, trouble });
    }
}

fn keep(detail: &mut Vec<u8, 512>, more: &[u8]) {
    let room = detail.capacity() - detail.len();
    let _fits = detail.extend_from_slice(&more[..more.len().min(room)]);
}

fn read<L: Link>(link: Option<&mut L>, room: &mut [u8]) -> Result<usize, Broken> {
    let link = link.ok_or(Broken)?;
    loop {
        match link.read(room) {
            Ok(length) => return Ok(length),
            Err(error) if is_interrupted(&error) => {}
            Err(_) => return Err(Broken),
        }
    }
}

fn is_interrupted(error: &impl embedded_io::Error) -> bool {
    error.kind() == embedded_io::ErrorKind::Interrupted
}
