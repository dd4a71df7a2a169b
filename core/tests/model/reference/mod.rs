//! The reference: a machine that follows the phase table. The rest of its state (how much has been
//! sent, and what is being read) is implemented independently of the machine.

mod network;

use lambda_proto::api::{Action, Call, Concurrency, Meaning};

use super::phase_table::stage::call_of;
use super::phase_table::{Input, Progress, RecoveryKind, Row, Stage, follow, follow_command};
use super::wire::{TAIL, request};
use crate::support::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum CopyOf {
    First,
    /// A second copy, after the first one was cut off.
    Cut,
    /// A second copy, after the first one was sent whole.
    Whole,
    /// The first and only one, since its body is gone.
    Only,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reading {
    Nothing,
    /// A head that began with [`Said::HalfHead`]; if it `is_sound`, nothing else has arrived.
    Head {
        is_sound: bool,
    },
    /// An event that lacks its tail, or lasts to the end of the stream.
    Event {
        is_endless: bool,
    },
    /// The same for any other reply.
    Reply {
        status: u16,
        /// Whether it replies to a second copy after the first one was sent whole.
        is_to_second: bool,
        is_endless: bool,
    },
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    WrongPhase,
    MustReconnect,
    Unsent,
}

/// Why the input cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Head,
    Body,
    Unsolicited,
    UnusableRequestId,
    SwitchedProtocols,
}

/// What the machine must return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Invocation,
    Body(Vec<u8>),
    InvocationEnd,
    Detail(Vec<u8>),
    Outcome(Call, u16, Meaning, Action),
}

/// The recovery from a lost connection, and the reply if its status is known.
pub(crate) type Recovers = (Option<RecoveryKind>, Option<(Call, u16, Meaning)>);

/// How much of what was encoded has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Part,
    AllButNext,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Reference {
    is_multi: bool,
    stage: Stage,
    /// Whether the latest invocation has an attempt id.
    has_attempt: bool,
    /// The latest answer: its call, whether it is a stream, and which copy it is.
    call: Option<Call>,
    is_stream: bool,
    copy: CopyOf,
    has_chunk: bool,
    /// The same, before the last command.
    had_chunk: bool,
    /// The command whose bytes are `wanted`.
    last: Option<Command>,
    /// The encoded bytes of the request, and of a pipelined `next`.
    wanted: Vec<u8>,
    next: Vec<u8>,
    sent: usize,
    /// Whether the bytes continue a request whose beginning has been sent.
    is_continued: bool,
    /// Whether the reply to the answer has arrived, so that `next` is the current request.
    is_replied: bool,
    reading: Reading,
    is_spent: bool,
    /// Whether a part of a reply has arrived since the last command.
    has_heard: bool,
    losses: u32,
    was_empty: bool,
}

impl Reference {
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        Self {
            is_multi: concurrency == Concurrency::Multi,
            stage: Stage::Init,
            has_attempt: false,
            call: None,
            is_stream: false,
            copy: CopyOf::First,
            has_chunk: false,
            had_chunk: false,
            last: None,
            wanted: Vec::new(),
            next: Vec::new(),
            sent: 0,
            is_continued: false,
            is_replied: false,
            reading: Reading::Nothing,
            is_spent: false,
            has_heard: false,
            losses: 0,
            was_empty: false,
        }
    }

    // Queries.

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn has_attempt(&self) -> bool {
        self.has_attempt
    }

    pub(crate) fn unsent(&self) -> Vec<u8> {
        let all = [&self.wanted[..], &self.next].concat();
        all[self.sent..].to_vec()
    }

    pub(crate) fn unsent_len(&self) -> usize {
        self.wanted.len() + self.next.len() - self.sent
    }

    /// The number of unsent bytes of the answer, without a pipelined `next`.
    pub(crate) fn unsent_of_answer(&self) -> usize {
        self.wanted.len().saturating_sub(self.sent)
    }

    pub(crate) fn is_within_request(&self) -> bool {
        self.sent != 0 && self.sent != self.wanted.len()
    }

    pub(crate) fn awaits(&self) -> Option<Call> {
        self.stage.awaits(self.call)
    }

    pub(crate) fn is_inside_reply(&self) -> bool {
        self.reading != Reading::Nothing
    }

    /// Whether a part of a head has arrived, which the caller keeps until the rest arrives.
    pub(crate) fn is_inside_head(&self) -> bool {
        matches!(self.reading, Reading::Head { .. })
    }

    pub(crate) fn must_reconnect(&self) -> bool {
        self.is_spent && !self.is_inside_reply()
    }

    pub(crate) fn losses(&self) -> u32 {
        self.losses
    }

    /// The number of bytes of the event that must follow.
    pub(crate) fn announced(&self) -> u64 {
        if self.reading == (Reading::Event { is_endless: false }) { TAIL as u64 } else { 0 }
    }

    /// A copy whose number of losses is at most `most`.
    pub(crate) fn without_many_losses(&self, most: u32) -> Self {
        Self { losses: self.losses.min(most), ..self.clone() }
    }

    // Commands.

    pub(crate) fn command(&mut self, command: Command) -> (&'static Row, Result<usize, Refusal>) {
        use Command as C;
        let (row, to) = follow_command(self.stage, command);
        if row.is_refused() {
            return (row, Err(Refusal::WrongPhase));
        }
        if self.must_reconnect() {
            return (row, Err(Refusal::MustReconnect));
        }
        let is_pipelined = to == Stage::ReportingAsked;
        if self.unsent_len() > 0 && !is_pipelined {
            return (row, Err(Refusal::Unsent));
        }
        let bytes = request(command, self.has_attempt, self.has_chunk);
        let length = bytes.len() - command.body().len();
        if command == C::EmptyChunk {
            return (row, Ok(0));
        }
        self.stage = to;
        if is_pipelined {
            self.next = bytes;
            return (row, Ok(length));
        }
        self.forget_request();
        (self.wanted, self.last) = (bytes, Some(command));
        self.had_chunk = self.has_chunk;
        self.has_heard = false;
        self.is_continued = matches!(command, C::Chunk | C::Finish | C::FinishWithError);
        match command {
            C::Respond | C::Fail | C::FailInit | C::FailRestore | C::Stream => {
                self.copy = CopyOf::First;
                (self.is_stream, self.has_chunk) = (command == C::Stream, false);
                self.call = Some(call_of(command));
            }
            C::Chunk => self.has_chunk = true,
            C::Finish | C::FinishWithError => self.has_chunk = false,
            C::Next | C::RestoreNext | C::EmptyChunk => {}
        }
        (row, Ok(length))
    }

    /// The body of what was encoded last is gone.
    pub(crate) fn withdraw(&mut self) -> &'static Row {
        let progress = self.progress_of_body();
        let row = self.follow(Input::Withdraw(progress));
        match progress {
            Progress::Unsent => self.forget_request(),
            Progress::UnsentChunk | Progress::UnsentEnd => {
                self.has_chunk = self.had_chunk;
                self.forget_request();
            }
            Progress::Part => {
                self.is_spent = true;
                self.forget_request();
            }
            Progress::Whole if self.copy == CopyOf::First => self.copy = CopyOf::Only,
            Progress::Whole | Progress::Other => {}
        }
        row
    }

    fn progress_of_body(&self) -> Progress {
        let is_reporting = matches!(self.stage, Stage::Reporting | Stage::ReportingAsked);
        let is_unsent = self.sent == 0;
        let is_whole = self.sent >= self.wanted.len();
        match self.last {
            Some(Command::Stream) if self.stage == Stage::Streaming && is_unsent => {
                Progress::Unsent
            }
            Some(Command::Chunk) if self.stage == Stage::Streaming && is_unsent => {
                Progress::UnsentChunk
            }
            Some(Command::Chunk) if self.stage == Stage::Streaming && !is_whole => Progress::Part,
            Some(Command::Finish) if is_reporting && is_unsent => Progress::UnsentEnd,
            Some(Command::Respond) if is_reporting => match self.copy {
                _ if is_whole => Progress::Whole,
                CopyOf::First | CopyOf::Cut if is_unsent => Progress::Unsent,
                _ => Progress::Part,
            },
            _ => Progress::Other,
        }
    }

    pub(crate) fn shut_down(&mut self) -> &'static Row {
        let row = self.follow(Input::ShutDown);
        self.forget_request();
        self.reading = Reading::Nothing;
        row
    }

    /// Takes the transition of the table.
    fn follow(&mut self, input: Input) -> &'static Row {
        let (row, to) = follow(self.stage, input)
            .unwrap_or_else(|| panic!("no row for {input:?} in {:?}", self.stage));
        self.stage = to;
        row
    }

    fn forget_request(&mut self) {
        self.wanted.clear();
        self.next.clear();
        self.last = None;
        self.sent = 0;
        (self.is_continued, self.is_replied) = (false, false);
    }

    /// How much was sent of the request whose reply is awaited, and of what follows it.
    fn progress(&self) -> Sent {
        let whole = self.wanted.len();
        let all = whole + self.next.len();
        match (self.sent, self.is_replied) {
            (sent, _) if sent == all => Sent::All,
            (sent, true) if sent == whole => Sent::Nothing,
            (_, true) => Sent::Part,
            (0, false) if !self.is_continued => Sent::Nothing,
            (sent, false) if sent >= whole => Sent::AllButNext,
            (_, false) => Sent::Part,
        }
    }

    /// The reply that is being read, with the meaning that the Lambda Developer Guide or the
    /// emulator gives to its status.
    fn known_reply(&self) -> Option<(Call, u16, Meaning)> {
        let Reading::Reply { status, is_to_second, .. } = self.reading else { return None };
        let call = self.awaits()?;
        let meaning = match status {
            204 if call == Call::Next => Meaning::NoInvocation,
            200..=299 => Meaning::Accepted,
            400 | 403 if is_to_second => Meaning::AcceptedBefore,
            400 => Meaning::BadRequest,
            403 => Meaning::OutOfOrder,
            404 => Meaning::NoSuchCall,
            410 => Meaning::TooLate,
            413 => Meaning::TooLarge,
            500 => Meaning::ServiceFailed,
            _ => Meaning::Unexpected,
        };
        Some((call, status, meaning))
    }

    fn is_refusal(&self) -> bool {
        self.known_reply().is_some_and(|(.., meaning)| !is_accepted(meaning))
    }

    fn then(&self, call: Call, status: u16) -> Action {
        match (call, status) {
            (Call::InitError | Call::RestoreError, _) | (_, 500) => Action::Exit,
            (Call::Next, 200 | 202 | 204) => Action::Continue,
            (Call::Next, 408 | 503) => Action::ContinueAfterBackoff,
            (Call::Next, 403) if self.is_multi => Action::ContinueAfterBackoff,
            (Call::Next, _) => Action::Exit,
            _ => Action::Continue,
        }
    }
}

fn is_accepted(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Accepted | Meaning::AcceptedBefore | Meaning::NoInvocation)
}
