//! The client in an event loop whose sockets read, write and block in every way.

mod event_loop;

use core::time::Duration;

use event_loop::{
    ACCEPTED, ALL, After, Early, How, Interjection, Loop, Memory, Pace, Plan, REPORT, Stop,
    client_of, event, feed, refusal, whole,
};
use lambda_proto::api::{Call, Concurrency, ContentType, Outcome};
use lambda_proto::client::{Client, End, Receipt, Step, Warning, backoff};
use lambda_proto::machine::{CommandError, Phase};

const SIZES: [usize; 6] = [1, 2, 3, 7, 64, usize::MAX];

/// When operations would block: never, every other time, now and then, almost always.
const BLOCKS: [u64; 4] = [0, 0xaaaa_aaaa_aaaa_aaaa, 0x1248_0102_4810_0c07, !0x0001_0000_0100_0001];

fn paces() -> impl Iterator<Item = Pace> {
    SIZES.into_iter().flat_map(|writes| {
        SIZES.into_iter().flat_map(move |reads| {
            BLOCKS.into_iter().flat_map(move |blocks| {
                [Early::Never, Early::BetweenSteps].map(|early| Pace {
                    writes,
                    reads,
                    blocks,
                    early,
                })
            })
        })
    })
}

fn slow(writes: usize, reads: usize) -> Pace {
    Pace { writes, reads, blocks: BLOCKS[2], early: Early::BetweenSteps }
}

fn respond(body: &[u8], is_pipelined: bool) -> Plan {
    Plan::Respond(body.to_vec(), is_pipelined)
}

fn stream(pieces: &[&[u8]], is_pipelined: bool) -> Plan {
    Plan::Stream(pieces.iter().map(|piece| piece.to_vec()).collect(), is_pipelined)
}

fn known(call: Call, status: u16) -> Receipt {
    Receipt::Known(Outcome::new(call, status))
}

/// A loop whose first invocation is in flight.
fn in_flight(pace: Pace, events: &[(&str, Vec<u8>)]) -> Loop {
    let mut host = Loop::new(pace, events, &[Plan::Hold]);
    assert_eq!(host.run(), Stop::InFlight);
    host
}

#[test]
fn a_quiet_step_is_the_next_step_unless_something_has_happened() {
    let quiet = |client: &mut Client<_>| client.exchange().quiet_step();
    let next = |client: &mut Client<_>| client.exchange().step(|warning| panic!("{warning}"));
    let mut client = client_of(4096, 4096);
    assert_eq!(quiet(&mut client), Some(Step::Idle));
    client.ask().unwrap();
    assert_eq!(quiet(&mut client), Some(Step::Connect { losses: 0 }));
    client.exchange().connected();
    assert_eq!(quiet(&mut client), Some(Step::Write));
    let length = client.machine().unsent_len();
    client.exchange().sent(length);
    assert_eq!(quiet(&mut client), Some(Step::Read));
    feed(&mut client, &event("a", b"the event", 0));
    assert_eq!((quiet(&mut client), quiet(&mut client)), (None, None));
    assert_eq!(next(&mut client), Step::Answer);
    assert_eq!(quiet(&mut client), Some(Step::Answer));
    client.exchange().respond(None, 0, true).unwrap();
    assert_eq!(quiet(&mut client), Some(Step::Write));
    let length = client.machine().unsent_len();
    client.exchange().sent(length);
    // The receipt is returned once, so only by `step`.
    assert_eq!(quiet(&mut client), None);
    assert_eq!(next(&mut client), Step::Settled(Receipt::Pipelined));
    assert_eq!(quiet(&mut client), Some(Step::Read));
    client.exchange().lost();
    assert_eq!(quiet(&mut client), None);
    client.exchange().shut_down();
    assert_eq!(quiet(&mut client), None);
}

#[test]
fn an_exchange_may_be_dropped_at_any_byte_and_the_next_one_continues() {
    let quiet = |warning: &Warning<'_>| panic!("{warning}");
    let mut cut = 0;
    loop {
        let mut client = client_of(4096, 4096);
        client.ask().unwrap();
        client.exchange().connected();
        let length = client.machine().unsent_len();
        client.exchange().sent(length);
        feed(&mut client, &event("a", b"the event", 0));
        assert_eq!(client.exchange().step(quiet), Step::Answer);

        let (invocation, mut exchange) = client.in_flight().unwrap();
        exchange.respond(None, invocation.body().len(), false).unwrap();
        assert_eq!(exchange.step(quiet), Step::Write);
        let request = exchange.unsent(invocation.body()).concat();
        assert!(request.ends_with(b"\r\n\r\nthe event"));
        exchange.sent(cut);
        // A new handle continues where the dropped one stopped.
        let (invocation, mut exchange) = client.in_flight().unwrap();
        assert_eq!(exchange.unsent(invocation.body()).concat(), request[cut..]);
        exchange.sent(request.len() - cut);

        let (first, second) = ACCEPTED.split_at(cut.min(ACCEPTED.len()));
        feed(&mut client, first);
        if !second.is_empty() {
            assert_eq!(client.exchange().step(quiet), Step::Read);
            feed(&mut client, second);
        }
        let receipt = known(Call::Response, 202);
        assert_eq!(client.exchange().step(quiet), Step::Settled(receipt));
        assert_eq!(client.exchange().step(quiet), Step::Idle);
        if cut == request.len() {
            return;
        }
        cut += 1;
    }
}

#[test]
fn a_handle_beside_a_borrowed_event_never_takes_the_next_invocation() {
    let quiet = |warning: &Warning<'_>| panic!("{warning}");
    let mut client = client_of(4096, 4096);
    client.ask().unwrap();
    client.exchange().connected();
    let length = client.machine().unsent_len();
    client.exchange().sent(length);
    feed(&mut client, &event("a", b"first", 0));
    assert_eq!(client.exchange().step(quiet), Step::Answer);

    let (_, mut exchange) = client.in_flight().unwrap();
    exchange.respond(None, 0, true).unwrap();
    let length = exchange.machine().unsent_len();
    exchange.sent(length);
    let settled = Step::Settled(Receipt::Pipelined);
    assert_eq!(exchange.step(quiet), settled);
    // An embedder may keep using the handle until the next event arrives.
    let replies = [ACCEPTED, &event("b", b"second", 0)].concat();
    for byte in &replies {
        exchange.room().unwrap()[0] = *byte;
        exchange.received(1);
        assert_eq!(exchange.step(quiet), settled);
    }
    assert!(client.in_flight().is_none());

    assert_eq!(client.exchange().step(quiet), Step::Answer);
    let (invocation, _) = client.in_flight().unwrap();
    assert_eq!((invocation.request_id(), invocation.body()), ("b", &b"second"[..]));
}

#[test]
fn sessions_are_the_same_at_every_pace_of_reads_and_writes() {
    let body: Vec<u8> = (0..=255).collect();
    for is_pipelined in [false, true] {
        let plans = [
            respond(b"one", is_pipelined),
            respond(&body, is_pipelined),
            Plan::Fail,
            stream(&[b"hello", b"", &body], is_pipelined),
            Plan::GiveUp,
            Plan::StreamThenFail(vec![b"half".to_vec()]),
            respond(b"", is_pipelined),
        ];
        let events: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"]
            .into_iter()
            .zip([0, 0, 7, 100, 1, 256, 0])
            .map(|(id, chunk)| (id, event(id, &body[..body.len() / id.len()], chunk)))
            .collect();
        let run = |pace: Pace| {
            let mut host = Loop::new(pace, &events, &plans);
            host.takes_events = pace.writes == 3;
            assert_eq!(host.run(), Stop::Waiting, "{pace:?}");
            assert!(host.handed.iter().all(|(_, event)| *event == body), "{pace:?}");
            assert_eq!((host.handed.len(), host.told.len()), (7, 7), "{pace:?}");
            (host.service.connections, host.service.accepted, host.warnings)
        };
        let expected = run(ALL);
        assert_eq!(expected.0.len(), 1);
        assert_eq!(expected.1.len(), 7);
        for pace in paces() {
            assert!(run(pace) == expected, "pipelined: {is_pipelined}, {pace:?}");
        }
    }
}

#[test]
fn a_reply_that_begins_before_a_pipelined_answer_is_written_is_read_with_the_event_after_it() {
    let body = vec![b'x'; 40];
    let event_b = event("b", &vec![b'y'; 3000], 999);
    let events = [("a", event("a", b"1", 0)), ("b", event_b)];
    let mut probe = Loop::new(ALL, &events, &[respond(&body, true), Plan::Hold]);
    assert_eq!(probe.run(), Stop::InFlight);
    let all = probe.service.connections[0].len();
    let next = whole(&probe.service.connections[0]).unwrap().1;
    for at in [next + 1, next + 200, all - next - 10, all - next, all - 1] {
        for begun in 1..ACCEPTED.len() {
            for reads in [1, 5, usize::MAX] {
                let pace = Pace { writes: 50, reads, blocks: 0, early: Early::BetweenSteps };
                let mut host = Loop::new(pace, &events, &[respond(&body, true), Plan::Hold]);
                // While no byte of `next` has been written, the service finishes its reply as soon
                // as it has the answer, so the rest may come with the event, or long before it.
                let bytes = ACCEPTED[..begun].to_vec();
                let what = Interjection { at, bytes, then: After::ReplyBegun };
                if at < all - next {
                    host.service.interjections.push_back(what);
                } else {
                    // The answer is whole; its reply comes in two pieces.
                    host.service.accepts = Some(ACCEPTED.to_vec());
                    host.pace.writes = 1;
                    host.pace.reads = begun;
                }
                assert_eq!(host.run(), Stop::InFlight, "at {at}, {begun} begun, reads of {reads}");
                assert_eq!(host.handed[1], ("b".into(), vec![b'y'; 3000]), "at {at}, {begun}");
                assert_eq!(host.told.len(), 1);
                assert_eq!((host.losses.len(), host.warnings.len()), (1, 0), "{:?}", host.warnings);
            }
        }
    }
}

#[test]
fn a_refusal_in_the_middle_of_a_large_body_is_reported_and_the_next_exchange_works() {
    let large = vec![b'x'; 100_000];
    let events = [("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))];
    for is_pipelined in [false, true] {
        for then in [After::Discard, After::Block] {
            for at in [400, 5_000, 60_000] {
                let early = Pace { early: Early::BetweenSteps, ..ALL };
                for pace in [early, slow(700, 1), slow(3000, 9)] {
                    let plans = [respond(&large, is_pipelined), respond(b"small", is_pipelined)];
                    let mut host = Loop::new(pace, &events, &plans);
                    let mut bytes = refusal(413);
                    if then == After::Discard {
                        // Even if all is written before the refusal is read, the connection must
                        // not be used again.
                        bytes.splice(17..17, *b"Connection: close\r\n");
                    }
                    host.service.interjections.push_back(Interjection { at, bytes, then });
                    assert_eq!(host.run(), Stop::Waiting);
                    assert_eq!(host.told[0].1, known(Call::Response, 413));
                    assert_eq!(host.handed[1], ("b".into(), b"2".to_vec()));
                    assert_eq!(host.losses, [0, 0]);
                    assert_eq!(host.service.accepted[0].body, b"small");
                    assert!(host.service.connections[1].starts_with(b"GET "));
                    assert_eq!(host.warnings.len(), 1, "{:?}", host.warnings);
                }
            }
        }
    }
}

#[test]
fn a_piece_of_a_stream_that_blocks_half_way_continues_where_it_stopped() {
    let mut host = in_flight(ALL, &[("a", event("a", b"1", 0))]);
    host.answer(&stream(&[&[b'x'; 300], &[b'y'; 5]], false));
    // Almost every operation blocks, and a write takes at most seven bytes.
    host.pace = Pace { writes: 7, reads: 1, blocks: BLOCKS[3], early: Early::Never };
    assert_eq!(host.run(), Stop::Waiting);
    let expected = [[b'x'; 300].to_vec(), b"yyyyy".to_vec()].concat();
    assert_eq!(host.service.accepted[0].body, expected);
    assert_eq!(host.told, [("a".into(), known(Call::Response, 202))]);
}

#[test]
fn no_piece_is_accepted_while_the_previous_one_is_half_written() {
    let mut host = in_flight(ALL, &[("a", event("a", b"1", 0))]);
    host.client.exchange().stream(ContentType::TEXT).unwrap();
    host.client.exchange().chunk(3).unwrap();
    assert_eq!(host.step(), Step::Write);
    assert!(matches!(host.client.exchange().chunk(1), Err(CommandError::Unsent { .. })));
    assert!(matches!(host.client.exchange().finish(true), Err(CommandError::Unsent { .. })));
    let head = host.client.machine().unsent_len();
    host.client.exchange().sent(head);
    // Neither before the client has encoded the first piece, nor after that: then it has its frame.
    assert!(matches!(host.client.exchange().chunk(1), Err(CommandError::Unsent { length: 3 })));
    assert_eq!(host.step(), Step::Write);
    assert!(matches!(host.client.exchange().chunk(1), Err(CommandError::Unsent { length: 6 })));
    host.client.exchange().sent(2);
    assert!(matches!(host.client.exchange().chunk(1), Err(CommandError::Unsent { .. })));
    assert_eq!(host.client.exchange().unsent(b"abc").concat(), b"\nabc");
}

#[test]
fn an_early_reply_to_a_stream_settles_it_and_no_piece_is_accepted_once_it_has_begun() {
    let reply = refusal(413);
    for begun in 1..reply.len() {
        let mut host = in_flight(ALL, &[("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))]);
        host.answer(&stream(&[b"sent", b"never sent"], false));
        // The first piece is passed in, then the head is written, then the piece.
        assert_eq!([host.turn(), host.turn(), host.turn()], [None; 3]);
        assert_eq!(host.step(), Step::Answer);
        host.say(&reply[..begun]);
        host.read();
        // Before the client has processed the bytes, and after that.
        for _ in 0..2 {
            assert_eq!(
                host.client.exchange().chunk(5),
                Err(CommandError::MustReconnect),
                "{begun} bytes"
            );
            assert_eq!(
                host.client.exchange().finish(false),
                Err(CommandError::MustReconnect),
                "{begun} bytes"
            );
            assert_eq!(host.step(), Step::Read);
        }
        host.say(&reply[begun..]);
        assert_eq!(host.run(), Stop::InFlight);
        assert_eq!(host.told, [("a".into(), known(Call::Response, 413))]);
        assert_eq!(host.handed[1].0, "b");
        assert_eq!(host.service.connections.len(), 2);
    }
}

#[test]
fn a_stream_refused_in_the_middle_of_a_piece_is_over_though_the_piece_is_never_read() {
    let events = [("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))];
    for reads in SIZES {
        let mut host =
            Loop::new(slow(64, reads), &events, &[stream(&[&[b'x'; 5000]], true), Plan::Hold]);
        let bytes = refusal(410);
        host.service.interjections.push_back(Interjection { at: 1000, bytes, then: After::Block });
        assert_eq!(host.run(), Stop::InFlight, "reads of {reads}");
        assert_eq!(host.told, [("a".into(), known(Call::Response, 410))]);
        assert_eq!(host.handed[1].0, "b");
    }
}

#[test]
fn an_interim_reply_changes_nothing_wherever_it_comes() {
    let events = [("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))];
    let plans = || [stream(&[b"hello", &[b'x'; 50]], true), respond(&[b'y'; 30], true), Plan::Hold];
    let mut probe = Loop::new(ALL, &events, &plans());
    assert_eq!(probe.run(), Stop::Waiting);
    let sent = &probe.service.connections[0];
    let asked = whole(sent).unwrap().1;
    // Start at the first byte of the answer: before it, no reply is awaited.
    for at in asked + 1..sent.len() - asked {
        if sent[at..].starts_with(b"GET ") || sent[at..].starts_with(b"POST ") {
            continue; // every request has had its reply, so none is awaited
        }
        for (writes, reads) in [(1, 1), (1, 4), (usize::MAX, 3), (usize::MAX, usize::MAX)] {
            let pace = Pace { writes, reads, blocks: 0, early: Early::BetweenSteps };
            let mut host = Loop::new(pace, &events, &plans());
            let bytes = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            host.service.interjections.push_back(Interjection { at, bytes, then: After::GoOn });
            assert_eq!(host.run(), Stop::Waiting, "at {at}");
            assert!(host.service.connections == probe.service.connections, "at {at}");
            assert!(host.warnings.is_empty(), "at {at}: {:?}", host.warnings);
        }
    }
}

#[test]
fn a_pipelined_answer_is_settled_once_written_and_its_body_is_no_longer_needed() {
    for plan in [respond(b"x", true), stream(&[b"x", b"y"], true)] {
        let mut host = in_flight(slow(3, 2), &[("a", event("a", b"1", 0))]);
        host.pace.early = Early::Never;
        host.answer(&plan);
        while host.told.is_empty() {
            assert_eq!(host.turn(), None);
        }
        assert_eq!(host.told, [("a".into(), Receipt::Pipelined)]);
        assert_eq!(host.run(), Stop::Waiting);
        assert_eq!((host.service.requests.len(), host.told.len()), (3, 1));
    }
}

#[test]
fn an_event_that_is_taken_out_keeps_its_memory_while_the_client_uses_other_memory() {
    let mut host =
        in_flight(slow(9, 5), &[("a", event("a", b"first", 2)), ("b", event("b", b"second", 0))]);
    let held = host.client.take_event(Memory::new(1 << 20)).unwrap();
    assert_eq!(host.client.machine().phase(), Phase::Invoking);
    host.answer(&respond(held.invocation().body(), true));
    assert_eq!(host.run(), Stop::InFlight);
    let invocation = host.client.invocation().unwrap();
    let (head, body) = (*invocation, invocation.body());
    assert_eq!((head.request_id(), body), ("b", &b"second"[..]));
    assert_eq!((held.invocation().request_id(), held.invocation().body()), ("a", &b"first"[..]));
    // The memory of the first event can be used again.
    let second = host.client.take_event(held.into_storage()).unwrap();
    host.answer(&respond(second.invocation().body(), false));
    assert_eq!(host.run(), Stop::Waiting);
    assert_eq!(host.service.accepted[1].body, b"second");
    assert!(host.client.take_event(Memory::new(0)).is_none());
}

#[test]
fn an_event_that_was_taken_out_survives_a_reconnect() {
    for how in [How::Reset, How::Closed, How::Broken] {
        let mut host = in_flight(ALL, &[("a", event("a", b"first", 0))]);
        let held = host.client.take_event(Memory::new(1 << 20)).unwrap();
        host.cut(how);
        host.read();
        assert_eq!(host.step(), Step::Answer);
        host.answer(&respond(held.invocation().body(), false));
        assert_eq!(host.run(), Stop::Waiting);
        assert_eq!(host.service.accepted[0].body, b"first");
    }
}

#[test]
fn no_memory_is_held_while_a_slot_waits_even_after_a_large_event() {
    let large = vec![b'x'; 300_000];
    for reads in [5, 999, usize::MAX] {
        let pace = Pace { reads, ..ALL };
        let events = [("a", event("a", &large, 0)), ("b", event("b", b"2", 1))];
        let mut host = Loop::new(pace, &events, &[respond(b"x", false), Plan::Fail]);
        let mut most = 0;
        let stop = loop {
            let is_waiting = host.client.is_connected() && host.client.is_waiting();
            if is_waiting && host.step() == Step::Read && host.client.is_waiting() {
                assert_eq!(host.held.get(), 0, "memory is held while nothing has arrived");
            }
            if let Some(stop) = host.turn() {
                break stop;
            }
            most = most.max(host.held.get());
        };
        assert_eq!((stop, host.held.get()), (Stop::Waiting, 0));
        assert!(most > large.len() && host.releases.get() >= 3);
        assert!(host.handed[0].1 == large && host.handed[1].1 == b"2");
    }
}

#[test]
fn an_event_that_is_too_large_is_reported_and_the_next_one_served() {
    for pace in [ALL, slow(7, 3), slow(64, 997)] {
        for chunk in [0, 100] {
            let events =
                [("a", event("a", &[b'x'; 5000], chunk)), ("b", event("b", &[b'y'; 1000], chunk))];
            for by_memory in [false, true] {
                let mut host = Loop::new(pace, &events, &[respond(b"fine", true)]);
                host.client = if by_memory {
                    client_of(3000, 2000)
                } else {
                    client_of(1 << 20, 1 << 20).with_max_event(1000)
                };
                assert_eq!(host.run(), Stop::Waiting);
                assert_eq!(host.handed, [("b".into(), vec![b'y'; 1000])]);
                let call = |at: usize| host.service.accepted[at].call.as_str();
                assert_eq!([call(0), call(1)], ["error", "response"]);
                assert_eq!(host.warnings, ["invocation a: the event does not fit the buffer"]);
                assert_eq!(host.told.len(), 1);
            }
        }
    }
}

#[test]
fn the_end_is_the_last_reply_of_the_service_and_every_further_step_returns_it() {
    for pace in [ALL, slow(1, 1)] {
        // A 500, to `next` and to an answer.
        let mut host = Loop::new(pace, &[("", refusal(500))], &[]);
        assert_eq!(host.run(), Stop::Ended(End::Service(Outcome::new(Call::Next, 500))));
        for plan in [respond(b"x", false), stream(&[b"x"], false), Plan::Fail] {
            let mut host =
                Loop::new(pace, &[("a", event("a", b"1", 0))], std::slice::from_ref(&plan));
            host.service.refuses = Some(("a".into(), refusal(500)));
            let call = if plan == Plan::Fail { Call::Error } else { Call::Response };
            assert_eq!(host.run(), Stop::Ended(End::Service(Outcome::new(call, 500))));
            assert_eq!(host.told, [("a".into(), known(call, 500))]);
        }
        // A pipelined answer has been settled before, or is settled now.
        let mut host = Loop::new(pace, &[("a", event("a", b"1", 0))], &[respond(b"x", true)]);
        host.service.refuses = Some(("a".into(), refusal(500)));
        assert!(matches!(host.run(), Stop::Ended(End::Service(_))));
        assert_eq!(host.told.len(), 1);

        for nonsense in [&b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..], b"HTTP/1.1 101 No\r\n\r\n"] {
            let mut host = Loop::new(pace, &[("", nonsense.to_vec())], &[]);
            assert!(matches!(host.run(), Stop::Ended(End::Protocol(_))));
            let mut host = Loop::new(pace, &[("a", event("a", b"1", 0))], &[respond(b"x", false)]);
            host.service.refuses = Some(("a".into(), nonsense.to_vec()));
            assert!(matches!(host.run(), Stop::Ended(End::Protocol(_))));
            assert_eq!(host.told, [("a".into(), Receipt::FateUnknown)]);
        }

        let mut host = Loop::new(pace, &[("a", event("a", b"1", 0))], &[]);
        host.client = client_of(40, 2000);
        assert_eq!(host.run(), Stop::Ended(End::NoRoom));
        assert_eq!(host.client.end(), Some(End::NoRoom));
    }
}

#[test]
fn an_end_stops_all_slots_unless_it_is_an_invalid_reply_to_one_of_several() {
    use lambda_proto::machine::ReceiveError::Unsolicited;
    let outcome = Outcome::new(Call::Next, 500);
    let too_soon = CommandError::MustReconnect;
    let ends = [End::Done, End::Service(outcome), End::Command(too_soon), End::NoRoom];
    for concurrency in [Concurrency::Single, Concurrency::Multi] {
        assert!(ends.iter().all(|end| !end.begins_anew(concurrency)));
    }
    let nonsense = End::Protocol(Unsolicited);
    assert!(!nonsense.begins_anew(Concurrency::Single));
    assert!(nonsense.begins_anew(Concurrency::Multi));
}

#[test]
fn the_report_of_a_failed_start_is_settled_once_and_ends_the_slot() {
    for status in [202, 403, 500] {
        let mut host = Loop::new(slow(5, 2), &[], &[]);
        host.handed.push((String::new(), Vec::new()));
        if status != 202 {
            host.service.refuses = Some((String::new(), refusal(status)));
        }
        host.client.fail_init(&REPORT).unwrap();
        assert!(matches!(host.client.fail_init(&REPORT), Err(CommandError::WrongPhase(_))));
        let mut told = Vec::new();
        loop {
            match host.step() {
                Step::Settled(answer) => told.push(answer),
                Step::End(end) => break assert_eq!(end, End::Done),
                _ => assert_eq!(host.turn(), None),
            }
        }
        assert_eq!(told, [known(Call::InitError, status)]);
        assert_eq!(host.service.requests[0].call, "init/error");
    }
}

#[test]
fn a_slot_that_is_shut_down_settles_its_unsent_answer_and_ends() {
    for turns in 0..6 {
        let mut host = in_flight(slow(100, 9), &[("a", event("a", b"1", 0))]);
        host.answer(&respond(&[b'x'; 100], false));
        (0..turns).for_each(|_| assert_eq!(host.turn(), None));
        host.client.exchange().shut_down();
        assert!(!host.client.is_connected());
        assert_eq!(host.run(), Stop::Ended(End::Done));
        assert_eq!(host.told.len(), 1, "after {turns} turns");
    }
    let mut idle = client_of(0, 0);
    idle.exchange().shut_down();
    assert_eq!(idle.exchange().step(|warning| panic!("{warning}")), Step::End(End::Done));
}

#[test]
fn a_pause_doubles_within_bounds_and_is_never_less_than_half() {
    assert_eq!(backoff(0, u32::MAX), Duration::ZERO);
    for failed in 1..=u32::from(u8::MAX) {
        let most = Duration::from_millis(50 << (failed - 1).min(6));
        assert_eq!((backoff(failed, 0), backoff(failed, u32::MAX)), (most / 2, most));
        let random = [1, 7, u32::MAX / 2, u32::MAX - 1].map(|random| backoff(failed, random));
        assert!(random.is_sorted() && random[0] >= most / 2 && random[3] <= most);
    }
    assert_eq!(backoff(u32::MAX, u32::MAX), backoff(7, u32::MAX));
}

#[test]
fn asking_before_the_answer_is_settled_is_refused_and_changes_nothing() {
    for sent in [0, 10, usize::MAX] {
        let mut host = in_flight(ALL, &[("a", event("a", b"1", 0))]);
        host.client.exchange().respond(None, 3, false).unwrap();
        host.client.exchange().sent(sent);
        let unsent = host.client.exchange().unsent(b"one").concat();
        let refused = Err(CommandError::WrongPhase(Phase::Reporting));
        assert_eq!(host.client.ask(), refused);
        assert_eq!(host.client.exchange().unsent(b"one").concat(), unsent);
        assert_eq!(host.client.invocation().unwrap().body(), b"1");
    }
}
