//! One connection: what is sent on it, what is read from it, and what follows when it ends.

mod commands;

use heapless::Vec;

use super::receive::{Found, ReceiveBuffer};
use super::{End, Receipt, Step, Storage, Warning, WarningKind};
use crate::api::{Action, Call, ErrorReport, Outcome};
use crate::machine::{Event, Machine, Phase, ReceiveError, Recovery};

/// A client without the memory of its event, which may be lent out while the answer is sent.
pub(super) struct Channel<S> {
    machine: Machine,
    /// Holds what was encoded last, then the reply to it.
    requests: ReceiveBuffer<S>,
    /// Bytes of what was encoded last.
    request: usize,
    detail: Vec<u8, 512>,
    wire: Wire,
    /// The connection has ended, which has not been looked at.
    ending: Option<Ending>,
    /// Something was received that has not been looked at.
    has_news: bool,
    /// The room that was given last is for the next invocation.
    is_event_room: bool,
    /// The host waits to hear what became of its answer.
    is_answer_due: bool,
    /// What the next step tells of it.
    settled: Option<Receipt>,
    /// An error to report as soon as it can be sent.
    to_report: Option<&'static ErrorReport<'static>>,
    end: Option<End>,
    /// What was received before a command, and answers nothing.
    surplus: Option<ReceiveError>,
}

/// The connection, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Down,
    Up,
    /// The service takes no more of the request, but may have said why.
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
    ErrorReport::new("Runtime.EventTooLarge", "the event is larger than the buffer for events");

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
            to_report: None,
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

    /// Whether nothing is in hand and nothing has arrived: an invocation, or the restore of a snapshot, may
    /// be hours away.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.machine.awaits(), Some(Call::Next | Call::RestoreNext))
            && !self.machine.is_inside_answer()
    }

    /// Whether nothing is in flight or on its way.
    pub(super) fn may_stop(&self) -> bool {
        match self.machine.phase() {
            _ if self.end.is_some() => true,
            Phase::Init | Phase::Ready => !self.machine.is_inside_answer(),
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

    /// Room to read into; `None` if there is none before the next step.
    pub(super) fn room<'r>(
        &'r mut self,
        events: Option<&'r mut ReceiveBuffer<S>>,
    ) -> Option<&'r mut [u8]> {
        let is_event = self.reads_events();
        // `received` must find the buffer that this room is in, whatever the phase is by then.
        self.is_event_room = is_event;
        let Self { machine, requests, end, has_news, .. } = self;
        let buffer = match events {
            Some(events) if is_event => {
                events.make_way(machine);
                // The reply to a pipelined answer may have begun before all of that was sent.
                events.adopt(requests, machine);
                events
            }
            _ => requests,
        };
        // What has been received may be all that there is no room for: a step looks at it first.
        if *has_news && buffer.is_full() {
            return None;
        }
        let room = buffer.room(machine);
        if room.is_none() {
            *end = Some(End::NoRoom);
        }
        room
    }

    /// Tells that so many bytes were read; 0 is the end of the stream.
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

    /// Whether what comes next belongs to the next invocation, and not behind a request whose body may
    /// still be borrowed from the event before it.
    fn reads_events(&self) -> bool {
        self.machine.is_asked() && !self.is_answer_due
    }

    /// What there is to do. Without the buffer of events it goes as far as the answer goes.
    #[inline(always)]
    pub(super) fn step(
        &mut self,
        mut events: Option<&mut ReceiveBuffer<S>>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) -> Step {
        // The order of the checks is the contract. What has arrived comes before what has ended, as a
        // connection may end after its last reply. What is told of an answer comes before the end of the
        // session and before anything new is done, so that nothing is lost when the loop stops. Writing
        // comes before reading, and reading before the turn of the program.
        loop {
            // 1. Bytes that a command found waiting and that answered nothing.
            if let Some(error) = self.surplus.take() {
                self.note(WarningKind::NoAnswer(error), tell);
            }
            // 2. Everything that was received since the last step goes through the machine.
            if core::mem::take(&mut self.has_news) {
                self.take_arrived(events.as_deref_mut(), tell);
            }
            // 3. An answer that is still due when the session is over has not been sent, or nobody knows.
            if self.end.is_some() && self.is_answer_due {
                self.note(WarningKind::Unsent, tell);
                self.settle(Receipt::FateUnknown);
            }
            // 4. The end of the connection. In order, it may complete a body without length first. The
            //    machine may want another connection although this one is still up.
            if let Some(ending) = self.ending.take() {
                if ending == Ending::InOrder {
                    self.end_in_order(events.as_deref_mut(), tell);
                }
                self.recover(events.as_deref_mut(), tell);
            } else if self.machine.must_reconnect() {
                self.recover(events.as_deref_mut(), tell);
            }
            // 5. What became of an answer is told once, by itself.
            if let Some(receipt) = self.settled.take() {
                return Step::Settled(receipt);
            }
            // 6. The end of the session, again at each further step.
            if let Some(end) = self.end {
                return Step::End(end);
            }
            // 7. Something is to be written. While the wire is read-only the reply is awaited in its place:
            //    the service may have said why it takes no more.
            if self.machine.unsent_len() > 0 {
                match self.wire {
                    Wire::Down => return Step::Connect { losses: self.machine.losses() },
                    Wire::Up => return Step::Write,
                    Wire::ReadOnly => {}
                }
            }
            // 8. An answer with `next` after it, all of it written. The reply to it and the next event come
            //    together, so the program lets go of the body now.
            let phase = self.machine.phase();
            if self.is_answer_due
                && phase == Phase::Reporting
                && self.machine.is_asked()
                && self.wire != Wire::ReadOnly
            {
                self.is_answer_due = false;
                return Step::Settled(Receipt::Pipelined);
            }
            // 9. Nothing is left to write: it is the turn of the program, or of the service.
            match phase {
                Phase::Invoking if !self.is_stream_broken() => {
                    // An event that was lost or too large never reaches the program; the report of it is
                    // written at once.
                    let Some(report) = self.to_report.take() else { return Step::Answer };
                    if let Err(error) = self.report(report) {
                        self.end = Some(End::Command(error));
                    }
                }
                _ if self.machine.awaits().is_some() => return Step::Read,
                Phase::ShuttingDown => {
                    self.end = Some(End::Done);
                    return Step::End(End::Done);
                }
                _ => return Step::Idle,
            }
        }
    }

    /// Whether the reply to a stream that is not finished is under way, so that no more of it is of use.
    fn is_stream_broken(&self) -> bool {
        self.machine.is_streaming()
            && (self.wire == Wire::ReadOnly
                || self.requests.is_raw()
                || self.machine.is_inside_answer())
    }

    /// Lets the machine take what has arrived.
    fn take_arrived(
        &mut self,
        mut events: Option<&mut ReceiveBuffer<S>>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) {
        // Bytes lie in the memory that was current when they were read. The buffer of requests may hold the
        // reply to an answer and, after it, the beginning of the next event, which then moves.
        let mut is_event = self.reads_events();
        loop {
            let mut has_moved = false;
            let buffer = match &mut events {
                Some(events) if is_event => {
                    // What stands behind the event that was asked for may not take its place.
                    if self.reads_events() {
                        events.make_way(&self.machine);
                        has_moved = events.adopt(&mut self.requests, &self.machine);
                    }
                    &mut **events
                }
                _ => &mut self.requests,
            };
            match buffer.take(&mut self.machine) {
                // There may have been room for a part of it only.
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
                    // What stands behind the reply to a pipelined answer is the next event.
                    if !is_event && self.reads_events() {
                        if events.is_none() {
                            self.has_news = true;
                            return;
                        }
                        is_event = true;
                    } else if is_all {
                        return;
                    }
                }
                Err(error) => return self.survive(error, tell),
            }
        }
    }

    /// The end of the stream may complete what had no length.
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

    /// An invocation is in hand.
    fn arrived(&mut self, is_too_large: bool, tell: &mut dyn FnMut(&Warning<'_>)) {
        if is_too_large {
            self.note(WarningKind::EventTooLarge, tell);
            self.to_report = Some(&EVENT_TOO_LARGE);
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

    /// Lets the host hear of its answer, if it waits for that.
    fn settle(&mut self, receipt: Receipt) {
        if core::mem::take(&mut self.is_answer_due) {
            self.settled = Some(receipt);
        }
    }

    /// Takes note of an answer that is none; the conversation may end with it.
    fn survive(&mut self, error: ReceiveError, tell: &mut dyn FnMut(&Warning<'_>)) {
        if self.machine.phase() == Phase::ShuttingDown {
            self.end = Some(End::Protocol(error));
        } else {
            self.note(WarningKind::NoAnswer(error), tell);
        }
    }

    /// Gives up the connection and does what follows.
    fn recover(
        &mut self,
        events: Option<&mut ReceiveBuffer<S>>,
        tell: &mut dyn FnMut(&Warning<'_>),
    ) {
        self.wire = Wire::Down;
        // The request itself stays, since it may have to be sent again. The event stays too: its invocation
        // may be in flight. Only what the lost connection has left unread goes.
        self.requests.clear_behind(self.request);
        if let Some(events) = events {
            events.forget_raw();
        }
        let is_streaming = self.machine.is_streaming();
        let is_restoring = self.machine.awaits() == Some(Call::RestoreNext);
        match self.machine.on_disconnect() {
            Recovery::Reconnect | Recovery::AskAgain => {}
            Recovery::FailInvocation => {
                self.note(WarningKind::EventLost, tell);
                self.to_report = Some(&EVENT_LOST);
            }
            // The head of a stream of which no byte was sent: nobody has missed anything. What was encoded
            // still stands before what was read, here and in the next arm.
            Recovery::SendAgain if is_streaming => {}
            Recovery::SendAgain => self.note(WarningKind::SentAgain, tell),
            Recovery::Exit if !self.is_answer_due => {}
            // A snapshot has no connections: this one's end is no trouble.
            Recovery::FateUnknown if is_restoring => self.settle(Receipt::FateUnknown),
            Recovery::FateUnknown | Recovery::Exit => {
                self.note(WarningKind::FateUnknown, tell);
                self.settle(Receipt::FateUnknown);
            }
            Recovery::Answered(outcome) => self.replied(outcome, tell),
        }
    }

    /// Gives up the answer, which has not been sent.
    pub(super) fn abandon(&mut self, tell: &mut dyn FnMut(&Warning<'_>)) -> Receipt {
        self.note(WarningKind::Unsent, tell);
        self.is_answer_due = false;
        Receipt::FateUnknown
    }

    fn note(&self, kind: WarningKind<'_>, tell: &mut dyn FnMut(&Warning<'_>)) {
        note(&self.machine, kind, tell);
    }

    pub(super) fn shut_down(&mut self) {
        self.machine.shut_down();
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
        (self.settled, self.to_report) = (None, None);
    }

    /// Gives back memory that nothing stands in.
    pub(super) fn release(&mut self) {
        self.request = 0;
        self.requests.release();
    }
}

fn note(machine: &Machine, kind: WarningKind<'_>, tell: &mut dyn FnMut(&Warning<'_>)) {
    tell(&Warning { request_id: machine.latest_ids().request_id(), kind });
}

/// Tells of a refusal, and returns how the client ends if the service wants it.
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
