//! Properties that hold for the machine whatever happens to it.

mod support;

use lambda_proto::api::Concurrency;
use lambda_proto::machine::{Event, Machine, Phase, Recovery};
use proptest::prelude::*;
use support::Command::{Chunk, Fail, FailInit, Finish, Next, Respond, RestoreNext, Stream};
use support::Step::{self, Do, Say};
use support::{ACCEPTED, Command, event, receive, receive_cut, walk};

#[test]
fn a_machine_can_be_stored_shared_and_sent() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Machine>();
    let size = size_of::<Machine>();
    assert!(size < 1536, "{size} bytes");
}

#[test]
fn a_clone_is_independent_and_behaves_the_same() {
    let mut machine = walk(Concurrency::Single, &[Do(Next), Step::Attempt]);
    let mut clone = machine.clone();
    let one = support::send(&mut machine, Respond);
    assert_eq!((machine.phase(), clone.phase()), (Phase::Reporting, Phase::Invoking));
    let two = support::send(&mut clone, Respond);
    assert_eq!(one, two);
    assert_eq!(receive(&mut machine, ACCEPTED), receive(&mut clone, ACCEPTED));
    assert_eq!(format!("{machine:?}"), format!("{clone:?}"));
}

/// Ways to an outstanding reply.
const WAYS: [&[Step]; 8] = [
    &[Do(Next)],
    &[Do(RestoreNext)],
    &[Do(FailInit)],
    &[Do(Next), Step::Event, Do(Respond)],
    &[Do(Next), Step::Event, Do(Fail)],
    &[Do(Next), Step::Event, Do(Respond), Do(Next)],
    &[Do(Next), Step::Event, Do(Stream), Say(Chunk)],
    &[Do(Next), Step::Event, Do(Stream), Do(Finish), Do(Next)],
];

/// Fragments of replies in any order, so that many are nearly valid replies.
fn near_answers() -> impl Strategy<Value = Vec<u8>> {
    let fragments: Vec<&[u8]> = vec![
        b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 413 X\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.0 500 X\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Trailer: x\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"5;a=b\r\nhello",
        b"0\r\n\r\n",
        b"0\r\nDate: x\r\n\r\n",
        b"hello",
        b"\n",
        b"Trailer: x\n",
        b"HTTP/1.1 200 OK\n",
        b"\r",
        b"\0",
    ];
    let fragment = prop_oneof![
        9 => prop::sample::select(fragments).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    prop::collection::vec(fragment, 0..16).prop_map(|fragments| fragments.concat())
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        4 => near_answers(),
        2 => (near_answers(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
            |(mut bytes, at, byte)| {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                bytes
            },
        ),
    ]
}

fn cuts(bytes: &[u8], at: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<_> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts
}

fn config() -> ProptestConfig {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        way in prop::sample::select(&WAYS[..]),
        bytes in any_bytes(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut whole = walk(Concurrency::Single, way);
        let expected = receive_cut(&mut whole, &bytes, []);
        prop_assert!(expected.1.is_none() || whole.must_reconnect());
        let end = whole.end_of_stream();
        for cuts in [cuts(&bytes, &at), (1..bytes.len()).collect()] {
            let mut machine = walk(Concurrency::Single, way);
            prop_assert_eq!(&receive_cut(&mut machine, &bytes, cuts), &expected);
            prop_assert_eq!(machine.end_of_stream(), end);
            prop_assert_eq!(format!("{machine:?}"), format!("{whole:?}"));
            prop_assert_eq!(machine.on_disconnect(), whole.clone().on_disconnect());
        }
    }

    #[test]
    fn a_clone_made_in_the_middle_of_a_reply_reads_the_rest_the_same(
        way in prop::sample::select(&WAYS[..]),
        bytes in any_bytes(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut machine = walk(Concurrency::Single, way);
        let mut input = &bytes[..at.index(bytes.len() + 1)];
        let arrived = input.len();
        while let Ok(Some(_)) = machine.receive(&mut input) {}
        let rest = &bytes[arrived - input.len()..];
        let mut clone = machine.clone();
        prop_assert_eq!(receive(&mut machine, rest), receive(&mut clone, rest));
        prop_assert_eq!(format!("{machine:?}"), format!("{clone:?}"));
    }

    #[test]
    fn no_order_of_operations_panics_and_refused_commands_change_nothing(
        is_multi in any::<bool>(),
        operations in prop::collection::vec(operation(), 0..40),
    ) {
        let concurrency = if is_multi { Concurrency::Multi } else { Concurrency::Single };
        let mut machine = support::machine_for(concurrency);
        for operation in operations {
            operation.apply(&mut machine);
            let is_over = machine.phase() == Phase::ShuttingDown;
            prop_assert_eq!(machine.invocation().is_some() && is_over, false);
            if matches!(machine.phase(), Phase::Invoking | Phase::Reporting) {
                prop_assert!(machine.invocation().is_some());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Give(Command, usize),
    Sent(usize),
    Receive(Vec<u8>),
    EndOfStream,
    Disconnect,
    ShutDown,
}

fn operation() -> impl Strategy<Value = Operation> {
    let room = prop_oneof![3 => Just(1024_usize), 1 => 0..400_usize];
    let helpful = prop_oneof![
        Just(ACCEPTED.to_vec()),
        Just(event("1", "", "{}")),
        Just(event("1", "Lambda-Runtime-Invocation-Id: 2\r\n", "{}")),
        Just(support::answer(403, "{}")),
    ];
    prop_oneof![
        8 => (prop::sample::select(&Command::ALL[..]), room).prop_map(|(c, r)| Operation::Give(c, r)),
        6 => prop_oneof![Just(usize::MAX), 0..300_usize].prop_map(Operation::Sent),
        4 => helpful.prop_map(Operation::Receive),
        2 => any_bytes().prop_map(Operation::Receive),
        1 => Just(Operation::EndOfStream),
        2 => Just(Operation::Disconnect),
        1 => Just(Operation::ShutDown),
    ]
}

impl Operation {
    fn apply(self, machine: &mut Machine) {
        match self {
            Self::Give(command, room) => {
                let before = format!("{machine:?}");
                if command.give(machine, &mut vec![0; room]).is_err() {
                    assert_eq!(format!("{machine:?}"), before);
                }
            }
            Self::Sent(length) => {
                let before = machine.unsent_len();
                machine.sent(length);
                assert_eq!(machine.unsent_len(), before.saturating_sub(length));
            }
            Self::Receive(bytes) => {
                let _any_outcome_will_do = receive(machine, &bytes);
            }
            Self::EndOfStream => {
                let event = machine.end_of_stream();
                assert!(matches!(event, None | Some(Event::InvocationEnd | Event::Outcome(_))));
            }
            Self::Disconnect => {
                let was_over = machine.phase() == Phase::ShuttingDown;
                let recovery = machine.on_disconnect();
                let is_over = machine.phase() == Phase::ShuttingDown;
                assert!(is_over || !was_over, "the session is over for good: {recovery:?}");
                assert!(is_over || recovery != Recovery::Exit);
                let is_to_send = recovery == Recovery::SendAgain;
                assert_eq!(machine.unsent_len() > 0, is_to_send);
                assert_eq!(machine.awaits().is_some(), is_to_send);
                assert!(!machine.must_reconnect() && !machine.is_inside_reply());
            }
            Self::ShutDown => machine.shut_down(),
        }
    }
}
