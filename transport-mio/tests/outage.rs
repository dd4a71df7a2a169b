//! A service that is unreachable for a time.

mod support;

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{Invocation, Key, Receipt, Responder};
use lambda_proto_service::{
    Connection, Event as Incoming, Gate, MOMENT, PATIENCE, Place, Service, TAKEN,
};
use support::{Door, Host, Turner, run, runtime};

const MANY: usize = 64;

#[test]
fn all_slots_find_a_service_that_starts_later() {
    let place = Place::deserted();
    let host = Host::start(runtime(&place, MANY));
    place.lines().wait_for("no connection to the Runtime API");
    thread::sleep(MOMENT);
    let service = Service::start_on(&place);
    let _connections = service.open_slots(MANY);
    service.expect_no_connection();
    let lines = place.lines().all();
    assert_eq!(lines.len(), 2, "once for all slots: {lines:?}");
    assert!(lines[1].contains("connected"), "{lines:?}");
    host.stop();
}

#[test]
fn an_outage_of_seconds_costs_little_processor_time_and_loses_no_answer() {
    const IN_HAND: usize = 5;
    let place = Place::deserted();
    let door = Door::open_on(&place);
    let host = Host::start(runtime(&place, MANY));
    let mut peers = door.open_slots(MANY);
    for (number, peer) in peers.iter_mut().take(IN_HAND).enumerate() {
        peer.send(Incoming::new(&format!("id-{number}"), format!("{number}")).bytes());
    }
    let mut all = host.invocations(IN_HAND);
    thread::sleep(MOMENT);
    let (cpu, turns) = (host.cpu(), host.turns());
    drop((door, peers));
    // Every slot has lost its connection and tries once; then one slot tries for all.
    thread::sleep(Duration::from_millis(500));
    let later = host.cpu();
    let answer = |(invocation, responder): (Invocation, Responder)| {
        let key = responder.key();
        responder.send(invocation.body());
        key
    };
    let mut keys: Vec<_> = all.drain(..2).map(answer).collect();
    thread::sleep(Duration::from_secs(3));
    let (first, then) = (later - cpu, host.cpu() - later);
    let turns = host.turns() - turns;
    assert!(first < Duration::from_millis(30), "{first:?} to find out, for {MANY} slots");
    assert!(then < Duration::from_millis(10), "{then:?} to wait");
    assert!(turns < 3 * MANY + 30, "{turns} turns in {first:?} and {then:?}");

    let service = Service::start_on(&place);
    let mut answers = Vec::new();
    let mut connections: Vec<_> = (0..MANY - IN_HAND + 2).map(|_| service.connection()).collect();
    for connection in &mut connections {
        take_answer_or_next(connection, &mut answers);
    }
    service.expect_no_connection();
    keys.extend(all.into_iter().map(answer));
    for _ in 2..IN_HAND {
        connections.push(service.connection());
        take_answer_or_next(connections.last_mut().unwrap(), &mut answers);
    }
    answers.sort();
    assert_eq!(answers, ["0", "1", "2", "3", "4"]);
    let mut told: Vec<_> = (0..IN_HAND).map(|_| known(host.answered())).collect();
    told.sort_by_key(Key::slot);
    keys.sort_by_key(Key::slot);
    assert_eq!(told, keys);
    host.stop();
}

/// Takes the first request on a connection; if it is an answer, `next` follows.
#[track_caller]
fn take_answer_or_next(connection: &mut Connection, answers: &mut Vec<String>) {
    let request = connection.request();
    if !request.is_next() {
        let body = String::from_utf8(request.body.clone()).unwrap();
        request.assert_response(&format!("id-{body}"));
        answers.push(body);
        connection.take_answer();
        connection.expect_next();
    }
}

#[track_caller]
fn known((key, answer): (Key, Receipt)) -> Key {
    assert!(matches!(answer, Receipt::Known(_)), "{answer:?}");
    key
}

#[test]
fn answers_given_in_an_outage_wait_for_the_slot_that_tries_to_reach_the_service() {
    let place = Place::deserted();
    let door = Door::open_on(&place);
    let mut turner = Turner::new(runtime(&place, 9));
    turner.until(|slots| slots.next_timeout().is_none());
    let mut peers = door.open_slots(9);
    for peer in &mut peers[1..] {
        peer.send(Incoming::new("id", "").bytes());
    }
    let all: Vec<_> = (0..8).map(|_| turner.invocation()).collect();
    drop((door, peers));
    let in_a_pause = |at: Instant| {
        let left = at.saturating_duration_since(Instant::now());
        (Duration::from_millis(250)..Duration::from_millis(1000)).contains(&left)
    };
    turner.until(|slots| slots.next_timeout().is_some_and(in_a_pause));
    let due = turner.slots.next_timeout();
    all.into_iter().for_each(|(_, responder)| {
        responder.send("");
    });
    assert!(turner.slots.next_event(Instant::now()).is_none());
    // The only event is that of the waker: none of the slots tries to connect.
    let events: usize = (0..5).map(|_| turner.turn(Duration::from_millis(10))).sum();
    assert!(events <= 1, "{events} events");
    assert_eq!(turner.slots.next_timeout(), due);
    let door = Door::open_on(&place);
    turner.until(|slots| slots.next_timeout().is_none());
    for _ in 0..9 {
        let mut peer = door.accept();
        let _answer_or_next = peer.request();
    }
}

#[test]
fn a_service_that_comes_and_goes_is_found_each_time() {
    let place = Place::deserted();
    let host = Host::start(runtime(&place, 16));
    for _ in 0..3 {
        let door = Door::open_on(&place);
        let mut peers = door.open_slots(16);
        peers[7].send(Incoming::new("id-1", "").bytes());
        let (_, responder) = host.invocation();
        responder.send("");
        peers[7].request().assert_response("id-1");
        peers[7].send(TAKEN);
        known(host.answered());
        peers[7].expect_next();
        drop((door, peers));
        thread::sleep(Duration::from_millis(150));
    }
    host.stop();
}

#[test]
fn a_runtime_that_finds_no_service_for_too_long_gives_up_once_for_all_slots() {
    let place = Place::deserted();
    let patience = Duration::from_millis(700);
    let began = Instant::now();
    let host = Host::start(runtime(&place, MANY).give_up_after(patience));
    let error = host.end().unwrap_err().to_string();
    let took = began.elapsed();
    assert!(took >= patience && took < patience + PATIENCE, "{took:?}");
    assert!(error.contains("giving up") && error.contains(place.address()), "{error}");
}

#[test]
fn a_runtime_gives_up_only_when_no_slot_has_a_connection() {
    let place = Place::deserted();
    let door = Door::open_on(&place);
    let host = Host::start(runtime(&place, 2).give_up_after(Duration::from_millis(200)));
    let mut peers = door.open_slots(2);
    // No new connection can be made, but one of the slots still has one.
    drop((door, peers.pop()));
    thread::sleep(Duration::from_millis(800));
    host.expect_nothing();
    peers[0].send(Incoming::new("id-1", "").bytes());
    host.invocation().1.send("");
    peers[0].request().assert_response("id-1");
    peers[0].send(TAKEN);
    known(host.answered());
    drop(peers);
    assert!(host.end().unwrap_err().to_string().contains("giving up"));
}

#[test]
fn time_that_a_handler_takes_in_the_loop_does_not_count_as_an_outage() {
    let place = Place::deserted();
    let door = Door::open_on(&place);
    let (has_begun, may_end) = (Gate::default(), Gate::default());
    let (begins, ends) = (has_begun.clone(), may_end.clone());
    let patience = Duration::from_secs(2);
    let runtime = runtime(&place, 1).give_up_after(patience);
    let stop = runtime.stop_handle();
    let run = lambda_proto_service::Running::new(
        place.lines(),
        move || stop.stop(),
        move || {
            runtime.run(move |_, responder| {
                begins.open();
                ends.wait();
                Ok(responder.send("at last"))
            })
        },
    );
    let mut peer = door.accept();
    // Its `next` stays unread, so that the connection is reset when it is closed.
    peer.send(Incoming::new("id-1", "").bytes());
    has_begun.wait();
    drop((door, peer));
    // The handler takes longer than the runtime would try to reach the service.
    thread::sleep(patience + MOMENT);
    may_end.open();
    // The service is unreachable only for a moment.
    place.lines().wait_for("no connection");
    let service = Service::start_on(&place);
    let mut connection = service.connection();
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn a_connection_that_is_reset_concerns_only_its_slot() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 4));
    let mut connections: Vec<_> = (0..4).map(|_| service.connection()).collect();
    let idle = connections.pop().unwrap();
    connections.iter_mut().for_each(|connection| drop(connection.expect_next()));
    connections[0].send(Incoming::new("id-0", "").bytes());
    let (_, in_flight) = host.invocation();
    connections[1].send(Incoming::new("id-1", "").bytes());
    let answered = host.invocation().1;
    let key = answered.key();
    answered.send("");
    connections[1].request();

    idle.reset_behind_request();
    let mut again = service.connection();
    again.expect_next();
    service.expect_no_connection();
    host.expect_nothing();

    in_flight.send("in flight");
    assert_eq!(connections[0].request().body, b"in flight");
    connections[0].take_answer();
    known(host.answered());
    connections[1].take_answer();
    assert_eq!(host.status(key), 202);
    connections[2].expect_silence();
    for connection in [&mut connections[2], &mut again] {
        connection.send(Incoming::new("id-2", "").bytes());
        host.invocation().1.send("");
        connection.request().assert_response("id-2");
        connection.take_answer();
        known(host.answered());
    }
    host.stop();
}

/// Takes this many connections and closes each after its `next`; says when each came.
fn hang_up_on(door: &Door, count: usize) -> Vec<Duration> {
    let began = Instant::now();
    let hang_up = |_| {
        let mut peer = door.accept();
        let came = began.elapsed();
        peer.expect_next();
        came
    };
    (0..count).map(hang_up).collect()
}

#[test]
fn a_service_that_closes_each_connection_is_asked_with_growing_pauses() {
    let door = Door::open();
    let place = door.place();
    let host = Host::start(runtime(&place, 1));
    // At once, at once again, then with pauses of 25, 50, 100, 200 and 400 ms at least.
    let came = hang_up_on(&door, 7);
    for (number, pair) in came.windows(2).enumerate().skip(1) {
        let least = Duration::from_millis(25 << (number - 1));
        assert!(pair[1] - pair[0] >= least - Duration::from_millis(5), "{came:?}");
    }
    assert!(host.turns() < 6 * came.len() + 6, "{} turns", host.turns());
    host.stop();
}

#[test]
fn slots_whose_connections_are_closed_do_not_return_in_step() {
    const SLOTS: usize = 16;
    let door = Door::open();
    let place = door.place();
    let host = Host::start(runtime(&place, SLOTS));
    let came = hang_up_on(&door, 6 * SLOTS);
    // The fifth time for each lies behind pauses of 25, 50 and 100 ms at least and twice that at most.
    let fifth = &came[4 * SLOTS..5 * SLOTS];
    assert!(fifth[SLOTS - 1] - fifth[0] > Duration::from_millis(20), "{fifth:?}");
    assert!(host.turns() < 6 * came.len(), "{} turns", host.turns());
    let is_about_it = |line: &&String| line.contains("keeps closing the connection");
    let lines = place.lines().all();
    assert_eq!(lines.iter().filter(is_about_it).count(), 1, "{lines:?}");
    host.stop();
}

#[test]
fn runtimes_that_try_to_reach_the_service_do_not_try_in_step() {
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let mut turner = Turner::new(runtime(&Place::deserted(), 3));
        let now = Instant::now();
        let is_soon = |at| at < now + Duration::from_secs(1);
        turner.until(|slots| slots.next_timeout().is_some_and(is_soon));
        pauses.push(turner.slots.next_timeout().unwrap().saturating_duration_since(now));
    }
    let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
    assert!(*most - *least > Duration::from_millis(3), "{pauses:?}");
}

#[test]
fn an_attempt_to_connect_without_a_reply_times_out_and_another_follows() {
    // A listener whose queue is full drops new connections.
    let door = Door::open();
    let place = door.place();
    let address = place.address().parse().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
        assert!(queue.len() < 10_000);
    }
    let began = Instant::now();
    let mut turner = Turner::new(runtime(&place, 2));
    turner.until(|_| place.lines().all().iter().any(|line| line.contains("timed out")));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    // There is room now.
    let queued = queue.len();
    let taken: Vec<_> = (0..queued).map(|_| door.accept()).collect();
    drop((taken, queue));
    turner.until(|slots| slots.next_timeout().is_none());
    // Attempts that were given up may still have got into the queue.
    let until = Instant::now() + PATIENCE;
    let mut asked = 0;
    let mut kept = Vec::new();
    while asked < 2 {
        assert!(Instant::now() < until);
        let mut peer = door.accept();
        asked += usize::from(peer.try_next());
        kept.push(peer);
    }
}

#[test]
fn a_handler_in_the_loop_outlives_the_connection() {
    let door = Door::open();
    let gate = Gate::default();
    let waits = gate.clone();
    let run = run(&door.place(), 2, move |invocation, responder| {
        if invocation.request_id() == "slow" {
            waits.wait();
        }
        Ok(responder.send(invocation.body()))
    });
    let mut peers = door.open_slots(2);
    // With an attempt id, so that the service can recognise a second copy of the answer.
    let event = Incoming::new("slow", "slow").header("Lambda-Runtime-Invocation-Id", "attempt");
    peers[0].send(event.bytes());
    thread::sleep(MOMENT);
    drop(peers);
    gate.open();
    let mut requests: Vec<_> =
        (0..2).map(|_| door.accept()).map(|mut p| (p.request(), p)).collect();
    requests.sort_by_key(|(request, _)| request.is_next());
    requests[0].0.assert_response("slow");
    assert!(requests[1].0.is_next());
    requests[0].1.send(TAKEN);
    requests[0].1.expect_next();
    run.stop();
}
