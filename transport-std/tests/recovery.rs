//! What becomes of an answer whose connection is lost.

mod support;

use lambda_proto_std::{Answer, Failure};

use support::{Connection, Event, Gate, Running, Service};

const SENT_AGAIN: &str =
    "invocation id-1: connection lost before the reply; sending the answer again";
const FATE_UNKNOWN: &str =
    "invocation id-1: connection lost before the reply; whether the answer arrived is unknown";

/// Runs an invocation up to its answer, whose connection is cut without a reply.
fn cut_answer(service: &Service) -> Running {
    let run = service.run(|invocation, reply| Ok(reply.send(invocation.body())));
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

#[test]
fn an_answer_without_a_reply_is_sent_once_more_on_a_new_connection() {
    let service = Service::start();
    let run = cut_answer(&service);
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN]);
}

#[test]
fn an_answer_whose_connection_is_reset_is_sent_once_more() {
    let service = Service::start();
    let run = service.run(|invocation, reply| Ok(reply.send(invocation.body())));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "answer"));
    connection.reset_behind_request();
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN]);
}

#[test]
fn a_refusal_of_the_second_copy_means_that_the_first_was_taken() {
    for status in [400, 403] {
        let service = Service::start();
        let run = cut_answer(&service);
        let mut connection = expect_answer_again(&service);
        connection.refuse(status, "InvalidStateTransition", "already");
        connection.expect_next();
        assert_eq!(run.stop(), [SENT_AGAIN]);
    }
}

#[test]
fn any_other_refusal_of_the_second_copy_is_logged() {
    let service = Service::start();
    let run = cut_answer(&service);
    let mut connection = expect_answer_again(&service);
    connection.refuse(413, "RequestEntityTooLarge", "no");
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.len() == 2 && lines[1].contains("response was answered with 413"), "{lines:?}");
}

#[test]
fn an_answer_that_is_cut_twice_has_an_unknown_fate_and_the_loop_goes_on() {
    let service = Service::start();
    let run = cut_answer(&service);
    expect_answer_again(&service).close();
    let mut connection = service.connection();
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN, FATE_UNKNOWN]);
}

#[test]
fn an_error_without_a_reply_is_sent_once_more() {
    let service = Service::start();
    let run = service.run(|_, _| Err(Failure::new("Function.A", "b")));
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

#[test]
fn a_reply_that_is_cut_behind_its_head_counts() {
    let service = Service::start();
    let run = service.run(|invocation, reply| Ok(reply.send(invocation.body())));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "answer"));
    connection.request().assert_response("id-1");
    connection.send("HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"stat");
    connection.close();
    service.connection().expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_reply_that_is_cut_inside_its_head_leaves_the_fate_unknown() {
    let service = Service::start();
    let run = service.run(|invocation, reply| Ok(reply.send(invocation.body())));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "answer"));
    connection.request().assert_response("id-1");
    connection.send("HTTP/1.1 2");
    connection.close();
    service.connection().expect_next();
    assert_eq!(run.stop(), [FATE_UNKNOWN]);
}

#[test]
fn a_connection_that_closed_while_the_handler_ran_costs_no_answer() {
    let service = Service::start();
    let may_answer = Gate::default();
    let gate = may_answer.clone();
    let run = service.run(move |_, reply| {
        gate.wait();
        Ok(reply.send("answer"))
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

#[test]
fn a_large_answer_that_is_cut_in_the_middle_is_sent_again_whole() {
    let service = Service::start();
    let body = vec![b'x'; 4 * 1024 * 1024];
    let answer = body.clone();
    let run = service.run(move |_, reply| Ok(reply.send(&answer)));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.close();
    let mut connection = service.connection();
    let again = connection.request();
    again.assert_response("id-1");
    assert!(again.body == body);
    // The first copy cannot have been taken, so this is a refusal like any other.
    connection.refuse(403, "InvalidStateTransition", "odd");
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.len() == 2 && lines[1].contains("response was answered with 403"), "{lines:?}");
}

#[test]
fn a_pipelined_answer_without_a_reply_is_not_sent_again() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send_and_next("answer")));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.expect_next();
    connection.close();
    service.connection().expect_next();
    assert_eq!(run.stop(), [FATE_UNKNOWN]);
}

#[test]
fn the_handler_learns_that_the_fate_of_its_answer_is_unknown() {
    let service = Service::start();
    let saw_it = Gate::default();
    let gate = saw_it.clone();
    let run = service.run(move |_, reply| {
        let sent = reply.send("answer");
        if sent.answer() == Answer::FateUnknown {
            gate.open();
        }
        Ok(sent)
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
fn cut_answer_of_one_slot(service: &Service, event: Event) -> (Running, Connection) {
    let run = service.run_as(service.runtime().slots(2), |_, reply| Ok(reply.send("answer")));
    let (mut one, mut other) = (service.connection(), service.connection());
    one.invoke(event);
    other.expect_next();
    one.request().assert_response("id-1");
    one.close();
    (run, other)
}

#[test]
fn with_several_slots_an_answer_without_an_attempt_id_is_never_sent_twice() {
    let service = Service::start();
    let (run, _other) = cut_answer_of_one_slot(&service, Event::new("id-1", ""));
    service.connection().expect_next();
    assert_eq!(run.stop(), [FATE_UNKNOWN]);
}

#[test]
fn with_several_slots_an_answer_with_an_attempt_id_is_sent_once_more() {
    let service = Service::start();
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-1");
    let (run, _other) = cut_answer_of_one_slot(&service, event);
    let mut connection = expect_answer_again(&service);
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [SENT_AGAIN]);
}
