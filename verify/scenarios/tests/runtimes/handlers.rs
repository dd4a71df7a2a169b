//! The service gets the answer of the handler.

use lambda_proto_scenarios::{
    Act, Event, Gate, Outcome, Receipt, Response, Settings, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        the_service_gets_the_answer_of_the_handler,
        a_response_states_its_content_type,
        a_response_without_a_content_type_states_none,
        the_content_type_of_the_event_can_be_sent_back,
        an_empty_answer_has_a_length_of_zero,
        the_handler_sees_the_headers_of_the_event,
        send_and_next_puts_both_requests_into_one_write,
        pipelined_answers_go_out_in_the_order_of_their_events,
        a_reply_and_the_next_event_may_arrive_in_one_piece,
        the_attempt_id_is_echoed_with_the_response,
        the_attempt_id_is_echoed_with_the_error,
        the_attempt_id_of_one_invocation_is_not_sent_with_the_following_one,
        every_request_names_this_crate_as_user_agent,
        a_responder_that_is_dropped_is_reported_as_no_response,
    }
    where_answering_blocks {
        the_handler_learns_that_its_answer_was_taken,
        work_after_send_runs_when_the_service_has_replied_and_before_the_next_is_asked_for,
    }
}

fn the_service_gets_the_answer_of_the_handler(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", "\"Ada\""), |seen| Act::send(seen.body()));
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body, b"\"Ada\"");
    assert_eq!(outcome.lines, [""; 0]);
}

fn a_response_states_its_content_type(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        Act::send(Response::from("<p>").content_type("text/html"))
    });
    assert_eq!(outcome.request.header("Content-Type"), Some("text/html"));
}

fn a_response_without_a_content_type_states_none(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| Act::send("text"));
    assert_eq!(
        outcome.request.header_names(),
        ["content-length", "host", "user-agent"],
        "only what every request has"
    );
}

fn the_content_type_of_the_event_can_be_sent_back(on: &dyn Transport) {
    let event = Event::new("id-1", "a,b").header("Content-Type", "text/csv");
    let outcome = on.invoke_once(event, |seen| {
        let content_type = seen.content_type().expect("there is one");
        Act::send(Response::from(seen.body()).content_type(content_type.as_bytes()))
    });
    assert_eq!(outcome.request.header("Content-Type"), Some("text/csv"));
}

fn an_empty_answer_has_a_length_of_zero(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", "x"), |_| Act::send(""));
    assert_eq!(outcome.request.header("Content-Length"), Some("0"));
    assert_eq!(outcome.request.body, b"");
}

fn the_handler_sees_the_headers_of_the_event(on: &dyn Transport) {
    let event = Event::new("id-1", "{}")
        .header("lambda-runtime-deadline-ms", "1795252820229")
        .header("LAMBDA-RUNTIME-INVOKED-FUNCTION-ARN", "arn:aws:lambda:eu-west-1:1:function:f")
        .header("Lambda-Runtime-Trace-Id", "Root=1-2-3")
        .header("Lambda-Runtime-Cognito-Identity", "")
        .header("Lambda-Runtime-Aws-Tenant-Id", "blue")
        .header("X-Other", "yes");
    let outcome = on.invoke_once(event, |seen| {
        let text = format!(
            "{} {:?} {:?} {:?} {:?} {:?} {:?}",
            seen.request_id(),
            seen.deadline().map(|deadline| deadline.as_unix_millis()),
            seen.invoked_function_arn(),
            seen.trace_id(),
            seen.cognito_identity(),
            seen.tenant_id(),
            seen.header("x-other"),
        );
        Act::send(text)
    });
    let seen = String::from_utf8(outcome.request.body).unwrap();
    let other = Some(b"yes");
    assert_eq!(
        seen,
        format!(
            "id-1 Some(1795252820229) Some(\"arn:aws:lambda:eu-west-1:1:function:f\") \
             Some(\"Root=1-2-3\") None Some(\"blue\") {other:?}"
        )
    );
}

fn the_handler_learns_that_its_answer_was_taken(on: &dyn Transport) {
    let seen = Gate::default();
    let gate = seen.clone();
    on.invoke_once(Event::new("id-1", ""), move |_| {
        let gate = gate.clone();
        Act::send("x").then(move |answer| {
            if matches!(answer, Receipt::Known(reply) if reply.status() == 202) {
                gate.open();
            }
            Ok(())
        })
    });
    seen.wait();
}

fn work_after_send_runs_when_the_service_has_replied_and_before_the_next_is_asked_for(
    on: &dyn Transport,
) {
    let service = on.service();
    let (has_sent, may_return) = (Gate::default(), Gate::default());
    let (sends, returns) = (has_sent.clone(), may_return.clone());
    let run = on.run(&service, move |_| {
        let (sends, returns) = (sends.clone(), returns.clone());
        Act::send("done").then(move |_| {
            sends.open();
            returns.wait();
            Ok(())
        })
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    assert!(!has_sent.is_open(), "send waits for the reply");
    connection.take_answer();
    has_sent.wait();
    connection.expect_silence();
    may_return.open();
    connection.expect_next();
    run.stop();
}

fn send_and_next_puts_both_requests_into_one_write(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| Act::send_and_next(seen.body()));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "hello"));
    let first_read = connection.read_once();
    assert!(first_read.ends_with(b"\r\n\r\n"), "{}", first_read.escape_ascii());
    let response = connection.request();
    response.assert_response("id-1");
    assert_eq!(response.body, b"hello");
    connection.expect_next();
    connection.take_answer();
    run.stop();
}

fn pipelined_answers_go_out_in_the_order_of_their_events(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| Act::send_and_next(seen.body()));
    let mut connection = service.connection();
    for round in 0..20 {
        let (id, body) = (format!("id-{round}"), vec![b'x'; round * 1000]);
        connection.invoke(Event::new(&id, body.clone()));
        let response = connection.request();
        response.assert_response(&id);
        assert_eq!(response.body, body);
        connection.take_answer();
    }
    connection.expect_next();
    service.expect_no_connection();
    run.stop();
}

fn a_reply_and_the_next_event_may_arrive_in_one_piece(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| Act::send_and_next(seen.body()));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "one"));
    connection.request().assert_response("id-1");
    connection.expect_next();
    let mut both = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_vec();
    both.extend(Event::new("id-2", "two").bytes());
    connection.send(both);
    let response = connection.request();
    response.assert_response("id-2");
    assert_eq!(response.body, b"two");
    connection.take_answer();
    run.stop();
}

fn the_attempt_id_is_echoed_with_the_response(on: &dyn Transport) {
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-7");
    let outcome = on.invoke_once(event, |_| Act::send(""));
    assert_eq!(outcome.request.header("Lambda-Runtime-Invocation-Id"), Some("try-7"));
}

fn the_attempt_id_is_echoed_with_the_error(on: &dyn Transport) {
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-7");
    let outcome = on.invoke_once(event, |_| Act::fail("Function.Refused", "not this one"));
    outcome.request.assert_error("id-1", "Function.Refused");
    assert_eq!(outcome.request.header("Lambda-Runtime-Invocation-Id"), Some("try-7"));
}

fn the_attempt_id_of_one_invocation_is_not_sent_with_the_following_one(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send(""));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-7"));
    connection.request();
    connection.take_answer();
    for empty in [None, Some("")] {
        let mut event = Event::new("id-2", "");
        if let Some(value) = empty {
            event = event.header("Lambda-Runtime-Invocation-Id", value);
        }
        connection.invoke(event);
        let request = connection.request();
        request.assert_response("id-2");
        assert_eq!(request.header("Lambda-Runtime-Invocation-Id"), None);
        connection.take_answer();
    }
    run.stop();
}

fn every_request_names_this_crate_as_user_agent(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::fail("Function.Refused", ""));
    let mut connection = service.connection();
    let expected = format!("lambda-proto/{}", env!("CARGO_PKG_VERSION"));
    let next = connection.expect_next();
    assert_eq!(next.header("User-Agent"), Some(expected.as_str()));
    connection.send(Event::new("id-1", "").bytes());
    assert_eq!(connection.request().header("User-Agent"), Some(expected.as_str()));
    connection.take_answer();
    run.stop();
}

fn a_responder_that_is_dropped_is_reported_as_no_response(on: &dyn Transport) {
    let service = on.service();
    let pulling = Settings { is_pulling: true, ..Settings::default() };
    let run = on.run_with(pulling, service.place(), |_| Act::Drop);
    let outcome = Outcome::of(&service, run, Event::new("id-1", ""));
    outcome.request.assert_error("id-1", "Runtime.NoResponse");
    assert_eq!(outcome.lines, ["invocation id-1: the handler gave no answer"]);
}
