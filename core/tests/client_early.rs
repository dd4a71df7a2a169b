//! The client with embedders that call it in any order that its documentation allows.

mod event_loop;

use event_loop::{
    ACCEPTED, ALL, After, Cut, Early, How, Interjection, Loop, Memory, Pace, Plan, REPORT, Stop,
    event, feed, refusal,
};
use lambda_proto::api::Endpoint;
use lambda_proto::client::{Client, End, Receipt, Step};
use lambda_proto::machine::{CommandError, Machine};

fn in_flight(events: &[(&str, Vec<u8>)]) -> Loop {
    let mut host = Loop::new(ALL, events, &[Plan::Hold]);
    assert_eq!(host.run(), Stop::InFlight);
    host
}

fn client_of(events: usize, requests: usize) -> Client<Memory> {
    let machine = Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap());
    Client::new(machine, Memory::new(events), Memory::new(requests))
}

#[test]
fn a_read_right_after_the_write_of_a_pipelined_answer_brings_its_reply_and_the_next_event() {
    let second = event("b", b"second", 0);
    let replies = [ACCEPTED, &second].concat();
    for read in 1..=replies.len() {
        let mut host = in_flight(&[("a", event("a", b"first", 0))]);
        host.client.exchange().respond(None, 1, true).unwrap();
        assert_eq!(host.step(), Step::Write);
        let length = host.client.machine().unsent_len();
        host.client.exchange().sent(length);
        // Read the available bytes before the next step.
        let mut exchange = host.client.exchange();
        let room = exchange.room().unwrap();
        room[..read].copy_from_slice(&replies[..read]);
        host.client.exchange().received(read);
        assert!(matches!(host.step(), Step::Settled(_)));
        if read < replies.len() {
            assert_eq!(host.step(), Step::Read);
            let mut exchange = host.client.exchange();
            let room = exchange.room().unwrap();
            room[..replies.len() - read].copy_from_slice(&replies[read..]);
            host.client.exchange().received(replies.len() - read);
        }
        assert_eq!(host.step(), Step::Answer, "{read} bytes read");
        let invocation = host.client.invocation().unwrap();
        let (head, body) = (*invocation, invocation.body());
        assert_eq!((head.request_id(), body), ("b", &b"second"[..]), "{read} bytes read");
    }
}

#[test]
fn sessions_are_the_same_when_bytes_are_read_as_soon_as_they_arrive() {
    let events: Vec<_> =
        ["a", "b", "c", "d"].map(|id| (id, event(id, id.repeat(50).as_bytes(), 0))).into();
    for is_pipelined in [false, true] {
        let plans = [
            Plan::Respond(b"one".to_vec(), is_pipelined),
            Plan::Stream(vec![b"two".to_vec(), vec![b'x'; 99]], is_pipelined),
            Plan::Fail,
            Plan::Respond(vec![b'y'; 500], is_pipelined),
        ];
        let run = |pace| {
            let mut host = Loop::new(pace, &events, &plans);
            assert_eq!(host.run(), Stop::Waiting, "{pace:?}");
            (host.handed, host.service.connections, host.warnings)
        };
        let expected = run(ALL);
        for writes in [1, 3, 64, usize::MAX] {
            for reads in [1, 3, 64, usize::MAX] {
                let pace = Pace { writes, reads, blocks: 0x0805, early: Early::AtOnce };
                assert!(run(pace) == expected, "pipelined: {is_pipelined}, {pace:?}");
            }
        }
    }
}

#[test]
fn unsolicited_bytes_read_right_before_the_answer_cost_only_the_connection() {
    let surplus = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";
    for first in [1, 10, surplus.len()] {
        let mut host = in_flight(&[("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))]);
        host.say(&surplus[..first]);
        host.read();
        host.answer(&Plan::Respond(b"x".to_vec(), false));
        host.say(&surplus[first..]);
        assert_eq!(
            host.run(),
            Stop::InFlight,
            "{first} bytes before the answer: {:?}",
            host.warnings
        );
        assert!(matches!(host.told[0].1, Receipt::Known(outcome) if outcome.is_accepted()));
        assert_eq!(host.handed[1].0, "b");
    }
}

#[test]
fn unsolicited_bytes_read_right_before_the_client_asks_cost_only_the_connection() {
    let surplus = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";
    for first in [1, 10, surplus.len()] {
        let mut host = in_flight(&[("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))]);
        host.answer(&Plan::Respond(b"x".to_vec(), false));
        host.stops = true;
        assert_eq!(host.run(), Stop::Idle);
        host.stops = false;
        host.say(&surplus[..first]);
        host.read();
        host.client.ask().unwrap();
        host.say(&surplus[first..]);
        assert_eq!(host.run(), Stop::InFlight, "{first} bytes before `next`: {:?}", host.warnings);
        assert_eq!(host.handed[1].0, "b");
    }
}

#[test]
fn a_refused_command_after_unsolicited_bytes_does_what_the_next_step_would_have_done() {
    type Command = fn(&mut Client<Memory>) -> Result<(), CommandError>;
    // The second one is refused for lack of memory.
    let commands: [(Command, usize); 2] =
        [(|client| client.exchange().respond(None, 1, false), 4096), (|client| client.ask(), 100)];
    for (command, requests) in commands {
        let observe = |is_commanded: bool| {
            let mut client = client_of(4096, requests);
            client.exchange().connected();
            feed(&mut client, b"HTTP/1.1 408 Request Timeout\r\n\r\n");
            if is_commanded {
                assert!(command(&mut client).is_err());
            }
            let mut warnings = Vec::new();
            let step = client.exchange().step(|warning| warnings.push(warning.to_string()));
            let machine = client.machine();
            let facts = (machine.phase(), machine.losses(), machine.unsent_len());
            (step, warnings, facts, client.is_connected(), client.end())
        };
        let stepped = observe(false);
        assert_eq!((stepped.0, stepped.1.len(), stepped.3), (Step::Idle, 1, false));
        assert_eq!(observe(true), stepped);
    }
}

#[test]
fn an_embedder_may_read_everything_available_before_the_next_step() {
    let bytes = event("a", &[b'x'; 3000], 0);
    for head in [0, 50, bytes.len() - 3000] {
        let mut client = client_of(bytes.len(), 2000);
        client.ask().unwrap();
        client.exchange().connected();
        let length = client.machine().unsent_len();
        client.exchange().sent(length);
        let mut read = 0;
        for until in [head, bytes.len()] {
            assert_eq!(client.exchange().step(|_| {}), Step::Read);
            while read < until {
                let mut exchange = client.exchange();
                let room = exchange.room().unwrap();
                let length = room.len().min(until - read);
                room[..length].copy_from_slice(&bytes[read..read + length]);
                client.exchange().received(length);
                read += length;
            }
            // A further read would block, and needs room all the same.
            let _would_block = client.exchange().room();
        }
        assert_eq!(
            client.exchange().step(|warning| panic!("{warning}")),
            Step::Answer,
            "{head} bytes first"
        );
        assert_eq!(client.invocation().unwrap().body(), [b'x'; 3000]);
    }
}

#[test]
fn no_memory_is_held_while_a_slot_waits_after_a_pipelined_answer_was_settled() {
    let plan = Plan::Respond(b"x".to_vec(), true);
    let mut host = Loop::new(ALL, &[("a", event("a", b"1", 0))], &[plan]);
    assert_eq!(host.run(), Stop::Waiting);
    assert_eq!(host.told, [("a".into(), Receipt::Pipelined)]);
    assert_eq!(host.held.get(), 0);
}

#[test]
fn an_answer_may_be_sent_from_the_event_itself_while_its_reply_begins() {
    let bytes = event("a", &[b'x'; 200], 0);
    let mut host = Loop::new(ALL, &[("a", bytes.clone())], &[Plan::Hold]);
    // The event fills the memory, so anything read into it would overwrite the event.
    host.client = client_of(bytes.len(), 2000);
    assert_eq!(host.run(), Stop::InFlight);
    host.client.exchange().respond(None, 200, true).unwrap();
    let mut sent = Vec::new();
    let mut early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20".iter();
    while host.step() == Step::Write {
        let (invocation, mut exchange) = host.client.in_flight().unwrap();
        sent.push(exchange.unsent(invocation.body()).concat()[0]);
        exchange.sent(1);
        if let Some(byte) = early.next() {
            exchange.room().unwrap()[0] = *byte;
            exchange.received(1);
        }
    }
    let text = String::from_utf8(sent).unwrap();
    assert!(text.contains(&format!("\r\n\r\n{}GET ", "x".repeat(200))), "{text}");
}

#[test]
fn a_reply_sent_before_the_service_closed_is_read_though_writing_fails() {
    for plan in [
        Plan::Respond(vec![b'x'; 10_000], false),
        Plan::Respond(vec![b'x'; 10_000], true),
        Plan::Stream(vec![vec![b'x'; 10_000]], false),
    ] {
        let events = [("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))];
        let mut host = Loop::new(ALL, &events, &[plan, Plan::Hold]);
        let bytes = refusal(413);
        let what = Interjection { at: 5_000, bytes, then: After::Discard };
        host.service.interjections.push_back(what);
        host.cut = Some(Cut::Sent(5_000, How::Broken));
        assert_eq!(host.run(), Stop::InFlight);
        assert!(matches!(host.told[0].1, Receipt::Known(outcome) if outcome.status() == 413));
        assert_eq!(host.handed[1].0, "b");
    }
}

#[test]
fn no_memory_is_held_while_a_slot_waits_after_a_pipelined_answer() {
    for early in [Early::Never, Early::BetweenSteps] {
        let pace = Pace { writes: 50, early, ..ALL };
        let plan = Plan::Respond(b"x".to_vec(), true);
        let mut host = Loop::new(pace, &[("a", event("a", b"1", 0))], &[plan]);
        assert_eq!(host.run(), Stop::Waiting);
        assert_eq!(host.held.get(), 0, "{early:?}, told {:?}", host.told);
    }
}

#[test]
fn a_pipelined_answer_without_room_for_next_is_sent_without_it() {
    let mut alone = 0;
    for room in 620..1000 {
        let mut host = Loop::new(ALL, &[("a", event("a", b"1", 0))], &[Plan::Hold]);
        host.client = client_of(4096, room);
        if host.run() != Stop::InFlight {
            continue;
        }
        match host.client.exchange().respond(None, 1, true) {
            Ok(()) if !host.client.machine().is_asked() => alone += 1,
            Ok(()) => continue,
            Err(error) => {
                assert!(matches!(error, CommandError::BufferTooSmall(_)), "{error}");
                assert_eq!(host.step(), Step::Answer, "requests of {room} bytes");
            }
        }
    }
    assert!(alone > 0);
}

#[test]
fn there_is_no_invocation_unless_one_is_in_flight() {
    let mut host = in_flight(&[("a", event("a", b"secret", 0))]);
    host.answer(&Plan::Respond(b"x".to_vec(), false));
    host.stops = true;
    assert_eq!(host.run(), Stop::Idle);
    assert!(host.client.invocation().is_none());
    assert!(host.client.in_flight().is_none());
}

#[test]
fn an_event_can_be_taken_out_once() {
    let mut host = in_flight(&[("a", event("a", b"secret", 0))]);
    let mut other = Memory::new(1000);
    lambda_proto::client::Storage::grow(&mut other, 1000);
    let event = host.client.take_event(other).unwrap();
    assert_eq!(event.invocation().body(), b"secret");
    assert!(host.client.invocation().is_none());
    assert!(host.client.in_flight().is_none());
    assert!(host.client.take_event(Memory::new(1000)).is_none());
}

#[test]
fn a_client_that_has_ended_says_why_whatever_ended_it() {
    let mut host = Loop::new(ALL, &[], &[]);
    host.service.refuses = Some((String::new(), refusal(403)));
    host.handed.push((String::new(), Vec::new()));
    host.client.fail_init(&REPORT).unwrap();
    let end = loop {
        match host.step() {
            Step::End(end) => break end,
            Step::Settled(_) => {}
            _ => assert_eq!(host.turn(), None),
        }
    };
    assert_eq!(end, End::Done);
    assert_eq!(host.client.end(), Some(End::Done));
}

/// Runs a client whose second event is read right after the write of the first answer, into the
/// memory for requests, so that it has to move. The memory for events has `events` bytes, the event
/// has `body` bytes, and `surplus` bytes follow it. Returns the id and the body of the second
/// invocation, the warnings, and the last step.
fn moved(events: usize, body: usize, surplus: usize) -> (String, Vec<u8>, Vec<String>, Step) {
    let mut client = client_of(events, 4096);
    let mut told = Vec::new();
    let mut step = |client: &mut Client<Memory>| {
        client.exchange().step(|warning| told.push(warning.to_string()))
    };
    let read = |client: &mut Client<Memory>, bytes: &[u8]| {
        let mut left = bytes;
        while !left.is_empty() {
            let mut exchange = client.exchange();
            let Some(room) = exchange.room() else { break };
            let length = room.len().min(left.len());
            room[..length].copy_from_slice(&left[..length]);
            client.exchange().received(length);
            left = &left[length..];
        }
    };
    client.ask().unwrap();
    client.exchange().connected();
    let length = client.machine().unsent_len();
    client.exchange().sent(length);
    assert_eq!(step(&mut client), Step::Read);
    read(&mut client, &event("a", b"1", 0));
    assert_eq!(step(&mut client), Step::Answer);
    client.exchange().respond(None, 3, true).unwrap();
    let length = client.machine().unsent_len();
    client.exchange().sent(length);
    let replies = [ACCEPTED, &event("b", &vec![b'y'; body], 0), &vec![b'z'; surplus]].concat();
    read(&mut client, &replies);
    let mut last = step(&mut client);
    while let Step::Settled(_) = last {
        last = step(&mut client);
    }
    let invocation = client.invocation().filter(|_| last == Step::Answer);
    let seen = invocation.map(|it| (it.request_id().to_owned(), it.body().to_vec()));
    let (id, body) = seen.unwrap_or_default();
    (id, body, told, last)
}

#[test]
fn an_event_that_has_to_move_arrives_whole_or_is_reported_as_too_large() {
    let smallest = event("b", b"", 0).len();
    let mut whole = 0;
    for events in smallest + 4..smallest + 140 {
        for body in (0..160).step_by(3) {
            for surplus in [0, 1, 40, 400] {
                let (id, got, told, last) = moved(events, body, surplus);
                let case = format!("{events} for {body} and {surplus}: {last:?} {told:?}");
                match last {
                    Step::Answer => {
                        assert_eq!((&*id, got), ("b", vec![b'y'; body]), "{case}");
                        whole += 1;
                    }
                    // The client reports an error for the event.
                    Step::Write | Step::Connect { .. } => {
                        assert!(told.iter().any(|it| it.contains("does not fit")), "{case}");
                    }
                    _ => panic!("{case}"),
                }
            }
        }
    }
    assert!(whole > 1000);
}
