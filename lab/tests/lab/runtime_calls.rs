//! The calls of runtimes and the replies to them, in order and out of order.

use std::thread;

use lambda_lab::{Event, FailureKind, InvokeError, MAX_PAYLOAD};

use crate::support::{Connection, NEXT, external, of, request};

const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

/// Invokes the function while `runtime` plays the runtime. Returns the results of both.
fn invoked<T: Send>(
    event: impl Into<Event> + Send,
    runtime: impl FnOnce(&mut Connection) -> T,
) -> (Result<lambda_lab::Answer, InvokeError>, T) {
    let lab = external();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke(event));
        let result = runtime(&mut Connection::open(lab.runtime_api()));
        (caller.join().unwrap(), result)
    })
}

fn failure(result: Result<lambda_lab::Answer, InvokeError>) -> lambda_lab::FunctionFailure {
    match result {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("no failure of the function: {other:?}"),
    }
}

#[test]
fn the_caller_gets_the_answer_and_its_content_type() {
    let (answer, ()) = invoked("in", |runtime| {
        let next = runtime.request(NEXT, &[], "");
        assert_eq!((next.status, next.text().as_str()), (200, "in"));
        let path = format!("POST {}", of(&next.id(), "response"));
        runtime.request(&path, &[("Content-Type", "text/x-own")], "out").assert_accepted();
    });
    let answer = answer.unwrap();
    assert_eq!(
        (answer.body, answer.content_type.as_deref()),
        (b"out".to_vec(), Some("text/x-own"))
    );
}

#[test]
fn the_caller_has_its_answer_before_the_runtime_asks_again() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    for event in ["first", "second"] {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke(event));
            let next = runtime.request(NEXT, &[], "");
            runtime.post(&of(&next.id(), "response"), &next.body).assert_accepted();
            assert_eq!(caller.join().unwrap().unwrap().body, event.as_bytes());
        });
    }
}

#[test]
fn next_has_the_documented_headers_and_omits_empty_ones() {
    let event = Event::new("{}")
        .trace_id("Root=1-2-3")
        .client_context("{\"client\":{},\n\"custom\":{}}")
        .cognito_identity("{\"cognitoIdentityId\":\"i\"}")
        .tenant_id("tenant-1");
    for (event, is_full) in [(event, true), (Event::new("{}").trace_id(""), false)] {
        let (answer, ()) = invoked(event, |runtime| {
            let next = runtime.request(NEXT, &[], "");
            assert_eq!(next.header("content-type"), Some("application/json"));
            let arn = "arn:aws:lambda:us-east-1:012345678912:function:test_function";
            assert_eq!(next.header("lambda-runtime-invoked-function-arn"), Some(arn));
            assert!(next.header("lambda-runtime-invocation-id").is_some());
            let deadline = next.header("lambda-runtime-deadline-ms").unwrap();
            assert!(deadline.parse::<u64>().unwrap() > 1_700_000_000_000, "{deadline}");
            for (name, value) in [
                ("trace-id", "Root=1-2-3"),
                ("client-context", "{\"client\":{}, \"custom\":{}}"),
                ("cognito-identity", "{\"cognitoIdentityId\":\"i\"}"),
                ("aws-tenant-id", "tenant-1"),
            ] {
                let expected = is_full.then_some(value);
                assert_eq!(next.header(&format!("lambda-runtime-{name}")), expected, "{name}");
            }
            runtime.post(&of(&next.id(), "response"), "1").assert_accepted();
        });
        answer.unwrap();
    }
}

#[test]
fn an_event_of_more_than_2048_bytes_is_chunked() {
    for (length, is_chunked) in [(0, false), (2048, false), (2049, true), (MAX_PAYLOAD, true)] {
        let (answer, ()) = invoked("x".repeat(length), |runtime| {
            let next = runtime.request(NEXT, &[], "");
            assert_eq!(next.header("transfer-encoding").is_some(), is_chunked, "{length}");
            assert_eq!(next.body.len(), length);
            runtime.post(&of(&next.id(), "response"), &next.body).assert_accepted();
        });
        assert_eq!(answer.unwrap().body.len(), length);
    }
}

#[test]
fn a_runtime_that_asks_twice_gets_the_same_event_again() {
    let (answer, ()) = invoked("in", |runtime| {
        let first = runtime.request(NEXT, &[], "");
        let second = runtime.request(NEXT, &[], "");
        assert_eq!((second.id(), second.text()), (first.id(), first.text()));
        runtime.post(&of(&first.id(), "response"), "out").assert_accepted();
    });
    assert_eq!(answer.unwrap().body, b"out");
}

#[test]
fn two_open_nexts_both_get_the_event() {
    let lab = external();
    let mut runtimes = [(); 2].map(|()| Connection::open(lab.runtime_api()));
    for runtime in &mut runtimes {
        runtime.send(request(NEXT, &[], ""));
    }
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let [first, second] = runtimes.each_mut().map(|runtime| runtime.response());
        assert_eq!((first.id(), first.text()), (second.id(), "in".into()));
        runtimes[1].post(&of(&first.id(), "response"), "out").assert_accepted();
        runtimes[0]
            .post(&of(&first.id(), "response"), "out")
            .assert_forbidden("RuntimeResponseSentState", "InvocationResponse");
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
    });
}

#[test]
fn an_event_is_not_lost_with_the_connection_that_asked_for_it() {
    let lab = external();
    let mut lost = Connection::open(lab.runtime_api());
    lost.send(request(NEXT, &[], ""));
    drop(lost);
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let mut runtime = Connection::open(lab.runtime_api());
        let next = runtime.request(NEXT, &[], "");
        runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
    });
}

#[test]
fn a_second_answer_is_forbidden_while_the_invocation_is_current_and_unknown_afterwards() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    for (what, to) in [("response", "InvocationResponse"), ("error", "InvocationErrorResponse")] {
        let mut id = String::new();
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            id = runtime.request(NEXT, &[], "").id();
            runtime.post(&of(&id, what), "{}").assert_accepted();
            for (second, to) in
                [("response", "InvocationResponse"), ("error", "InvocationErrorResponse")]
            {
                runtime
                    .post(&of(&id, second), "{}")
                    .assert_forbidden("RuntimeResponseSentState", to);
            }
            let result = caller.join().unwrap();
            assert_eq!(result.is_ok(), what == "response", "{to}");
        });
        // The invocation ends with the following `next`.
        let mut other = Connection::open(lab.runtime_api());
        other.send(request(NEXT, &[], ""));
        crate::support::wait_until("the invocation is over", || {
            runtime.post(&of(&id, "response"), "late").status == 400
        });
        let late = runtime.post(&of(&id, "response"), "late");
        late.assert_refused(400, "InvalidRequestID", "Invalid request ID");
        let late = runtime.post(&of(&id, "error"), "late");
        late.assert_refused(400, "InvalidRequestID", "Invalid request ID");
    }
}

#[test]
fn an_unknown_id_is_refused_in_every_state_and_changes_nothing() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    let refuse = |runtime: &mut Connection| {
        for id in ["", "x-y-z", "00000000-0000-0000-0000-000000000000"] {
            for what in ["response", "error"] {
                let refused = runtime.post(&of(id, what), "{}");
                refused.assert_refused(400, "InvalidRequestID", "Invalid request ID");
            }
        }
    };
    refuse(&mut runtime);
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let next = runtime.request(NEXT, &[], "");
        refuse(&mut runtime);
        runtime.post(&of(&next.id(), "response"), "out").assert_accepted();
        refuse(&mut runtime);
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
    });
}

#[test]
fn an_answer_of_another_attempt_is_refused_and_the_right_one_is_accepted() {
    for what in ["response", "error"] {
        let (answer, ()) = invoked("in", |runtime| {
            let next = runtime.request(NEXT, &[], "");
            let path = format!("POST {}", of(&next.id(), what));
            for other in ["", "another"] {
                let attempt = [("Lambda-Runtime-Invocation-Id", other)];
                let refused = runtime.request(&path, &attempt, "stale");
                refused.assert_refused(410, "InvokeTimeout", "Invoke timeout");
            }
            let attempt = next.header("lambda-runtime-invocation-id").unwrap();
            let attempt = [("lambda-runtime-invocation-id", attempt)];
            runtime.request(&path, &attempt, "right").assert_accepted();
            // Order and attempt are both wrong: the attempt is checked first for an error, the
            // order first for a response.
            let both = runtime.request(&path, &[("Lambda-Runtime-Invocation-Id", "x")], "");
            assert_eq!(both.status, if what == "error" { 410 } else { 403 });
        });
        let body = answer.map_or_else(|error| failure(Err(error)).body, |answer| answer.body);
        assert_eq!(body, b"right");
    }
}

#[test]
fn an_error_reaches_the_caller_as_it_was_reported() {
    let report = r#"{"errorMessage":"m","errorType":"T","trace":["own"]}"#;
    for (headers, body, expected) in [
        (vec![], report, report),
        (vec![("Content-Type", "application/vnd.aws.lambda.error+json")], report, report),
        (vec![], "not json", "not json"),
        (
            vec![("Content-Type", "application/vnd.aws.lambda.error.cause+json")],
            r#"{"errorMessage":"m","errorType":"T","errorCause":{"paths":[]}}"#,
            r#"{"errorMessage":"m","errorType":"T"}"#,
        ),
        (
            vec![("Lambda-Runtime-Function-Error-Type", "Function.X")],
            "",
            r#"{"errorType":"Function.X","errorMessage":""}"#,
        ),
        (vec![], "", r#"{"errorType":"Runtime.Unknown","errorMessage":""}"#),
    ] {
        let (answer, ()) = invoked("in", |runtime| {
            let next = runtime.request(NEXT, &[], "");
            let line = format!("POST {}", of(&next.id(), "error"));
            runtime.request(&line, &headers, body).assert_accepted();
        });
        let failure = failure(answer);
        assert_eq!(failure.kind, FailureKind::Reported);
        assert_eq!(String::from_utf8(failure.body).unwrap(), expected);
    }
}

#[test]
fn an_x_ray_cause_of_1_mib_fits_its_header() {
    let cause = "c".repeat(1024 * 1024);
    let (answer, ()) = invoked("in", |runtime| {
        let next = runtime.request(NEXT, &[], "");
        let line = format!("POST {}", of(&next.id(), "error"));
        let headers = [("Lambda-Runtime-Function-XRay-Error-Cause", cause.as_str())];
        runtime.request(&line, &headers, "{}").assert_accepted();
    });
    assert_eq!(failure(answer).body, b"{}");
}

#[test]
fn a_request_may_have_hundreds_of_headers() {
    let (answer, ()) = invoked("in", |runtime| {
        let next = runtime.request(NEXT, &[], "");
        let headers = [("X-Many", "x"); 500];
        let line = format!("POST {}", of(&next.id(), "response"));
        runtime.request(&line, &headers, "out").assert_accepted();
    });
    assert_eq!(answer.unwrap().body, b"out");
}

#[test]
fn a_connection_can_be_used_after_a_refused_body_of_any_framing() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    let line = format!("POST {}", of("x-y-z", "response"));
    let chunked = [("Transfer-Encoding", "chunked")];
    for (headers, body) in [
        (&[][..], "x".repeat(100_000)),
        (&chunked, "2\r\nxx\r\n0\r\n\r\n".to_owned()),
        (&chunked, format!("{}0\r\n\r\n", "2\r\nxx\r\n".repeat(1000))),
        (&chunked, format!("{}0\r\nTrailer: x\r\n\r\n", "2\r\nxx\r\n".repeat(2))),
    ] {
        let ping = request("GET /2018-06-01/ping", &[], "");
        runtime.send([request(&line, headers, body), ping].concat());
        assert_eq!(runtime.response().status, 400);
        assert_eq!(runtime.response().text(), "pong");
    }
}

#[test]
fn an_answer_at_the_limit_is_accepted_and_one_byte_more_fails_the_invocation() {
    for (length, is_chunked) in [
        (MAX_PAYLOAD, false),
        (MAX_PAYLOAD, true),
        (MAX_PAYLOAD + 1, false),
        (MAX_PAYLOAD + 1, true),
        (2 * MAX_PAYLOAD, false),
    ] {
        let lab = external();
        let mut runtime = Connection::open(lab.runtime_api());
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let next = runtime.request(NEXT, &[], "");
            let line = format!("POST {}", of(&next.id(), "response"));
            let body = "y".repeat(length);
            let response = if is_chunked {
                let body = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
                runtime.request(&line, &[("Transfer-Encoding", "chunked")], body)
            } else {
                runtime.request(&line, &[], body)
            };
            let answer = caller.join().unwrap();
            if length == MAX_PAYLOAD {
                response.assert_accepted();
                assert_eq!(answer.unwrap().body.len(), length);
            } else {
                let message = "Exceeded maximum allowed payload size (6291556 bytes).";
                response.assert_refused(413, "RequestEntityTooLarge", message);
                let failure = failure(answer);
                assert_eq!(failure.kind, FailureKind::AnswerTooLarge);
                assert_eq!(failure.error_type().unwrap(), "Function.ResponseSizeTooLarge");
                let message =
                    "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
                assert_eq!(failure.error_message().unwrap(), message);
            }
        });
        // The runtime may continue on the same connection.
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("again"));
            let next = runtime.request(NEXT, &[], "");
            runtime.post(&of(&next.id(), "response"), "2").assert_accepted();
            assert_eq!(caller.join().unwrap().unwrap().body, b"2");
        });
    }
}

#[test]
fn an_unknown_response_mode_is_refused_and_fails_the_invocation() {
    for mode in ["bogus", "Streaming", "buffered", "streaming "] {
        let header = [("Lambda-Runtime-Function-Response-Mode", mode)];
        let (answer, ()) = invoked("in", |runtime| {
            let next = runtime.request(NEXT, &[], "");
            let line = format!("POST {}", of(&next.id(), "response"));
            let response = runtime.request(&line, &header, "1");
            if mode == "streaming " {
                // White space around a value is not part of it (RFC 9110, section 5.5).
                return response.assert_accepted();
            }
            let message = "Invalid function response mode";
            response.assert_refused(400, "InvalidFunctionResponseMode", message);
        });
        if mode == "streaming " {
            assert_eq!(answer.unwrap().body, b"1");
        } else {
            let failure = failure(answer);
            assert_eq!(failure.kind, FailureKind::InvalidResponseMode);
            assert_eq!(failure.error_type().unwrap(), "Runtime.InvalidResponseModeHeader");
        }
    }
}

#[test]
fn an_empty_response_mode_means_a_buffered_response() {
    let (answer, ()) = invoked("in", |runtime| {
        let next = runtime.request(NEXT, &[], "");
        let line = format!("POST {}", of(&next.id(), "response"));
        let headers = [("Lambda-Runtime-Function-Response-Mode", "")];
        runtime.request(&line, &headers, "1").assert_accepted();
    });
    assert_eq!(answer.unwrap().body, b"1");
}

#[test]
fn a_truncated_answer_fails_immediately_and_the_runtime_may_continue() {
    let lab = external();
    for cut_off in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nha",
        "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ] {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let mut runtime = Connection::open(lab.runtime_api());
            let next = runtime.request(NEXT, &[], "");
            let path = of(&next.id(), "response");
            runtime.send(format!("POST {path} HTTP/1.1\r\nHost: lab\r\n{cut_off}"));
            runtime.end_writing();
            let failure = failure(caller.join().unwrap());
            assert_eq!(failure.kind, FailureKind::Truncated, "{cut_off}");
            assert_eq!(failure.error_type().unwrap(), "Runtime.TruncatedResponse");
        });
    }
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("again"));
        let mut runtime = Connection::open(lab.runtime_api());
        let next = runtime.request(NEXT, &[], "");
        runtime.post(&of(&next.id(), "response"), "2").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"2");
    });
}

#[test]
fn error_trailers_make_a_buffered_response_a_failure() {
    // The Go client sends all its responses in this form.
    let (answer, ()) = invoked("in", |runtime| {
        let next = runtime.request(NEXT, &[], "");
        let line = format!("POST {}", of(&next.id(), "response"));
        let headers = [
            ("Transfer-Encoding", "chunked"),
            ("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"),
        ];
        let body = "4\r\nhalf\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Midway\r\n\
             Lambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJib29tIn0=\r\n\r\n";
        runtime.request(&line, &headers, body).assert_accepted();
    });
    assert_eq!(failure(answer).body, br#"{"errorMessage":"boom"}"#);
}

#[test]
fn an_init_error_reaches_the_caller_and_a_second_one_is_forbidden() {
    let lab = crate::support::script("sleep 1000").start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let mut runtime = Connection::open(lab.runtime_api());
        // Before the invocation arrives, the function has not started. A report that is sent by
        // then belongs to no invocation, and the later start discards it.
        crate::support::wait_until("the report of the runtime that was started", || {
            runtime.post(INIT_ERROR, r#"{"errorType":"T"}"#);
            caller.is_finished()
        });
        let failure = failure(caller.join().unwrap());
        assert_eq!((failure.kind, failure.error_type().as_deref()), (FailureKind::Init, Some("T")));
        runtime.post(INIT_ERROR, "{}").assert_forbidden("InitError", "InitError");
        runtime.request(NEXT, &[], "").assert_forbidden("InitError", "Ready");
    });
}

#[test]
fn an_init_error_after_the_first_next_is_forbidden() {
    let (answer, ()) = invoked("in", |runtime| {
        let next = runtime.request(NEXT, &[], "");
        runtime.post(INIT_ERROR, "{}").assert_forbidden("Running", "InitError");
        runtime.post(&of(&next.id(), "response"), "1").assert_accepted();
        runtime.post(INIT_ERROR, "{}").assert_forbidden("RuntimeResponseSentState", "InitError");
    });
    answer.unwrap();
}

#[test]
fn an_external_runtime_may_start_again_after_an_init_error() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    runtime.post(INIT_ERROR, "{}").assert_accepted();
    runtime.post(INIT_ERROR, "{}").assert_accepted();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let next = runtime.request(NEXT, &[], "");
        runtime.post(&of(&next.id(), "response"), "1").assert_accepted();
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn unknown_paths_and_methods_are_refused_as_by_the_emulator() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    for line in ["GET /", "GET /2018-06-01", "GET /2018-06-01/runtime/restore/next", "POST /x"] {
        let refused = runtime.request(line, &[], "");
        assert_eq!((refused.status, refused.text().as_str()), (404, "404 page not found\n"));
        assert_eq!(refused.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    for (line, allowed) in [
        ("POST /2018-06-01/runtime/invocation/next", "GET"),
        ("HEAD /2018-06-01/runtime/invocation/next", "GET"),
        ("PUT /2018-06-01/ping", "GET"),
        ("GET /2018-06-01/runtime/invocation/x/response", "POST"),
        ("DELETE /2018-06-01/runtime/invocation/ABC/error", "POST"),
        ("GET /2018-06-01/runtime/init/error", "POST"),
    ] {
        let refused = runtime.request(line, &[], "");
        assert_eq!((refused.status, refused.header("allow")), (405, Some(allowed)), "{line}");
        assert_eq!(refused.body, b"");
    }
    assert_eq!(runtime.request("GET /2018-06-01/ping", &[], "").body, b"pong");
}

#[test]
fn expect_100_continue_is_honoured() {
    let (answer, ()) = invoked("in", |runtime| {
        let next = runtime.request(NEXT, &[], "");
        let path = of(&next.id(), "response");
        runtime.send(format!(
            "POST {path} HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        ));
        assert_eq!(runtime.response().status, 100);
        runtime.send("hello");
        runtime.response().assert_accepted();
    });
    assert_eq!(answer.unwrap().body, b"hello");
}

#[test]
fn an_answer_and_next_in_one_write_get_their_replies_in_order() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    runtime.send(request(NEXT, &[], ""));
    for event in ["1", "2", "3"] {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke(event));
            let next = runtime.response();
            let answer = request(&format!("POST {}", of(&next.id(), "response")), &[], &next.body);
            runtime.send([answer, request(NEXT, &[], "")].concat());
            runtime.response().assert_accepted();
            assert_eq!(caller.join().unwrap().unwrap().body, event.as_bytes());
        });
    }
}
