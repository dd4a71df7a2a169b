//! What a handler answers is what the service gets.

mod support;

use std::sync::Mutex;

use lambda_proto_std::{Answer, ContentType, Failure, Response};

use support::{Event, Gate, Service, invoke_once};

#[test]
fn the_event_comes_back_as_the_handler_answers_it() {
    let outcome = invoke_once(Event::new("id-1", "\"Ada\""), |invocation, reply| {
        Ok(reply.send(invocation.body()))
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body, b"\"Ada\"");
    assert_eq!(outcome.lines, [""; 0]);
}

#[test]
fn a_response_states_its_content_type() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        Ok(reply.send(Response::new(b"<p>").content_type(ContentType::from_bytes(b"text/html")?)))
    });
    assert_eq!(outcome.request.header("Content-Type"), Some("text/html"));
}

#[test]
fn a_response_without_a_content_type_states_none() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| Ok(reply.send("text")));
    assert_eq!(
        outcome.request.header_names(),
        ["content-length", "host", "user-agent"],
        "only what every request has"
    );
}

#[test]
fn the_content_type_of_the_event_can_be_sent_back() {
    let event = Event::new("id-1", "a,b").header("Content-Type", "text/csv");
    let outcome = invoke_once(event, |invocation, reply| {
        Ok(reply.send(Response::new(invocation.body()).content_type(invocation.content_type())))
    });
    assert_eq!(outcome.request.header("Content-Type"), Some("text/csv"));
}

#[test]
fn an_empty_answer_has_a_length_of_zero() {
    let outcome = invoke_once(Event::new("id-1", "x"), |_, reply| Ok(reply.send("")));
    assert_eq!(outcome.request.header("Content-Length"), Some("0"));
    assert_eq!(outcome.request.body, b"");
}

#[test]
fn the_handler_sees_what_came_with_the_event() {
    let event = Event::new("id-1", "{}")
        .header("lambda-runtime-deadline-ms", "1795252820229")
        .header("LAMBDA-RUNTIME-INVOKED-FUNCTION-ARN", "arn:aws:lambda:eu-west-1:1:function:f")
        .header("Lambda-Runtime-Trace-Id", "Root=1-2-3")
        .header("Lambda-Runtime-Cognito-Identity", "")
        .header("Lambda-Runtime-Aws-Tenant-Id", "blue")
        .header("X-Other", "yes");
    let outcome = invoke_once(event, |invocation, reply| {
        let text = format!(
            "{} {:?} {:?} {:?} {:?} {:?} {:?}",
            invocation.request_id(),
            invocation.deadline().map(|deadline| deadline.as_unix_millis()),
            invocation.invoked_function_arn(),
            invocation.trace_id(),
            invocation.cognito_identity(),
            invocation.tenant_id(),
            invocation.header("x-other"),
        );
        Ok(reply.send(&text))
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

#[test]
fn the_handler_learns_that_its_answer_was_taken() {
    let seen = Gate::default();
    let gate = seen.clone();
    invoke_once(Event::new("id-1", ""), move |_, reply| {
        let sent = reply.send("x");
        if matches!(sent.answer(), Answer::Known(reply) if reply.status() == 202) {
            gate.open();
        }
        Ok(sent)
    });
    seen.wait();
}

#[test]
fn work_after_send_runs_when_the_service_has_replied_and_before_the_next_is_asked_for() {
    let service = Service::start();
    let (has_sent, may_return) = (Gate::default(), Gate::default());
    let (sends, returns) = (has_sent.clone(), may_return.clone());
    let run = service.run(move |_, reply| {
        let sent = reply.send("done");
        sends.open();
        returns.wait();
        Ok(sent)
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

#[test]
fn send_and_next_puts_both_requests_into_one_write() {
    let service = Service::start();
    let run = service.run(|invocation, reply| Ok(reply.send_and_next(invocation.body())));
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

#[test]
fn pipelined_answers_go_out_in_the_order_of_their_events() {
    let service = Service::start();
    let run = service.run(|invocation, reply| Ok(reply.send_and_next(invocation.body())));
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

#[test]
fn a_reply_and_the_next_event_may_arrive_in_one_piece() {
    let service = Service::start();
    let run = service.run(|invocation, reply| Ok(reply.send_and_next(invocation.body())));
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

#[test]
fn the_attempt_id_is_echoed_with_the_response() {
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-7");
    let outcome = invoke_once(event, |_, reply| Ok(reply.send("")));
    assert_eq!(outcome.request.header("Lambda-Runtime-Invocation-Id"), Some("try-7"));
}

#[test]
fn the_attempt_id_is_echoed_with_the_error() {
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "try-7");
    let outcome = invoke_once(event, |_, _| Err(Failure::new("Function.Refused", "not this one")));
    outcome.request.assert_error("id-1", "Function.Refused");
    assert_eq!(outcome.request.header("Lambda-Runtime-Invocation-Id"), Some("try-7"));
}

#[test]
fn the_attempt_id_of_one_invocation_is_not_sent_with_the_following_one() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send("")));
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

#[test]
fn every_request_names_this_crate_as_user_agent() {
    let service = Service::start();
    let run = service.run(|_, _| Err(Failure::new("Function.Refused", "")));
    let mut connection = service.connection();
    let expected = format!("lambda-proto/{}", env!("CARGO_PKG_VERSION"));
    let next = connection.expect_next();
    assert_eq!(next.header("User-Agent"), Some(expected.as_str()));
    connection.send(Event::new("id-1", "").bytes());
    assert_eq!(connection.request().header("User-Agent"), Some(expected.as_str()));
    connection.take_answer();
    run.stop();
}

#[test]
fn a_user_agent_of_ones_own_takes_its_place() {
    let service = Service::start();
    let runtime = service.runtime().user_agent("my-language/1.2").unwrap();
    let run = service.run_as(runtime, |_, reply| Ok(reply.send("")));
    let mut connection = service.connection();
    assert_eq!(connection.expect_next().header("User-Agent"), Some("my-language/1.2"));
    run.stop();
}

#[test]
fn a_user_agent_that_would_break_its_header_is_refused() {
    for wrong in ["", " x", "a\r\nb: c", "caf\u{e9}", &"x".repeat(129)] {
        let error = Service::start().runtime().user_agent(wrong).err().expect(wrong);
        assert!(error.to_string().contains("user agent"), "{error}");
    }
}

#[test]
fn a_handler_that_changes_what_it_holds_runs_with_run_mut() {
    let service = Service::start();
    let runtime = service.runtime();
    let mut count = 0;
    let stop = runtime.stop_handle();
    let run = support::Running::new(service.lines(), stop, move || {
        runtime.run_mut(move |_, reply| {
            count += 1;
            Ok(reply.send(&format!("{count}")))
        })
    });
    let mut connection = service.connection();
    for count in 1..=3 {
        connection.invoke(Event::new("id-1", ""));
        assert_eq!(connection.request().body, count.to_string().as_bytes());
        connection.take_answer();
    }
    run.stop();
}

#[test]
fn a_handler_may_keep_what_it_was_given_in_places_of_its_own() {
    let service = Service::start();
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let run = service.run(move |invocation, reply| {
        kept.lock().unwrap().push(invocation.body().to_vec());
        Ok(reply.send(""))
    });
    let mut connection = service.connection();
    for body in ["a", "b"] {
        connection.invoke(Event::new("id-1", body));
        connection.request();
        connection.take_answer();
    }
    run.stop();
    assert_eq!(*seen.lock().unwrap(), [b"a", b"b"]);
}
