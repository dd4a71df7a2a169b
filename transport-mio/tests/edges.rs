//! Each edge is reported once: however the peer splits its segments, the loop misses none.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::Receipt;
use lambda_proto_service::{Event as Incoming, Gate, MOMENT, Service, TAKEN};
use support::{Door, Host, Peer, runtime};

/// Sends one byte per write, with occasional pauses, so that most bytes arrive separately.
fn drip(peer: &mut Peer, bytes: &[u8], pause: Duration) {
    for byte in bytes {
        peer.send([*byte]);
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

fn start(slots: usize) -> (Door, Host, Vec<Peer>) {
    let door = Door::open();
    let host = Host::start(runtime(&door.place(), slots));
    let peers = door.open_slots(slots);
    (door, host, peers)
}

/// Checks that a peer can still send an invocation and get its answer.
#[track_caller]
fn assert_goes_on(host: &Host, peer: &mut Peer) {
    peer.send(Incoming::new("id-last", "last").bytes());
    let (invocation, responder) = host.invocation();
    assert_eq!(invocation.request_id(), "id-last");
    let key = responder.key();
    responder.send(invocation.body());
    let request = peer.request();
    request.assert_response("id-last");
    assert_eq!(request.body, b"last");
    peer.send(TAKEN);
    assert_eq!(host.status(key), 202);
    peer.expect_next();
}

fn bytes_by_themselves(is_nodelay: bool, pause: Duration) {
    let (_door, host, mut peers) = start(2);
    let peer = &mut peers[1];
    peer.stream.set_nodelay(is_nodelay).unwrap();
    for event in [
        Incoming::new("id-1", "a body of a few bytes"),
        Incoming::new("id-1", "a body of a few bytes").chunked(5),
        Incoming::new("id-1", ""),
    ] {
        drip(peer, &event.bytes(), pause);
        let (invocation, responder) = host.invocation();
        let key = responder.key();
        responder.send(invocation.body());
        let request = peer.request();
        assert_eq!(request.body, invocation.body());
        drip(peer, TAKEN.as_bytes(), pause);
        assert_eq!(host.status(key), 202);
        peer.expect_next();
    }
    assert_goes_on(&host, peer);
    host.stop();
}

#[test]
fn bytes_that_arrive_one_by_one_are_joined() {
    bytes_by_themselves(true, Duration::ZERO);
}

#[test]
fn bytes_that_arrive_one_by_one_with_pauses_are_joined() {
    bytes_by_themselves(true, Duration::from_micros(200));
}

#[test]
fn bytes_that_arrive_in_segments_of_any_length_are_joined() {
    bytes_by_themselves(false, Duration::ZERO);
}

#[test]
fn the_replies_for_all_slots_may_arrive_byte_by_byte_at_the_same_time() {
    const SLOTS: usize = 8;
    let (_door, host, mut peers) = start(SLOTS);
    let event = Incoming::new("id", "x".repeat(100)).bytes();
    for byte in &event {
        peers.iter_mut().for_each(|peer| peer.send([*byte]));
    }
    for _ in 0..SLOTS {
        let (invocation, responder) = host.invocation();
        assert_eq!(invocation.body().len(), 100);
        responder.send(invocation.body());
    }
    for peer in &mut peers {
        assert_eq!(peer.request().body.len(), 100);
    }
    for byte in TAKEN.as_bytes() {
        peers.iter_mut().for_each(|peer| peer.send([*byte]));
    }
    (0..SLOTS).for_each(|_| assert!(matches!(host.answered().1, Receipt::Known(_))));
    peers.iter_mut().for_each(|peer| drop(peer.expect_next()));
    host.stop();
}

#[test]
fn an_end_in_the_same_segment_as_the_event_is_seen() {
    let (door, host, mut peers) = start(2);
    for round in 0..30 {
        let mut peer = peers.remove(0);
        // In every second round the loop may find both at the same time.
        peer.send(Incoming::new("id-1", format!("round {round}")).bytes());
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(2));
        }
        peer.shut_down();
        let (invocation, responder) = host.invocation();
        assert_eq!(invocation.body(), format!("round {round}").as_bytes());
        // The loop sees the end while the invocation is in flight, with nothing to send yet.
        peer.expect_end();
        assert!(door.accept_within(Duration::from_millis(2)).is_none());
        let key = responder.key();
        responder.send("answer");
        let mut peer = door.accept();
        let request = peer.request();
        request.assert_response("id-1");
        assert_eq!(request.body, b"answer");
        peer.send(TAKEN);
        assert_eq!(host.status(key), 202);
        peer.expect_next();
        peers.push(peer);
    }
    assert_goes_on(&host, &mut peers[0]);
    host.stop();
}

#[test]
fn an_event_and_a_close_in_one_segment_are_both_seen() {
    let (door, host, mut peers) = start(1);
    for round in 0..30 {
        let mut peer = peers.remove(0);
        peer.send(Incoming::new("id-1", format!("round {round}")).bytes());
        drop(peer);
        let (invocation, responder) = host.invocation();
        assert_eq!(invocation.body(), format!("round {round}").as_bytes());
        let key = responder.key();
        responder.send("answer");
        let mut peer = door.accept();
        peer.request().assert_response("id-1");
        peer.send(TAKEN);
        assert_eq!(host.status(key), 202);
        peer.expect_next();
        peers.push(peer);
    }
    host.stop();
}

#[test]
fn an_event_that_exactly_fills_its_room_does_not_hide_the_end_after_it() {
    // A read that fills its room does not show whether anything follows.
    let (door, host, mut peers) = start(1);
    let head = Incoming::new("id-1", "").bytes().len() + 4;
    for length in [4096, 8192, 16_384, 32_768, 65_536, 131_072] {
        for length in [length - head - 1, length - head, length - head + 1] {
            let mut peer = peers.remove(0);
            peer.send(Incoming::new("id-1", vec![b'x'; length]).bytes());
            peer.shut_down();
            let (invocation, responder) = host.invocation();
            assert_eq!(invocation.body().len(), length);
            peer.expect_end();
            responder.send("");
            let mut peer = door.accept();
            peer.request();
            peer.send(TAKEN);
            host.answered();
            peer.expect_next();
            peers.push(peer);
        }
    }
    host.stop();
}

#[test]
fn an_end_right_after_the_reply_is_seen() {
    let (door, host, mut peers) = start(1);
    for round in 0..30 {
        let mut peer = peers.remove(0);
        peer.send(Incoming::new("id-1", "").bytes());
        let (_, responder) = host.invocation();
        let key = responder.key();
        responder.send("answer");
        peer.request();
        peer.send(TAKEN);
        if round % 2 == 0 {
            // The slot has asked on this connection, in vain.
            peer.expect_next();
        }
        peer.shut_down();
        assert_eq!(host.status(key), 202);
        let mut peer = door.accept();
        peer.expect_next();
        peers.push(peer);
    }
    assert_goes_on(&host, &mut peers[0]);
    host.stop();
}

#[test]
fn an_end_in_the_middle_of_an_event_is_an_error_of_its_invocation() {
    let (door, host, mut peers) = start(2);
    let event = Incoming::new("id-1", "x".repeat(1000)).bytes();
    for cut in [event.len() - 1, event.len() - 500, event.len() - 999] {
        let mut peer = peers.remove(0);
        peer.send(&event[..cut]);
        peer.shut_down();
        let mut peer = door.accept();
        peer.request().assert_error("id-1", "Runtime.EventTruncated");
        peer.send(TAKEN);
        peer.expect_next();
        peers.push(peer);
        host.expect_nothing();
    }
    for peer in &mut peers {
        assert_goes_on(&host, peer);
    }
    host.stop();
}

#[test]
fn an_end_in_the_middle_of_a_head_hands_out_no_invocation() {
    let (door, host, mut peers) = start(1);
    let event = Incoming::new("id-1", "").bytes();
    peers[0].send(&event[..event.len() - 1]);
    peers[0].shut_down();
    let mut peer = door.accept();
    peer.expect_next();
    host.expect_nothing();
    assert_goes_on(&host, &mut peer);
    host.stop();
}

#[test]
fn a_big_answer_to_a_service_that_does_not_read_does_not_block_other_slots() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 3));
    let mut connections = service.open_slots(3);
    // The largest answer that is allowed, and one that is larger than any socket buffer.
    let bodies = [6 * 1024 * 1024, 24 * 1024 * 1024].map(|length| {
        let body: Vec<u8> = (0..length as u32 / 4).flat_map(u32::to_le_bytes).collect();
        body
    });
    for (number, body) in bodies.iter().enumerate() {
        connections[number].send(Incoming::new("big", "").bytes());
        host.invocation().1.send(body);
    }
    let until = Instant::now() + 3 * MOMENT;
    let mut served = 0;
    while Instant::now() < until || served < 10 {
        connections[2].send(Incoming::new("small", "").bytes());
        let (_, responder) = host.invocation();
        let key = responder.key();
        responder.send("quick");
        assert_eq!(connections[2].request().body, b"quick");
        connections[2].take_answer();
        assert_eq!(host.status(key), 202);
        connections[2].expect_next();
        served += 1;
    }
    let before = host.turns();
    thread::sleep(MOMENT);
    assert_eq!(host.turns(), before, "it waits for room instead of trying in a tight loop");
    for (connection, body) in connections.iter_mut().zip(&bodies) {
        let request = connection.request();
        request.assert_response("big");
        assert!(request.body == *body);
        connection.take_answer();
        assert!(matches!(host.answered().1, Receipt::Known(_)));
        connection.expect_next();
    }
    host.stop();
}

#[test]
fn a_reply_to_half_of_an_answer_is_read_even_if_the_service_does_not_read() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("big", "").bytes());
    let (_, responder) = host.invocation();
    let key = responder.key();
    responder.send(vec![b'x'; 24 * 1024 * 1024]);
    connections[0].head().assert_response("big");
    thread::sleep(Duration::from_millis(20));
    connections[0].refuse(413, "RequestEntityTooLarge", "enough");
    assert_eq!(host.status(key), 413);
    service.connection().expect_next();
    host.stop();
}

#[test]
fn a_big_event_that_arrives_slowly_does_not_block_other_slots() {
    let (_door, host, mut peers) = start(2);
    let event = Incoming::new("big", vec![b'x'; 6 * 1024 * 1024]).bytes();
    let mut slow = peers.remove(0);
    let others_are_served = Gate::default();
    let gate = others_are_served.clone();
    let pace = thread::spawn(move || {
        let (most, rest) = event.split_at(event.len() - 1);
        for piece in most.chunks(100_000) {
            slow.send(piece);
            thread::sleep(Duration::from_millis(3));
        }
        gate.wait();
        slow.send(rest);
        slow
    });
    for _ in 0..10 {
        peers[0].send(Incoming::new("small", "").bytes());
        let (_, responder) = host.invocation();
        let key = responder.key();
        responder.send("quick");
        assert_eq!(peers[0].request().body, b"quick");
        peers[0].send(TAKEN);
        assert_eq!(host.status(key), 202);
        peers[0].expect_next();
    }
    others_are_served.open();
    let mut slow = pace.join().unwrap();
    let (invocation, responder) = host.invocation();
    assert_eq!(invocation.body().len(), 6 * 1024 * 1024);
    responder.send("");
    slow.request().assert_response("big");
}
