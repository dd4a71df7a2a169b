//! No slot starves the others.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{ContentType, Event, Responder};
use lambda_proto_service::{Event as Incoming, PATIENCE, TAKEN};
use support::{Door, Host, runtime};

/// The next invocation; skips receipts and events of streams.
#[track_caller]
fn invocation(host: &Host) -> Responder {
    loop {
        match host.event() {
            Event::Invocation(_, responder) => return responder,
            Event::Writable { .. } | Event::Settled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Streams without end in all slots but one, which has to be served all the same.
fn serve_beside_streams(streams: usize, piece: usize) {
    let door = Door::open();
    let host = Host::start(runtime(&door.place(), streams + 1));
    let mut peers = door.open_slots(streams + 1);
    let mut quick = peers.pop().unwrap();
    let is_over = Arc::<AtomicBool>::default();
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for mut peer in peers {
        peer.send(Incoming::new("endless", "").bytes());
        let mut stream = invocation(&host).stream(ContentType::OCTET_STREAM);
        let over = is_over.clone();
        writers.push(thread::spawn(move || {
            let piece = vec![b'x'; piece];
            while !over.load(Relaxed) && stream.write_all(&piece).is_ok() {}
        }));
        // Reads and discards everything, as fast as it can.
        readers.push(thread::spawn(move || {
            let mut room = vec![0; 1 << 20];
            while peer.stream.read(&mut room).is_ok_and(|length| length > 0) {}
        }));
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    while began.elapsed() < Duration::from_millis(700) || rounds < 5 {
        let asked = Instant::now();
        quick.send(Incoming::new("quick", "").bytes());
        invocation(&host).send("");
        quick.request().assert_response("quick");
        quick.send(TAKEN);
        quick.expect_next();
        slowest = slowest.max(asked.elapsed());
        rounds += 1;
    }
    // A generous limit, since the processors are fully loaded.
    assert!(slowest < PATIENCE / 2, "{slowest:?} for one of {rounds} rounds");
    is_over.store(true, Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    drop(host);
    drop(readers);
}

#[test]
fn endless_streams_do_not_starve_the_other_slots() {
    for streams in [1, 3] {
        for piece in [100_000, 1000, 10] {
            serve_beside_streams(streams, piece);
        }
    }
}
