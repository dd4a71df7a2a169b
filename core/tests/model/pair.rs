//! The machine and its reference: both take each step, and everything observable is compared.

use core::fmt::Write;

use lambda_proto::api::{Call, Concurrency, Endpoint, Outcome};
use lambda_proto::http::BufferTooSmall;
use lambda_proto::machine::{CommandError, Machine, ReceiveError, Recovery};

use super::phase_table::reached::Reach;
use super::phase_table::{RecoveryKind, Stage};
use super::reference::{Fault, Recovers, Reference, Refusal, Told};
use super::wire::{self, Said};
use crate::support::{ATTEMPT_ID, Command, REQUEST_ID, Seen, receive_one};

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Do(Command),
    /// The body of the answer is gone.
    Withdraw,
    ShutDown,
    Send(Amount),
    Hear(Said),
    /// The stream ends in order, and the connection is lost.
    Close,
    Lose,
}

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Byte,
    /// All but the last byte of the answer.
    AnswerButByte,
    Answer,
    /// All but the last byte of an answer with a pipelined `next`.
    AllButByte,
    All,
}

impl Step {
    /// Everything that can happen.
    pub(crate) fn all() -> Vec<Self> {
        use Amount::{All, AllButByte, Answer, AnswerButByte, Byte};
        let mut steps: Vec<_> = Command::ALL.into_iter().map(Self::Do).collect();
        steps.extend([All, Byte, AnswerButByte, Answer, AllButByte].map(Self::Send));
        steps.extend(Said::ALL.map(Self::Hear));
        steps.extend([Self::Close, Self::Lose, Self::Withdraw, Self::ShutDown]);
        steps
    }
}

/// Room for every request here, and for `next` after it.
const OUT: usize = 1024;

#[derive(Clone)]
pub(crate) struct Pair {
    machine: Machine,
    reference: Reference,
    /// The heads that commands have written, and the length of the first one.
    out: [u8; OUT],
    head: usize,
    body: &'static [u8],
    /// Bytes that have arrived and are not consumed: a part of a head.
    raw: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        let endpoint = Endpoint::parse(wire::ADDRESS).expect("an address and a port");
        let endpoint = endpoint.with_user_agent(wire::USER_AGENT).expect("a visible word");
        Self {
            machine: Machine::with_concurrency(endpoint, concurrency),
            reference: Reference::new(concurrency),
            out: [0; OUT],
            head: 0,
            body: b"",
            raw: Vec::new(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.reference.stage()
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Every field of the machine, except for numbers that nothing else depends on: losses above
    /// `most`, and interim replies up to their limit, which other tests reach.
    pub(crate) fn write_machine(&self, most: u32, to: &mut String) {
        to.clear();
        write!(to, "{:?}", self.machine).expect("a string takes everything");
        let losses = self.machine.losses();
        if losses > most {
            let field = format!("losses: {losses}");
            let at = to.find(&field).expect("it is a field");
            to.replace_range(at..at + field.len(), "losses: many");
        }
        const INTERIMS: &str = "interims: ";
        let at = to.find(INTERIMS).expect("it is a field") + INTERIMS.len();
        let length = to[at..].bytes().take_while(u8::is_ascii_digit).count();
        to.replace_range(at..at + length, "any");
    }

    /// Whether a step is worth taking: it is not if there is nothing to send, or if it makes a head
    /// grow that never ends, which could continue forever without a new state.
    pub(crate) fn has(&self, step: Step) -> bool {
        match step {
            Step::Send(amount) => self.amount(amount) > 0,
            Step::Hear(said) => {
                said.ends_a_head() || !self.reference.is_inside_head() || self.raw.len() < 10
            }
            _ => true,
        }
    }

    /// Takes a step. Input is cut at `cuts`.
    pub(crate) fn take(&mut self, step: Step, cuts: &[usize]) -> Vec<Reach> {
        let from = self.stage();
        let rows = match step {
            Step::Do(command) => self.command(command),
            Step::Withdraw => {
                self.machine.withdraw();
                vec![(self.reference.withdraw(), from)]
            }
            Step::ShutDown => {
                self.machine.shut_down();
                self.raw.clear();
                vec![(self.reference.shut_down(), from)]
            }
            Step::Send(amount) => {
                let length = self.amount(amount);
                self.machine.sent(length);
                self.reference.sent(length);
                Vec::new()
            }
            Step::Hear(said) => self.hear(said, cuts),
            Step::Close => {
                let mut seen = Vec::new();
                match self.machine.end_of_stream() {
                    Some(lambda_proto::machine::Event::InvocationEnd) => {
                        seen.push(Seen::InvocationEnd);
                    }
                    Some(lambda_proto::machine::Event::Outcome(outcome)) => {
                        seen.push(Seen::Outcome(outcome));
                    }
                    Some(event) => panic!("an end brings {event:?}"),
                    None => {}
                }
                let (rows, told, recovers) = self.reference.close();
                assert_eq!(told_of(&seen), told);
                self.check_recovery(recovers);
                rows
            }
            Step::Lose => {
                let (row, recovers) = self.reference.lose();
                self.check_recovery(recovers);
                vec![(row, from)]
            }
        };
        self.compare();
        rows
    }

    fn amount(&self, amount: Amount) -> usize {
        let (answer, all) = (self.reference.unsent_of_answer(), self.reference.unsent_len());
        let has_next = all > answer;
        match amount {
            // The first byte of the answer or of `next`; other bytes make no difference.
            Amount::Byte if self.reference.is_within_request() => 0,
            Amount::Byte => all.min(1),
            Amount::AnswerButByte => answer.saturating_sub(1),
            Amount::Answer if has_next => answer,
            Amount::AllButByte if has_next => all - 1,
            Amount::Answer | Amount::AllButByte => 0,
            Amount::All => all,
        }
    }

    fn command(&mut self, command: Command) -> Vec<Reach> {
        let from = self.stage();
        let is_pipelined = from == Stage::Reporting && command == Command::Next;
        let (row, expected) = self.reference.command(command);
        let at = if is_pipelined { self.head } else { 0 };
        let room = &mut self.out[at..];
        if let Ok(needed @ 1..) = expected {
            let mut small = self.machine.clone();
            let result = command.give(&mut small, &mut room[..needed - 1]);
            let too_small = CommandError::BufferTooSmall(BufferTooSmall { needed });
            assert_eq!(result, Err(too_small), "one byte too few");
            assert_eq!(small.unsent_len(), self.machine.unsent_len());
            assert_eq!(small.phase(), self.machine.phase());
        }
        let unsent = self.machine.unsent_len();
        let result = command.give(&mut self.machine, room);
        let expected = expected.map_err(|refusal| match refusal {
            Refusal::WrongPhase => CommandError::WrongPhase(from.phase()),
            Refusal::MustReconnect => CommandError::MustReconnect,
            Refusal::Unsent => CommandError::Unsent { length: unsent },
        });
        assert_eq!(result, expected);
        if let (Ok(length @ 1..), false) = (result, is_pipelined) {
            (self.head, self.body) = (length, command.body());
        }
        match result {
            Err(CommandError::MustReconnect | CommandError::Unsent { .. }) => Vec::new(),
            _ => vec![(row, from)],
        }
    }

    fn hear(&mut self, said: Said, cuts: &[usize]) -> Vec<Reach> {
        let bytes = said.bytes();
        let (mut seen, mut fault) = (Vec::new(), None);
        let mut from = 0;
        let inside = cuts.iter().copied().filter(|cut| *cut < bytes.len());
        for to in inside.chain([bytes.len()]) {
            self.raw.extend_from_slice(&bytes[from..to.max(from)]);
            from = to.max(from);
            let mut input = &self.raw[..];
            loop {
                match receive_one(&mut self.machine, &mut input, &mut seen) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        fault = Some(error);
                        break;
                    }
                }
            }
            let consumed = self.raw.len() - input.len();
            self.raw.drain(..consumed);
            // After an error the rest of the input is void, however it was cut.
            if fault.is_some() {
                assert!(self.raw.is_empty());
                break;
            }
        }
        let (rows, told, expected) = self.reference.hear(said);
        assert_eq!(told_of(&seen), told);
        assert_eq!(fault.map(fault_of), expected);
        rows
    }

    fn check_recovery(&mut self, expected: Recovers) {
        self.raw.clear();
        let recovery = self.machine.on_disconnect();
        let known = match recovery {
            Recovery::Answered(outcome) => {
                Some((outcome.call(), outcome.status(), outcome.meaning()))
            }
            _ => None,
        };
        assert_eq!((Some(RecoveryKind::of(recovery)), known), expected);
    }

    /// Compares everything observable of the machine with the reference.
    fn compare(&self) {
        let Self { machine, reference, .. } = self;
        assert_eq!(machine.phase(), reference.stage().phase());
        assert_eq!(machine.awaits(), reference.awaits());
        assert_eq!(machine.is_asked(), reference.stage().is_asked());
        assert_eq!(machine.is_streaming(), reference.stage() == Stage::Streaming);
        assert_eq!(machine.is_inside_reply(), reference.is_inside_reply());
        assert_eq!(machine.must_reconnect(), reference.must_reconnect());
        assert_eq!(machine.announced(), reference.announced());
        assert_eq!(machine.losses(), reference.losses());
        let ids = machine.invocation().map(|ids| (ids.request_id(), ids.attempt_id()));
        let attempt = reference.has_attempt().then_some(ATTEMPT_ID.as_bytes());
        assert_eq!(ids, reference.stage().has_invocation().then_some((REQUEST_ID, attempt)));
        assert_eq!(machine.unsent_len(), reference.unsent_len());
        let parts = machine.unsent(&self.out, self.body);
        let unsent = reference.unsent();
        assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), unsent.len());
        let mut rest = &unsent[..];
        for part in parts {
            let (same, after) = rest.split_at(part.len());
            assert!(
                same == part,
                "the machine sends other bytes: {}",
                String::from_utf8_lossy(part)
            );
            rest = after;
        }
    }
}

fn told_of(seen: &[Seen]) -> Vec<Told> {
    let told = |seen: &Seen| match seen {
        Seen::Invocation(_) => Told::Invocation,
        Seen::Body(body) => Told::Body(body.clone()),
        Seen::InvocationEnd => Told::InvocationEnd,
        Seen::Detail(detail) => Told::Detail(detail.clone()),
        Seen::Outcome(outcome) => told_outcome(*outcome),
    };
    seen.iter().map(told).collect()
}

fn told_outcome(outcome: Outcome) -> Told {
    let call: Call = outcome.call();
    Told::Outcome(call, outcome.status(), outcome.meaning(), outcome.action())
}

fn fault_of(error: ReceiveError) -> Fault {
    match error {
        ReceiveError::Head(_) => Fault::Head,
        ReceiveError::Body(_) => Fault::Body,
        ReceiveError::Unsolicited => Fault::Unsolicited,
        ReceiveError::UnusableRequestId => Fault::UnusableRequestId,
        ReceiveError::SwitchedProtocols => Fault::SwitchedProtocols,
        other => panic!("the reference does not know {other:?}"),
    }
}
