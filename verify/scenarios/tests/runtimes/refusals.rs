//! A refusal by the service is logged or ends the runtime, depending on its status.

use ::std::time::{Duration, Instant};

use lambda_proto_scenarios::{
    Act, Connection, ContentType, Error, Event, Running, Service, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        a_400_on_a_response_ends_the_invocation_only,
        a_403_on_a_response_ends_the_invocation_only,
        a_404_on_a_response_ends_the_invocation_only,
        a_410_on_a_response_ends_the_invocation_only,
        a_413_on_a_response_ends_the_invocation_only,
        a_503_on_a_response_ends_the_invocation_only,
        a_refused_error_is_not_posted_again,
        a_refusal_of_a_pipelined_answer_is_logged_and_the_next_event_handled,
        a_refusal_that_is_not_json_is_logged_as_it_is,
        a_refusal_without_a_body_is_logged_without_one,
        a_long_refusal_is_logged_in_part,
        a_refusal_that_nests_without_end_is_logged_in_part_and_the_loop_continues,
        a_500_on_a_response_ends_the_runtime_with_an_error_that_names_it,
        a_500_on_an_error_ends_the_runtime_with_an_error_that_names_it,
        a_500_on_a_pipelined_answer_ends_the_runtime_with_an_error,
        a_refused_next_ends_the_runtime_with_an_error_that_names_it,
        a_refused_next_is_not_blamed_on_the_invocation_before,
        after_a_204_the_next_is_asked_for_again,
        a_service_that_replies_204_immediately_is_not_asked_in_a_tight_loop,
        after_a_503_the_next_is_asked_for_again_with_growing_pauses,
        after_a_503_that_closes_the_connection_the_pauses_grow_as_well,
        an_early_413_whose_sender_stops_reading_is_logged_and_the_loop_continues,
    }
    on_sockets {
        an_early_413_whose_sender_stays_connected_does_not_block_the_slot,
        an_interim_reply_to_a_large_answer_does_not_cut_it,
        an_early_acceptance_does_not_cut_a_large_answer,
        an_early_acceptance_does_not_end_a_stream,
    }
    where_answering_blocks {
        a_handler_that_fails_after_its_answer_was_refused_posts_nothing,
    }
}

/// More than the buffers of two sockets hold.
const LARGE: usize = 32 * 1024 * 1024;

/// Runs one invocation whose handler responds or fails, until the service has read the answer.
fn answer(on: &dyn Transport, service: &Service, is_failing: bool) -> (Running, Connection) {
    let run = on.run(service, move |_| match is_failing {
        true => Act::fail("Function.A", "b"),
        false => Act::send("x"),
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    match is_failing {
        true => connection.request().assert_error("id-1", "Function.A"),
        false => connection.request().assert_response("id-1"),
    }
    (run, connection)
}

/// Checks that a refusal is logged with the words of the service, and that the next request on the
/// same connection is `next`: nothing else is posted.
#[track_caller]
fn assert_logged_and_over(on: &dyn Transport, is_failing: bool, status: u16, meaning: &str) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, is_failing);
    connection.refuse(status, "SomeType", "some words");
    connection.expect_next();
    service.expect_no_connection();
    let call = if is_failing { "error" } else { "response" };
    let expected = format!(
        "invocation id-1: {call} was answered with {status}: {meaning} (SomeType: some words)"
    );
    let lines = run.stop();
    let failed = if is_failing { &["invocation id-1: failed: Function.A: b"][..] } else { &[] };
    assert_eq!(lines[..lines.len() - 1], *failed);
    assert_eq!(lines.last(), Some(&expected));
}

fn a_400_on_a_response_ends_the_invocation_only(on: &dyn Transport) {
    assert_logged_and_over(on, false, 400, "not the current request id, or a malformed request");
}

fn a_403_on_a_response_ends_the_invocation_only(on: &dyn Transport) {
    assert_logged_and_over(on, false, 403, "not allowed in this order");
}

fn a_404_on_a_response_ends_the_invocation_only(on: &dyn Transport) {
    assert_logged_and_over(on, false, 404, "this service has no such call");
}

fn a_410_on_a_response_ends_the_invocation_only(on: &dyn Transport) {
    assert_logged_and_over(on, false, 410, "the invocation is over");
}

fn a_413_on_a_response_ends_the_invocation_only(on: &dyn Transport) {
    assert_logged_and_over(on, false, 413, "the body is too large");
}

fn a_503_on_a_response_ends_the_invocation_only(on: &dyn Transport) {
    assert_logged_and_over(on, false, 503, "not a status of the Runtime API");
}

fn a_refused_error_is_not_posted_again(on: &dyn Transport) {
    let refusals = [
        (400, "not the current request id, or a malformed request"),
        (403, "not allowed in this order"),
        (410, "the invocation is over"),
        (413, "the body is too large"),
    ];
    for (status, meaning) in refusals {
        assert_logged_and_over(on, true, status, meaning);
    }
}

fn a_handler_that_fails_after_its_answer_was_refused_posts_nothing(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send("too large").then_fail("Function.A", "b"));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.refuse(413, "RequestEntityTooLarge", "no");
    connection.expect_next();
    assert_eq!(run.stop().len(), 2);
}

fn a_refusal_of_a_pipelined_answer_is_logged_and_the_next_event_handled(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send_and_next("x"));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.refuse(413, "RequestEntityTooLarge", "no");
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    connection.expect_next();
    let expected = "invocation id-1: response was answered with 413: the body is too large \
        (RequestEntityTooLarge: no)";
    assert_eq!(run.stop(), [expected]);
}

fn a_refusal_that_is_not_json_is_logged_as_it_is(on: &dyn Transport) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, false);
    connection.answer(404, "Content-Type: text/plain\r\n", "404 page \0not\x1b found\n");
    connection.expect_next();
    let expected = "invocation id-1: response was answered with 404: \
        this service has no such call (404 page \\x00not\\x1b found)";
    assert_eq!(run.stop(), [expected]);
}

fn a_refusal_without_a_body_is_logged_without_one(on: &dyn Transport) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, false);
    connection.answer(405, "", "");
    connection.expect_next();
    let expected = "invocation id-1: response was answered with 405: this service has no such call";
    assert_eq!(run.stop(), [expected]);
}

fn a_long_refusal_is_logged_in_part(on: &dyn Transport) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, false);
    connection.answer(413, "", &"x".repeat(100_000));
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.len() == 1 && lines[0].len() < 1_000, "{lines:?}");
}

fn a_refusal_that_nests_without_end_is_logged_in_part_and_the_loop_continues(on: &dyn Transport) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, false);
    connection.answer(400, "", &"[".repeat(100_000));
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    let lines = run.stop();
    assert!(lines.len() == 1 && lines[0].len() < 1_000, "{lines:?}");
    assert!(lines[0].ends_with("[[[)"), "{lines:?}");
}

fn a_500_on_a_response_ends_the_runtime_with_an_error_that_names_it(on: &dyn Transport) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, false);
    connection.refuse(500, "InternalServerError", "Internal Server Error");
    let error = run.end().unwrap_err();
    assert!(matches!(error, Error::Service(reply) if reply.status() == 500), "{error}");
    assert_eq!(
        error.to_string(),
        "the Runtime API ends this runtime: response was answered with 500: \
         the service cannot go on with this runtime"
    );
    connection.expect_end();
}

fn a_500_on_an_error_ends_the_runtime_with_an_error_that_names_it(on: &dyn Transport) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, true);
    connection.refuse(500, "InternalServerError", "Internal Server Error");
    let error = run.error();
    assert!(error.contains("error was answered with 500"), "{error}");
}

fn a_500_on_a_pipelined_answer_ends_the_runtime_with_an_error(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send_and_next("x"));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.refuse(500, "InternalServerError", "Internal Server Error");
    let error = run.error();
    assert!(error.contains("response was answered with 500"), "{error}");
}

fn a_refused_next_ends_the_runtime_with_an_error_that_names_it(on: &dyn Transport) {
    for status in [400, 403, 404, 405, 500, 501] {
        let service = on.service();
        let run = on.run(&service, |_| Act::send("x"));
        let mut connection = service.connection();
        connection.expect_next();
        connection.refuse(status, "SomeType", "some words");
        let error = run.error();
        assert!(error.contains(&format!("next was answered with {status}")), "{error}");
        let lines = service.lines().all();
        assert!(lines.iter().any(|line| line.contains("SomeType: some words")), "{lines:?}");
    }
}

fn a_refused_next_is_not_blamed_on_the_invocation_before(on: &dyn Transport) {
    let service = on.service();
    let (run, mut connection) = answer(on, &service, false);
    connection.take_answer();
    connection.expect_next();
    connection.refuse(503, "Busy", "later");
    let mut connection = service.connection();
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.len() == 1 && !lines[0].contains("id-1"), "{lines:?}");
}

fn after_a_204_the_next_is_asked_for_again(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send("x"));
    let mut connection = service.connection();
    connection.expect_next();
    connection.send("HTTP/1.1 204 No Content\r\n\r\n");
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    assert_eq!(run.stop(), [""; 0]);
}

fn a_service_that_replies_204_immediately_is_not_asked_in_a_tight_loop(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send("x"));
    let began = Instant::now();
    let mut asked = 0;
    while began.elapsed() < Duration::from_millis(500) {
        let mut connection = service.connection();
        connection.expect_next();
        connection.send("HTTP/1.1 204 No Content\r\n\r\n");
        asked += 1;
    }
    // Pauses of at least 25 ms follow the second answer.
    assert!(asked <= 22, "asked {asked} times in half a second");
    run.stop();
}

/// Replies to `next` four times with 503; the pauses grow, so they take at least 25 + 50 + 100 +
/// 200 ms.
fn assert_pauses_behind_503(on: &dyn Transport, headers: &str) {
    let service = on.service();
    let run = on.run(&service, |_| Act::send("x"));
    let began = Instant::now();
    for _ in 0..4 {
        let mut connection = service.connection();
        connection.expect_next();
        connection.answer(503, headers, "busy");
    }
    let mut connection = service.connection();
    assert!(began.elapsed() >= Duration::from_millis(375), "asked again in {:?}", began.elapsed());
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    let lines = run.stop();
    assert!(lines[0].contains("next was answered with 503"), "{lines:?}");
}

fn after_a_503_the_next_is_asked_for_again_with_growing_pauses(on: &dyn Transport) {
    assert_pauses_behind_503(on, "");
}

fn after_a_503_that_closes_the_connection_the_pauses_grow_as_well(on: &dyn Transport) {
    assert_pauses_behind_503(on, "Connection: close\r\n");
}

fn an_early_413_whose_sender_stops_reading_is_logged_and_the_loop_continues(on: &dyn Transport) {
    let (service, run) = large_or_small(on);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "large"));
    connection.head().assert_response("id-1");
    connection.refuse(413, "RequestEntityTooLarge", "Exceeded maximum");
    connection.close();
    assert_continues(&service, run);
}

fn an_early_413_whose_sender_stays_connected_does_not_block_the_slot(on: &dyn Transport) {
    let (service, run) = large_or_small(on);
    // It stays open until the end, and nothing more is read from it.
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "large"));
    connection.head().assert_response("id-1");
    connection.refuse(413, "RequestEntityTooLarge", "Exceeded maximum");
    assert_continues(&service, run);
}

fn an_early_acceptance_does_not_cut_a_large_answer(on: &dyn Transport) {
    let (service, run) = large_or_small(on);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "large"));
    let head = connection.head();
    head.assert_response("id-1");
    connection.take_answer();
    ::std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(connection.rest_of(&head).len(), LARGE);
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn an_early_acceptance_does_not_end_a_stream(on: &dyn Transport) {
    const PIECES: usize = 32;
    let service = on.service();
    let run = on.run(&service, |_| {
        Act::stream(ContentType::TEXT).pieces((0..PIECES).map(|_| vec![b'x'; 1 << 20])).finish()
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    let first = connection.chunk().expect("a piece");
    connection.take_answer();
    ::std::thread::sleep(Duration::from_millis(1200));
    let mut length = first.len();
    while let Some(chunk) = connection.chunk() {
        length += chunk.len();
    }
    assert_eq!(length, PIECES << 20);
    connection.trailers();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

fn an_interim_reply_to_a_large_answer_does_not_cut_it(on: &dyn Transport) {
    let (service, run) = large_or_small(on);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "large"));
    let head = connection.head();
    head.assert_response("id-1");
    connection.send("HTTP/1.1 100 Continue\r\n\r\n");
    // Long enough for every transport to notice it while its write waits.
    ::std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(connection.rest_of(&head).len(), LARGE);
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

/// A runtime that answers with much or little.
fn large_or_small(on: &dyn Transport) -> (Service, Running) {
    let service = on.service();
    let run = on.run(&service, |seen| match seen.body() {
        b"large" => Act::send(vec![b'x'; LARGE]),
        _ => Act::send("small"),
    });
    (service, run)
}

/// Checks that a small answer follows on a new connection, and that the refusal is logged.
#[track_caller]
fn assert_continues(service: &Service, run: Running) {
    let mut connection = service.connection();
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    let expected = "invocation id-1: response was answered with 413: the body is too large \
        (RequestEntityTooLarge: Exceeded maximum)";
    assert_eq!(run.stop(), [expected]);
}
