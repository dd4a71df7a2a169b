//! Ordinary exchanges with a service in memory.

use crate::loops::{Driver, DriverError, Response};
use crate::memory::{ACCEPTED, Memory, Script, chunked_event, endpoint, event, refusal};
use lambda_proto::api::{ContentType, ErrorReport};
use lambda_proto::client::{End, Receipt};
use lambda_proto::machine::Machine;

type Failed = ErrorReport<'static>;

/// Runs an echo to the end of the script and returns what the service saw.
fn echo(script: Script) -> std::rc::Rc<std::cell::RefCell<crate::memory::Seen>> {
    let seen = script.seen.clone();
    let ended = script.driver().run(|invocation, responder| -> Result<_, Failed> {
        Ok(responder.send(Response::new(invocation.body()).content_type(invocation.content_type())))
    });
    assert_eq!(ended, Err(DriverError::Connect("the script is over")));
    seen
}

/// A driver whose memory is large enough from the start.
fn roomy(script: Script) -> Driver<Script, Memory> {
    let machine = Machine::new(endpoint());
    Driver::new(machine, script, Memory::new(4096, 4096), Memory::new(4096, 4096))
}

#[test]
fn a_buffered_invocation_is_two_writes_and_two_reads() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED, &event("b", b"2"), ACCEPTED]]);
    let mut driver = roomy(script);
    let seen = driver.connector().seen.clone();
    let mut counts = Vec::new();
    for _ in 0..2 {
        let (invocation, responder) = driver.next().unwrap().unwrap();
        responder.send(invocation.body());
        counts.push((seen.borrow().writes, seen.borrow().reads));
    }
    assert_eq!(counts, [(2, 2), (4, 4)]);
    assert_eq!(seen.borrow().losses, [0]);
}

#[test]
fn a_pipelined_invocation_is_one_write_and_one_read_if_the_next_event_is_waiting() {
    let second = [ACCEPTED, &event("b", b"2")].concat();
    let third = [ACCEPTED, &event("c", b"3")].concat();
    let mut driver = roomy(Script::new(&[&[&event("a", b"1"), &second, &third]]));
    let seen = driver.connector().seen.clone();
    let mut bodies = Vec::new();
    let mut counts = Vec::new();
    for _ in 0..3 {
        let (invocation, responder) = driver.next().unwrap().unwrap();
        bodies.push(invocation.body().to_vec());
        assert_eq!(responder.send_and_next(invocation.body()).receipt(), Receipt::Pipelined);
        counts.push((seen.borrow().writes, seen.borrow().reads));
    }
    assert_eq!(bodies, [b"1", b"2", b"3"]);
    assert_eq!(counts, [(2, 1), (3, 2), (4, 3)]);
    let requests = seen.borrow().requests(0);
    let expected = [
        "GET /invocation/next",
        "POST /invocation/a/response",
        "GET /invocation/next",
        "POST /invocation/b/response",
        "GET /invocation/next",
        "POST /invocation/c/response",
        "GET /invocation/next",
    ];
    assert_eq!(requests, expected);
}

#[test]
fn the_requests_are_the_same_however_small_the_writes_and_reads_are() {
    let body: Vec<u8> = (0..=255).collect();
    let answers = [
        event("a", &body),
        ACCEPTED.to_vec(),
        chunked_event("b", &body, 7),
        refusal(413, "RequestEntityTooLarge"),
        event("c", b""),
        ACCEPTED.to_vec(),
    ];
    let whole: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
    let expected = echo(Script::new(&[&whole])).borrow().written[0].clone();
    let warning = "invocation b: response was answered with 413: the body is too large \
                  (RequestEntityTooLarge: no)";
    for size in [1, 2, 3, 5, 64, 1000] {
        let mut cut = Vec::new();
        answers.iter().for_each(|answer| cut.extend(answer.chunks(size)));
        let mut script = Script::new(&[&cut]);
        script.connection(0).takes = size;
        let seen = echo(script);
        assert_eq!(seen.borrow().written[0], expected, "pieces of {size}");
        assert_eq!(seen.borrow().warnings, [warning], "pieces of {size}");
    }
}

#[test]
fn a_chunked_event_is_joined_wherever_its_chunks_are_cut() {
    let body: Vec<u8> = (0..10_000u32).map(|at| at as u8).collect();
    for chunk in [1, 100, 4095, 10_000] {
        for read in [1, 997, 8192] {
            let bytes = [ACCEPTED, &chunked_event("b", &body, chunk)].concat();
            let mut reads = vec![event("a", b"1")];
            reads.extend(bytes.chunks(read).map(<[u8]>::to_vec));
            let reads: Vec<&[u8]> = reads.iter().map(Vec::as_slice).collect();
            let mut driver = Script::new(&[&reads]).driver();
            let (_, responder) = driver.next().unwrap().unwrap();
            responder.send_and_next(b"");
            let (invocation, _) = driver.next().unwrap().unwrap();
            assert_eq!(invocation.request_id(), "b");
            assert!(invocation.body() == body, "chunks of {chunk}, reads of {read}");
        }
    }
}

#[test]
fn memory_grows_with_what_has_arrived_not_with_what_was_announced() {
    let head = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\n\
                 Content-Length: 1000000000000\r\n\r\n";
    let script = Script::new(&[&[head, &[b'x'; 1000]], &[ACCEPTED]]);
    let memory = Memory::new(64, usize::MAX);
    let wish = memory.largest_wish.clone();
    let mut driver = Driver::new(Machine::new(endpoint()), script, memory, Memory::new(4096, 4096));
    let ended = driver.next().map(|_| ()).unwrap_err();
    assert_eq!(ended, DriverError::Connect("the script is over"));
    assert!(*wish.borrow() <= 2 * (head.len() + 1000) + 4096, "{}", wish.borrow());
}

#[test]
fn an_event_beyond_the_buffer_is_reported_and_the_next_one_served() {
    for body in [vec![b'x'; 4097], vec![b'x'; 100_000]] {
        for large in [event("a", &body), chunked_event("a", &body, 999)] {
            let script = Script::new(&[&[&large, ACCEPTED, &event("b", b"2"), ACCEPTED]]);
            let seen = script.seen.clone();
            let (mut events, mut requests) = ([0; 4096], [0; 4096]);
            let mut driver =
                Driver::new(Machine::new(endpoint()), script, &mut events[..], &mut requests[..]);
            let (invocation, responder) = driver.next().unwrap().unwrap();
            assert_eq!((invocation.request_id(), invocation.body()), ("b", &b"2"[..]));
            responder.send(b"");
            let text = seen.borrow().text(0);
            assert!(text.contains("/invocation/a/error"), "{text}");
            assert!(text.contains("Function-Error-Type: Runtime.EventTooLarge\r\n"), "{text}");
            assert_eq!(seen.borrow().warnings, ["invocation a: the event does not fit the buffer"]);
        }
    }
}

#[test]
fn an_event_that_just_fits_the_buffer_is_served() {
    let bytes = event("a", &[b'x'; 3000]);
    let mut events = vec![0; bytes.len()];
    let mut requests = [0; 4096];
    let script = Script::new(&[&[&bytes]]);
    let machine = Machine::new(endpoint());
    let mut driver = Driver::new(machine, script, &mut events[..], &mut requests[..]);
    let (invocation, _) = driver.next().unwrap().unwrap();
    assert_eq!(invocation.body(), [b'x'; 3000]);
}

#[test]
fn a_head_beyond_the_buffer_ends_the_driver() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(500));
    let (mut events, mut requests) = ([0; 256], [0; 4096]);
    let script = Script::new(&[&[long.as_bytes()]]);
    let machine = Machine::new(endpoint());
    let mut driver = Driver::new(machine, script, &mut events[..], &mut requests[..]);
    assert_eq!(driver.next().map(|_| ()), Err(DriverError::Ended(End::NoRoom)));
}

#[test]
fn a_report_is_cut_to_a_buffer_that_does_not_grow() {
    let message = "é".repeat(5000);
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let (mut events, mut requests) = ([0; 4096], [0; 2048]);
    let machine = Machine::new(endpoint());
    let mut driver = Driver::new(machine, script, &mut events[..], &mut requests[..]);
    let (_, responder) = driver.next().unwrap().unwrap();
    let cause = "x".repeat(3000);
    responder.fail(&ErrorReport::new("Function.Long", &message).xray_cause(&cause));
    let text = seen.borrow().text(0);
    let (head, json) = text.rsplit_once("\r\n\r\n").unwrap();
    assert!(!head.contains("XRay"), "{head}");
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let sent = json["errorMessage"].as_str().unwrap();
    assert!(sent.len() > 500 && message.starts_with(sent), "{sent}");
}

#[test]
fn an_error_of_the_handler_is_reported_and_the_loop_continues() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED, &event("b", b"2"), ACCEPTED]]);
    let seen = script.seen.clone();
    let _ended = script.driver().run(|invocation, responder| {
        if invocation.request_id() == "a" {
            return Err(ErrorReport::new("Function.Broken", "it broke"));
        }
        Ok(responder.send(b"fine"))
    });
    let expected = [
        "GET /invocation/next",
        "POST /invocation/a/error",
        "GET /invocation/next",
        "POST /invocation/b/response",
        "GET /invocation/next",
    ];
    assert_eq!(seen.borrow().requests(0), expected);
}

#[test]
fn an_error_after_the_answer_is_only_a_warning() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let _ended = script.driver().run(|_, responder| {
        responder.send(b"fine");
        Err::<crate::loops::Sent<'_>, _>(ErrorReport::new("Function.Late", "too late"))
    });
    assert!(!seen.borrow().text(0).contains("/error"));
    let warning = "invocation a: failed after it was answered: Function.Late: too late";
    assert_eq!(seen.borrow().warnings[0], warning);
}

#[test]
fn a_dropped_responder_is_reported_as_an_error() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let mut driver = script.driver();
    assert!(driver.next().unwrap().is_some());
    assert!(driver.next().is_err());
    assert!(seen.borrow().text(0).contains("Function-Error-Type: Runtime.NoResponse\r\n"));
    assert_eq!(seen.borrow().warnings[0], "invocation a: the handler gave no answer");
}

#[test]
fn a_stream_is_sent_chunk_by_chunk_and_ends_with_the_next_request_if_asked() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let mut driver = script.driver();
    let (_, responder) = driver.next().unwrap().unwrap();
    let mut stream = responder.stream(ContentType::TEXT);
    for piece in [&b"hello"[..], b"", b"world"] {
        stream.write(piece).unwrap();
    }
    assert_eq!(stream.finish_and_next().receipt(), Receipt::Pipelined);
    let text = seen.borrow().text(0);
    let body =
        "\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\nGET /2018-06-01/runtime/invocation/next";
    assert!(text.contains(body), "{text}");
    assert!(text.contains("Lambda-Runtime-Function-Response-Mode: streaming\r\n"), "{text}");
}

#[test]
fn a_stream_that_fails_ends_with_the_error_in_trailers() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let _ended = script.driver().run(|_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write(b"hello").unwrap();
        Err::<crate::loops::Sent<'_>, _>(ErrorReport::new("Function.Half", "half way"))
    });
    let text = seen.borrow().text(0);
    let end = "hello\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Half\r\n\
               Lambda-Runtime-Function-Error-Body: ";
    assert!(text.contains(end), "{text}");
}

#[test]
fn a_stream_that_is_dropped_or_fails_before_its_first_piece_is_reported_as_an_error() {
    for fails in [false, true] {
        let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
        let seen = script.seen.clone();
        let mut driver = script.driver();
        let (_, responder) = driver.next().unwrap().unwrap();
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write(b"").unwrap();
        assert_eq!(seen.borrow().requests(0), ["GET /invocation/next"]);
        if fails {
            let receipt = stream.fail(&ErrorReport::new("Function.Half", "at once")).receipt();
            assert!(matches!(receipt, Receipt::Known(_)));
        }
        assert!(driver.next().is_err());
        let requests = ["GET /invocation/next", "POST /invocation/a/error", "GET /invocation/next"];
        assert_eq!(seen.borrow().requests(0), requests);
    }
}

#[test]
fn a_failed_start_is_reported_and_ends_the_session() {
    let script = Script::new(&[&[ACCEPTED]]);
    let seen = script.seen.clone();
    let mut driver = script.driver();
    driver.fail_init(&ErrorReport::new("Function.NoTable", "no table")).unwrap();
    assert_eq!(seen.borrow().requests(0), ["POST /init/error"]);
    assert!(driver.next().unwrap().is_none());
}

#[test]
fn a_stopping_connector_is_noticed_before_the_next_request() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let mut driver = script.driver();
    let (_, responder) = driver.next().unwrap().unwrap();
    responder.send(b"");
    driver.connector().is_stopping.set(true);
    assert!(driver.next().unwrap().is_none());
    assert_eq!(seen.borrow().requests(0).len(), 2);
}

#[test]
fn a_connector_that_stops_while_the_handler_runs_gets_no_further_invocation() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let (seen, is_stopping) = (script.seen.clone(), script.is_stopping.clone());
    let mut driver = script.driver();
    let (_, responder) = driver.next().unwrap().unwrap();
    is_stopping.set(true);
    assert!(matches!(responder.send_and_next(b"x").receipt(), Receipt::Known(_)));
    assert!(driver.next().unwrap().is_none());
    assert_eq!(seen.borrow().requests(0), ["GET /invocation/next", "POST /invocation/a/response"]);
}

#[test]
fn a_500_to_any_request_ends_the_driver() {
    let fatal = refusal(500, "InternalServerError");
    let scripts: [&[&[u8]]; 2] = [&[&fatal], &[&event("a", b"1"), &fatal]];
    for answers in scripts {
        let ended = Script::new(&[answers])
            .driver()
            .run(|_, responder| -> Result<_, Failed> { Ok(responder.send(b"")) });
        let Err(DriverError::Ended(End::Service(responder))) = ended else { panic!("{ended:?}") };
        assert_eq!(responder.status(), 500);
    }
}

#[test]
fn a_head_that_fills_the_buffer_makes_its_event_too_large() {
    let large = event("a", b"12345");
    let script = Script::new(&[&[&large, ACCEPTED, &event("b", b"")]]);
    let seen = script.seen.clone();
    let (mut events, mut requests) = (vec![0; large.len() - 5], [0; 4096]);
    let machine = Machine::new(endpoint());
    let mut driver = Driver::new(machine, script, &mut events[..], &mut requests[..]);
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
    assert!(seen.borrow().text(0).contains("Runtime.EventTooLarge"));
}

#[test]
fn an_error_at_the_end_of_a_stream_is_cut_to_the_buffer() {
    let script = Script::new(&[&[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let (mut events, mut requests) = ([0; 4096], [0; 2048]);
    let machine = Machine::new(endpoint());
    let mut driver = Driver::new(machine, script, &mut events[..], &mut requests[..]);
    let (_, responder) = driver.next().unwrap().unwrap();
    let mut stream = responder.stream(ContentType::TEXT);
    stream.write(b"half").unwrap();
    let message = "x".repeat(10_000);
    assert!(matches!(
        stream.fail(&ErrorReport::new("Function.Half", &message)).receipt(),
        Receipt::Known(_)
    ));
    let text = seen.borrow().text(0);
    assert!(text.contains("0\r\nLambda-Runtime-Function-Error-Type: Function.Half\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}
