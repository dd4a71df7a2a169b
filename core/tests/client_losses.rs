//! What a client does when connections are lost: at every byte, and at random.

mod event_loop;

use std::collections::HashMap;

use event_loop::{
    ACCEPTED, ALL, After, Cut, Early, How, Interjection, Loop, Pace, Plan, REPORT, Stop, event,
    named, refusal, whole,
};
use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::client::{Client, End, Receipt, Step};
use lambda_proto::machine::Machine;
use proptest::prelude::*;

const HOWS: [How; 3] = [How::Reset, How::Closed, How::Broken];
const UNKNOWN: &str = "whether the answer arrived is unknown";

/// All copies of an answer are the same, as far as each was sent.
fn assert_one_answer_each(host: &Loop) {
    let mut answers: HashMap<String, &[u8]> = HashMap::new();
    for connection in &host.service.connections {
        let mut rest = &connection[..];
        while let Some((_, id)) = named(rest) {
            let length = whole(rest).map_or(rest.len(), |(_, length)| length);
            let (attempt, behind) = rest.split_at(length);
            rest = behind;
            if id.is_empty() {
                continue;
            }
            let first = answers.entry(id).or_insert(attempt);
            assert!(first.starts_with(attempt) || attempt.starts_with(first), "two answers");
        }
    }
}

/// Whatever happened, each invocation that was handed out was answered as planned, once.
fn assert_exactly_once(host: &Loop, answer_to: impl Fn(&str) -> Plan) {
    assert_one_answer_each(host);
    let handed: Vec<_> = host.handed.iter().map(|(id, _)| id).collect();
    let told: Vec<_> = host.told.iter().map(|(id, _)| id).collect();
    assert_eq!(handed, told, "one receipt for each invocation, in order");
    for (id, answer) in &host.told {
        let taken: Vec<_> =
            host.service.accepted.iter().filter(|answer| answer.id == *id).collect();
        assert!(taken.len() <= 1, "taken twice");
        let said = |what: &str| {
            host.warnings.iter().any(|warning| warning.contains(what) && warning.contains(id))
        };
        match answer {
            Receipt::Known(outcome) if outcome.is_accepted() => assert_eq!(taken.len(), 1, "{id}"),
            Receipt::Known(outcome) => assert!(said("was answered with"), "{id}: {outcome}"),
            Receipt::Pipelined => assert!(
                taken.len() == 1 || said(UNKNOWN) || said("was answered with"),
                "{id} is lost without a warning"
            ),
            Receipt::FateUnknown => assert!(said(UNKNOWN) || said("the session is over"), "{id}"),
        }
        let Some(taken) = taken.first() else { continue };
        let plan = answer_to(id);
        match plan {
            Plan::Respond(body, _) => assert_eq!((&*taken.call, &taken.body), ("response", &body)),
            Plan::Stream(pieces, _) => {
                assert_eq!((&taken.body, taken.failed), (&pieces.concat(), false));
            }
            Plan::StreamThenFail(pieces) if pieces.iter().all(Vec::is_empty) => {
                assert_eq!((&*taken.call, taken.failed), ("error", false));
            }
            Plan::StreamThenFail(pieces) => {
                assert_eq!((&taken.body, taken.failed), (&pieces.concat(), true));
            }
            Plan::Fail | Plan::GiveUp | Plan::Hold => assert_eq!(taken.call, "error"),
        }
    }
}

fn plans() -> [Plan; 8] {
    let pieces = || vec![b"hello".to_vec(), vec![b'x'; 20]];
    [
        Plan::Respond(vec![b'x'; 30], false),
        Plan::Respond(vec![b'x'; 30], true),
        Plan::Fail,
        Plan::Stream(pieces(), false),
        Plan::Stream(pieces(), true),
        Plan::StreamThenFail(pieces()),
        Plan::Stream(Vec::new(), true),
        Plan::StreamThenFail(Vec::new()),
    ]
}

#[test]
fn after_a_loss_at_any_byte_no_answer_counts_twice_and_none_is_lost_without_a_warning() {
    let events = ["a", "b", "c"].map(|id| (id, event(id, id.repeat(9).as_bytes(), 4)));
    let run = |plan: &Plan, (concurrency, early), cut| {
        let mut host = Loop::with_concurrency(
            concurrency,
            Pace { early, ..ALL },
            &events,
            std::slice::from_ref(plan),
        );
        host.cut = cut;
        assert_eq!(host.run(), Stop::Waiting, "{plan:?}, {cut:?}, {early:?}");
        assert!(host.turns < 200, "{plan:?}, {cut:?}: {} turns", host.turns);
        host
    };
    for plan in plans() {
        let probe = run(&plan, (Concurrency::Single, Early::Never), None);
        // Losses in the first two exchanges are enough; the third brings nothing new.
        let second = whole(&probe.service.connections[0]).unwrap().1;
        let sent = probe.service.connections[0].len() * 2 / 3 + second;
        let received = 2 * (events[0].1.len() + ACCEPTED.len());
        let hosts = [
            (Concurrency::Single, Early::Never),
            (Concurrency::Single, Early::BetweenSteps),
            (Concurrency::Multi, Early::Never),
        ];
        for (host, how) in hosts.iter().flat_map(|host| HOWS.map(|how| (*host, how))) {
            let cuts = (0..sent).map(|at| Cut::Sent(at, how));
            for cut in cuts.chain((0..received).map(|at| Cut::Received(at, how))) {
                let host = run(&plan, host, Some(cut));
                assert_exactly_once(&host, |_| plan.clone());
                // At most one event and one answer were on the lost connection.
                assert!(host.handed.len() >= 2, "{plan:?}, {cut:?}");
                for (id, body) in &host.handed {
                    assert_eq!(*body, id.repeat(9).as_bytes(), "{plan:?}, {cut:?}");
                }
            }
        }
    }
}

/// What is written on a first connection: the length of `next`, and of `next` and the answer.
fn lengths(plan: &Plan) -> (usize, usize) {
    let mut probe = Loop::new(ALL, &[("a", event("a", b"1", 0))], std::slice::from_ref(plan));
    assert_eq!(probe.run(), Stop::Waiting);
    let sent = &probe.service.connections[0];
    let next = whole(sent).unwrap().1;
    (next, next + whole(&sent[next..]).unwrap().1)
}

/// The fate of the first of two invocations, the requests of the second connection, and the
/// warnings.
fn fate(concurrency: Concurrency, plan: &Plan, cut: Cut) -> (Receipt, Vec<String>, Vec<String>) {
    let events = [("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))];
    let mut host = Loop::with_concurrency(concurrency, ALL, &events, std::slice::from_ref(plan));
    host.cut = Some(cut);
    assert_eq!(host.run(), Stop::Waiting);
    let mut rest = &host.service.connections[1][..];
    let mut requests = Vec::new();
    while let Some((request, length)) = whole(rest) {
        requests.push(request.call);
        rest = &rest[length..];
    }
    (host.told[0].1, requests, host.warnings)
}

#[test]
fn lost_connections_have_the_outcome_that_the_table_says() {
    use Concurrency::{Multi, Single};
    let plan = Plan::Respond(b"the answer".to_vec(), false);
    let (next, answer) = lengths(&plan);
    let event_length = event("a", b"1", 0).len();
    let is_taken = |answer| matches!(answer, Receipt::Known(outcome) if outcome.status() == 202);

    for how in HOWS {
        // Nothing outstanding: nothing is lost.
        let (told, requests, warnings) = fate(Single, &plan, Cut::Received(event_length, how));
        assert!(is_taken(told));
        assert_eq!((&*requests[0], warnings.len()), ("response", 1), "{how:?}");
        // A part sent: the answer is sent again, if the service recognises duplicates.
        let (told, requests, warnings) = fate(Single, &plan, Cut::Sent(next + 9, how));
        assert!(is_taken(told));
        assert_eq!((&*requests[0], warnings.len()), ("response", 1), "{how:?}");
        let (told, requests, _) = fate(Multi, &plan, Cut::Sent(next + 9, how));
        assert_eq!((told, &*requests[0]), (Receipt::FateUnknown, "next"), "{how:?}");
        // The status of the reply received, its rest missing.
        let at = event_length + ACCEPTED.len() - 3;
        let (told, requests, warnings) = fate(Multi, &plan, Cut::Received(at, how));
        assert!(is_taken(told));
        assert_eq!((&*requests[0], warnings.len()), ("next", 0), "{how:?}");
        // A part of the reply received, but not its status.
        let (told, requests, _) = fate(Single, &plan, Cut::Received(event_length + 5, how));
        assert_eq!((told, &*requests[0]), (Receipt::FateUnknown, "next"), "{how:?}");
        // A stream.
        let stream = Plan::Stream(vec![b"piece".to_vec()], false);
        for at in next + 1..lengths(&stream).1 {
            let (told, requests, _) = fate(Single, &stream, Cut::Sent(at, how));
            assert_eq!((told, &*requests[0]), (Receipt::FateUnknown, "next"), "{how:?} at {at}");
        }
    }
    // All sent, no byte of the reply received: the second copy is refused, as the first one was
    // accepted.
    for how in [How::Reset, How::Closed] {
        let (told, requests, warnings) = fate(Single, &plan, Cut::Sent(answer, how));
        assert!(matches!(told, Receipt::Known(outcome) if outcome.status() == 403));
        assert_eq!((&*requests[0], warnings.len()), ("response", 1), "{warnings:?}");
        let pipelined = Plan::Respond(b"the answer".to_vec(), true);
        let (told, requests, warnings) = fate(Single, &pipelined, Cut::Sent(answer + next, how));
        assert_eq!((told, &*requests[0]), (Receipt::Pipelined, "next"));
        assert!(warnings[0].contains(UNKNOWN), "{warnings:?}");
    }
}

#[test]
fn an_event_that_is_cut_after_its_head_is_reported_and_never_handed_out() {
    let cut = event("a", b"0123456789", 0);
    for how in HOWS {
        for at in cut.len() - 10..cut.len() {
            let events = [("a", cut.clone()), ("b", event("b", b"2", 0))];
            let mut host = Loop::new(ALL, &events, &[Plan::Fail]);
            host.cut = Some(Cut::Received(at, how));
            assert_eq!(host.run(), Stop::Waiting);
            assert_eq!(host.handed.len(), 1);
            assert_eq!(host.service.accepted[0].id, "a");
            let report = String::from_utf8_lossy(&host.service.accepted[0].body).into_owned();
            assert!(report.contains("Runtime.EventTruncated"), "{report}");
        }
    }
}

#[test]
fn an_event_to_the_end_of_the_stream_is_whole_if_the_stream_ends_and_cut_if_it_breaks() {
    let to_end = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\n\r\nhello".to_vec();
    for how in HOWS {
        let mut host = Loop::new(ALL, &[("a", to_end.clone())], &[Plan::Fail]);
        host.cut = Some(Cut::Received(to_end.len(), how));
        assert_eq!(host.run(), Stop::Waiting);
        let report = String::from_utf8_lossy(&host.service.accepted[0].body).into_owned();
        if how == How::Reset {
            assert!(
                host.handed.is_empty() && report.contains("Runtime.EventTruncated"),
                "{report}"
            );
        } else {
            assert_eq!(host.handed, [("a".into(), b"hello".to_vec())]);
            assert!(report.contains("Function.Broken"), "{report}");
        }
    }
}

#[test]
fn an_invocation_in_flight_survives_any_number_of_lost_connections() {
    for (is_noise, how) in [false, true].into_iter().flat_map(|is| HOWS.map(|how| (is, how))) {
        let mut host = Loop::new(ALL, &[("a", event("a", b"1", 0))], &[Plan::Hold]);
        assert_eq!(host.run(), Stop::InFlight);
        if is_noise {
            host.say(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
        } else {
            host.cut(how);
        }
        host.read();
        assert_eq!(host.run(), Stop::InFlight);
        assert!(!host.client.is_connected());
        assert_eq!(host.client.invocation().unwrap().body(), b"1");
        host.answer(&Plan::Respond(b"x".to_vec(), false));
        for lost in 1..5 {
            let Step::Connect { losses } = host.step() else {
                panic!("the client asks for no connection")
            };
            // A connection given up because of unsolicited bytes does not count as a loss.
            assert_eq!(losses, lost - u32::from(is_noise));
            host.client.exchange().lost(); // the attempt to connect failed
        }
        assert_eq!(host.run(), Stop::Waiting);
        assert!(matches!(host.told[0].1, Receipt::Known(outcome) if outcome.is_accepted()));
        assert_eq!(host.service.requests.iter().filter(|request| request.id == "a").count(), 1);
    }
}

#[test]
fn a_close_or_unsolicited_bytes_while_the_slot_is_idle_cost_only_the_connection() {
    for noise in [&b""[..], b"x", b"HTTP/1.1 408 Request Timeout\r\n\r\n", ACCEPTED] {
        for how in [None, Some(How::Reset), Some(How::Closed), Some(How::Broken)] {
            let events = [("a", event("a", b"1", 0)), ("b", event("b", b"2", 0))];
            let mut host = Loop::new(ALL, &events, &[Plan::Hold]);
            assert_eq!(host.run(), Stop::InFlight);
            host.answer(&Plan::Fail);
            host.stops = true;
            assert_eq!(host.run(), Stop::Idle);
            host.say(noise);
            if let Some(how) = how {
                host.cut(how);
            }
            let is_lost = host.is_readable();
            while host.is_readable() {
                host.read();
                assert_eq!(host.run(), Stop::Idle);
            }
            host.stops = false;
            assert_eq!(host.run(), Stop::InFlight);
            assert_eq!(host.losses.len(), 1 + usize::from(is_lost), "{noise:?}, {how:?}");
            assert_eq!(host.handed.len(), 2);
        }
    }
}

#[test]
fn losses_grow_while_the_service_closes_each_connection_immediately() {
    let mut host = Loop::new(ALL, &[], &[]);
    for expected in 0..20 {
        loop {
            match host.step() {
                Step::Idle => host.client.ask().unwrap(),
                Step::Connect { losses } => break assert_eq!(losses, expected),
                step => panic!("{step:?}"),
            }
        }
        host.client.exchange().connected();
        match expected % 4 {
            0 => host.client.exchange().lost(),
            1 => host.client.exchange().received(0),
            2 => host.client.exchange().write_failed(),
            _ => {
                let all = host.client.machine().unsent_len();
                host.client.exchange().sent(all);
                assert_eq!(host.step(), Step::Read);
                host.client.exchange().received(0);
            }
        }
    }
}

#[test]
fn an_attempt_to_connect_that_fails_changes_nothing() {
    let mut host = Loop::new(ALL, &[("a", event("a", b"1", 0))], &[Plan::Fail]);
    host.client.ask().unwrap();
    for losses in [0, 1, 2] {
        // Before each further step, one more attempt has failed.
        for _ in 0..3 {
            assert_eq!(host.step(), Step::Connect { losses });
        }
        host.client.exchange().connected();
        host.client.exchange().lost();
        assert_eq!(host.step(), Step::Idle);
        host.client.ask().unwrap();
    }
    assert_eq!(host.run(), Stop::Waiting);
    assert_eq!(host.service.accepted.len(), 1);
}

#[test]
fn a_report_of_a_failed_start_that_is_cut_off_has_an_unknown_fate_and_ends_the_client() {
    let endpoint = Endpoint::parse("127.0.0.1:9001").unwrap();
    for sent in [0, 1, 100, usize::MAX] {
        let memory = || event_loop::Memory::new(4096);
        let mut client = Client::new(Machine::new(endpoint.clone()), memory(), memory());
        client.fail_init(&REPORT).unwrap();
        assert_eq!(client.exchange().step(|_| {}), Step::Connect { losses: 0 });
        client.exchange().connected();
        let length = sent.min(client.machine().unsent_len());
        client.exchange().sent(length);
        client.exchange().lost();
        if sent == 0 {
            assert_eq!(client.exchange().step(|_| {}), Step::Connect { losses: 1 });
            continue;
        }
        assert_eq!(client.exchange().step(|_| {}), Step::Settled(Receipt::FateUnknown));
        assert_eq!(client.exchange().step(|_| {}), Step::End(End::Done));
    }
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let size = prop_oneof![Just(0), 1..40usize, 600..3000usize];
    let body = (size, any::<u8>()).prop_map(|(size, byte)| vec![byte; size]);
    let pieces = prop::collection::vec(body.clone(), 0..5);
    prop_oneof![
        3 => (body, any::<bool>()).prop_map(|(body, pipelined)| Plan::Respond(body, pipelined)),
        1 => Just(Plan::Fail),
        1 => Just(Plan::GiveUp),
        2 => (pieces.clone(), any::<bool>()).prop_map(|(pieces, pipelined)| Plan::Stream(pieces, pipelined)),
        1 => pieces.prop_map(Plan::StreamThenFail),
    ]
}

fn any_pace() -> impl Strategy<Value = Pace> {
    let size = || prop_oneof![1..10usize, 10..3000usize, Just(usize::MAX)];
    // At least one operation in 64 does not block, so that every run ends.
    let blocks = prop_oneof![Just(0), any::<u64>().prop_map(|bits| bits & !1)];
    let early = prop_oneof![Just(Early::Never), Just(Early::BetweenSteps)];
    (size(), size(), blocks, early).prop_map(|(writes, reads, blocks, early)| Pace {
        writes,
        reads,
        blocks,
        early,
    })
}

fn any_cut() -> impl Strategy<Value = Option<Cut>> {
    let how = prop::sample::select(&HOWS[..]);
    let at = prop_oneof![0..300usize, 300..5000usize];
    prop_oneof![
        1 => Just(None),
        3 => (at.clone(), how.clone()).prop_map(|(at, how)| Some(Cut::Sent(at, how))),
        3 => (at, how).prop_map(|(at, how)| Some(Cut::Received(at, how))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    // The service does not refuse with 400 or 403: as replies to a second copy, these mean that the
    // first copy was accepted.
    fn whatever_happens_each_invocation_is_answered_once_or_its_fate_is_reported(
        plans in prop::collection::vec(any_plan(), 8),
        sizes in prop::collection::vec((0..4000usize, 0..900usize), 8),
        pace in any_pace(),
        cut in any_cut(),
        refused in prop::option::of((0..8usize, prop::sample::select(vec![404, 410, 413, 503]))),
        interim in prop::option::of(1..3000usize),
        is_multi in any::<bool>(),
        takes_events in any::<bool>(),
    ) {
        let ids: Vec<String> = (0..8).map(|at| format!("id-{at}")).collect();
        let bodies: Vec<Vec<u8>> = sizes.iter().map(|(size, _)| vec![b'e'; *size]).collect();
        let events: Vec<_> = (0..8)
            .map(|at| (&*ids[at], event(&ids[at], &bodies[at], sizes[at].1)))
            .collect();
        let concurrency = if is_multi { Concurrency::Multi } else { Concurrency::Single };
        let mut host = Loop::with_concurrency(concurrency, pace, &events, &[]);
        host.takes_events = takes_events;
        host.cut = cut;
        host.service.refuses = refused.map(|(at, status)| (ids[at].clone(), refusal(status)));
        if let Some(at) = interim {
            // If no reply is awaited, these bytes are unsolicited.
            let bytes = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            host.service.interjections.push_back(Interjection { at, bytes, then: After::GoOn });
        }
        let answer_to = |id: &str| plans[id[3..].parse::<usize>().unwrap()].clone();
        let stop = loop {
            match host.turn() {
                None => {}
                Some(Stop::InFlight) => {
                    let plan = answer_to(&host.handed.last().unwrap().0);
                    host.answer(&plan);
                }
                Some(stop) => break stop,
            }
        };
        prop_assert_eq!(stop, Stop::Waiting);
        assert_exactly_once(&host, answer_to);
        for (id, body) in &host.handed {
            prop_assert!(*body == bodies[id[3..].parse::<usize>().unwrap()], "{}", id);
        }
        if cut.is_none() && interim.is_none() {
            prop_assert_eq!((host.handed.len(), host.losses.len()), (8, 1));
        }
    }
}
