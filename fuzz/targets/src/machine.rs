//! A machine that receives arbitrary bytes, arbitrarily cut, in every phase.

use lambda_proto::api::{Concurrency, Endpoint, Outcome};
use lambda_proto::machine::{Event, Machine, Phase, ReceiveError, Recovery};

use crate::command::Command::{
    self, Chunk, Fail, FailInit, FailRestore, Finish, FinishWithError, Next, Respond, RestoreNext,
    Stream,
};
use crate::input::{Input, cuts};
use crate::{replies, wire};

/// Receives bytes on one connection and then on another: as a whole, cut at three positions, and
/// byte by byte. The events must be the same.
///
/// The first byte chooses how the machine gets into a phase, and the second has flags. Three
/// positions to cut at follow, and the start of the second connection, of two bytes each.
pub fn machine(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.choose(WAYS);
    let flags = input.byte();
    let numbers = [(); 3].map(|()| input.number());
    let first = input.number();
    let bytes = input.rest();
    let first = if first == 0 { bytes.len() } else { first % (bytes.len() + 1) };
    let (first, second) = bytes.split_at(first);

    let concurrency = if flags & 1 == 0 { Concurrency::Single } else { Concurrency::Multi };
    let run = |cut: &dyn Fn(&[u8]) -> Vec<usize>| {
        let mut machine = walk(concurrency, way);
        let mut seen = receive_cut(&mut machine, first, &cut(first));
        if flags & 2 == 0 {
            seen.extend(machine.end_of_stream().map(Seen::of));
        }
        let recovery = machine.on_disconnect();
        seen.push(Seen::Recovery(recovery, machine.phase()));
        go_on(&mut machine, recovery);
        seen.extend(receive_cut(&mut machine, second, &cut(second)));
        (seen, format!("{machine:?}"))
    };
    let whole = run(&|_| Vec::new());
    assert_eq!(run(&|bytes| cuts(bytes.len(), numbers).to_vec()), whole);
    assert_eq!(run(&|bytes| (1..bytes.len()).collect()), whole);
}

/// Enough for every request here, with any id.
const ROOM: usize = 4096;

/// One thing that happens to a machine on its way.
#[derive(Clone, Copy)]
enum Step {
    /// A command, all of which is sent.
    Do(Command),
    /// A command, of which only this many bytes are sent.
    Say(Command, usize),
    /// These bytes arrive.
    Hear(&'static [u8]),
    Lose,
    SendAgain,
    ShutDown,
}

use Step::{Do, Hear, Lose, Say, SendAgain, ShutDown};

const EVENT: Step = Hear(
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b3c\r\nContent-Length: 5\r\n\r\n\"Ada\"",
);
/// An event with an attempt id, by which the service recognises a second copy of the answer.
const ATTEMPT: Step = Hear(
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b3c\r\nLambda-Runtime-Invocation-Id: 1\r\n\
      Content-Length: 5\r\n\r\n\"Ada\"",
);
const CUT_EVENT: Step =
    Hear(b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b3c\r\nContent-Length: 9\r\n\r\n\"A");
const ACCEPTED: Step = Hear(replies::ACCEPTED);
const RESTORED: Step = Hear(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");

/// Steps that lead to every phase, with and without a lost connection. The first is the ordinary
/// one.
const WAYS: &[&[Step]] = &[
    &[Do(Next)],
    &[Do(Next), EVENT, Do(Respond)],
    &[Do(Next), EVENT, Do(Respond), Do(Next)],
    &[Do(Next), EVENT, Do(Fail)],
    &[Do(Next), EVENT, Do(Stream)],
    &[Do(Next), EVENT, Do(Stream), Do(Chunk)],
    &[Do(Next), EVENT, Do(Stream), Do(Chunk), Do(Finish)],
    &[Do(Next), EVENT, Do(Stream), Do(FinishWithError), Do(Next)],
    &[],
    &[Do(RestoreNext)],
    &[Do(RestoreNext), RESTORED],
    &[Do(RestoreNext), RESTORED, Lose, Do(FailRestore)],
    &[Do(RestoreNext), Lose],
    &[Do(FailInit)],
    &[Do(Next), EVENT],
    &[Do(Next), CUT_EVENT],
    &[Do(Next), CUT_EVENT, Lose],
    &[Do(Next), CUT_EVENT, Lose, Do(Fail)],
    &[Do(Next), EVENT, Do(Respond), ACCEPTED],
    &[Do(Next), Lose],
    &[Do(Next), Lose, Do(Next)],
    &[Do(Next), EVENT, Do(Respond), Lose, SendAgain],
    &[Do(Next), ATTEMPT, Do(Respond), Lose, SendAgain],
    &[Do(Next), EVENT, Say(Respond, 20), Lose, SendAgain],
    &[Do(Next), ATTEMPT, Do(Fail), Lose],
    &[Do(Next), EVENT, Do(Stream), Do(Chunk), Lose],
    &[Say(Next, 0)],
    &[Say(Next, 1)],
    &[Do(Next), EVENT, Say(Respond, 0)],
    &[Do(Next), EVENT, Say(Respond, 40)],
    &[Do(Next), EVENT, Do(Respond), Say(Next, 0)],
    &[Do(Next), EVENT, Do(Respond), Say(Next, 5)],
    &[Do(Next), EVENT, Say(Stream, 0)],
    &[Do(Next), EVENT, Do(Stream), Say(Chunk, 3)],
    &[Say(FailInit, 7)],
    &[ShutDown],
];

fn walk(concurrency: Concurrency, steps: &[Step]) -> Machine {
    let endpoint = Endpoint::parse("127.0.0.1:9001").expect("an address and a port");
    let mut machine = Machine::with_concurrency(endpoint, concurrency);
    for step in steps {
        match *step {
            // Some commands are refused without an attempt id, or with several slots; they are
            // skipped.
            Do(command) => {
                if command.give(&mut machine, &mut [0; ROOM]).is_ok() {
                    machine.sent(machine.unsent_len());
                }
            }
            Say(command, length) => {
                let _is_left_out = command.give(&mut machine, &mut [0; ROOM]);
                machine.sent(length);
            }
            Hear(bytes) => {
                let seen = receive_cut(&mut machine, bytes, &[]);
                assert!(!seen.iter().any(|seen| matches!(seen, Seen::Error(_))), "{seen:?}");
            }
            Lose => drop(machine.on_disconnect()),
            SendAgain => machine.sent(machine.unsent_len()),
            ShutDown => machine.shut_down(),
        }
    }
    machine
}

/// Does what the recovery from a lost connection requires.
fn go_on(machine: &mut Machine, recovery: Recovery) {
    match recovery {
        Recovery::SendAgain => {}
        Recovery::FailInvocation => {
            Fail.give(machine, &mut [0; ROOM]).expect("the invocation is in flight");
        }
        Recovery::Exit => assert_eq!(machine.phase(), Phase::ShuttingDown),
        _ if machine.phase() == Phase::ShuttingDown => {}
        _ if machine.phase() == Phase::Invoking => {
            Respond.give(machine, &mut [0; ROOM]).expect("the invocation is in flight");
        }
        _ => {
            Next.give(machine, &mut [0; ROOM]).expect("nothing is outstanding");
        }
    }
    machine.sent(machine.unsent_len());
}

/// An owned event; consecutive pieces of a body are joined.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Invocation(Vec<u8>),
    Body(Vec<u8>),
    InvocationEnd,
    Detail(Vec<u8>),
    Outcome(Outcome),
    Error(ReceiveError),
    Recovery(Recovery, Phase),
}

impl Seen {
    pub(crate) fn of(event: Event<'_>) -> Self {
        match event {
            Event::Invocation(head) => Self::Invocation(head.as_bytes().to_vec()),
            Event::Body(piece) => Self::Body(piece.to_vec()),
            Event::InvocationEnd => Self::InvocationEnd,
            Event::Detail(piece) => Self::Detail(piece.to_vec()),
            Event::Outcome(outcome) => Self::Outcome(outcome),
        }
    }
}

/// Receives one event or error and appends it; returns whether others may follow.
pub(crate) fn receive_one(machine: &mut Machine, input: &mut &[u8], seen: &mut Vec<Seen>) -> bool {
    let before = *input;
    let event = match machine.receive(input) {
        Ok(Some(event)) => event,
        Ok(None) => return false,
        Err(error) => {
            assert!(input.is_empty() && machine.must_reconnect());
            wire::check_line(error);
            seen.push(Seen::Error(error));
            return false;
        }
    };
    assert!(before.ends_with(input), "the cursor only moves forward");
    match event {
        Event::Invocation(head) => {
            assert_eq!(head.as_bytes().as_ptr_range().end, input.as_ptr());
            let id = machine.invocation().map(|ids| ids.request_id().to_owned());
            assert_eq!(id.as_deref(), Some(head.request_id()));
        }
        Event::Body(piece) | Event::Detail(piece) => {
            assert_eq!(piece.as_ptr_range().end, input.as_ptr());
            assert!(!piece.is_empty());
        }
        Event::InvocationEnd => assert_eq!(machine.phase(), Phase::Invoking),
        Event::Outcome(outcome) => wire::check_line(outcome),
    }
    match (seen.last_mut(), event) {
        (Some(Seen::Body(body)), Event::Body(piece)) => body.extend_from_slice(piece),
        (Some(Seen::Detail(detail)), Event::Detail(piece)) => detail.extend_from_slice(piece),
        (_, event) => seen.push(Seen::of(event)),
    }
    true
}

/// Receives bytes in pieces, and returns the events; bytes that are not consumed are presented
/// again.
fn receive_cut(machine: &mut Machine, bytes: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut consumed = 0;
    for &arrived in cuts.iter().chain([&bytes.len()]) {
        let mut input = &bytes[consumed..arrived];
        while receive_one(machine, &mut input, &mut seen) {}
        if matches!(seen.last(), Some(Seen::Error(_))) {
            break;
        }
        consumed = arrived - input.len();
    }
    let is_over = machine.phase() == Phase::ShuttingDown;
    assert!(!is_over || machine.invocation().is_none());
    seen
}
