//! One connection: what is sent on it, what is read from it, and what follows when it ends.

mod commands;
mod stream;

use heapless::Vec;
use stream::Pending;

use super::receive::{Found, ReceiveBuffer};
use super::{End, Receipt, Step, Storage, Warning, WarningKind};
use crate::api::{Action, Call, ErrorReport, Outcome};
use crate::machine::{Event, Machine, Phase, ReceiveError, Recovery};

/// A client without the memory of its event, which may be borrowed while the answer is sent.
pub(super) struct Channel<S> {
    machine: Machine,
    /// The request that was encoded last, then the reply to it.
    requests: ReceiveBuffer<S>,
    /// The length of that request.
    request: usize,
    detail: Vec<u8, 512>,
    wire: Wire,
    /// How the connection ended, until a step handles it.
    ending: Option<Ending>,
    /// Whether bytes were received that no step has handled.
    has_news: bool,
    /// Whether the last room was in the buffer of events.
    is_event_room: bool,
    /// Whether the embedder waits for the receipt of its answer.
    is_answer_due: bool,
    /// The receipt that the next step returns.
    settled: Option<Receipt>,
    pending: Pending,
    end: Option<End>,
    /// The error of unsolicited bytes that a command found.
    surplus: Option<ReceiveError>,
}

/// The state of the connection, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Down,
    Up,
    /// The service reads no more of the request, but may have replied.
    ReadOnly,
}

/// How a connection has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    InOrder,
    Broken,
}

const EVENT_LOST: ErrorReport<'static> = ErrorReport::new(
    "Runtime.EventTruncated",
    "the connection to the Runtime API ended in the middle of the event",
);
const EVENT_TOO_LARGE: ErrorReport<'static> =
    ErrorReport::new("Runtime.EventTooLarge", "the event does not fit the memory for events");

impl<S: Storage> Channel<S> {
    pub(super) fn new(machine: Machine, requests: S) -> Self {
        Self {
            machine,
            requests: ReceiveBuffer::new(requests),
            request: 0,
            detail: Vec::new(),
            wire: Wire::Down,
            ending: None,
            has_news: false,
            is_event_room: false,
            is_answer_due: false,
            settled: None,
            pending: Pending::Nothing,
            end: None,
            surplus: None,
        }
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(super) fn is_connected(&self) -> bool {
        self.wire != Wire::Down
    }

    pub(super) fn connected(&mut self) {
        self.wire = Wire::Up;
    }

    pub(super) fn lost(&mut self) {
        self.ending = Some(Ending::Broken);
    }

    /// Whether an invocation or a restore is awaited, perhaps for hours, and nothing of it has
    /// arrived.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.machine.awaits(), Some(Call::Next | Call::RestoreNext))
            && !self.machine.is_inside_reply()
    }

    /// Whether nothing is in flight or arriving.
    pub(super) fn may_stop(&self) -> bool {
        match self.machine.phase() {
            _ if self.end.is_some() => true,
            Phase::Init | Phase::Ready => !self.machine.is_inside_reply(),
            Phase::Invoking | Phase::Reporting | Phase::ShuttingDown => false,
        }
    }

    /// Whether there is an invocation whose answer is not settled.
    pub(super) fn is_in_flight(&self) -> bool {
        match self.machine.phase() {
            Phase::Invoking => true,
            Phase::Reporting => self.is_answer_due,
            Phase::Init | Phase::Ready | Phase::ShuttingDown => false,
        }
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    pub(super) fn unsent<'a>(&'a self, body: &'a [u8]) -> [&'a [u8]; 3] {
        self.machine.unsent(self.requests.bytes().get(..self.request).unwrap_or_default(), body)
    }

    pub(super) fn sent(&mut self, length: usize) {
        self.machine.sent(length);
    }

    pub(super) fn write_failed(&mut self) {
        if self.machine.is_request_untouched() {
            self.lost();
        } else if self.wire == Wire::Up {
            self.wire = Wire::ReadOnly;
        }
    }

    /// Returns room to read into; `None` if there is none before the next step.
    pub(super) fn room<'r>(
        &'r mut self,
        events: Option<&'r mut ReceiveBuffer<S>>,
    ) -> Option<&'r mut [u8]> {
        let is_event = self.reads_events();
        // `received` must find the buffer of this room, whatever the phase is by then.
        self.is_event_room = is_event;
        let Self { machine, requests, end, has_news, .. } = self;
        let buffer = match events {
            Some(events) if is_event => {
                events.make_way(machine);
                // The reply to a pipelined answer may have begun before the whole answer was sent.
                events.adopt(requests, machine);
                events
            }
            _ => requests,
        };
        // The next step may consume what fills the buffer, so it comes first.
        if *has_news && buffer.is_full() {
            return None;
        }
        let room = buffer.room(machine);
        if room.is_none() {
            *end = Some(End::NoRoom);
        }
        room
    }

    /// Records that `length` bytes were read; 0 is the end of the stream.
    pub(super) fn received(&mut self, length: usize, events: Option<&mut ReceiveBuffer<S>>) {
        match events {
            Some(events) if self.is_event_room => events.filled(length),
            _ => self.requests.filled(length),
        }
        self.has_news = true;
        if length == 0 {
            self.ending = Some(Ending::InOrder);
        }
    }

    /// Whether the next bytes go to the buffer of events. They do not while a receipt is due, as
    /// the body of the answer may be borrowed from that buffer.
    pub(super) fn reads_events(&self) -> bool {
        self.machine.is_asked() && !self.is_answer_due
    }

    /// Returns the next step if nothing has happened that [`step`](Self::step) has to deal with
    /// first.
    #[inline(always)]
    pub(super) fn quiet_step(&self) -> Option<Step> {
        let is_quiet = self.surplus.is_none()
            && !self.has_news
            && self.ending.is_none()
            && !self.machine.must_reconnect()
            && self.settled.is_none()
            && self.end.is_none();
        if is_quiet { self.work() } else { None }
    }

    /// Returns the next step. Without the buffer of events, it serves the answer up to its receipt.
    #[inline(always)]
    pub(super) fn step(
        &mut self,
        mut events: Option<&mut ReceiveBuffer<S>>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) -> Step {
        // The order of the checks is the contract. Received bytes come before the end of their
        // connection, as it may end after its last reply. A receipt comes before the end of the
        // session and before new work, so that none is lost when the loop stops. Writing comes
        // before reading, and reading before steps that the embedder decides.
        loop {
            // 1. Warn of unsolicited bytes that a command found.
            if let Some(error) = self.surplus.take() {
                self.note(WarningKind::InvalidReply(error), tell);
            }
            // 2. All bytes that were received since the last step go through the machine.
            if core::mem::take(&mut self.has_news) {
                self.take_arrived(events.as_deref_mut(), tell);
            }
            // 3. A receipt that is due when the session is over: the answer was not sent, or its
            //    fate is unknown.
            if self.end.is_some() && self.is_answer_due {
                self.note(WarningKind::Unsent, tell);
                self.settle(Receipt::FateUnknown);
            }
            // 4. The end of the connection. An orderly end may complete a body without length
            //    first. The machine may want another connection although this one is still up.
            if let Some(ending) = self.ending.take() {
                if ending == Ending::InOrder {
                    self.end_in_order(events.as_deref_mut(), tell);
                }
                self.recover(events.as_deref_mut(), tell);
            } else if self.machine.must_reconnect() {
                self.recover(events.as_deref_mut(), tell);
            }
            // 5. The receipt of an answer, returned once, in a step of its own.
            if let Some(receipt) = self.settled.take() {
                return Step::Settled(receipt);
            }
            // 6. The end of the session, returned again by each further step.
            if let Some(end) = self.end {
                return Step::End(end);
            }
            // 7. and 8. What the embedder or the service has to do.
            if let Some(step) = self.work() {
                return step;
            }
            // 9. What the client does by itself.
            match self.machine.phase() {
                // The reply and the next event come together, so the embedder frees the body now.
                Phase::Reporting => {
                    self.is_answer_due = false;
                    return Step::Settled(Receipt::Pipelined);
                }
                Phase::ShuttingDown => {
                    self.end = Some(End::Done);
                    return Step::End(End::Done);
                }
                _ => {
                    if let Err(error) = self.encode_pending() {
                        self.end = Some(End::Command(error));
                    }
                }
            }
        }
    }

    /// Returns the step of the embedder or of the service; `None` if the client goes on by itself.
    #[inline(always)]
    fn work(&self) -> Option<Step> {
        // Bytes to write. While the wire is read-only, read the reply instead: it may say why the
        // service reads no more of the request.
        if self.machine.unsent_len() > 0 {
            match self.wire {
                Wire::Down => return Some(Step::Connect { losses: self.machine.losses() }),
                Wire::Up => return Some(Step::Write),
                Wire::ReadOnly => {}
            }
        }
        // Nothing is left to write.
        match self.machine.phase() {
            // An answer with `next` after it, all of it written.
            Phase::Reporting
                if self.is_answer_due && self.machine.is_asked() && self.wire != Wire::ReadOnly =>
            {
                None
            }
            Phase::Invoking if !self.is_stream_broken() => {
                let may_answer =
                    matches!(self.pending, Pending::Nothing) || self.is_head_held_back();
                may_answer.then_some(Step::Answer)
            }
            _ if self.machine.awaits().is_some() => Some(Step::Read),
            Phase::ShuttingDown => None,
            _ => Some(Step::Idle),
        }
    }

    /// Whether the service reads no more of an unfinished stream, or has begun to reply to it.
    fn is_stream_broken(&self) -> bool {
        self.machine.is_streaming()
            && (self.wire == Wire::ReadOnly
                || self.requests.is_raw()
                || self.machine.is_inside_reply())
    }

    /// Passes received bytes to the machine.
    fn take_arrived(
        &mut self,
        mut events: Option<&mut ReceiveBuffer<S>>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) {
        // Bytes are in the buffer that was current when they were read. The buffer of requests may
        // hold the reply to an answer and, after it, the beginning of the next event, which then
        // moves.
        let mut is_event = self.reads_events();
        loop {
            let mut has_moved = false;
            let buffer = match &mut events {
                // The next event needs the memory for events: leave it for a handle that has it.
                None if is_event => {
                    self.has_news = true;
                    return;
                }
                Some(events) if is_event => {
                    // Bytes after a complete event must not take its place.
                    if self.reads_events() {
                        events.make_way(&self.machine);
                        has_moved = events.adopt(&mut self.requests, &self.machine);
                    }
                    &mut **events
                }
                _ => &mut self.requests,
            };
            match buffer.take(&mut self.machine) {
                // There may have been room for only a part of the moved bytes.
                Ok(None) if has_moved => {}
                Ok(None) => return,
                Ok(Some(Found::Detail(piece))) => keep(&mut self.detail, piece),
                Ok(Some(Found::InvocationEnd)) => {
                    let (is_too_large, is_all) = (buffer.is_too_large(), !buffer.is_raw());
                    self.arrived(is_too_large, tell);
                    if is_all {
                        return;
                    }
                }
                Ok(Some(Found::Outcome(outcome))) => {
                    let is_all = !buffer.is_raw();
                    self.replied(outcome, tell);
                    // The next event follows the reply to a pipelined answer.
                    if !is_event && self.reads_events() {
                        is_event = true;
                    } else if is_all {
                        return;
                    }
                }
                Err(error) => return self.survive(error, tell),
            }
        }
    }

    /// Handles an orderly end of the stream, which may complete a body without length.
    #[cold]
    fn end_in_order(
        &mut self,
        events: Option<&mut ReceiveBuffer<S>>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) {
        match self.machine.end_of_stream() {
            Some(Event::InvocationEnd) => {
                let is_too_large = events.is_some_and(|events| events.is_too_large());
                self.arrived(is_too_large, tell);
            }
            Some(Event::Outcome(outcome)) => self.replied(outcome, tell),
            _ => {}
        }
    }

    /// Handles the end of an event.
    fn arrived(&mut self, is_too_large: bool, tell: &mut dyn FnMut(&Warning<'_>)) {
        if is_too_large {
            self.note(WarningKind::EventTooLarge, tell);
            self.pending = Pending::Report(&EVENT_TOO_LARGE);
        }
    }

    fn replied(&mut self, outcome: Outcome, tell: &mut dyn FnMut(&Warning<'_>)) {
        if let Some(end) = note_outcome(&self.machine, outcome, &mut self.detail, tell) {
            self.end = Some(end);
        }
        if outcome.call() != Call::Next {
            self.settle(Receipt::Known(outcome));
        }
    }

    /// Keeps the receipt for the next step, if the embedder waits for one.
    fn settle(&mut self, receipt: Receipt) {
        if core::mem::take(&mut self.is_answer_due) {
            self.settled = Some(receipt);
            self.pending = Pending::Nothing;
        }
    }

    /// Handles an invalid reply, which may end the session.
    #[cold]
    fn survive(&mut self, error: ReceiveError, tell: &mut dyn FnMut(&Warning<'_>)) {
        if self.machine.phase() == Phase::ShuttingDown {
            self.end = Some(End::Protocol(error));
        } else {
            self.note(WarningKind::InvalidReply(error), tell);
        }
    }

    /// Gives up the connection and carries out the recovery.
    #[cold]
    fn recover(
        &mut self,
        events: Option<&mut ReceiveBuffer<S>>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) {
        self.wire = Wire::Down;
        // Keep the request, which may have to be sent again, and the event, whose invocation may be
        // in flight. Drop only the unread bytes of the lost connection.
        self.requests.clear_after(self.request);
        if let Some(events) = events {
            events.forget_raw();
        }
        let is_streaming = self.machine.is_streaming();
        let is_restoring = self.machine.awaits() == Some(Call::RestoreNext);
        match self.machine.on_disconnect() {
            Recovery::Reconnect | Recovery::AskAgain => {}
            Recovery::FailInvocation => {
                self.note(WarningKind::EventLost, tell);
                self.pending = Pending::Report(&EVENT_LOST);
            }
            // No byte of the stream was sent, so there is nothing to warn of. The request is still
            // in front of what was read, here and in the next arm.
            Recovery::SendAgain if is_streaming => {}
            Recovery::SendAgain => self.note(WarningKind::SentAgain, tell),
            Recovery::Exit if !self.is_answer_due => {}
            // A snapshot holds no connections, so this loss is expected.
            Recovery::FateUnknown if is_restoring => self.settle(Receipt::FateUnknown),
            Recovery::FateUnknown | Recovery::Exit => {
                self.note(WarningKind::FateUnknown, tell);
                self.settle(Receipt::FateUnknown);
            }
            Recovery::Answered(outcome) => self.replied(outcome, tell),
        }
    }

    /// Gives up an answer that has not been sent, and warns.
    pub(super) fn abandon(&mut self, tell: &mut dyn FnMut(&Warning<'_>)) -> Receipt {
        self.note(WarningKind::Unsent, tell);
        self.is_answer_due = false;
        self.pending = Pending::Nothing;
        Receipt::FateUnknown
    }

    fn note(&self, kind: WarningKind<'_>, tell: &mut dyn FnMut(&Warning<'_>)) {
        note(&self.machine, kind, tell);
    }

    pub(super) fn shut_down(&mut self) {
        self.machine.shut_down();
        self.pending = Pending::Nothing;
        self.wire = Wire::Down;
        self.end.get_or_insert(End::Done);
    }

    pub(super) fn begin_anew(&mut self) {
        self.machine.begin_anew();
        self.requests.clear();
        self.detail.clear();
        self.request = 0;
        (self.wire, self.has_news, self.is_answer_due) = (Wire::Down, false, false);
        (self.ending, self.end, self.surplus) = (None, None, None);
        (self.settled, self.pending) = (None, Pending::Nothing);
    }

    /// Releases memory that holds nothing: after a failed write it may hold the rest of a request.
    pub(super) fn release(&mut self) {
        if self.machine.unsent_len() == 0 {
            self.request = 0;
            self.requests.release();
        }
    }
}

fn note(machine: &Machine, kind: WarningKind<'_>, tell: &mut dyn FnMut(&Warning<'_>)) {
    tell(&Warning { request_id: machine.latest_ids().request_id(), kind });
}

/// Warns of a refusal, and returns the end of the session if the service demands it.
fn note_outcome(
    machine: &Machine,
    outcome: Outcome,
    detail: &mut Vec<u8, 512>,
    tell: &mut dyn FnMut(&Warning<'_>),
) -> Option<End> {
    if !outcome.is_accepted() {
        let request_id = match outcome.call() {
            Call::Response | Call::Error => machine.latest_ids().request_id(),
            _ => "",
        };
        tell(&Warning { request_id, kind: WarningKind::Refused { outcome, detail } });
        detail.clear();
    }
    let is_last_word = matches!(outcome.call(), Call::InitError | Call::RestoreError);
    (outcome.action() == Action::Exit && !is_last_word).then_some(End::Service(outcome))
}

fn keep(detail: &mut Vec<u8, 512>, more: &[u8]) {
    let room = detail.capacity() - detail.len();
    let _fits = detail.extend_from_slice(&more[..more.len().min(room)]);
}
