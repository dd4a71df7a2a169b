//! Streamed answers, and how their failures reach callers.

use std::thread;

use lambda_lab::{FailureKind, InvokeError, Lab};

use crate::support::{Connection, NEXT, Response, external, function, of, request};

const PATH: &str = "/2015-03-31/functions/function/invocations";

const MODE: [(&str, &str); 3] = [
    ("Content-Type", "text/x-own"),
    ("Lambda-Runtime-Function-Response-Mode", "streaming"),
    ("Transfer-Encoding", "chunked"),
];

/// Takes the next event on a new connection, and begins to stream the answer.
fn begin(lab: &Lab) -> Connection {
    let mut runtime = Connection::open(lab.runtime_api());
    let next = runtime.request(NEXT, &[], "");
    runtime.send(request(&format!("POST {}", of(&next.id(), "response")), &MODE, ""));
    runtime
}

/// Posts an event, and plays the runtime.
fn posted(headers: &[(&str, &str)], runtime: impl FnOnce(&mut Connection)) -> Response {
    let lab = external();
    let mut caller = Connection::open(lab.address());
    caller.send(request(&format!("POST {PATH}"), headers, "in"));
    runtime(&mut begin(&lab));
    caller.response()
}

#[test]
fn pieces_reach_the_caller_as_they_arrive() {
    let lab = external();
    let mut caller = Connection::open(lab.address());
    caller.send(request(&format!("POST {PATH}"), &[], "in"));
    let mut runtime = begin(&lab);
    for piece in ["one", "two", "three"] {
        runtime.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
        // The runtime sends nothing more until this has arrived.
        let mut seen = String::new();
        while !seen.ends_with(&format!("{piece}\r\n")) {
            seen.push_str(&String::from_utf8(caller.some()).unwrap());
        }
    }
    runtime.send("0\r\n\r\n");
    runtime.response().assert_accepted();
    assert_eq!(caller.some(), b"0\r\n\r\n");
}

#[test]
fn a_streamed_answer_is_passed_on_with_its_content_type() {
    let response = posted(&[], |runtime| {
        runtime.send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        runtime.response().assert_accepted();
    });
    assert_eq!((response.status, response.text().as_str()), (200, "hello world"));
    assert_eq!(response.header("content-type"), Some("text/x-own"));
    assert!(!response.is_cut_off);
}

const TRAILERS: &str = "0\r\nLambda-Runtime-Function-Error-Type: Function.Midway\r\n\
     Lambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJGdW5jdGlvbi5NaWR3YXkifQ==\r\n\r\n";

#[test]
fn a_caller_that_takes_trailers_gets_a_mid_stream_error() {
    let response = posted(&[("TE", "trailers")], |runtime| {
        runtime.send(format!("4\r\nhalf\r\n{TRAILERS}"));
        runtime.response().assert_accepted();
    });
    assert_eq!(response.text(), "half");
    let error_type = response.trailer("lambda-runtime-function-error-type");
    assert_eq!(error_type, Some("Function.Midway"));
    let body = response.trailer("lambda-runtime-function-error-body");
    assert_eq!(body, Some("eyJlcnJvclR5cGUiOiJGdW5jdGlvbi5NaWR3YXkifQ=="));
}

#[test]
fn a_mid_stream_error_keeps_the_type_that_the_runtime_sent() {
    // {"errorMessage":"boom"}
    let body = "Lambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJib29tIn0=\r\n";
    let long = format!("Lambda-Runtime-Function-Error-Body: {}\r\n", "QUFB".repeat(10_000));
    let error_type = "Lambda-Runtime-Function-Error-Type: Function.Midway\r\n";
    for (trailers, told) in [
        (format!("{error_type}{body}"), "Function.Midway"),
        (error_type.to_owned(), "Function.Midway"),
        (format!("{error_type}{long}"), "Function.Midway"),
    ] {
        let response = posted(&[("TE", "deflate, Trailers")], |runtime| {
            runtime.send(format!("4\r\nhalf\r\n0\r\n{trailers}\r\n"));
            runtime.response().assert_accepted();
        });
        assert_eq!(response.trailer("lambda-runtime-function-error-type"), Some(told));
    }
}

#[test]
fn trailers_without_a_type_report_no_error() {
    let body = "Lambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJib29tIn0=\r\n";
    let empty = "Lambda-Runtime-Function-Error-Type: \r\nLambda-Runtime-Function-Error-Body: \r\n";
    for trailers in [body, empty] {
        let response = posted(&[("TE", "trailers")], |runtime| {
            runtime.send(format!("5\r\nwhole\r\n0\r\n{trailers}\r\n"));
            runtime.response().assert_accepted();
        });
        assert_eq!((response.text().as_str(), response.trailers.len()), ("whole", 0));
    }
}

#[test]
fn for_other_callers_a_mid_stream_error_breaks_the_connection() {
    let response = posted(&[], |runtime| {
        runtime.send(format!("4\r\nhalf\r\n{TRAILERS}"));
        runtime.response().assert_accepted();
    });
    assert_eq!((response.text().as_str(), response.is_cut_off), ("half", true));
}

#[test]
fn a_runtime_that_disconnects_in_mid_stream_truncates_its_answer() {
    for rest in ["", "4\r\nha", "nonsense\r\n"] {
        let response = posted(&[], |runtime| {
            runtime.send(format!("4\r\nhalf\r\n{rest}"));
            runtime.end_writing();
        });
        assert!(response.is_cut_off, "{rest:?}");
        assert!(response.text().starts_with("half"), "{rest:?}");
    }
}

#[test]
fn a_caller_that_disconnects_affects_neither_the_runtime_nor_the_next_caller() {
    let lab = external();
    let mut caller = Connection::open(lab.address());
    caller.send(request(&format!("POST {PATH}"), &[], "in"));
    let mut runtime = begin(&lab);
    runtime.send("4\r\nhalf\r\n");
    drop(caller);
    let much = vec![b'x'; 1 << 20];
    for _ in 0..30 {
        runtime.send(format!("{:x}\r\n", much.len()));
        runtime.send(&much);
        runtime.send("\r\n");
    }
    runtime.send("0\r\n\r\n");
    runtime.response().assert_accepted();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("again"));
        let next = runtime.request(NEXT, &[], "");
        runtime.post(&of(&next.id(), "response"), "2").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"2");
    });
}

#[test]
fn a_streamed_answer_may_be_longer_than_a_buffered_one() {
    let piece = vec![b'x'; 1 << 20];
    let lab = external();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let mut runtime = begin(&lab);
        for _ in 0..8 {
            runtime.send(format!("{:x}\r\n", piece.len()));
            runtime.send(&piece);
            runtime.send("\r\n");
        }
        runtime.send("0\r\n\r\n");
        runtime.response().assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body.len(), 8 << 20);
    });
}

#[test]
fn invoke_streaming_gives_the_pieces_and_then_the_failure() {
    let lab = external();
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut seen = Vec::new();
            let result = lab.invoke_streaming("in", |piece| seen.extend_from_slice(piece));
            (seen, result)
        });
        let mut runtime = begin(&lab);
        runtime.send(format!("4\r\nhalf\r\n{TRAILERS}"));
        runtime.response().assert_accepted();
        let (seen, result) = caller.join().unwrap();
        assert_eq!(seen, b"half");
        let Err(InvokeError::Function(failure)) = result else { panic!("{result:?}") };
        assert_eq!(failure.error_type().as_deref(), Some("Function.Midway"));
    });
}

#[test]
fn an_exit_ends_the_stream_with_the_reason() {
    let lab = function().start().unwrap();
    let Err(InvokeError::Function(failure)) = lab.invoke("stream-and-exit") else {
        panic!("it has ended in the middle")
    };
    assert_eq!(failure.kind, FailureKind::Exit, "{failure}");
    assert!(failure.to_string().contains("exit status 5"), "{failure}");
    assert_eq!(lab.invoke("again").unwrap().body, b"again");
}

#[test]
fn the_timeout_ends_a_stream() {
    let lab = function().timeout(std::time::Duration::from_millis(500)).start().unwrap();
    let Err(InvokeError::Function(failure)) = lab.invoke("stream-and-sleep") else {
        panic!("it takes too long")
    };
    assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
    assert_eq!(lab.invoke("again").unwrap().body, b"again");
}
