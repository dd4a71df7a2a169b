//! Responders whose runtime is gone.

mod support;

use std::io::Write;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{ContentType, Event, Failure, Invocation, Responder, StreamOver};
use lambda_proto_service::{Connection, Event as Incoming, PATIENCE, Service};
use support::{Door, Turner, runtime};

const EACH: usize = 8;

/// Runs something on another thread; fails if it takes long.
#[track_caller]
fn at_once<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = channel();
    thread::spawn(move || sender.send(act()));
    done.recv_timeout(PATIENCE).expect("it hangs, or has panicked")
}

/// Uses responders in every possible way.
#[track_caller]
fn use_up(mut all: Vec<(Invocation, Responder)>) {
    let mut next = || all.pop().expect("there is one for each use");
    let (invocation, responder) = next();
    at_once(move || responder.send(invocation.body()));
    let (_, responder) = next();
    at_once(move || responder.send_and_next("too late"));
    let (_, responder) = next();
    at_once(move || drop(responder.send_and_hold("too late")));
    let (_, responder) = next();
    at_once(move || responder.json("too late")).expect("a text can be written");
    let (_, responder) = next();
    at_once(move || responder.fail(Failure::new("Too.Late", "")));
    let (_, responder) = next();
    at_once(move || drop(responder));
    let (_, responder) = next();
    let written = at_once(move || {
        let mut stream = responder.stream(ContentType::OCTET_STREAM);
        // It may take a moment until the stream learns that it is over.
        (0..1000).try_for_each(|_| stream.try_write(&[0; 1000]).map(drop))
    });
    // At most, it may have run out of room.
    assert!(matches!(written, Ok(()) | Err(StreamOver)));
    let (_, responder) = next();
    let error = at_once(move || {
        let mut stream = responder.stream(ContentType::OCTET_STREAM);
        stream.write_all(&[0; 1_000_000]).unwrap_err()
    });
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(all.is_empty());
}

/// A loop with an invocation in flight in each of its slots.
fn in_flight() -> (Service, Turner, Vec<Connection>, Vec<(Invocation, Responder)>) {
    let service = Service::start();
    let mut turner = Turner::new(runtime(service.place(), EACH));
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connections = service.open_slots(EACH);
    for connection in &mut connections {
        connection.send(Incoming::new("id", "").bytes());
    }
    let all = (0..EACH).map(|_| turner.invocation()).collect();
    (service, turner, connections, all)
}

#[test]
fn responders_of_slots_that_were_dropped_do_nothing() {
    let (_service, turner, connections, all) = in_flight();
    drop(turner);
    connections.into_iter().for_each(|mut connection| connection.expect_end());
    use_up(all);
}

#[test]
fn responders_of_slots_whose_poll_was_dropped_first_do_nothing() {
    let (_service, turner, _connections, all) = in_flight();
    let Turner { poll, slots, .. } = turner;
    drop(poll);
    drop(slots);
    use_up(all);
}

#[test]
fn responders_of_slots_that_have_given_up_do_nothing() {
    for is_dropped in [false, true] {
        let door = Door::open();
        let patience = Duration::from_millis(300);
        let mut turner = Turner::new(runtime(&door.place(), EACH + 1).give_up_after(patience));
        turner.until(|slots| slots.next_timeout().is_none());
        let mut peers = door.open_slots(EACH + 1);
        for peer in &mut peers[..EACH] {
            peer.send(Incoming::new("id", "").bytes());
        }
        let all: Vec<_> = (0..EACH).map(|_| turner.invocation()).collect();
        drop((door, peers));
        // The slot that was idle tries to reach the service, in vain.
        for _ in 0..EACH {
            assert!(matches!(turner.event(), Event::Settled { .. }));
        }
        let Event::Ended(Err(error)) = turner.event() else { panic!("it ends with an error") };
        assert!(error.to_string().contains("giving up"), "{error}");
        if is_dropped {
            drop(turner);
            use_up(all);
        } else {
            use_up(all);
            assert!(turner.slots.next_event(Instant::now()).is_none(), "no event follows the end");
        }
    }
}

#[test]
fn a_stream_that_the_loop_has_not_seen_begin_ends_with_the_slots() {
    let (_service, turner, _connections, mut all) = in_flight();
    let (_, responder) = all.pop().unwrap();
    // From here to its end, the loop does not look at the queue.
    let mut stream = responder.stream(ContentType::OCTET_STREAM);
    let (sender, begun) = channel();
    let writer = thread::spawn(move || {
        let first = stream.write(&[0; 100_000]);
        sender.send(()).unwrap();
        first.and_then(|_| stream.write_all(&[0; 1_000_000]))
    });
    begun.recv_timeout(PATIENCE).unwrap();
    drop(turner);
    let error = at_once(move || writer.join().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_writer_that_waits_learns_that_the_slots_were_dropped() {
    let (_service, mut turner, _connections, mut all) = in_flight();
    let (_, responder) = all.pop().unwrap();
    let mut stream = responder.stream(ContentType::OCTET_STREAM);
    // The service does not read.
    let writer = thread::spawn(move || stream.write_all(&vec![0; 50_000_000]));
    for _ in 0..20 {
        while turner.slots.next_event(Instant::now()).is_some() {}
        turner.turn(Duration::from_millis(10));
    }
    assert!(!writer.is_finished());
    drop(turner);
    let error = at_once(move || writer.join().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn responders_in_events_that_were_not_taken_do_nothing() {
    let service = Service::start();
    let mut turner = Turner::new(runtime(service.place(), 2));
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id", "").bytes());
    assert!(turner.turn(PATIENCE) > 0);
    // An invocation waits to be taken, and so does a command.
    drop(turner);
    connections[0].expect_end();
}
