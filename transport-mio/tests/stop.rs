//! The host stops the runtime.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{ContentType, Event, Receipt};
use lambda_proto_service::{
    Connection, Event as Incoming, MOMENT, PATIENCE, Place, Running, Service,
};
use support::{Door, Host, Turner, run, runtime};

/// Checks that all connections are closed, without another request.
#[track_caller]
fn assert_all_ended(connections: &mut [Connection]) {
    connections.iter_mut().for_each(Connection::expect_end);
}

#[test]
fn a_runtime_that_was_stopped_before_it_is_registered_ends_immediately() {
    let service = Service::start();
    let runtime = runtime(service.place(), 8);
    runtime.stop_handle().stop();
    let mut turner = Turner::new(runtime);
    assert!(matches!(turner.slots.next_event(Instant::now()), Some(Event::Ended(Ok(())))));
    assert!(turner.slots.next_event(Instant::now()).is_none());
    turner.idle(MOMENT);
    assert_eq!(turner.slots.next_timeout(), None);
    while let Some(mut connection) = service.connection_within(Duration::ZERO) {
        connection.expect_end();
    }
}

#[test]
fn a_runtime_that_was_stopped_before_it_runs_ends_immediately() {
    for place in [Service::start().place().clone(), Place::deserted()] {
        let runtime = runtime(&place, 8);
        let stop = runtime.stop_handle();
        stop.stop();
        Running::new(place.lines(), || {}, || runtime.run(|_, responder| Ok(responder.defer().1)))
            .expect_end();
        stop.stop();
    }
}

#[test]
fn idle_slots_end_immediately_and_the_end_is_reported_once_and_last() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 64));
    let mut connections = service.open_slots(64);
    host.tell_to_stop();
    host.tell_to_stop();
    host.end().unwrap();
    assert_all_ended(&mut connections);
    assert_eq!(service.lines().all(), [""; 0]);
    service.expect_no_connection();
}

#[test]
fn many_threads_may_stop_a_runtime_at_the_same_time() {
    for _ in 0..20 {
        let service = Service::start();
        let runtime = runtime(service.place(), 4);
        let stop = runtime.stop_handle();
        let host = Host::start(runtime);
        thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| stop.stop())));
        });
        host.end().unwrap();
    }
}

#[test]
fn a_handle_of_the_slots_stops_them_too() {
    let service = Service::start();
    let mut turner = Turner::new(runtime(service.place(), 4));
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connections = service.open_slots(4);
    let stop = turner.slots.stop_handle();
    thread::spawn(move || stop.stop()).join().unwrap();
    assert!(matches!(turner.event(), Event::Ended(Ok(()))));
    assert_all_ended(&mut connections);
}

#[test]
fn an_invocation_in_flight_is_answered_first() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 4));
    let mut connections = service.open_slots(4);
    let mut busy = connections.remove(2);
    busy.send(Incoming::new("id-1", "").bytes());
    let (_, responder) = host.invocation();
    host.tell_to_stop();
    assert_all_ended(&mut connections);
    host.expect_nothing();
    let key = responder.key();
    responder.send("still");
    let request = busy.request();
    request.assert_response("id-1");
    assert_eq!(request.body, b"still");
    host.expect_nothing();
    busy.take_answer();
    assert_eq!(host.status(key), 202);
    host.end().unwrap();
    busy.expect_end();
    service.expect_no_connection();
}

#[test]
fn an_invocation_that_is_in_the_handler_is_answered_first() {
    let service = Service::start();
    let runtime = runtime(service.place(), 2);
    let (stop, lines) = (runtime.stop_handle(), service.lines().clone());
    let run = Running::new(
        &lines,
        || {},
        move || {
            runtime.run(move |_, responder| {
                stop.stop();
                Ok(responder.send_and_next("still"))
            })
        },
    );
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-1", "").bytes());
    assert_eq!(connections[0].request().body, b"still");
    // No invocation is asked for, although the handler asked for the next one.
    connections[0].expect_silence();
    connections[0].take_answer();
    run.expect_end();
    assert_all_ended(&mut connections);
}

#[test]
fn a_stream_is_finished_first() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-1", "").bytes());
    let mut stream = host.invocation().1.stream(ContentType::OCTET_STREAM);
    stream.try_write(b"begun, ").unwrap();
    host.tell_to_stop();
    connections[1].expect_end();
    host.expect_nothing();
    stream.try_write(b"ended").unwrap();
    stream.finish_and_next();
    assert_eq!(connections[0].request().body, b"begun, ended");
    connections[0].expect_silence();
    connections[0].take_answer();
    assert!(matches!(host.answered().1, Receipt::Known(_)));
    host.end().unwrap();
    connections[0].expect_end();
}

#[test]
fn a_pipelined_next_that_was_already_sent_is_given_up() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-1", "").bytes());
    host.invocation().1.send_and_next("");
    assert_eq!(host.answered().1, Receipt::Pipelined);
    connections[0].request();
    connections[0].expect_next();
    host.tell_to_stop();
    connections[1].expect_end();
    connections[0].take_answer();
    host.end().unwrap();
    connections[0].expect_end();
}

#[test]
fn a_held_slot_ends_and_its_hold_is_harmless() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-1", "").bytes());
    let hold = host.invocation().1.send_and_hold("");
    connections[0].request();
    connections[0].take_answer();
    host.answered();
    host.stop();
    assert_all_ended(&mut connections);
    drop(hold);
}

#[test]
fn an_outage_ends_with_the_runtime() {
    let place = Place::deserted();
    let host = Host::start(runtime(&place, 64));
    place.lines().wait_for("no connection");
    thread::sleep(Duration::from_millis(300));
    host.stop();
}

#[test]
fn in_an_outage_an_invocation_in_flight_gets_one_more_attempt_to_answer() {
    for is_back in [true, false] {
        let place = Place::deserted();
        let door = Door::open_on(&place);
        let host = Host::start(runtime(&place, 3));
        let mut peers = door.open_slots(3);
        for peer in &mut peers[..2] {
            peer.send(Incoming::new("id", "").bytes());
        }
        let (one, other) = (host.invocation().1, host.invocation().1);
        drop((door, peers));
        place.lines().wait_for("no connection");
        host.tell_to_stop();
        host.expect_nothing();
        let service = is_back.then(|| Service::start_on(&place));
        one.send("");
        other.send("");
        let mut fates = Vec::new();
        if let Some(service) = &service {
            let mut connections = [service.connection(), service.connection()];
            for connection in &mut connections {
                connection.request().assert_response("id");
                connection.take_answer();
            }
            fates.extend([host.answered().1, host.answered().1]);
            assert!(fates.iter().all(|fate| matches!(fate, Receipt::Known(_))), "{fates:?}");
        } else {
            fates.extend([host.answered().1, host.answered().1]);
            assert_eq!(fates, [Receipt::FateUnknown; 2]);
        }
        host.end().unwrap();
    }
}

#[test]
fn an_answer_that_waits_in_an_outage_does_not_delay_the_end() {
    let place = Place::deserted();
    let door = Door::open_on(&place);
    let host = Host::start(runtime(&place, 3));
    let mut peers = door.open_slots(3);
    peers[0].send(Incoming::new("id", "").bytes());
    let responder = host.invocation().1;
    drop((door, peers));
    place.lines().wait_for("no connection");
    responder.send("");
    host.expect_nothing();
    host.tell_to_stop();
    // The receipt comes after the pause before the next attempt, at the latest.
    assert_eq!(host.answered().1, Receipt::FateUnknown);
    host.end().unwrap();
}

#[test]
fn a_service_that_ends_the_process_gets_the_answers_in_flight_first() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 4));
    let mut connections = service.open_slots(4);
    let mut in_flight = |id| {
        let mut connection = connections.pop().unwrap();
        connection.send(Incoming::new(id, "").bytes());
        (connection, host.invocation().1)
    };
    let (mut gone, one) = in_flight("id-1");
    let (mut kept, other) = in_flight("id-2");
    let (first, second) = (one.key(), other.key());
    one.send("");
    gone.request().assert_response("id-1");
    gone.refuse(500, "ServiceFailed", "over");
    assert_eq!(host.status(first), 500);
    assert_all_ended(&mut connections);
    host.expect_nothing();
    other.send("");
    kept.request().assert_response("id-2");
    kept.take_answer();
    assert_eq!(host.status(second), 202);
    let error = host.end().unwrap_err().to_string();
    assert!(error.contains("500"), "{error}");
}

#[test]
fn a_running_runtime_can_be_stopped_from_another_thread() {
    let service = Service::start();
    let run = run(service.place(), 16, |_, responder| Ok(responder.send("")));
    let mut connections = service.open_slots(16);
    let began = Instant::now();
    run.stop();
    assert!(began.elapsed() < PATIENCE / 2);
    assert_all_ended(&mut connections);
}
