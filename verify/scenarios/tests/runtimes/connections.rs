//! One persistent connection, and a new one when the service has closed it.

use ::std::time::{Duration, Instant};

use lambda_proto_scenarios::{
    Act, Connection, Event, Gate, Running, Service, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        a_thousand_invocations_use_one_connection,
        a_connection_that_closes_while_the_runtime_waits_is_replaced_and_next_asked_again,
        a_connection_that_is_reset_while_the_runtime_waits_is_replaced_and_next_asked_again,
        a_connection_that_ends_inside_the_head_of_an_event_is_replaced_and_next_asked_again,
        a_connection_that_ends_inside_an_event_is_an_error_of_that_event,
        chunks_that_break_in_the_middle_of_an_event_are_an_error_of_that_event,
        after_a_reply_that_says_close_a_new_connection_is_used_immediately,
        after_an_event_that_says_close_the_answer_goes_out_on_a_new_connection,
        after_a_reply_to_a_pipelined_answer_that_says_close_next_is_asked_on_a_new_connection,
        a_reply_of_http_1_0_ends_its_connection,
        after_an_unsolicited_408_the_answer_goes_out_on_a_new_connection,
        bytes_after_an_event_are_logged_and_the_answer_goes_out_on_a_new_connection,
        garbage_instead_of_an_event_ends_the_runtime_with_an_error,
        garbage_instead_of_a_reply_ends_the_runtime_with_an_error,
        interim_replies_without_end_end_the_runtime_with_an_error,
        the_banner_of_another_protocol_is_seen_without_waiting_for_more,
        a_service_that_speaks_tls_is_reported,
        a_head_beyond_64_kib_ends_the_runtime_with_an_error,
    }
}

fn echo(on: &dyn Transport, service: &Service) -> Running {
    on.run(service, |seen| Act::send(seen.body()))
}

/// Serves one invocation on this connection and takes its answer.
#[track_caller]
fn serve(connection: &mut Connection, id: &str) {
    connection.invoke(Event::new(id, "x"));
    connection.request().assert_response(id);
    connection.take_answer();
}

fn a_thousand_invocations_use_one_connection(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    for round in 0..1_000 {
        serve(&mut connection, &format!("id-{round}"));
    }
    connection.expect_next();
    service.expect_no_connection();
    assert_eq!(run.stop(), [""; 0]);
}

fn a_connection_that_closes_while_the_runtime_waits_is_replaced_and_next_asked_again(
    on: &dyn Transport,
) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    serve(&mut connection, "id-1");
    connection.expect_next();
    connection.close();
    serve(&mut service.connection(), "id-2");
    run.stop();
}

fn a_connection_that_is_reset_while_the_runtime_waits_is_replaced_and_next_asked_again(
    on: &dyn Transport,
) {
    let service = on.service();
    let run = echo(on, &service);
    service.connection().reset_behind_request();
    let mut connection = service.connection();
    serve(&mut connection, "id-1");
    connection.expect_next();
    run.stop();
}

fn a_connection_that_ends_inside_the_head_of_an_event_is_replaced_and_next_asked_again(
    on: &dyn Transport,
) {
    let event = Event::new("id-1", "x").bytes();
    let head = event.len() - 1;
    for cut in [1, 8, 16, 17, 40, head - 2, head - 1] {
        let service = on.service();
        let run = echo(on, &service);
        let mut connection = service.connection();
        connection.expect_next();
        connection.send(&event[..cut]);
        connection.close();
        let mut connection = service.connection();
        serve(&mut connection, "id-2");
        connection.expect_next();
        run.stop();
    }
}

fn a_connection_that_ends_inside_an_event_is_an_error_of_that_event(on: &dyn Transport) {
    let half = |bytes: Vec<u8>, left: usize| bytes[..bytes.len() - left].to_vec();
    let parts = [
        half(Event::new("id-1", "0123456789").bytes(), 10),
        half(Event::new("id-1", "0123456789").bytes(), 1),
        half(Event::new("id-1", "0123456789").chunked(3).bytes(), 12),
        half(Event::new("id-1", "0123456789").chunked(3).bytes(), 2),
    ];
    for part in parts {
        let service = on.service();
        let run = on.run(&service, |seen| {
            assert_ne!(seen.request_id(), "id-1", "no handler sees half an event");
            Act::send(seen.body())
        });
        let mut connection = service.connection();
        connection.expect_next();
        connection.send(part);
        connection.close();
        let mut connection = service.connection();
        connection.request().assert_error("id-1", "Runtime.EventTruncated");
        connection.take_answer();
        serve(&mut connection, "id-2");
        connection.expect_next();
        let expected = "invocation id-1: connection lost in the middle of the event";
        assert_eq!(run.stop(), [expected]);
    }
}

fn chunks_that_break_in_the_middle_of_an_event_are_an_error_of_that_event(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.expect_next();
    connection.send(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id-1\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabcXY",
    );
    let mut other = service.connection();
    other.request().assert_error("id-1", "Runtime.EventTruncated");
    other.take_answer();
    serve(&mut other, "id-2");
    run.stop();
}

fn after_a_reply_that_says_close_a_new_connection_is_used_immediately(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let began = Instant::now();
    for round in 0..10 {
        let mut connection = service.connection();
        connection.invoke(Event::new("id-1", "x"));
        connection.request().assert_response("id-1");
        connection
            .send("HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK");
        connection.expect_end();
        assert!(began.elapsed() < Duration::from_secs(5), "round {round}");
    }
    service.connection().expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn after_an_event_that_says_close_the_answer_goes_out_on_a_new_connection(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "x").header("Connection", "close"));
    connection.close();
    let mut connection = service.connection();
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn after_a_reply_to_a_pipelined_answer_that_says_close_next_is_asked_on_a_new_connection(
    on: &dyn Transport,
) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send_and_next("x"));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.expect_next();
    connection.send("HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    connection.close();
    service.connection().expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn a_reply_of_http_1_0_ends_its_connection(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "x"));
    connection.request().assert_response("id-1");
    connection.send("HTTP/1.0 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    connection.expect_end();
    service.connection().expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn after_an_unsolicited_408_the_answer_goes_out_on_a_new_connection(on: &dyn Transport) {
    let service = on.service();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = on.run(&service, move |_| {
        begins.open();
        waits.wait();
        Act::send("x")
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    connection.answer(408, "Connection: close\r\n", "");
    connection.close();
    may_answer.open();
    let mut connection = service.connection();
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

fn bytes_after_an_event_are_logged_and_the_answer_goes_out_on_a_new_connection(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.expect_next();
    let mut bytes = Event::new("id-1", "x").bytes();
    bytes.extend(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
    connection.send(bytes);
    let mut connection = service.connection();
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    let lines = run.stop();
    assert!(
        lines.len() == 1 && lines[0].contains("received bytes that answer no request"),
        "{lines:?}"
    );
}

fn garbage_instead_of_an_event_ends_the_runtime_with_an_error(on: &dyn Transport) {
    let garbage = [
        "\0\x01\x02\x03\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ];
    for garbage in garbage {
        let service = on.service();
        let run = echo(on, &service);
        let mut connection = service.connection();
        connection.expect_next();
        connection.send(garbage);
        let error = run.error();
        assert!(error.contains("violated the protocol"), "{garbage:?}: {error}");
    }
}

fn garbage_instead_of_a_reply_ends_the_runtime_with_an_error(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "x"));
    connection.request();
    connection.send("220 mail.example.com ESMTP\r\n\r\n");
    let error = run.error();
    assert!(error.contains("violated the protocol"), "{error}");
}

fn interim_replies_without_end_end_the_runtime_with_an_error(on: &dyn Transport) {
    for is_answer in [false, true] {
        let service = on.service();
        let run = echo(on, &service);
        let mut connection = service.connection();
        if is_answer {
            connection.invoke(Event::new("id-1", "x"));
            connection.request();
        } else {
            connection.expect_next();
        }
        connection.send("HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000));
        let error = run.error();
        assert!(error.contains("more than 100 interim replies"), "{error}");
    }
}

fn the_banner_of_another_protocol_is_seen_without_waiting_for_more(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.expect_next();
    connection.send("SSH-2.0-OpenSSH_9.2\r\n");
    let error = run.error();
    assert!(error.contains("violated the protocol"), "{error}");
}

fn a_service_that_speaks_tls_is_reported(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.expect_next();
    // The alert "protocol_version" [RFC 8446 section 6], with which TLS servers answer a GET.
    connection.send(b"\x15\x03\x01\x00\x02\x02\x46");
    connection.close();
    let error = run.error();
    assert!(error.contains("violated the protocol"), "{error}");
}

fn a_head_beyond_64_kib_ends_the_runtime_with_an_error(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.expect_next();
    let event = Event::new("id-1", "").header("X-Long", vec![b'x'; 64 * 1024]);
    connection.send(event.bytes());
    let error = run.error();
    assert!(error.contains("head longer than 65536 bytes"), "{error}");
}
