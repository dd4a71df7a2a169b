//! The machine of an extension against a model that follows the phase table: every state that
//! short programs reach, and long random programs with input cut anywhere.

#[path = "../phase_table/mod.rs"]
mod phase_table;
mod reference;
mod wire;

use std::collections::{HashSet, VecDeque};

use lambda_proto::api::Endpoint;
use lambda_proto_extension::{CommandError, Event, Extension, Phase, ReceiveError};
use proptest::prelude::*;

use phase_table::{COMMANDS, Command, LOSSES, RecoveryKind, Row};
use reference::{Fault, Reference, Told};
use wire::Said;

/// What the embedder or the network does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Do(Command),
    /// The first byte of a request goes out.
    SendFirst,
    SendAll,
    Hear(Said),
    /// The document of an event is read.
    Read(&'static str),
    /// The connection ends in order, or breaks.
    EndOfStream,
    Lose,
    ShutDown,
}

const SHUTDOWN: &str = r#"{"eventType":"SHUTDOWN","shutdownReason":"timeout"}"#;
const INVOKE: &str = r#"{"eventType":"INVOKE","requestId":"8f18895d"}"#;

impl Step {
    fn all() -> Vec<Self> {
        let commands = Command::ALL.map(Self::Do);
        let said = Said::ALL.map(Self::Hear);
        let others = [
            Self::SendFirst,
            Self::SendAll,
            Self::Read(SHUTDOWN),
            Self::Read(INVOKE),
            Self::EndOfStream,
            Self::Lose,
            Self::ShutDown,
        ];
        [&commands[..], &said, &others].concat()
    }
}

/// A machine and its model, which take the same steps.
#[derive(Clone)]
struct Pair {
    machine: Extension,
    model: Reference,
    out: Vec<u8>,
}

type Reach = (*const Row, Phase);

impl Pair {
    fn new() -> Self {
        let endpoint = Endpoint::parse("127.0.0.1").expect("an address");
        Self { machine: Extension::new(endpoint), model: Reference::new(), out: vec![0; 1024] }
    }

    /// Takes a step with both and compares everything observable. Returns the rows that it reached.
    fn take(&mut self, step: Step, cuts: &[usize]) -> Vec<Reach> {
        let mut rows = Vec::new();
        match step {
            Step::Do(command) => self.command(command, &mut rows),
            Step::SendFirst => {
                let length = usize::from(self.model.is_unsent());
                self.machine.sent(length);
                self.model.sent(length);
            }
            Step::SendAll => {
                let length = self.machine.unsent(&self.out).len();
                self.machine.sent(length);
                self.model.sent(length);
            }
            Step::Hear(said) => {
                let (told, fault) = self.model.hear(said, &mut rows);
                let heard = self.receive(&said.bytes(), cuts);
                assert_eq!(heard, (told, fault), "{said:?}");
            }
            Step::Read(document) => {
                self.machine.read_event(document.as_bytes()).expect("an event");
                if document == SHUTDOWN {
                    self.model.read_shutdown(&mut rows);
                }
            }
            Step::EndOfStream => {
                let event = self.machine.end_of_stream().map(told);
                assert_eq!(event, self.model.end_of_stream(&mut rows));
                self.lose(&mut rows);
            }
            Step::Lose => self.lose(&mut rows),
            Step::ShutDown => {
                self.machine.shut_down();
                self.model.shut_down(&mut rows);
            }
        }
        assert_eq!(self.machine.phase(), self.model.phase);
        assert_eq!(self.machine.identifier(), self.model.identifier);
        assert_eq!(self.machine.event_identifier(), self.model.event_identifier);
        assert_eq!(self.machine.must_reconnect(), self.model.must_reconnect());
        assert_eq!(self.machine.unsent(&self.out).len(), self.model.unsent());
        rows
    }

    fn command(&mut self, command: Command, rows: &mut Vec<Reach>) {
        let before = format!("{:?}", self.machine);
        let result = command.give(&mut self.machine, &mut self.out);
        match self.model.command(command, rows) {
            Ok(()) => {
                let length = result.unwrap_or_else(|error| panic!("{command:?}: {error}"));
                self.model.encoded(length);
            }
            Err(error) => {
                assert_eq!(result, Err(error), "{command:?}");
                assert_eq!(format!("{:?}", self.machine), before, "{command:?}");
            }
        }
    }

    fn lose(&mut self, rows: &mut Vec<Reach>) {
        let expected = self.model.lose(rows);
        assert_eq!(RecoveryKind::of(self.machine.on_disconnect()), expected);
    }

    /// Receives bytes in pieces that end at `cuts`.
    fn receive(&mut self, bytes: &[u8], cuts: &[usize]) -> (Vec<Told>, Option<Fault>) {
        let (mut seen, mut consumed) = (Vec::new(), 0);
        let ends = cuts.iter().copied().filter(|end| *end < bytes.len()).chain([bytes.len()]);
        for end in ends {
            let mut input = &bytes[consumed..end.max(consumed)];
            let arrived = consumed + input.len();
            loop {
                match self.machine.receive(&mut input) {
                    Ok(Some(event)) => note(&mut seen, told(event)),
                    Ok(None) => break,
                    Err(error) => return (seen, Some(fault(error))),
                }
            }
            consumed = arrived - input.len();
        }
        assert_eq!(consumed, bytes.len(), "no message ends in the middle of a head");
        (seen, None)
    }
}

fn told(event: Event<'_>) -> Told {
    match event {
        Event::Document(piece) => Told::Document(piece.to_vec()),
        Event::Reply(reply) => Told::Reply(reply.call(), reply.status()),
    }
}

/// Joins pieces of one document.
fn note(seen: &mut Vec<Told>, told: Told) {
    match (seen.last_mut(), told) {
        (Some(Told::Document(before)), Told::Document(piece)) => before.extend(piece),
        (_, told) => seen.push(told),
    }
}

fn fault(error: ReceiveError) -> Fault {
    match error {
        ReceiveError::Unsolicited => Fault::Unsolicited,
        ReceiveError::UnusableIdentifier => Fault::UnusableIdentifier,
        _ => Fault::Reply,
    }
}

#[test]
fn in_every_state_every_step_does_what_the_table_says() {
    let (mut seen, mut queue) = (HashSet::new(), VecDeque::from([Pair::new()]));
    let mut reached = HashSet::new();
    seen.insert(Reference::new());
    let mut steps = 0;
    while let Some(pair) = queue.pop_front() {
        for step in Step::all() {
            let mut next = pair.clone();
            reached.extend(next.take(step, &[]));
            steps += 1;
            if seen.insert(next.model.clone()) {
                queue.push_back(next);
            }
        }
    }
    println!("{} states, {steps} steps", seen.len());
    for row in COMMANDS.iter().chain(LOSSES) {
        for phase in row.from {
            assert!(reached.contains(&(row as *const Row, *phase)), "{row:?} from {phase}");
        }
    }
}

/// A step, and where its input is cut if it has any.
fn any_step() -> impl Strategy<Value = (Step, Vec<usize>)> {
    let lasting: Vec<_> = Step::all()
        .into_iter()
        .filter(|step| {
            !matches!(
                step,
                Step::ShutDown
                    | Step::Do(Command::Fail | Command::FailInit)
                    | Step::Hear(Said::Nonsense)
            )
        })
        .collect();
    let common = vec![
        Step::Do(Command::Register),
        Step::Do(Command::Next),
        Step::SendAll,
        Step::SendAll,
        Step::Hear(Said::Registered),
        Step::Hear(Said::Event),
        Step::Lose,
    ];
    let step = prop_oneof![
        60 => prop::sample::select(common),
        40 => prop::sample::select(lasting),
        2 => prop::sample::select(Step::all()),
    ];
    let cuts = prop::collection::vec(0..160usize, 0..4);
    (
        step,
        cuts.prop_map(|mut cuts| {
            cuts.sort_unstable();
            cuts
        }),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn the_machine_does_what_the_table_says_in_long_programs(
        program in prop::collection::vec(any_step(), 0..200),
    ) {
        let mut pair = Pair::new();
        for (step, cuts) in program {
            pair.take(step, &cuts);
            // No step leads out of this phase, so start again.
            if pair.model.phase == Phase::Over {
                pair = Pair::new();
            }
        }
    }
}

/// Why the model refuses a command.
fn refusal(phase: Phase, is_wrong_phase: bool) -> CommandError {
    if is_wrong_phase { CommandError::WrongPhase(phase) } else { CommandError::MustReconnect }
}
