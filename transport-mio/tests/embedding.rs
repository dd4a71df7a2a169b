//! The slots in the loop of a host program.

mod support;

use std::net::{SocketAddr, UdpSocket as Datagrams};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{Event, Responder, Slots};
use lambda_proto_service::{Event as Incoming, MOMENT, PATIENCE, Place, Service};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use support::{Host, Turner, runtime};

/// A socket of the host, in its loop.
fn own_socket(poll: &Poll, token: Token) -> UdpSocket {
    let mut socket = UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
    poll.registry().register(&mut socket, token, Interest::READABLE).unwrap();
    socket
}

fn send_datagram(to: SocketAddr) {
    Datagrams::bind(("127.0.0.1", 0)).unwrap().send_to(b"x", to).unwrap();
}

/// Turns until the slots pause because the service is absent; an attempt may take longer than the
/// first pause.
fn pausing(turner: &mut Turner) {
    let is_soon = |at| at < Instant::now() + Duration::from_secs(1);
    turner.until(|slots| slots.next_timeout().is_some_and(is_soon));
}

/// Polls until the deadline and returns the tokens that do not belong to the slots.
fn turn(poll: &mut Poll, all: &mut [&mut Slots], until: Instant) -> Vec<Token> {
    let due = all.iter().filter_map(|slots| slots.next_timeout()).min();
    let until = due.map_or(until, |at| at.min(until));
    let mut events = Events::with_capacity(64);
    poll.poll(&mut events, Some(until.saturating_duration_since(Instant::now()))).unwrap();
    let now = Instant::now();
    let mut others = Vec::new();
    for event in &events {
        let takers = all.iter_mut().map(|slots| slots.handle_event(event, now));
        match takers.filter(|is_taken| *is_taken).count() {
            0 => others.push(event.token()),
            takers => assert_eq!(takers, 1, "{event:?} has one owner"),
        }
    }
    all.iter_mut().for_each(|slots| slots.handle_timeout(now));
    others
}

#[test]
fn the_slots_share_a_loop_with_a_socket_and_a_timer_of_the_host() {
    const ROUNDS: usize = 5;
    let service = Service::start();
    let mut poll = Poll::new().unwrap();
    let socket = own_socket(&poll, Token(7));
    let address = socket.local_addr().unwrap();
    let mut slots = runtime(service.place(), 3).register(poll.registry(), Token(100)).unwrap();
    let player = thread::spawn(move || {
        let mut connections = service.open_slots(3);
        for round in 0..ROUNDS {
            for connection in &mut connections {
                connection.send(Incoming::new("id", format!("{round}")).bytes());
            }
            send_datagram(address);
            for connection in &mut connections {
                let request = connection.request();
                request.assert_response("id");
                assert_eq!(request.body, format!("{round}").as_bytes());
                connection.take_answer();
                connection.expect_next();
            }
        }
        connections
    });
    let (mut answered, mut datagrams, mut ticks) = (0, 0, 0);
    let began = Instant::now();
    let mut next_tick = began;
    while answered < 3 * ROUNDS || datagrams < ROUNDS || ticks < 5 {
        assert!(began.elapsed() < PATIENCE, "{answered} {datagrams} {ticks}");
        while let Some(event) = slots.next_event(Instant::now()) {
            match event {
                Event::Invocation(invocation, responder) => {
                    responder.send(invocation.body());
                }
                Event::Settled { .. } => answered += 1,
                other => panic!("{other:?}"),
            }
        }
        for token in turn(&mut poll, &mut [&mut slots], next_tick) {
            assert_eq!(token, Token(7));
            while socket.recv(&mut [0; 9]).is_ok() {
                datagrams += 1;
            }
        }
        if Instant::now() >= next_tick {
            ticks += 1;
            next_tick += Duration::from_millis(10);
        }
    }
    assert_eq!((answered, datagrams), (3 * ROUNDS, ROUNDS));
    drop(player.join().unwrap());
}

#[test]
fn tokens_are_the_slots_and_the_waker_and_all_others_are_refused() {
    let service = Service::start();
    let mut poll = Poll::new().unwrap();
    let (before, behind) = (own_socket(&poll, Token(99)), own_socket(&poll, Token(104)));
    let mut slots = runtime(service.place(), 3).register(poll.registry(), Token(100)).unwrap();
    assert_eq!(slots.tokens(), 100..104);
    send_datagram(before.local_addr().unwrap());
    send_datagram(behind.local_addr().unwrap());
    let mut refused = Vec::new();
    let until = Instant::now() + PATIENCE;
    while refused.len() < 2 {
        assert!(Instant::now() < until);
        assert!(slots.next_event(Instant::now()).is_none());
        refused.extend(turn(&mut poll, &mut [&mut slots], until));
    }
    refused.sort();
    assert_eq!(refused, [Token(99), Token(104)]);
    drop(service);
}

#[test]
fn the_last_token_belongs_to_the_waker() {
    let service = Service::start();
    let mut poll = Poll::new().unwrap();
    let mut slots = runtime(service.place(), 2).register(poll.registry(), Token(10)).unwrap();
    assert!(slots.next_event(Instant::now()).is_none());
    // From another thread, so that only the waker can wake the loop.
    let stop = slots.stop_handle();
    thread::spawn(move || stop.stop()).join().unwrap();
    let mut events = Events::with_capacity(8);
    let until = Instant::now() + PATIENCE;
    let mut is_woken = false;
    while !is_woken {
        assert!(Instant::now() < until);
        poll.poll(&mut events, Some(MOMENT)).unwrap();
        for event in &events {
            is_woken |= event.token() == Token(12);
            assert!(slots.handle_event(event, Instant::now()));
        }
    }
    assert!(matches!(slots.next_event(Instant::now()), Some(Event::Ended(Ok(())))));
}

#[test]
fn two_runtimes_share_one_poll_and_one_waker() {
    let services = [Service::start(), Service::start()];
    let mut poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
    let [mut one, mut other] = [(0, 10), (1, 20)].map(|(number, first)| {
        runtime(services[number].place(), 2)
            .register_with_waker(poll.registry(), Token(first), waker.clone())
            .unwrap()
    });
    assert_eq!((one.tokens(), other.tokens()), (10..12, 20..22), "the waker belongs to the host");
    let player = thread::spawn(move || {
        let mut all = services.each_ref().map(|service| service.open_slots(2));
        for (runtime, connections) in all.iter_mut().enumerate() {
            for (slot, connection) in connections.iter_mut().enumerate() {
                let id = format!("id-{runtime}-{slot}");
                connection.send(Incoming::new(&id, runtime.to_string()).bytes());
            }
        }
        for (runtime, connections) in all.iter_mut().enumerate() {
            for (slot, connection) in connections.iter_mut().enumerate() {
                let request = connection.request();
                request.assert_response(&format!("id-{runtime}-{slot}"));
                assert_eq!(request.body, format!("{runtime} by {runtime}").as_bytes());
                connection.take_answer();
                connection.expect_next();
            }
        }
        (services, all)
    });
    let until = Instant::now() + PATIENCE;
    let mut answered = [0, 0];
    while answered != [2, 2] {
        assert!(Instant::now() < until, "{answered:?}");
        for (number, slots) in [&mut one, &mut other].into_iter().enumerate() {
            while let Some(event) = slots.next_event(Instant::now()) {
                match event {
                    Event::Invocation(invocation, responder) => {
                        let mut body = invocation.body().to_vec();
                        body.extend(format!(" by {number}").bytes());
                        thread::spawn(move || responder.send(body));
                    }
                    Event::Settled { .. } => answered[number] += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        let soon = Instant::now() + MOMENT;
        for token in turn(&mut poll, &mut [&mut one, &mut other], soon) {
            assert_eq!(token, Token(0), "the waker belongs to the host");
        }
    }
    let kept = player.join().unwrap();
    // The end of one runtime does not end the other.
    one.stop_handle().stop();
    assert!(matches!(one.next_event(Instant::now()), Some(Event::Ended(Ok(())))));
    assert!(other.next_event(Instant::now()).is_none());
    drop(kept);
}

#[test]
fn answers_of_responders_wake_a_host_through_its_own_waker() {
    let service = Service::start();
    let mut poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(5)).unwrap());
    let mut slots = runtime(service.place(), 1)
        .register_with_waker(poll.registry(), Token(0), waker.clone())
        .unwrap();
    assert_eq!(slots.tokens(), 0..1);
    let until = Instant::now() + PATIENCE;
    let mut connection = service.connection();
    let mut responder: Option<Responder> = None;
    turn(&mut poll, &mut [&mut slots], until);
    connection.invoke(Incoming::new("id-1", "{}"));
    while responder.is_none() {
        assert!(Instant::now() < until);
        responder = match slots.next_event(Instant::now()) {
            Some(Event::Invocation(_, responder)) => Some(responder),
            Some(other) => panic!("{other:?}"),
            None => {
                turn(&mut poll, &mut [&mut slots], until);
                None
            }
        };
    }
    // The host wakes itself, which does not concern the slots.
    assert!(slots.next_event(Instant::now()).is_none());
    waker.wake().unwrap();
    assert_eq!(turn(&mut poll, &mut [&mut slots], until), [Token(5)]);
    assert!(slots.next_event(Instant::now()).is_none());
    thread::spawn(move || responder.unwrap().send("done")).join().unwrap();
    assert_eq!(turn(&mut poll, &mut [&mut slots], until), [Token(5)]);
    assert!(slots.next_event(Instant::now()).is_none());
    connection.request().assert_response("id-1");
}

#[test]
fn idle_slots_set_no_timer_and_the_loop_sleeps() {
    let service = Service::start();
    let mut turner = Turner::new(runtime(service.place(), 8));
    assert!(turner.slots.next_timeout().is_some(), "it connects");
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connections = service.open_slots(8);
    turner.idle(MOMENT);
    for _ in 0..3 {
        assert_eq!(turner.turn(MOMENT), 0, "nothing has happened");
        assert!(turner.slots.next_event(Instant::now()).is_none());
        assert_eq!(turner.slots.next_timeout(), None);
    }
    // The same holds with an invocation in flight, and while its answer is on its way.
    connections[3].send(Incoming::new("id-1", "{}").bytes());
    let (_, responder) = turner.invocation();
    assert_eq!(turner.slots.next_timeout(), None);
    turner.idle(MOMENT);
    assert_eq!(turner.turn(MOMENT), 0);
    responder.send("done");
    turner.idle(MOMENT);
    connections[3].request().assert_response("id-1");
    assert_eq!(turner.slots.next_timeout(), None);
    assert_eq!(turner.turn(MOMENT), 0);
    connections[3].take_answer();
    assert!(matches!(turner.event(), Event::Settled { .. }));
    turner.idle(MOMENT);
    connections[3].expect_next();
    assert_eq!(turner.slots.next_timeout(), None);
}

#[test]
fn a_timer_is_set_only_while_connecting_and_pausing() {
    let place = Place::deserted();
    let mut turner = Turner::new(runtime(&place, 4));
    let now = Instant::now();
    let due = turner.slots.next_timeout().expect("an attempt has a timeout");
    assert!(due <= now + Duration::from_secs(2), "{:?}", due - now);
    pausing(&mut turner);
    turner.idle(Duration::from_millis(300));
    assert!(turner.slots.next_timeout().is_some(), "it tries again");
    let service = Service::start_on(&place);
    turner.until(|slots| slots.next_timeout().is_none());
    service.open_slots(4);
}

#[test]
fn timeouts_may_be_handled_too_often_and_too_early() {
    let place = Place::deserted();
    let mut turner = Turner::new(runtime(&place, 4));
    pausing(&mut turner);
    let now = Instant::now();
    let before = turner.slots.next_timeout().expect("a pause");
    for early in 0..1000 {
        let now = now - Duration::from_millis(early % 50);
        turner.slots.handle_timeout(now.min(before - Duration::from_micros(1)));
        assert!(turner.slots.next_event(Instant::now()).is_none());
    }
    assert_eq!(turner.slots.next_timeout(), Some(before), "an early call changes nothing");
    let service = Service::start_on(&place);
    for _ in 0..1000 {
        turner.slots.handle_timeout(Instant::now());
    }
    turner.until(|slots| slots.next_timeout().is_none());
    let _connections = service.open_slots(4);
    for _ in 0..1000 {
        turner.slots.handle_timeout(Instant::now());
    }
    assert!(turner.slots.next_event(Instant::now()).is_none());
    assert_eq!(turner.slots.next_timeout(), None);
    service.expect_no_connection();
}

#[test]
fn timeouts_may_be_handled_late() {
    let place = Place::deserted();
    let mut turner = Turner::new(runtime(&place, 4));
    pausing(&mut turner);
    let service = Service::start_on(&place);
    // The host is busy with something else.
    thread::sleep(Duration::from_millis(700));
    service.expect_no_connection();
    assert!(turner.slots.next_timeout().is_some_and(|at| at < Instant::now()));
    turner.until(|slots| slots.next_timeout().is_none());
    service.open_slots(4);
}

#[test]
fn a_host_that_sleeps_through_an_invocation_finds_it_when_it_looks() {
    let service = Service::start();
    let mut turner = Turner::new(runtime(service.place(), 2));
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-1", "one").bytes());
    connections[1].send(Incoming::new("id-2", "two").bytes());
    thread::sleep(MOMENT);
    let (one, other) = (turner.invocation(), turner.invocation());
    assert_ne!(one.0.key(), other.0.key());
    assert_ne!(one.0.key().slot(), other.0.key().slot());
    for (_, responder) in [one, other] {
        responder.send("");
    }
}

#[test]
fn a_host_on_its_own_thread_is_woken_once_for_an_answer() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 1));
    let mut connection = service.connection();
    for _ in 0..20 {
        connection.invoke(Incoming::new("id-1", "{}"));
        let (_, responder) = host.invocation();
        let before = host.turns();
        responder.send("done");
        connection.request().assert_response("id-1");
        connection.take_answer();
        host.answered();
        // Woken by the answer, and by the bytes of the service.
        assert!(host.turns() - before <= 3, "{} turns", host.turns() - before);
    }
    connection.expect_next();
    host.stop();
}
