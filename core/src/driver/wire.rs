//! One connection and what is sent on it.

use heapless::Vec;

use super::answer::{Answer, StreamOver};
use super::inbox::{Found, Inbox};
use super::{DriverError, Host, Link, Notice, Storage, Trouble};
use crate::api::{Call, Then};
use crate::{
    CommandError, ContentType, ErrorReport, Machine, Outcome, Phase, ReceiveError, Recovery,
};

pub(super) struct Wire<H: Host, S: Storage> {
    pub(super) machine: Machine,
    pub(super) host: H,
    /// What ends the driver, found where it could not be returned.
    pub(super) error: Option<DriverError<H::Error>>,
    link: Option<H::Link>,
    /// Holds the heads of requests, then the replies to them.
    out: Inbox<S>,
    detail: Vec<u8, 512>,
    /// The host has ended the stream under an invocation that came all the same.
    pub(super) is_cut: bool,
}

/// Bytes that a report leaves free in a buffer that does not grow, for the reply to it.
const REPLY: usize = 512;

/// What a step of the driver leads to.
pub(super) enum Flow {
    Done,
    Again,
    Stop,
}

/// The stream has ended or failed.
#[derive(Clone, Copy)]
pub(super) struct Broken {
    /// Nothing was written before.
    is_untouched: bool,
}

impl<H: Host, S: Storage> Wire<H, S> {
    pub(super) fn new(machine: Machine, host: H, out: S) -> Self {
        Self {
            machine,
            host,
            error: None,
            link: None,
            out: Inbox::new(out),
            detail: Vec::new(),
            is_cut: false,
        }
    }

    /// Makes sure of a connection, before a request.
    pub(super) fn connect(&mut self) -> Result<(), DriverError<H::Error>> {
        if self.machine.must_reconnect() {
            self.link = None;
            self.machine.on_disconnect();
        }
        if self.link.is_none() {
            self.link =
                Some(self.host.connect(self.machine.losses()).map_err(DriverError::Connect)?);
        }
        Ok(())
    }

    /// Closes the connection for good.
    pub(super) fn close(&mut self) {
        self.link = None;
        self.machine.shut_down();
    }

    /// Replaces a connection that the host has ended, when its invocation is in hand.
    pub(super) fn hang_up_if_cut(&mut self) {
        if self.is_cut {
            self.lost();
        }
    }

    /// Gives up the connection and asks what follows.
    pub(super) fn lost(&mut self) -> Recovery {
        self.is_cut = false;
        self.link = None;
        self.machine.on_disconnect()
    }

    /// Encodes a request at the start of the buffer, which grows if it can.
    pub(super) fn encode(
        &mut self,
        mut command: impl FnMut(&mut Machine, &mut [u8]) -> Result<usize, CommandError>,
    ) -> Result<usize, DriverError<H::Error>> {
        let first = command(&mut self.machine, self.out.request_room(0, REPLY));
        let Err(CommandError::BufferTooSmall(too_small)) = first else {
            return first.map_err(DriverError::Command);
        };
        self.out.storage().grow(too_small.needed.saturating_add(REPLY));
        command(&mut self.machine, self.out.request_room(0, REPLY)).map_err(DriverError::Command)
    }

    /// Encodes a report, cut to what the buffer can take.
    fn encode_report(
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
        let mut limit = report.json_len();
        loop {
            let shorter = self.encode(|machine, out| command(machine, &report.limit(limit), out));
            match shorter {
                Err(DriverError::Command(CommandError::BufferTooSmall(_))) if limit > 0 => {
                    limit /= 2;
                }
                other => return other,
            }
        }
    }

    /// Sends what was encoded, with the body and a pipelined request.
    fn transmit(&mut self, length: usize, body: &[u8]) -> Result<(), Broken> {
        let mut broken = Broken { is_untouched: true };
        let link = self.link.as_mut().ok_or(broken)?;
        let head = self.out.storage().bytes().get(..length).ok_or(broken)?;
        while self.machine.unsent_len() > 0 {
            match link.write_parts(self.machine.unsent(head, body)) {
                Ok(0) => return Err(broken),
                Ok(length) => {
                    self.machine.sent(length);
                    broken.is_untouched = false;
                }
                Err(error) if is_interrupted(&error) => {}
                Err(_) => return Err(broken),
            }
        }
        Ok(())
    }

    /// Asks for the next invocation, on the connection that is there.
    /// `false` if the connection broke.
    pub(super) fn ask(&mut self) -> Result<bool, DriverError<H::Error>> {
        let length = self.encode(Machine::next)?;
        Ok(self.transmit(length, &[]).is_ok())
    }

    /// Reads once; 0 at the end of the stream.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Result<usize, Broken> {
        read(self.link.as_mut(), room)
    }

    /// Sends an answer, and waits for the reply unless the next invocation is asked for in the same
    /// write.
    pub(super) fn answer(
        &mut self,
        body: &[u8],
        is_pipelined: bool,
        encode: impl FnOnce(&mut Self) -> Result<usize, DriverError<H::Error>>,
    ) -> Answer {
        if self.error.is_some() {
            return self.end_unsent();
        }
        let answer = self.connect().and_then(|()| {
            let mut length = encode(self)?;
            if is_pipelined && !self.host.is_stopping() {
                length += self.append_next(length)?;
            }
            self.deliver(length, body)
        });
        self.settle(answer)
    }

    /// Keeps an error for when it can be returned.
    fn settle(&mut self, answer: Result<Answer, DriverError<H::Error>>) -> Answer {
        answer.unwrap_or_else(|error| {
            self.error = Some(error);
            self.end_unsent()
        })
    }

    /// The driver ends before the answer is through.
    fn end_unsent(&mut self) -> Answer {
        self.note(Trouble::Unsent);
        Answer::FateUnknown
    }

    /// Sends what was encoded until its fate is known, or is known not to be knowable.
    fn deliver(&mut self, length: usize, body: &[u8]) -> Result<Answer, DriverError<H::Error>> {
        loop {
            let outcome = match self.transmit(length, body) {
                Ok(()) if self.machine.is_asked() => return Ok(Answer::Pipelined),
                // The service may have replied before it hung up.
                Ok(()) | Err(Broken { is_untouched: false }) => self.read_reply(length)?,
                Err(Broken { is_untouched: true }) => None,
            };
            if let Some(outcome) = outcome {
                self.note_outcome(outcome);
                return Ok(Answer::Known(outcome));
            }
            match self.lost() {
                // What was encoded still stands before what was read.
                Recovery::SendAgain => {
                    self.note(Trouble::SentAgain);
                    self.connect()?;
                }
                Recovery::Answered(outcome) => {
                    self.note_outcome(outcome);
                    return Ok(Answer::Known(outcome));
                }
                _ => {
                    self.note(Trouble::FateUnknown);
                    return Ok(Answer::FateUnknown);
                }
            }
        }
    }

    fn append_next(&mut self, length: usize) -> Result<usize, DriverError<H::Error>> {
        let first = self.machine.next(self.out.request_room(length, REPLY));
        let Err(CommandError::BufferTooSmall(too_small)) = first else {
            return first.map_err(DriverError::Command);
        };
        self.out.storage().grow(length.saturating_add(too_small.needed).saturating_add(REPLY));
        self.machine.next(self.out.request_room(length, REPLY)).map_err(DriverError::Command)
    }

    /// Reads behind the request that is replied to; `None` if the connection is of no use any more.
    fn read_reply(&mut self, request: usize) -> Result<Option<Outcome>, DriverError<H::Error>> {
        self.out.clear_behind(request);
        loop {
            match self.out.take(&mut self.machine) {
                Err(error) => {
                    self.survive(error)?;
                    return Ok(None);
                }
                Ok(Some(Found::Outcome(outcome))) => {
                    // What stands behind it answers nothing: the machine says so.
                    if let Err(error) = self.out.take(&mut self.machine) {
                        self.survive(error)?;
                    }
                    return Ok(Some(outcome));
                }
                Ok(Some(Found::Detail(detail))) => keep(&mut self.detail, detail),
                Ok(Some(Found::Piece | Found::InvocationEnd)) => {}
                Ok(None) if self.machine.must_reconnect() => return Ok(None),
                Ok(None) => {
                    let room = self.out.room(&self.machine).ok_or(DriverError::NoRoom)?;
                    match read(self.link.as_mut(), room) {
                        Ok(length @ 1..) => self.out.filled(length),
                        Ok(_) => match self.out.end_of_stream(&mut self.machine) {
                            Some(Found::Outcome(outcome)) => return Ok(Some(outcome)),
                            _ => return Ok(None),
                        },
                        Err(_) => return Ok(None),
                    }
                }
            }
        }
    }

    /// Takes note of an answer that is none; an error if the conversation ends with it.
    pub(super) fn survive(&mut self, error: ReceiveError) -> Result<(), DriverError<H::Error>> {
        if self.machine.phase() == Phase::ShuttingDown {
            return Err(DriverError::Protocol(error));
        }
        self.note(Trouble::NoAnswer(error));
        Ok(())
    }

    /// Fails the invocation in hand because its handler wants it, and tells of it. After the answer
    /// there is nothing to fail.
    pub(super) fn fail_by_handler(&mut self, report: &ErrorReport<'_>) -> Answer {
        let (error_type, message) = report.type_and_message();
        if self.machine.phase() != Phase::Invoking {
            self.note(Trouble::FailedAfterAnswer { error_type, message });
            return Answer::FateUnknown;
        }
        self.note(Trouble::Failed { error_type, message });
        self.fail_in_hand(report)
    }

    /// Fails the invocation in hand: by a report, or at the end of its stream.
    pub(super) fn fail_in_hand(&mut self, report: &ErrorReport<'_>) -> Answer {
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
        if self.error.is_some() {
            return;
        }
        let begun = self.connect().and_then(|()| {
            let length = self.encode(|machine, out| machine.stream(content_type, out))?;
            self.deliver_stream_head(length)
        });
        if let Err(error) = begun {
            self.error = Some(error);
        }
    }

    fn deliver_stream_head(&mut self, length: usize) -> Result<(), DriverError<H::Error>> {
        while let Err(broken) = self.transmit(length, &[]) {
            if !broken.is_untouched {
                self.stream_broke();
                break;
            }
            if self.lost() != Recovery::SendAgain {
                break;
            }
            self.connect()?;
        }
        Ok(())
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
        match self.read_reply(0) {
            Ok(Some(outcome)) => self.note_outcome(outcome),
            Ok(None) => {
                if let Recovery::Answered(outcome) = self.lost() {
                    self.note_outcome(outcome);
                } else {
                    self.note(Trouble::FateUnknown);
                }
            }
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
    ) -> Result<(), DriverError<H::Error>> {
        self.connect()?;
        let length = self.encode_report(report, Machine::fail_init)?;
        self.deliver(length, &[]).map(drop)
    }

    /// Takes note of a whole reply: tells of a refusal, and ends if the service wants it.
    pub(super) fn note_outcome(&mut self, outcome: Outcome) {
        if !outcome.is_accepted() {
            let trouble = Trouble::Refused { outcome, detail: &self.detail };
            let request_id = match outcome.call() {
                Call::Response | Call::Error => self.machine.latest_ids().request_id(),
                _ => "",
            };
            self.host.notice(&Notice { request_id, trouble });
            self.detail.clear();
        }
        let is_last_word = matches!(outcome.call(), Call::InitError | Call::RestoreError);
        if outcome.then() == Then::Exit && !is_last_word {
            self.error = Some(DriverError::Service(outcome));
        }
    }

    pub(super) fn keep_detail(&mut self, detail: &[u8]) {
        keep(&mut self.detail, detail);
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
    let broken = Broken { is_untouched: true };
    let link = link.ok_or(broken)?;
    loop {
        match link.read(room) {
            Ok(length) => return Ok(length),
            Err(error) if is_interrupted(&error) => {}
            Err(_) => return Err(broken),
        }
    }
}

fn is_interrupted(error: &impl embedded_io::Error) -> bool {
    error.kind() == embedded_io::ErrorKind::Interrupted
}
