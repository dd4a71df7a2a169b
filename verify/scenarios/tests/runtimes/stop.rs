//! A stop handle ends a runtime between invocations, promptly and without losing an answer.

use ::std::thread;

use lambda_proto_scenarios::{
    Act, ContentType, Event, Gate, MOMENT, Place, Settings, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        a_runtime_that_waits_for_an_event_stops_immediately,
        a_runtime_whose_handler_runs_stops_when_its_answer_was_sent,
        a_pipelined_answer_asks_for_no_invocation_once_the_runtime_stops,
        an_answer_is_sent_again_even_while_the_runtime_stops,
        a_failing_handler_is_reported_even_while_the_runtime_stops,
        a_runtime_that_stops_during_a_pause_asks_for_no_invocation,
        an_event_that_has_begun_to_arrive_is_handled_even_while_the_runtime_stops,
        a_pipelined_end_of_a_stream_asks_for_no_invocation_once_the_runtime_stops,
        every_slot_stops,
        one_slot_that_is_busy_sends_its_answer_while_the_others_stop,
        a_stop_at_any_moment_ends_the_run,
        a_stop_at_any_moment_leaves_the_connection_of_an_answer_alone,
    }
    on_sockets {
        a_runtime_without_a_connection_stops_during_its_pause,
    }
}

fn a_runtime_that_waits_for_an_event_stops_immediately(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send(""));
    let mut connection = service.connection();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
    connection.expect_end();
}

fn a_runtime_whose_handler_runs_stops_when_its_answer_was_sent(on: &dyn Transport) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run(&service, move |_| {
        begins.open();
        waits.wait();
        Act::send("answer")
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.tell_to_stop();
    connection.expect_silence();
    may_answer.open();
    let response = connection.request();
    response.assert_response("id-1");
    assert_eq!(response.body, b"answer");
    connection.take_answer();
    run.expect_end();
    connection.expect_end();
}

fn a_pipelined_answer_asks_for_no_invocation_once_the_runtime_stops(on: &dyn Transport) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run(&service, move |_| {
        begins.open();
        waits.wait();
        Act::send_and_next("answer")
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.tell_to_stop();
    may_answer.open();
    connection.request().assert_response("id-1");
    connection.take_answer();
    run.expect_end();
    connection.expect_end();
}

fn an_answer_is_sent_again_even_while_the_runtime_stops(on: &dyn Transport) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run(&service, move |_| {
        begins.open();
        waits.wait();
        Act::send("answer")
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.tell_to_stop();
    connection.close();
    may_answer.open();
    let mut connection = service.connection();
    connection.request().assert_response("id-1");
    connection.take_answer();
    run.expect_end();
    connection.expect_end();
}

fn a_failing_handler_is_reported_even_while_the_runtime_stops(on: &dyn Transport) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run(&service, move |_| {
        begins.open();
        waits.wait();
        Act::fail("Function.A", "at the end")
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.tell_to_stop();
    may_answer.open();
    connection.request().assert_error("id-1", "Function.A");
    connection.take_answer();
    run.expect_end();
}

fn a_runtime_without_a_connection_stops_during_its_pause(on: &dyn Transport) {
    let place = Place::deserted();
    let run = on.run_with(Settings::default(), &place, |_| Act::send(""));
    place.lines().wait_for("no connection");
    run.stop();
}

fn a_runtime_that_stops_during_a_pause_asks_for_no_invocation(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send(""));
    for _ in 0..6 {
        service.connection().close();
    }
    // By now a pause takes at least 400 ms, and this waits until one has begun.
    service.expect_no_connection();
    run.stop();
    if let Some(mut connection) = service.connection_within(MOMENT) {
        connection.expect_end();
    }
}

fn every_slot_stops(on: &dyn Transport) {
    let service = on.service();
    let run = on.run_slots(4, &service, |_| Act::send(""));
    let mut connections: Vec<_> = (0..4).map(|_| service.connection()).collect();
    for connection in &mut connections {
        connection.expect_next();
    }
    assert_eq!(run.stop(), [""; 0]);
    for connection in &mut connections {
        connection.expect_end();
    }
}

fn one_slot_that_is_busy_sends_its_answer_while_the_others_stop(on: &dyn Transport) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run_slots(2, &service, move |_| {
        begins.open();
        waits.wait();
        Act::send("answer")
    });
    let (mut busy, mut idle) = (service.connection(), service.connection());
    busy.expect_next();
    idle.expect_next();
    busy.send(Event::new("id-1", "").bytes());
    has_begun.wait();
    run.tell_to_stop();
    idle.expect_end();
    busy.expect_silence();
    may_answer.open();
    busy.request().assert_response("id-1");
    busy.take_answer();
    run.expect_end();
}

/// Stops runtimes, each a little later in the life of its first invocation, and returns their log
/// lines.
fn stop_at_many_moments(on: &dyn Transport) -> Vec<String> {
    let mut lines = Vec::new();
    for round in 0..200 {
        let service = on.service();
        let run = on.run(&service, |_| Act::send(""));
        let logged = service.lines().clone();
        let is_over = Gate::default();
        let gate = is_over.clone();
        thread::spawn(move || {
            while !gate.is_open() {
                if let Some(mut connection) = service.connection_within(MOMENT) {
                    connection.serve_until_it_ends();
                }
            }
        });
        for _ in 0..round * 100 {
            ::std::hint::spin_loop();
        }
        run.tell_to_stop();
        run.end().unwrap_or_else(|error| panic!("round {round}: {error}"));
        is_over.open();
        lines.extend(logged.all());
    }
    lines
}

fn a_stop_at_any_moment_ends_the_run(on: &dyn Transport) {
    stop_at_many_moments(on);
}

fn a_stop_at_any_moment_leaves_the_connection_of_an_answer_alone(on: &dyn Transport) {
    assert_eq!(stop_at_many_moments(on), [""; 0]);
}

fn an_event_that_has_begun_to_arrive_is_handled_even_while_the_runtime_stops(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| Act::send(seen.body()));
    let mut connection = service.connection();
    connection.expect_next();
    let event = Event::new("id-1", "whole").bytes();
    let (begin, rest) = event.split_at(event.len() - 3);
    connection.send(begin);
    // In this time, the runtime reads the beginning.
    connection.expect_silence();
    run.tell_to_stop();
    connection.expect_silence();
    connection.send(rest);
    let response = connection.request();
    response.assert_response("id-1");
    assert_eq!(response.body, b"whole");
    connection.take_answer();
    run.expect_end();
    connection.expect_end();
}

fn a_pipelined_end_of_a_stream_asks_for_no_invocation_once_the_runtime_stops(on: &dyn Transport) {
    let service = on.service();
    let may_end = Gate::default();
    let gate = may_end.clone();
    let run = on.run(&service, move |_| {
        let gate = gate.clone();
        let last = ::std::iter::once_with(move || {
            gate.wait();
            "last"
        });
        Act::stream(ContentType::TEXT).pieces(["first"].into_iter().chain(last)).finish_and_next()
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    assert_eq!(connection.chunk().unwrap(), b"first");
    run.tell_to_stop();
    connection.expect_silence();
    may_end.open();
    assert_eq!(connection.chunk().unwrap(), b"last");
    assert_eq!(connection.chunk(), None);
    assert!(connection.trailers().is_empty());
    connection.take_answer();
    run.expect_end();
    connection.expect_end();
}
