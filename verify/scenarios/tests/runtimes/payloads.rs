//! Events of every size and framing, however slowly they come.

use lambda_proto_scenarios::{
    Act, Connection, Event, Running, Service, Settings, TAKEN, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        events_of_every_size_come_back_whole,
        chunked_events_of_every_size_come_back_whole,
        an_event_in_chunks_of_one_byte_comes_back_whole,
        an_event_without_a_length_ends_with_its_connection,
        a_service_that_sends_one_byte_at_a_time_is_understood,
        an_interim_reply_is_skipped,
        the_largest_event_that_is_allowed_is_handed_over,
        an_event_one_byte_beyond_the_largest_is_an_error,
        an_event_far_beyond_the_largest_is_an_error_and_the_next_one_works,
        an_announced_length_without_bytes_takes_no_memory,
        a_large_reply_of_the_service_to_a_post_is_read_to_its_end,
    }
}

/// The largest event that the service sends: 6 MiB and 100 bytes.
const MAX_PAYLOAD: usize = 6 * 1024 * 1024 + 100;

/// Bytes that reveal when a piece is lost, doubled or moved.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at / 65_536) as u8).collect()
}

fn echo(on: &dyn Transport, service: &Service) -> Running {
    on.run(service, |seen| Act::send(seen.body()))
}

/// An echo of events of at most `max_event` bytes.
fn echo_at_most(on: &dyn Transport, max_event: usize, service: &Service) -> Running {
    let settings = Settings { max_event: Some(max_event), ..Settings::default() };
    on.run_with(settings, service.place(), |seen| Act::send(seen.body()))
}

#[track_caller]
fn assert_echoes(connection: &mut Connection, event: Event, body: &[u8]) {
    connection.invoke(event);
    let response = connection.request();
    response.assert_response("id-1");
    assert!(response.body == body, "{} bytes came back as {}", body.len(), response.body.len());
    connection.take_answer();
}

fn events_of_every_size_come_back_whole(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    for size in [0, 1, 2_047, 2_048, 2_049, 16_383, 16_384, 16_385, 65_536, 1 << 20, MAX_PAYLOAD, 5]
    {
        let body = pattern(size);
        assert_echoes(&mut connection, Event::new("id-1", body.clone()), &body);
    }
    run.stop();
}

fn chunked_events_of_every_size_come_back_whole(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    for size in [0, 1, 2_049, 16_384, 65_536, 1 << 20, MAX_PAYLOAD, 5] {
        let body = pattern(size);
        for chunk in [size.max(1), 32 * 1024, 1_000] {
            assert_echoes(&mut connection, Event::new("id-1", body.clone()).chunked(chunk), &body);
        }
    }
    run.stop();
}

fn an_event_in_chunks_of_one_byte_comes_back_whole(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let body = pattern(100_000);
    let event = Event::new("id-1", body.clone()).chunked(1);
    assert_echoes(&mut service.connection(), event, &body);
    run.stop();
}

fn an_event_without_a_length_ends_with_its_connection(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.expect_next();
    connection.send("HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id-1\r\n\r\nto the end");
    connection.close();
    let mut connection = service.connection();
    let response = connection.request();
    response.assert_response("id-1");
    assert_eq!(response.body, b"to the end");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn a_service_that_sends_one_byte_at_a_time_is_understood(on: &dyn Transport) {
    for event in
        [Event::new("id-1", pattern(3_000)), Event::new("id-1", pattern(3_000)).chunked(700)]
    {
        let service = on.service();
        let run = echo(on, &service);
        let mut connection = service.connection();
        for _ in 0..2 {
            connection.expect_next();
            connection.send_byte_by_byte(event.bytes());
            let response = connection.request();
            response.assert_response("id-1");
            assert!(response.body == pattern(3_000));
            connection.send_byte_by_byte(TAKEN);
        }
        connection.expect_next();
        assert_eq!(run.stop(), [""; 0]);
    }
}

fn an_interim_reply_is_skipped(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.expect_next();
    connection.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    connection.send(Event::new("id-1", "x").bytes());
    connection.request().assert_response("id-1");
    connection.send("HTTP/1.1 100 Continue\r\n\r\n");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

fn the_largest_event_that_is_allowed_is_handed_over(on: &dyn Transport) {
    let service = on.service();
    let run = echo_at_most(on, 100_000, &service);
    let mut connection = service.connection();
    let body = pattern(100_000);
    assert_echoes(&mut connection, Event::new("id-1", body.clone()), &body);
    assert_echoes(&mut connection, Event::new("id-1", body.clone()).chunked(999), &body);
    run.stop();
}

fn an_event_one_byte_beyond_the_largest_is_an_error(on: &dyn Transport) {
    let service = on.service();
    let run = echo_at_most(on, 100_000, &service);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", pattern(100_001)));
    connection.request().assert_error("id-1", "Runtime.EventTooLarge");
    connection.take_answer();
    run.stop();
}

fn an_event_far_beyond_the_largest_is_an_error_and_the_next_one_works(on: &dyn Transport) {
    for chunk in [None, Some(32 * 1024), Some(1 << 20)] {
        let service = on.service();
        let run = echo_at_most(on, 100_000, &service);
        let mut connection = service.connection();
        let too_large = Event::new("id-1", pattern(1 << 20));
        connection.invoke(match chunk {
            None => too_large,
            Some(chunk) => too_large.chunked(chunk),
        });
        connection.request().assert_error("id-1", "Runtime.EventTooLarge");
        connection.take_answer();
        let body = pattern(100_000);
        assert_echoes(&mut connection, Event::new("id-1", body.clone()), &body);
        connection.expect_next();
        service.expect_no_connection();
        assert_eq!(run.stop(), ["invocation id-1: the event does not fit the buffer"]);
    }
}

fn an_announced_length_without_bytes_takes_no_memory(on: &dyn Transport) {
    let service = on.service();
    let run = echo_at_most(on, usize::MAX, &service);
    let mut connection = service.connection();
    connection.expect_next();
    connection.send(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id-1\r\n\
         Content-Length: 1000000000000000\r\n\r\nthis is all",
    );
    connection.close();
    let mut connection = service.connection();
    connection.request().assert_error("id-1", "Runtime.EventTruncated");
    connection.take_answer();
    run.stop();
}

fn a_large_reply_of_the_service_to_a_post_is_read_to_its_end(on: &dyn Transport) {
    let service = on.service();
    let run = echo(on, &service);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request();
    connection.answer(202, "", &"x".repeat(1 << 20));
    connection.expect_next();
    service.expect_no_connection();
    assert_eq!(run.stop(), [""; 0]);
}
