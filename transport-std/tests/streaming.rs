//! Answers that are streamed: chunks, trailers, and what happens when either side stops early.

mod support;

use std::io::{self, Write};

use lambda_proto_std::{Answer, ContentType, Failure, HttpPrelude};
use serde_json::json;

use support::{Event, Gate, Request, Service, invoke_once};

const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY: &str = "Lambda-Runtime-Function-Error-Body";

#[track_caller]
fn assert_whole(request: &Request, chunks: &[&str]) {
    request.assert_response("id-1");
    let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    assert_eq!(request.chunks, chunks);
    assert!(request.trailers.is_empty(), "{:?}", request.trailers);
}

#[test]
fn every_write_is_a_chunk_of_its_own() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let mut stream = reply.stream(ContentType::TEXT);
        for piece in ["one", "two, longer", "3"] {
            assert_eq!(stream.write(piece.as_bytes())?, piece.len());
        }
        Ok(stream.finish())
    });
    assert_whole(&outcome.request, &["one", "two, longer", "3"]);
    assert_eq!(outcome.lines, [""; 0]);
}

#[test]
fn the_head_of_a_stream_says_that_it_is_one_and_declares_both_trailers() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        Ok(reply.stream(ContentType::OCTET_STREAM).finish())
    });
    let request = outcome.request;
    assert_eq!(request.header("Lambda-Runtime-Function-Response-Mode"), Some("streaming"));
    assert_eq!(request.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(request.header("Content-Type"), Some("application/octet-stream"));
    assert_eq!(request.values("Trailer"), [ERROR_TYPE, ERROR_BODY]);
}

#[test]
fn a_stream_without_a_write_is_an_empty_body() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        Ok(reply.stream(ContentType::TEXT).finish())
    });
    assert_whole(&outcome.request, &[]);
}

#[test]
fn a_write_of_nothing_is_no_chunk() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let mut stream = reply.stream(ContentType::TEXT);
        for piece in ["", "a", "", "b", ""] {
            stream.write_all(piece.as_bytes())?;
            assert_eq!(stream.write(b"")?, 0);
        }
        Ok(stream.finish())
    });
    assert_whole(&outcome.request, &["a", "b"]);
}

#[test]
fn the_service_has_a_piece_before_the_next_one_is_written() {
    let service = Service::start();
    let go_on = Gate::default();
    let gate = go_on.clone();
    let run = service.run(move |_, reply| {
        let mut stream = reply.stream(ContentType::TEXT);
        stream.write_all(b"first")?;
        gate.wait();
        stream.write_all(b"second")?;
        Ok(stream.finish())
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

#[test]
fn finish_returns_when_the_service_has_taken_the_stream() {
    let service = Service::start();
    let has_finished = Gate::default();
    let gate = has_finished.clone();
    let run = service.run(move |_, reply| {
        let sent = reply.stream(ContentType::TEXT).finish();
        assert!(matches!(sent.answer(), Answer::Known(reply) if reply.is_accepted()));
        gate.open();
        Ok(sent)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    assert!(!has_finished.is_open());
    connection.take_answer();
    has_finished.wait();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn finish_and_next_puts_the_end_of_the_stream_and_next_into_one_write() {
    let service = Service::start();
    let go_on = Gate::default();
    let gate = go_on.clone();
    let run = service.run(move |_, reply| {
        let mut stream = reply.stream(ContentType::TEXT);
        stream.write_all(b"x")?;
        gate.wait();
        Ok(stream.finish_and_next())
    });
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

#[test]
fn an_error_in_the_middle_ends_the_stream_with_trailers() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let mut stream = reply.stream(ContentType::TEXT);
        stream.write_all(b"half")?;
        Err(Failure::new("Function.GaveUp", "caf\u{e9} \"closed\"\r\n").stack_trace("a\nb"))
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
    // One line, whatever the message holds.
    let line = "invocation id-1: failed: Function.GaveUp: caf\u{e9} \"closed\"  ";
    assert_eq!(outcome.lines, [line]);
}

#[test]
fn an_error_before_the_first_write_ends_the_stream_with_trailers() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let _stream = reply.stream(ContentType::TEXT);
        Err(Failure::new("Function.GaveUp", "at once"))
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.chunks, [[0; 0]; 0]);
    assert_eq!(outcome.request.trailer_error()["errorMessage"], "at once");
}

#[test]
fn a_panic_in_the_middle_ends_the_stream_with_trailers() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let mut stream = reply.stream(ContentType::TEXT);
        stream.write_all(b"half")?;
        panic!("no more");
    });
    assert_eq!(outcome.request.chunks, [b"half"]);
    assert_eq!(outcome.request.trailer(ERROR_TYPE), Some("Function.Panic"));
    assert_eq!(outcome.request.trailer_error()["errorMessage"], "no more");
}

#[test]
fn a_stream_that_fails_on_purpose_ends_with_trailers() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let mut stream = reply.stream(ContentType::TEXT);
        stream.write_all(b"half")?;
        Ok(stream.fail(&Failure::new("Function.Chosen", "on purpose")))
    });
    assert_eq!(outcome.request.chunks, [b"half"]);
    assert_eq!(outcome.request.trailer(ERROR_TYPE), Some("Function.Chosen"));
    assert_eq!(outcome.request.trailer_error()["errorMessage"], "on purpose");
}

#[test]
fn a_stream_that_is_dropped_ends_with_trailers() {
    let service = Service::start();
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    let run = support::Running::new(service.lines(), stop, move || {
        let mut worker = runtime.into_worker();
        while let Some((_, reply)) = worker.next()? {
            let mut stream = reply.stream(ContentType::TEXT);
            stream.write_all(b"half").expect("the service takes it");
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let request = connection.request();
    assert_eq!(request.chunks, [b"half"]);
    assert_eq!(request.trailer(ERROR_TYPE), Some("Runtime.NoResponse"));
    assert_eq!(request.trailer_error()["errorType"], "Runtime.NoResponse");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), ["invocation id-1: the handler gave no answer"]);
}

#[test]
fn a_long_error_in_the_middle_fits_what_the_service_reads_of_trailers() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let _stream = reply.stream(ContentType::TEXT);
        Err(Failure::new("Function.Long", "\u{1f980}".repeat(100_000)))
    });
    let length: usize =
        outcome.request.trailers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    assert!((4_000..=4_096 - 2).contains(&length), "{length}");
    let message = outcome.request.trailer_error()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.chars().all(|symbol| symbol == '\u{1f980}'), "{message}");
}

#[test]
fn an_error_after_finish_is_logged_and_never_posted() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        reply.stream(ContentType::TEXT).finish();
        Err(Failure::new("Function.TooLate", "oh"))
    });
    assert_whole(&outcome.request, &[]);
    assert_eq!(
        outcome.lines,
        ["invocation id-1: failed after it was answered: Function.TooLate: oh"]
    );
}

#[test]
fn an_http_response_begins_with_its_prelude_and_eight_nuls() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let prelude = HttpPrelude::new(418, &[("x-pot", "tea")], &["a=1"])?;
        let mut stream = reply.stream_http(&prelude);
        stream.write_all(b"short and stout")?;
        Ok(stream.finish())
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

#[test]
fn a_long_http_prelude_is_sent_whole() {
    let long = "v".repeat(100_000);
    let value = long.clone();
    let outcome = invoke_once(Event::new("id-1", ""), move |_, reply| {
        let headers = [("x-long", value.as_str())];
        Ok(reply.stream_http(&HttpPrelude::new(200, &headers, &[])?).finish())
    });
    let json = outcome.request.body.strip_suffix(&[0; 8]).unwrap();
    let prelude: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(prelude["headers"]["x-long"], long);
}

#[test]
fn seven_mebibytes_are_streamed_whole() {
    let outcome = invoke_once(Event::new("id-1", ""), |_, reply| {
        let mut stream = reply.stream(ContentType::OCTET_STREAM);
        for round in 0..7 {
            stream.write_all(&vec![round; 1 << 20])?;
        }
        Ok(stream.finish())
    });
    assert_eq!(outcome.request.chunks.len(), 7);
    for (round, chunk) in outcome.request.chunks.iter().enumerate() {
        assert!(*chunk == vec![round as u8; 1 << 20], "chunk {round}");
    }
}

/// A handler that writes until it cannot, and passes that error on.
fn write_until_it_breaks(
    reply: lambda_proto_std::Reply<'_>,
    broke: &Gate,
) -> io::Result<std::convert::Infallible> {
    let mut stream = reply.stream(ContentType::TEXT);
    loop {
        if let Err(error) = stream.write_all(&[b'x'; 64 * 1024]) {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            let again = stream.write(b"x").expect_err("it stays broken");
            assert_eq!(again.kind(), io::ErrorKind::BrokenPipe);
            broke.open();
            return Err(error);
        }
    }
}

#[test]
fn a_service_that_hangs_up_breaks_the_pipe_and_the_loop_goes_on_elsewhere() {
    let service = Service::start();
    let broke = Gate::default();
    let gate = broke.clone();
    let run = service.run(move |invocation, reply| {
        if invocation.body() == b"fine" {
            return Ok(reply.send("fine"));
        }
        match write_until_it_breaks(reply, &gate)? {}
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.chunk();
    connection.close();
    broke.wait();
    let mut connection = service.connection();
    connection.invoke(Event::new("id-2", "fine"));
    connection.request().assert_response("id-2");
    connection.take_answer();
    assert_eq!(
        run.stop(),
        [
            "invocation id-1: connection lost before the reply; whether the answer arrived is unknown",
            "invocation id-1: failed after it was answered: Function.Error: \
             the Runtime API takes no more of this response",
        ]
    );
}

#[test]
fn a_refusal_in_the_middle_of_a_stream_is_logged_and_the_loop_goes_on_elsewhere() {
    let service = Service::start();
    let broke = Gate::default();
    let gate = broke.clone();
    let run = service.run(move |_, reply| match write_until_it_breaks(reply, &gate)? {});
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.chunk();
    connection.refuse(413, "RequestEntityTooLarge", "Exceeded maximum");
    connection.close();
    broke.wait();
    service.connection().expect_next();
    let lines = run.stop();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        lines[0],
        "invocation id-1: response was answered with 413: the body is too large \
         (RequestEntityTooLarge: Exceeded maximum)"
    );
    assert!(lines[1].starts_with("invocation id-1: failed after it was answered"), "{lines:?}");
}
