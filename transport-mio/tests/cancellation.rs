//! `Event::CancellationDue`, in the program's own loop.

mod support;

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto_mio::{
    ContentType, Event, Invocation, Key, Lifecycle, Options, Receipt, Responder,
};
use lambda_proto_service::{Connection, Event as Incoming, MOMENT, PATIENCE, Service};
use mio::Token;
use support::{Turner, runtime};

/// Long enough that even a slow machine does not come near the deadline.
const BUFFER: Duration = Duration::from_secs(60);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// A loop whose slots are connected; its invocations are cancelled [`BUFFER`] before the deadline.
fn connected(service: &Service, slots: usize) -> (Turner, Vec<Connection>) {
    let options = Options::new().with_cancellation_buffer(BUFFER).unwrap();
    let lifecycle = Lifecycle::new().signals(false).options(options);
    let runtime = runtime(service.place(), slots).lifecycle(lifecycle);
    let mut turner = Turner::of(|registry| runtime.register(registry, Token(0)));
    turner.until(|slots| slots.next_timeout().is_none());
    let connections = service.open_slots(slots);
    (turner, connections)
}

/// An event whose cancellation is due this long after now.
fn cancelled_in(id: &str, left: Duration) -> Incoming {
    due_in(id, "", BUFFER + left)
}

/// An event whose deadline has passed when it arrives.
fn late(id: &str) -> Incoming {
    due_in(id, "", Duration::ZERO)
}

/// An event whose deadline is this long after now.
fn due_in(id: &str, body: &str, left: Duration) -> Incoming {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + left;
    Incoming::new(id, body).header("Lambda-Runtime-Deadline-Ms", deadline.as_millis().to_string())
}

/// A loop with one invocation in flight.
fn in_flight(service: &Service, event: &Incoming) -> (Turner, Connection, Invocation, Responder) {
    let (mut turner, mut connections) = connected(service, 1);
    let mut connection = connections.remove(0);
    connection.send(event.bytes());
    let (invocation, responder) = turner.invocation();
    (turner, connection, invocation, responder)
}

/// Takes the next event without any I/O.
fn next_event(turner: &mut Turner) -> Option<Event> {
    turner.slots.next_event(Instant::now())
}

#[track_caller]
fn assert_due(event: Option<Event>, expected: Key) {
    match event {
        Some(Event::CancellationDue { key }) => assert_eq!(key, expected),
        other => panic!("not a cancellation: {other:?}"),
    }
}

#[track_caller]
fn assert_nothing(turner: &mut Turner) {
    if let Some(event) = next_event(turner) {
        panic!("unexpected event: {event:?}");
    }
}

/// The next timeout of the slots, which is that of the cancellation.
#[track_caller]
fn moment(turner: &mut Turner) -> Instant {
    assert_nothing(turner);
    turner.slots.next_timeout().expect("a cancellation is expected")
}

/// Turns the loop until the service has taken the answer.
#[track_caller]
fn settle(turner: &mut Turner, connection: &mut Connection, id: &str) {
    assert_nothing(turner);
    connection.request().assert_response(id);
    connection.take_answer();
    match turner.event() {
        Event::Settled { receipt: Receipt::Known(outcome), .. } => assert!(outcome.is_accepted()),
        other => panic!("not a receipt: {other:?}"),
    }
}

#[test]
fn a_sleeping_loop_is_woken_one_buffer_before_the_deadline() {
    let service = Service::start();
    let began = Instant::now();
    let left = Duration::from_secs(1);
    let event = cancelled_in("id-1", left);
    let (mut turner, mut connection, mut invocation, responder) = in_flight(&service, &event);
    let context = invocation.take_context().unwrap();
    let at = moment(&mut turner);
    assert!(at <= began + left + BUFFER / 2, "not at the deadline: {:?}", at - began);
    // Handles the events that arrived before.
    while turner.turn(Duration::ZERO) > 0 {}
    let event = loop {
        if let Some(event) = next_event(&mut turner) {
            break event;
        }
        assert!(began.elapsed() < PATIENCE, "the loop did not wake");
        assert_eq!(turner.turn(PATIENCE), 0, "nothing else wakes the loop");
    };
    let woken = began.elapsed();
    // Half, since the deadline is in whole milliseconds and the two clocks are read one by one.
    assert!(woken >= left / 2, "{woken:?}");
    assert_due(Some(event), invocation.key());
    assert!(context.cancellation().is_cancelled());
    responder.send("what there is");
    settle(&mut turner, &mut connection, "id-1");
    connection.expect_next();
}

#[test]
fn a_cancellation_is_due_at_its_moment_and_not_before() {
    let service = Service::start();
    let event = cancelled_in("id-1", Duration::from_secs(60));
    let (mut turner, _connection, invocation, _responder) = in_flight(&service, &event);
    let at = moment(&mut turner);
    turner.slots.handle_timeout(at - NANOSECOND);
    assert_nothing(&mut turner);
    assert_eq!(turner.slots.next_timeout(), Some(at));
    turner.slots.handle_timeout(at);
    assert_due(next_event(&mut turner), invocation.key());
}

#[test]
fn a_cancellation_comes_once_and_the_invocation_may_still_be_answered() {
    let service = Service::start();
    let event = cancelled_in("id-1", Duration::from_secs(60));
    let (mut turner, mut connection, invocation, responder) = in_flight(&service, &event);
    let at = moment(&mut turner);
    turner.slots.handle_timeout(at);
    assert_due(next_event(&mut turner), invocation.key());
    assert_eq!(turner.slots.next_timeout(), None);
    turner.slots.handle_timeout(at + BUFFER);
    turner.idle(MOMENT);
    responder.send("");
    settle(&mut turner, &mut connection, "id-1");
    // The next invocation has its own cancellation.
    connection.expect_next();
    connection.send(cancelled_in("id-2", Duration::from_secs(60)).bytes());
    let (invocation, _responder) = turner.invocation();
    let at = moment(&mut turner);
    turner.slots.handle_timeout(at);
    assert_due(next_event(&mut turner), invocation.key());
}

#[test]
fn no_cancellation_is_due_after_an_answer_and_the_loop_sleeps() {
    let service = Service::start();
    let event = cancelled_in("id-1", Duration::from_secs(60));
    let (mut turner, mut connection, _invocation, responder) = in_flight(&service, &event);
    let at = moment(&mut turner);
    responder.send("");
    assert_nothing(&mut turner);
    assert_eq!(turner.slots.next_timeout(), None, "the answer is on its way");
    turner.slots.handle_timeout(at);
    settle(&mut turner, &mut connection, "id-1");
    connection.expect_next();
    assert_eq!(turner.slots.next_timeout(), None);
    turner.slots.handle_timeout(at + BUFFER);
    assert_nothing(&mut turner);
}

#[test]
fn a_failure_or_a_dropped_responder_is_an_answer_as_well() {
    for is_dropped in [false, true] {
        let service = Service::start();
        let event = cancelled_in("id-1", Duration::from_secs(60));
        let (mut turner, mut connection, _invocation, responder) = in_flight(&service, &event);
        moment(&mut turner);
        if is_dropped {
            drop(responder);
        } else {
            responder.fail("no");
        }
        assert_nothing(&mut turner);
        assert_eq!(turner.slots.next_timeout(), None);
        connection.request();
    }
}

#[test]
fn an_answer_that_the_loop_finds_first_suppresses_the_cancellation() {
    let service = Service::start();
    let (mut turner, mut connections) = connected(&service, 2);
    connections[0].send(cancelled_in("id-1", Duration::from_secs(60)).bytes());
    let (_first, first) = turner.invocation();
    connections[1].send(Incoming::new("id-2", "").bytes());
    let (_second, second) = turner.invocation();
    let at = moment(&mut turner);
    turner.slots.handle_timeout(at);
    // The event is in the queue.
    first.send("");
    assert_nothing(&mut turner);
    connections[0].request().assert_response("id-1");
    // The next answer still wakes the loop.
    while turner.turn(Duration::ZERO) > 0 {}
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(MOMENT);
            second.send("");
        });
        let began = Instant::now();
        assert!(turner.turn(PATIENCE) > 0);
        assert!(began.elapsed() < PATIENCE);
    });
    assert_nothing(&mut turner);
    connections[1].request().assert_response("id-2");
}

#[test]
fn a_cancellation_comes_in_the_middle_of_a_stream_and_not_after_its_end() {
    for is_ended in [false, true] {
        let service = Service::start();
        let event = cancelled_in("id-1", Duration::from_secs(60));
        let (mut turner, mut connection, invocation, responder) = in_flight(&service, &event);
        let at = moment(&mut turner);
        let mut stream = responder.stream(ContentType::TEXT);
        stream.try_write(b"a piece").unwrap();
        assert_nothing(&mut turner);
        connection.head();
        assert_eq!(connection.chunk().unwrap(), b"a piece");
        assert_eq!(turner.slots.next_timeout(), Some(at));
        if is_ended {
            stream.finish();
            assert_nothing(&mut turner);
            assert_eq!(turner.slots.next_timeout(), None);
            turner.slots.handle_timeout(at);
        } else {
            turner.slots.handle_timeout(at);
            assert_due(next_event(&mut turner), invocation.key());
            stream.finish();
        }
        assert_nothing(&mut turner);
        assert_eq!(connection.chunk(), None);
        connection.trailers();
    }
}

#[test]
fn no_cancellation_comes_after_the_end_of_a_stream_that_the_service_has_not_fully_read() {
    let service = Service::start();
    let event = cancelled_in("id-1", Duration::from_secs(60));
    let (mut turner, _connection, _invocation, responder) = in_flight(&service, &event);
    let at = moment(&mut turner);
    let mut stream = responder.stream(ContentType::OCTET_STREAM);
    // As much as the sockets take, and one piece more.
    while stream.try_write(&[b'x'; 64 * 1024]).unwrap() > 0 {
        while let Some(event) = next_event(&mut turner) {
            assert!(matches!(event, Event::Writable { .. }), "{event:?}");
        }
    }
    assert_eq!(turner.slots.next_timeout(), Some(at));
    stream.finish();
    assert_nothing(&mut turner);
    assert_eq!(turner.slots.next_timeout(), None);
    turner.slots.handle_timeout(at);
    assert_nothing(&mut turner);
}

#[test]
fn no_cancellation_comes_after_the_service_has_ended_a_stream() {
    let service = Service::start();
    let event = cancelled_in("id-1", Duration::from_secs(60));
    let (mut turner, mut connection, _invocation, responder) = in_flight(&service, &event);
    let at = moment(&mut turner);
    let mut stream = responder.stream(ContentType::TEXT);
    stream.try_write(b"a piece").unwrap();
    assert_nothing(&mut turner);
    connection.head();
    connection.refuse(413, "RequestEntityTooLarge", "too much");
    assert!(matches!(turner.event(), Event::Settled { .. }));
    // First the slot connects again.
    turner.until(|slots| slots.next_timeout().is_none());
    turner.slots.handle_timeout(at);
    assert_nothing(&mut turner);
}

#[test]
fn a_cancellation_follows_an_invocation_that_arrives_late() {
    let service = Service::start();
    let little = cancelled_in("id-1", Duration::ZERO);
    for event in [late("id-1"), little] {
        let (mut turner, mut connection, invocation, responder) = in_flight(&service, &event);
        assert_due(next_event(&mut turner), invocation.key());
        assert_nothing(&mut turner);
        assert_eq!(turner.slots.next_timeout(), None);
        responder.send("");
        settle(&mut turner, &mut connection, "id-1");
    }
}

#[test]
fn no_cancellation_follows_a_late_invocation_that_is_answered_immediately() {
    let service = Service::start();
    let (mut turner, mut connection, _invocation, responder) = in_flight(&service, &late("id-1"));
    responder.send("");
    settle(&mut turner, &mut connection, "id-1");
    turner.idle(MOMENT);
}

#[test]
fn without_a_known_deadline_there_is_no_cancellation() {
    let service = Service::start();
    let year_1970 = Incoming::new("id-1", "").header("Lambda-Runtime-Deadline-Ms", "600000");
    for event in [Incoming::new("id-1", ""), year_1970] {
        let (mut turner, _connection, _invocation, _responder) = in_flight(&service, &event);
        assert_nothing(&mut turner);
        assert_eq!(turner.slots.next_timeout(), None);
        turner.idle(MOMENT);
    }
}

#[test]
fn without_a_lifecycle_there_is_no_cancellation() {
    let service = Service::start();
    let mut turner = Turner::new(runtime(service.place(), 1));
    turner.until(|slots| slots.next_timeout().is_none());
    service.connection().invoke(late("id-1"));
    let (_invocation, _responder) = turner.invocation();
    assert_nothing(&mut turner);
    assert_eq!(turner.slots.next_timeout(), None);
}

#[test]
fn the_cancellations_of_several_slots_come_in_the_order_of_their_moments() {
    let service = Service::start();
    let (mut turner, mut connections) = connected(&service, 5);
    let mut keys = Vec::new();
    let mut responders = Vec::new();
    for (at, seconds) in [90, 60, 120, 80, 100].into_iter().enumerate() {
        let event = cancelled_in(&format!("id-{at}"), Duration::from_secs(seconds));
        connections[at].send(event.bytes());
        let (invocation, responder) = turner.invocation();
        keys.push((seconds, invocation.key()));
        responders.push(Some(responder));
    }
    // Its cancellation would be the second.
    responders[3].take().unwrap().send("");
    keys.remove(3);
    keys.sort_by_key(|(seconds, _)| *seconds);
    // The first two one by one, then the last two in one turn.
    for (_, key) in &keys[..2] {
        let at = moment(&mut turner);
        turner.slots.handle_timeout(at);
        assert_due(next_event(&mut turner), *key);
    }
    let at = moment(&mut turner);
    turner.slots.handle_timeout(at + BUFFER);
    assert_due(next_event(&mut turner), keys[2].1);
    assert_due(next_event(&mut turner), keys[3].1);
    assert_nothing(&mut turner);
    assert_eq!(turner.slots.next_timeout(), None);
}

#[test]
fn a_cancellation_comes_even_when_the_connection_is_lost() {
    let service = Service::start();
    let event = cancelled_in("id-1", Duration::from_secs(60));
    let (mut turner, connection, invocation, _responder) = in_flight(&service, &event);
    let at = moment(&mut turner);
    connection.close();
    turner.idle(MOMENT);
    turner.slots.handle_timeout(at);
    let due = turner.event();
    assert_due(Some(due), invocation.key());
}

#[cfg(unix)]
mod at_the_end_of_the_process {
    use std::collections::HashMap;

    use lambda_proto_mio::{Error, Runtime};
    use lambda_proto_service::program::behaviour;

    use super::support::program::{Program, count, say};
    use super::*;

    /// The program: it answers when the cancellation is due, unless the event says otherwise.
    fn run() -> Result<(), Error> {
        // Time for the answers.
        let options = Options::new().with_shutdown_duration(Duration::from_secs(2)).unwrap();
        let lifecycle = Lifecycle::new().options(options).on_shutdown("flush", |_| {
            say("the shutdown hook");
            Ok(())
        });
        let runtime = Runtime::from_env()?.log(|line| say(&line.to_string())).lifecycle(lifecycle);
        let mut turner = Turner::of(|registry| runtime.register(registry, Token(0)));
        let mut in_flight = HashMap::new();
        loop {
            while let Some(event) = turner.slots.next_event(Instant::now()) {
                match event {
                    Event::Invocation(invocation, responder) => {
                        say(&format!("in flight: {}", invocation.request_id()));
                        in_flight.insert(invocation.key(), (invocation, Some(responder)));
                    }
                    Event::CancellationDue { key } => {
                        let (invocation, responder) = in_flight.get_mut(&key).unwrap();
                        say(&format!("due: {}", invocation.request_id()));
                        if invocation.body() != b"keep"
                            && let Some(responder) = responder.take()
                        {
                            responder.send("what there is");
                        }
                    }
                    Event::Ended(result) => return result.and(turner.slots.finish()),
                    _ => {}
                }
            }
            // It sleeps until something wakes it.
            turner.turn(Duration::MAX);
        }
    }

    #[test]
    fn every_invocation_in_flight_is_cancelled_once() {
        let service = Service::start();
        let variables = [("AWS_LAMBDA_MAX_CONCURRENCY", "4")];
        let program = Program::start_with(service.place(), "loop", &variables);
        let _extension = service.register_extension();
        let mut connections = service.open_slots(4);
        connections[0].send(Incoming::new("id-1", "").bytes());
        connections[1].send(cancelled_in("id-2", PATIENCE).bytes());
        // Its cancellation is due immediately, and must not come again.
        connections[2].send(due_in("id-3", "keep", Duration::ZERO).bytes());
        program.lines.wait_for("in flight: id-1");
        program.lines.wait_for("in flight: id-2");
        program.lines.wait_for("due: id-3");
        assert_eq!(count(&program.lines.all(), "due"), 1);
        program.terminate();
        for (connection, id) in connections.iter_mut().zip(["id-1", "id-2"]) {
            connection.request().assert_response(id);
            connection.take_answer();
            connection.expect_end();
        }
        connections[3].expect_end();
        let mut report = service.connection();
        report.request().assert_error("id-3", "Runtime.ShutDown");
        report.take_answer();
        let lines = program.ends_well();
        for id in ["id-1", "id-2", "id-3"] {
            assert_eq!(count(&lines, &format!("due: {id}")), 1, "{lines:?}");
        }
        let is = |part| lines.iter().position(|line| line.contains(part)).unwrap();
        assert!(is("due: id-1") > is("cancelling the invocations in flight"), "{lines:?}");
    }

    #[test]
    fn no_answered_invocation_is_cancelled() {
        let service = Service::start();
        let program = Program::start(service.place(), "loop");
        let _extension = service.register_extension();
        let mut connection = service.connection();
        connection.invoke(late("id-1"));
        connection.request().assert_response("id-1");
        program.terminate();
        // The time for invocations in flight is over.
        program.lines.wait_for("cancelling the invocations in flight");
        connection.expect_silence();
        connection.take_answer();
        connection.expect_end();
        let lines = program.ends_well();
        assert_eq!(count(&lines, "due: id-1"), 1, "{lines:?}");
    }

    /// The tests start the program by its name, which is the name of a test in this file.
    pub(super) fn program() {
        if behaviour().is_some() {
            std::process::exit(i32::from(
                run().inspect_err(|error| say(&error.to_string())).is_err(),
            ));
        }
    }
}

/// The program that the tests of signals start.
#[cfg(unix)]
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    at_the_end_of_the_process::program();
}
