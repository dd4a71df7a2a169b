//! Answers whose connection is lost.

use lambda_proto_scenarios::{
    Act, Connection, Event, Gate, Receipt, Running, Service, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        an_answer_without_a_reply_is_sent_once_more_on_a_new_connection,
        an_answer_whose_connection_is_reset_is_sent_once_more,
        a_refusal_of_the_second_copy_means_that_the_first_was_taken,
        any_other_refusal_of_the_second_copy_is_logged,
        an_answer_that_is_cut_twice_has_an_unknown_fate_and_the_loop_continues,
        an_error_without_a_reply_is_sent_once_more,
        a_reply_that_is_cut_after_its_head_counts,
        a_reply_that_is_cut_inside_its_head_leaves_the_fate_unknown,
        a_connection_that_closed_while_the_handler_ran_costs_no_answer,
        a_large_answer_that_is_cut_in_the_middle_is_sent_again_whole,
        a_pipelined_answer_without_a_reply_is_not_sent_again,
        with_several_slots_an_answer_without_an_attempt_id_is_never_sent_twice,
        with_several_slots_an_answer_with_an_attempt_id_is_sent_once_more,
        with_several_slots_a_connection_that_closes_while_the_handler_runs_costs_no_answer,
        with_several_slots_an_unsolicited_408_costs_no_answer,
    }
    where_answering_blocks {
        the_handler_learns_that_the_fate_of_its_answer_is_unknown,
    }
}

const SENT_AGAIN: &str =
    "invocation id-1: connection lost before the reply; sending the answer again";
const FATE_UNKNOWN: &str =
    "invocation id-1: connection lost before the reply; whether the answer arrived is unknown";

/// Runs an invocation up to its answer, and cuts the connection without a reply.
fn cut_answer(on: &dyn Transport, service: &Service) -> Running {
    let run = on.run(service, |seen| Act::send(seen.body()));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "answer"));
    connection.request().assert_response("id-1");
    run
}

#[track_caller]
fn expect_answer_again(service: &Service) -> Connection {
    let mut connection = service.connection();
    let again = connection.request();
    again.assert_response("id-1");
    assert_eq!(again.body, b"answer");
    connection
}

fn an_answer_without_a_reply_is_sent_once_more_on_a_new_connection(on: &dyn Transport) {
    let service = on.service();
    let run = cut_answer(on, &service);
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN]);
}

fn an_answer_whose_connection_is_reset_is_sent_once_more(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| Act::send(seen.body()));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "answer"));
    connection.reset_behind_request();
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN]);
}

fn a_refusal_of_the_second_copy_means_that_the_first_was_taken(on: &dyn Transport) {
    for status in [400, 403] {
        let service = on.service();
        let run = cut_answer(on, &service);
        let mut connection = expect_answer_again(&service);
        connection.refuse(status, "InvalidStateTransition", "already");
        connection.expect_next();
        assert_eq!(run.stop(), [SENT_AGAIN]);
    }
}

fn any_other_refusal_of_the_second_copy_is_logged(on: &dyn Transport) {
    let service = on.service();
    let run = cut_answer(on, &service);
    let mut connection = expect_answer_again(&service);
    connection.refuse(413, "RequestEntityTooLarge", "no");
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.len() == 2 && lines[1].contains("response was answered with 413"), "{lines:?}");
}

fn an_answer_that_is_cut_twice_has_an_unknown_fate_and_the_loop_continues(on: &dyn Transport) {
    let service = on.service();
    let run = cut_answer(on, &service);
    expect_answer_again(&service).close();
    let mut connection = service.connection();
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN, FATE_UNKNOWN]);
}

fn an_error_without_a_reply_is_sent_once_more(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::fail("Function.A", "b"));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Function.A");
    connection.close();
    let mut connection = service.connection();
    connection.request().assert_error("id-1", "Function.A");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), ["invocation id-1: failed: Function.A: b", SENT_AGAIN]);
}

fn a_reply_that_is_cut_after_its_head_counts(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| Act::send(seen.body()));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "answer"));
    connection.request().assert_response("id-1");
    connection.send("HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"stat");
    connection.close();
    service.connection().expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn a_reply_that_is_cut_inside_its_head_leaves_the_fate_unknown(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| Act::send(seen.body()));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "answer"));
    connection.request().assert_response("id-1");
    connection.send("HTTP/1.1 2");
    connection.close();
    service.connection().expect_next();
    assert_eq!(run.stop(), [FATE_UNKNOWN]);
}

fn a_connection_that_closed_while_the_handler_ran_costs_no_answer(on: &dyn Transport) {
    let service = on.service();
    let may_answer = Gate::default();
    let gate = may_answer.clone();
    let run = on.run(&service, move |_| {
        gate.wait();
        Act::send("answer")
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.close();
    may_answer.open();
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

fn a_large_answer_that_is_cut_in_the_middle_is_sent_again_whole(on: &dyn Transport) {
    let service = on.service();
    let body = vec![b'x'; 4 * 1024 * 1024];
    let answer = body.clone();
    let run = on.run(&service, move |_| Act::send(answer.clone()));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.close();
    let mut connection = service.connection();
    let again = connection.request();
    again.assert_response("id-1");
    assert!(again.body == body);
    // The service cannot have taken the first copy, so this is a refusal like any other.
    connection.refuse(403, "InvalidStateTransition", "odd");
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.len() == 2 && lines[1].contains("response was answered with 403"), "{lines:?}");
}

fn a_pipelined_answer_without_a_reply_is_not_sent_again(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send_and_next("answer"));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.expect_next();
    connection.close();
    service.connection().expect_next();
    assert_eq!(run.stop(), [FATE_UNKNOWN]);
}

fn the_handler_learns_that_the_fate_of_its_answer_is_unknown(on: &dyn Transport) {
    let service = on.service();
    let saw_it = Gate::default();
    let gate = saw_it.clone();
    let run = on.run(&service, move |_| {
        let gate = gate.clone();
        Act::send("answer").then(move |answer| {
            if answer == Receipt::FateUnknown {
                gate.open();
            }
            Ok(())
        })
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request();
    connection.close();
    expect_answer_again(&service).close();
    saw_it.wait();
    service.connection().expect_next();
    run.stop();
}

/// Runs an invocation on one of two slots and cuts its answer; returns both slots' connections.
fn cut_answer_of_one_slot(
    on: &dyn Transport,
    service: &Service,
    event: Event,
) -> (Running, Connection) {
    let run = on.run_slots(2, service, |_| Act::send("answer"));
    let (mut one, mut other) = (service.connection(), service.connection());
    one.invoke(event);
    other.expect_next();
    one.request().assert_response("id-1");
    one.close();
    (run, other)
}

fn with_several_slots_an_answer_without_an_attempt_id_is_never_sent_twice(on: &dyn Transport) {
    let service = on.service();
    let (run, _other) = cut_answer_of_one_slot(on, &service, Event::new("id-1", ""));
    service.connection().expect_next();
    assert_eq!(run.stop(), [FATE_UNKNOWN]);
}

fn with_several_slots_an_answer_with_an_attempt_id_is_sent_once_more(on: &dyn Transport) {
    let service = on.service();
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-1");
    let (run, _other) = cut_answer_of_one_slot(on, &service, event);
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN]);
}

/// Runs an invocation on one of two slots. The service ends the connection in this way while the
/// handler runs; the answer comes on another connection.
fn end_connection_under_handler(on: &dyn Transport, end: impl FnOnce(Connection)) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run_slots(2, &service, move |_| {
        begins.open();
        waits.wait();
        Act::send("answer")
    });
    let mut connections = service.open_slots(2);
    let mut connection = connections.remove(0);
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-1");
    connection.send(event.bytes());
    has_begun.wait();
    end(connection);
    // In this time, a runtime that checks its connection notices the end.
    service.expect_no_connection();
    may_answer.open();
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    connections[0].expect_silence();
    run.stop();
}

fn with_several_slots_a_connection_that_closes_while_the_handler_runs_costs_no_answer(
    on: &dyn Transport,
) {
    end_connection_under_handler(on, Connection::close);
}

fn with_several_slots_an_unsolicited_408_costs_no_answer(on: &dyn Transport) {
    end_connection_under_handler(on, |mut connection| {
        connection.answer(408, "Connection: close\r\n", "");
        connection.close();
    });
}
