//! Streamed responses: chunks, trailers, and what happens when either side stops early.

use serde_json::json;

use lambda_proto_scenarios::{
    Act, Connection, ContentType, Event, Failure, Gate, Outcome, Receipt, Request, Settings,
    Streamed, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        every_write_is_a_chunk_of_its_own,
        the_head_of_a_stream_says_that_it_is_streamed_and_declares_both_trailers,
        a_stream_without_a_write_is_an_empty_body,
        an_empty_write_sends_no_chunk,
        the_service_has_a_piece_before_the_next_one_is_written,
        finish_and_next_puts_the_end_of_the_stream_and_next_into_one_write,
        an_error_in_the_middle_of_a_stream_ends_it_with_trailers,
        an_error_before_the_first_write_is_sent_instead_of_a_stream,
        a_stream_that_fails_on_purpose_before_the_first_write_is_an_error,
        a_stream_that_is_dropped_before_the_first_write_is_an_error,
        a_stream_that_fails_on_purpose_ends_with_trailers,
        a_stream_that_is_dropped_ends_with_trailers,
        a_long_error_in_the_middle_fits_the_trailers_that_the_service_reads,
        seven_mebibytes_are_streamed_whole,
        a_service_that_closes_the_connection_breaks_the_pipe_and_the_loop_uses_a_new_one,
        a_refusal_in_the_middle_of_a_stream_is_logged_and_the_loop_uses_a_new_connection,
        a_connection_that_ends_between_two_pieces_leaves_the_fate_unknown,
    }
    on_sockets {
        an_http_response_begins_with_its_prelude_and_eight_nuls,
        a_long_http_prelude_is_sent_whole,
    }
    where_answering_blocks {
        finish_returns_when_the_service_has_taken_the_stream,
        an_error_after_finish_is_logged_and_never_posted,
        a_write_of_any_size_is_a_chunk_of_its_own,
        the_error_of_a_broken_pipe_that_the_handler_returns_is_logged,
    }
}

const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY: &str = "Lambda-Runtime-Function-Error-Body";

fn text() -> Streamed {
    Act::stream(ContentType::TEXT)
}

#[track_caller]
fn assert_whole(request: &Request, chunks: &[&str]) {
    request.assert_response("id-1");
    let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    assert_eq!(request.chunks, chunks);
    assert!(request.trailers.is_empty(), "{:?}", request.trailers);
}

fn every_write_is_a_chunk_of_its_own(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        text().pieces(["one", "two, longer", "3"]).finish()
    });
    assert_whole(&outcome.request, &["one", "two, longer", "3"]);
    assert_eq!(outcome.lines, [""; 0]);
}

fn the_head_of_a_stream_says_that_it_is_streamed_and_declares_both_trailers(on: &dyn Transport) {
    let outcome =
        on.invoke_once(Event::new("id-1", ""), |_| Act::stream(ContentType::OCTET_STREAM).finish());
    let request = outcome.request;
    assert_eq!(request.header("Lambda-Runtime-Function-Response-Mode"), Some("streaming"));
    assert_eq!(request.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(request.header("Content-Type"), Some("application/octet-stream"));
    assert_eq!(request.values("Trailer"), [ERROR_TYPE, ERROR_BODY]);
}

fn a_stream_without_a_write_is_an_empty_body(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| text().finish());
    assert_whole(&outcome.request, &[]);
}

fn an_empty_write_sends_no_chunk(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        text().pieces(["", "", "a", "", "", "b", ""]).finish()
    });
    assert_whole(&outcome.request, &["a", "b"]);
}

/// A piece, and perhaps a second one that waits for a gate.
fn first_and_later(
    first: &'static str,
    gate: &Gate,
    second: Option<&'static str>,
) -> impl Iterator<Item = &'static str> + Send + use<> {
    let gate = gate.clone();
    [Some(first)]
        .into_iter()
        .chain(::std::iter::once_with(move || {
            gate.wait();
            second
        }))
        .flatten()
}

fn the_service_has_a_piece_before_the_next_one_is_written(on: &dyn Transport) {
    let service = on.service();
    let go_on = Gate::default();
    let gate = go_on.clone();
    let run = on.run(&service, move |_| {
        text().pieces(first_and_later("first", &gate, Some("second"))).finish()
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    assert_eq!(connection.chunk().unwrap(), b"first");
    go_on.open();
    assert_eq!(connection.chunk().unwrap(), b"second");
    assert_eq!(connection.chunk(), None);
    assert!(connection.trailers().is_empty());
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

fn finish_returns_when_the_service_has_taken_the_stream(on: &dyn Transport) {
    let service = on.service();
    let has_finished = Gate::default();
    let gate = has_finished.clone();
    let run = on.run(&service, move |_| {
        let gate = gate.clone();
        text().finish().then(move |answer| {
            assert!(matches!(answer, Receipt::Known(reply) if reply.is_accepted()));
            gate.open();
            Ok(())
        })
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    assert!(!has_finished.is_open());
    connection.take_answer();
    has_finished.wait();
    assert_eq!(run.stop(), [""; 0]);
}

fn finish_and_next_puts_the_end_of_the_stream_and_next_into_one_write(on: &dyn Transport) {
    let service = on.service();
    let go_on = Gate::default();
    let gate = go_on.clone();
    let run = on
        .run(&service, move |_| text().pieces(first_and_later("x", &gate, None)).finish_and_next());
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head();
    connection.chunk();
    go_on.open();
    let one_read = connection.read_once();
    assert!(one_read.starts_with(b"\r\n0\r\n\r\nGET "), "{}", one_read.escape_ascii());
    assert!(one_read.ends_with(b"\r\n\r\n"), "{}", one_read.escape_ascii());
    assert_eq!(connection.chunk(), None);
    assert!(connection.trailers().is_empty());
    connection.expect_next();
    connection.take_answer();
    connection.send(Event::new("id-2", "").bytes());
    connection.request().assert_response("id-2");
    connection.take_answer();
    run.stop();
}

fn an_error_in_the_middle_of_a_stream_ends_it_with_trailers(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        let failure = Failure::new("Function.GaveUp", "caf\u{e9} \"closed\"\r\n");
        text().pieces(["half"]).fail_by_returning(failure.stack_trace("a\nb"))
    });
    assert_eq!(outcome.request.chunks, [b"half"]);
    assert_eq!(outcome.request.trailer(ERROR_TYPE), Some("Function.GaveUp"));
    let expected = json!({
        "errorType": "Function.GaveUp",
        "errorMessage": "caf\u{e9} \"closed\"\r\n",
        "stackTrace": ["a", "b"],
    });
    assert_eq!(outcome.request.trailer_error(), expected);
    assert_eq!(outcome.request.trailers.len(), 2);
    // One line for the message, whatever it contains, and one for each frame.
    let line = "invocation id-1: failed: Function.GaveUp: caf\u{e9} \"closed\"  ";
    assert_eq!(outcome.lines, [format!("{line}\n    a\n    b")]);
}

fn an_error_before_the_first_write_is_sent_instead_of_a_stream(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        text().fail_by_returning(Failure::new("Function.GaveUp", "at once"))
    });
    outcome.request.assert_error("id-1", "Function.GaveUp");
    assert_eq!(outcome.request.json()["errorMessage"], "at once");
    assert_eq!(outcome.lines, ["invocation id-1: failed: Function.GaveUp: at once"]);
}

fn a_stream_that_fails_on_purpose_before_the_first_write_is_an_error(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        // Empty writes do not begin the stream.
        text().pieces(["", ""]).fail(Failure::new("Function.Chosen", "on purpose"))
    });
    outcome.request.assert_error("id-1", "Function.Chosen");
    assert_eq!(outcome.request.json()["errorMessage"], "on purpose");
}

fn a_stream_that_is_dropped_before_the_first_write_is_an_error(on: &dyn Transport) {
    let service = on.service();
    let pulling = Settings { is_pulling: true, ..Settings::default() };
    let run = on.run_with(pulling, service.place(), |_| text().give_up());
    let Outcome { request, lines } = Outcome::of(&service, run, Event::new("id-1", ""));
    request.assert_error("id-1", "Runtime.NoResponse");
    assert_eq!(lines, ["invocation id-1: the handler gave no answer"]);
}

fn a_stream_that_fails_on_purpose_ends_with_trailers(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        text().pieces(["half"]).fail(Failure::new("Function.Chosen", "on purpose"))
    });
    assert_eq!(outcome.request.chunks, [b"half"]);
    assert_eq!(outcome.request.trailer(ERROR_TYPE), Some("Function.Chosen"));
    assert_eq!(outcome.request.trailer_error()["errorMessage"], "on purpose");
}

fn a_stream_that_is_dropped_ends_with_trailers(on: &dyn Transport) {
    let service = on.service();
    let pulling = Settings { is_pulling: true, ..Settings::default() };
    let run = on.run_with(pulling, service.place(), |_| text().pieces(["half"]).give_up());
    let Outcome { request, lines } = Outcome::of(&service, run, Event::new("id-1", ""));
    assert_eq!(request.chunks, [b"half"]);
    assert_eq!(request.trailer(ERROR_TYPE), Some("Runtime.NoResponse"));
    assert_eq!(request.trailer_error()["errorType"], "Runtime.NoResponse");
    assert_eq!(lines, ["invocation id-1: the handler gave no answer"]);
}

fn a_long_error_in_the_middle_fits_the_trailers_that_the_service_reads(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        let failure = Failure::new("Function.Long", "\u{1f980}".repeat(100_000));
        text().pieces(["half"]).fail_by_returning(failure)
    });
    let length: usize =
        outcome.request.trailers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    assert!((4_000..=4_096 - 2).contains(&length), "{length}");
    let message = outcome.request.trailer_error()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.chars().all(|symbol| symbol == '\u{1f980}'), "{message}");
}

fn an_error_after_finish_is_logged_and_never_posted(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        text().finish().then_fail("Function.TooLate", "oh")
    });
    assert_whole(&outcome.request, &[]);
    assert_eq!(
        outcome.lines,
        ["invocation id-1: failed after it was answered: Function.TooLate: oh"]
    );
}

fn an_http_response_begins_with_its_prelude_and_eight_nuls(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        Act::stream_http(418, ("x-pot", "tea"), "a=1").pieces(["short and stout"]).finish()
    });
    let request = outcome.request;
    assert_eq!(
        request.header("Content-Type"),
        Some("application/vnd.awslambda.http-integration-response")
    );
    let end = request.body.windows(8).position(|bytes| bytes == [0; 8]).unwrap();
    let prelude: serde_json::Value = serde_json::from_slice(&request.body[..end]).unwrap();
    assert_eq!(
        prelude,
        json!({"statusCode": 418, "headers": {"x-pot": "tea"}, "cookies": ["a=1"]})
    );
    assert_eq!(&request.body[end + 8..], b"short and stout");
    assert_eq!(request.chunks.len(), 3, "the JSON, its end, and the piece");
}

fn a_long_http_prelude_is_sent_whole(on: &dyn Transport) {
    let long = "v".repeat(100_000);
    let value = long.clone();
    let outcome = on.invoke_once(Event::new("id-1", ""), move |_| {
        Act::stream_http(200, ("x-long", &value), "a=1").finish()
    });
    let json = outcome.request.body.strip_suffix(&[0; 8]).unwrap();
    let prelude: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(prelude["headers"]["x-long"], long);
}

/// Streams seven pieces of a mebibyte.
fn stream_seven_mebibytes(on: &dyn Transport) -> Request {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        let pieces = (0..7).map(|round| vec![round; 1 << 20]);
        Act::stream(ContentType::OCTET_STREAM).pieces(pieces).finish()
    });
    outcome.request
}

fn seven_mebibytes_are_streamed_whole(on: &dyn Transport) {
    let request = stream_seven_mebibytes(on);
    assert_eq!(request.body.len(), 7 << 20);
    for (round, part) in request.body.chunks(1 << 20).enumerate() {
        assert!(*part == vec![round as u8; 1 << 20], "part {round}");
    }
}

fn a_write_of_any_size_is_a_chunk_of_its_own(on: &dyn Transport) {
    let request = stream_seven_mebibytes(on);
    assert_eq!(request.chunks.len(), 7);
    for (round, chunk) in request.chunks.iter().enumerate() {
        assert!(*chunk == vec![round as u8; 1 << 20], "chunk {round}");
    }
}

/// A stream to which the handler writes until it breaks; the handler passes that error on.
fn until_it_breaks(broke: &Gate) -> Act {
    let pieces = ::std::iter::repeat_with(|| [b'x'; 64 * 1024]);
    text().pieces(pieces).on_break(broke.clone()).finish()
}

/// Runs a stream that the service ends in the middle, and another invocation on the connection that
/// follows; returns the log lines.
fn break_a_stream(on: &dyn Transport, break_it: impl FnOnce(Connection)) -> Vec<String> {
    let service = on.service();
    let broke = Gate::default();
    let gate = broke.clone();
    let run = on.run(&service, move |seen| match seen.body() {
        b"fine" => Act::send("fine"),
        _ => until_it_breaks(&gate),
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.chunk();
    break_it(connection);
    broke.wait();
    let mut connection = service.connection();
    connection.invoke(Event::new("id-2", "fine"));
    connection.request().assert_response("id-2");
    connection.take_answer();
    run.stop()
}

fn refuse_and_close(mut connection: Connection) {
    connection.refuse(413, "RequestEntityTooLarge", "Exceeded maximum");
    connection.close();
}

const FATE_UNKNOWN: &str =
    "invocation id-1: connection lost before the reply; whether the answer arrived is unknown";
const REFUSED: &str = "invocation id-1: response was answered with 413: the body is too large \
     (RequestEntityTooLarge: Exceeded maximum)";
const TOO_LATE: &str = "invocation id-1: failed after it was answered: Function.Error: \
     the Runtime API accepts no more of this response";

fn a_service_that_closes_the_connection_breaks_the_pipe_and_the_loop_uses_a_new_one(
    on: &dyn Transport,
) {
    let lines = break_a_stream(on, Connection::close);
    assert_eq!(lines[0], FATE_UNKNOWN, "{lines:?}");
}

fn a_refusal_in_the_middle_of_a_stream_is_logged_and_the_loop_uses_a_new_connection(
    on: &dyn Transport,
) {
    let lines = break_a_stream(on, refuse_and_close);
    assert_eq!(lines[0], REFUSED, "{lines:?}");
}

fn the_error_of_a_broken_pipe_that_the_handler_returns_is_logged(on: &dyn Transport) {
    assert_eq!(break_a_stream(on, Connection::close), [FATE_UNKNOWN, TOO_LATE]);
    assert_eq!(break_a_stream(on, refuse_and_close), [REFUSED, TOO_LATE]);
}

fn a_connection_that_ends_between_two_pieces_leaves_the_fate_unknown(on: &dyn Transport) {
    let service = on.service();
    let go_on = Gate::default();
    let gate = go_on.clone();
    let run = on.run(&service, move |_| {
        text().pieces(first_and_later("first", &gate, Some("second"))).finish()
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head();
    connection.chunk();
    connection.close();
    go_on.open();
    service.connection().expect_next();
    let lines = run.stop();
    assert_eq!(lines[0], FATE_UNKNOWN, "{lines:?}");
}
