//! Several invocations at the same time, each on its own connection.

use ::std::sync::{Arc, Barrier};
use ::std::time::{Duration, Instant};

use lambda_proto_scenarios::{
    Act, Connection, Error, Event, Gate, Place, Running, Service, Settings, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        each_slot_has_a_next_open_on_its_own_connection,
        zero_slots_mean_one_slot,
        handlers_run_at_the_same_time,
        a_failing_handler_leaves_the_other_slots_alone,
        a_lost_connection_of_one_slot_leaves_the_others_alone,
        a_log_that_panics_costs_neither_a_slot_nor_an_answer,
    }
    on_sockets {
        a_500_ends_the_run_when_the_invocations_in_flight_have_been_answered,
        a_slot_whose_connection_carries_nonsense_starts_over_and_leaves_the_others_alone,
        an_error_of_one_slot_is_returned_even_if_the_others_were_stopped,
        with_several_slots_a_403_on_next_is_asked_again_with_pauses,
        all_slots_give_up_together_when_the_service_is_gone,
        a_slot_without_a_connection_tries_for_as_long_as_another_has_one,
        patience_counts_from_the_loss_of_the_last_connection,
    }
}

fn each_slot_has_a_next_open_on_its_own_connection(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(8, &service, |_| Act::send(""));
    let _connections = service.open_slots(8);
    service.expect_no_connection();
    assert_eq!(run.stop(), [""; 0]);
}

fn zero_slots_mean_one_slot(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(0, &service, |_| Act::send(""));
    let _connections = service.open_slots(1);
    service.expect_no_connection();
    run.stop();
}

fn handlers_run_at_the_same_time(on: &dyn Transport) {
    let service = on.service();
    let barrier = Arc::new(Barrier::new(4));
    let meeting = barrier.clone();
    let run = on.run_slots(4, &service, move |seen| {
        meeting.wait();
        Act::send(seen.body())
    });
    let mut connections = service.open_slots(4);
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.send(Event::new(&format!("id-{slot}"), format!("event {slot}")).bytes());
    }
    for (slot, connection) in connections.iter_mut().enumerate() {
        let response = connection.request();
        response.assert_response(&format!("id-{slot}"));
        assert_eq!(response.body, format!("event {slot}").as_bytes());
        connection.take_answer();
    }
    run.stop();
}

fn a_failing_handler_leaves_the_other_slots_alone(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(2, &service, |seen| match seen.body() {
        b"fail" => Act::fail("Function.Told", "to"),
        body => Act::send(body),
    });
    let mut connections = service.open_slots(2);
    for _ in 0..2 {
        connections[0].send(Event::new("id-1", "fail").bytes());
        connections[1].send(Event::new("id-2", "fine").bytes());
        connections[0].request().assert_error("id-1", "Function.Told");
        connections[1].request().assert_response("id-2");
        for connection in &mut connections {
            connection.take_answer();
            connection.expect_next();
        }
    }
    assert_eq!(run.stop(), ["invocation id-1: failed: Function.Told: to"; 2]);
}

fn a_lost_connection_of_one_slot_leaves_the_others_alone(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(2, &service, |_| Act::send(""));
    let mut connections = service.open_slots(2);
    drop(connections.remove(0));
    let mut replacement = service.connection();
    replacement.expect_next();
    connections[0].send(Event::new("id-1", "").bytes());
    connections[0].request().assert_response("id-1");
    connections[0].take_answer();
    connections[0].expect_next();
    service.expect_no_connection();
    run.stop();
}

fn a_500_ends_the_run_when_the_invocations_in_flight_have_been_answered(on: &dyn Transport) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run_slots(3, &service, move |_| {
        begins.open();
        waits.wait();
        Act::send("answer")
    });
    let mut connections = service.open_slots(3);
    connections[1].send(Event::new("id-1", "").bytes());
    has_begun.wait();
    connections[0].refuse(500, "InternalServerError", "no");
    connections[0].expect_end();
    connections[2].expect_end();
    may_answer.open();
    connections[1].request().assert_response("id-1");
    connections[1].take_answer();
    let error = run.error();
    assert!(error.contains("next was answered with 500"), "{error}");
    service.expect_no_connection();
}

fn a_slot_whose_connection_carries_nonsense_starts_over_and_leaves_the_others_alone(
    on: &dyn Transport,
) {
    let service = on.service();
    let run = on.run_slots(2, &service, |_| Act::send(""));
    let mut connections = service.open_slots(2);
    connections[0].send("220 mail.example.com ESMTP\r\n");
    connections[0].expect_end();
    connections[1].send(Event::new("id-1", "").bytes());
    connections[1].request().assert_response("id-1");
    connections[1].take_answer();
    connections[1].expect_next();
    service.connection().expect_next();
    let lines = run.stop();
    assert!(lines.len() == 1 && lines[0].contains("starts over: "), "{lines:?}");
}

fn an_error_of_one_slot_is_returned_even_if_the_others_were_stopped(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(2, &service, |_| Act::send(""));
    let mut connections = service.open_slots(2);
    connections[0].refuse(500, "InternalServerError", "no");
    service.lines().wait_for("has ended");
    run.tell_to_stop();
    let error = run.error();
    assert!(error.contains("next was answered with 500"), "{error}");
}

fn with_several_slots_a_403_on_next_is_asked_again_with_pauses(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(2, &service, |_| Act::send(""));
    let mut connections = service.open_slots(2);
    let began = Instant::now();
    for _ in 0..3 {
        connections.remove(0).refuse(403, "InvalidStateTransition", "not now");
        let mut connection = service.connection();
        connection.expect_next();
        connections.insert(0, connection);
    }
    assert!(began.elapsed() >= Duration::from_millis(175), "{:?}", began.elapsed());
    connections[0].send(Event::new("id-1", "").bytes());
    connections[0].request().assert_response("id-1");
    connections[0].take_answer();
    run.stop();
}

fn all_slots_give_up_together_when_the_service_is_gone(on: &dyn Transport) {
    let place = Place::deserted();
    let settings = Settings {
        slots: Some(3),
        patience: Some(Duration::from_millis(100)),
        ..Settings::default()
    };
    let error = on.run_with(settings, &place, |_| Act::send("")).error();
    assert!(error.contains("giving up"), "{error}");
}

/// The patience of a runtime whose service comes back only after that.
const IMPATIENT: Duration = Duration::from_millis(200);

/// A runtime with two slots, one of which has lost its connection and cannot connect again.
fn half_connected(on: &dyn Transport, place: &Place) -> (Running, Connection) {
    let settings = Settings { slots: Some(2), patience: Some(IMPATIENT), ..Settings::default() };
    let service = Service::start_on(place);
    let run = on.run_with(settings, place, |seen| Act::send(seen.body()));
    let mut connections = service.open_slots(2);
    drop(service);
    drop(connections.remove(0));
    place.lines().wait_for("no connection to the Runtime API");
    (run, connections.remove(0))
}

fn a_slot_without_a_connection_tries_for_as_long_as_another_has_one(on: &dyn Transport) {
    let place = Place::deserted();
    let (run, mut connection) = half_connected(on, &place);
    let began = Instant::now();
    while began.elapsed() < 3 * IMPATIENT {
        connection.send(Event::new("id-1", "still here").bytes());
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
    }
    let service = Service::start_on(&place);
    service.connection().expect_next();
    run.stop();
}

fn patience_counts_from_the_loss_of_the_last_connection(on: &dyn Transport) {
    let place = Place::deserted();
    let (run, connection) = half_connected(on, &place);
    ::std::thread::sleep(2 * IMPATIENT);
    let began = Instant::now();
    connection.close();
    let error = run.end().unwrap_err();
    assert!(matches!(&error, Error::Unreachable { waited, .. } if *waited >= IMPATIENT), "{error}");
    assert!(began.elapsed() >= IMPATIENT, "{:?}", began.elapsed());
}

fn a_log_that_panics_costs_neither_a_slot_nor_an_answer(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(2, &service, |seen| match seen.body() {
        b"fail" => Act::fail("Function.Told", "to"),
        body => Act::send(body),
    });
    let mut connections = service.open_slots(2);
    service.lines().break_off();
    for round in 0..3 {
        for connection in &mut connections {
            connection.send(Event::new("id-1", "fail").bytes());
            connection.request().assert_error("id-1", "Function.Told");
            // A refusal is logged, too.
            connection.refuse(400, "InvalidRequestID", "no");
            connection.expect_next();
            connection.send(Event::new("id-2", "fine").bytes());
            connection.request().assert_response("id-2");
            connection.take_answer();
            connection.expect_next();
        }
        assert!(service.lines().all().len() >= 4 * (round + 1));
    }
    run.stop();
}
