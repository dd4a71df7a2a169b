//! Sessions through the C functions.

use crate::support::{ACCEPTED, Made, event};
use lambda_proto_capi::*;

/// The length of an event for which memory has to grow. Miri is slow.
const LARGE: usize = if cfg!(miri) { 4_000 } else { 20_000 };

/// The length of a report that needs more memory.
const REPORT: usize = if cfg!(miri) { 3_000 } else { 100_000 };

/// The shortest piece in which it arrives.
const SHORT: usize = if cfg!(miri) { 50 } else { 1 };

/// The distance of the lengths in which an event is cut.
const STRIDE: usize = if cfg!(miri) { 33 } else { 1 };

#[test]
fn a_session_goes_through_all_its_steps() {
    let mut made = Made::in_flight("\"Ada\"");
    assert_eq!(made.event().expect("an event"), b"\"Ada\"");
    assert_eq!(made.field(LAMBDA_PROTO_FIELD_REQUEST_ID).as_deref(), Some("7b"));
    assert_eq!(made.field(LAMBDA_PROTO_FIELD_CONTENT_TYPE).as_deref(), Some("application/json"));
    assert_eq!(made.field(LAMBDA_PROTO_FIELD_TRACE_ID), None);
    let mut deadline = 0;
    // SAFETY: there is a client.
    assert_eq!(unsafe { lambda_proto_client_deadline_ms(made.client, &mut deadline) }, 0);
    assert_eq!(deadline, 1_795_252_820_229);

    assert_eq!(made.respond(b"text/plain", b"Hello, Ada!", false), LAMBDA_PROTO_OK);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
    assert_eq!(
        made.send(),
        "POST /2018-06-01/runtime/invocation/7b/response HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\
         User-Agent: test/1\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nHello, Ada!"
    );
    assert_eq!(made.receipt().0, LAMBDA_PROTO_ERROR_PHASE);
    made.receive_all(ACCEPTED, 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_SETTLED);
    assert_eq!(made.receipt(), (LAMBDA_PROTO_RECEIPT_ACCEPTED, 202));
    assert_eq!(made.event(), Err(LAMBDA_PROTO_ERROR_PHASE));
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_IDLE);
}

#[test]
fn an_answer_may_be_the_event_itself_which_stays_until_it_is_settled() {
    for cut in (1..200).step_by(STRIDE) {
        let made = Made::in_flight_cut("\"Ada\"", cut);
        let (at, length) = made.event_slice().expect("an event");
        // SAFETY: the client has handed out the slice.
        let body = unsafe { std::slice::from_raw_parts(at, length) };
        assert_eq!(made.respond(b"", body, false), LAMBDA_PROTO_OK);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
        assert!(made.send().ends_with("Content-Length: 5\r\n\r\n\"Ada\""));
        // Up to the receipt, no byte that arrives takes the place of the event.
        for (index, byte) in ACCEPTED.iter().enumerate() {
            assert_eq!(made.receive(&[*byte]), Ok(1));
            assert_eq!(made.event().expect("an event"), b"\"Ada\"");
            let step = made.step();
            let is_last = index + 1 == ACCEPTED.len();
            assert_eq!(step == LAMBDA_PROTO_STEP_SETTLED, is_last);
        }
    }
}

#[test]
fn a_pipelined_answer_is_settled_before_its_reply_arrives() {
    let mut made = Made::in_flight("1");
    for _ in 0..3 {
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
        assert_eq!(made.respond(b"", b"2", true), LAMBDA_PROTO_OK);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
        assert!(made.send().contains("2GET /2018-06-01/runtime/invocation/next"));
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_SETTLED);
        assert_eq!(made.receipt(), (LAMBDA_PROTO_RECEIPT_PIPELINED, 0));
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
        made.receive_all(&[ACCEPTED, &event("1")].concat(), 30);
    }
}

#[test]
fn an_event_gets_more_memory_however_it_is_cut() {
    let body: String = (0..LARGE).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    for piece in [SHORT, 7 * SHORT, 100, 4096, usize::MAX] {
        for first in [0, 1, 200, 3000] {
            let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
            let made = Made::growing(first, requests, [1 << 20, requests], 1);
            let made = made.with_event(&body, piece);
            assert_eq!(made.event().expect("an event"), body.as_bytes());
            assert_eq!(made.field(LAMBDA_PROTO_FIELD_REQUEST_ID).as_deref(), Some("7b"));
        }
    }
}

#[test]
fn an_event_beyond_the_limit_fails_its_invocation() {
    let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
    for most in [4096, 8192, 9000] {
        let mut made = Made::growing(4000, requests, [most, requests], 1);
        made.ask(&event(&"x".repeat(20_000)), 1000);
        let (step, warnings) = made.step_with_warnings();
        assert_eq!(step, LAMBDA_PROTO_STEP_WRITE);
        assert_eq!(
            warnings,
            [(
                LAMBDA_PROTO_WARNING_EVENT_TOO_LARGE,
                "invocation 7b: the event does not fit the buffer".to_owned()
            )]
        );
        assert!(made.send().contains("Runtime.EventTooLarge"));
    }
}

#[test]
fn an_announced_length_alone_asks_for_little_memory() {
    let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
    let mut made = Made::growing(3000, requests, [1 << 30, requests], 1);
    let head = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 999999999\r\n\r\n";
    made.ask(head, 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
    let error = made.receive(b"x");
    assert!(error.is_ok() || made.needed(LAMBDA_PROTO_MEMORY_EVENTS) <= 4097);
}

#[test]
fn a_limit_that_is_raised_while_the_memory_is_in_use_lets_it_grow_for_the_next_event() {
    let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
    for piece in [SHORT, 999, 1000, 100_000] {
        let mut made = Made::growing(3000, requests, [0, requests], 1).with_event("1", 1000);
        let kind = LAMBDA_PROTO_MEMORY_EVENTS;
        // SAFETY: there is a client.
        assert_eq!(unsafe { lambda_proto_client_set_max_memory(made.client, kind, 1 << 20) }, 0);
        assert_eq!(made.respond(b"", b"", false), LAMBDA_PROTO_OK);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
        made.send();
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
        made.receive_all(ACCEPTED, 1000);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_SETTLED);
        let large = "x".repeat(LARGE);
        made.ask(&event(&large), piece);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
        assert_eq!(made.event().expect("an event"), large.as_bytes());
    }
}

#[test]
fn without_memory_a_program_goes_on_with_what_there_is() {
    let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
    let mut made = Made::growing(3000, requests, [1 << 20, requests], 1);
    let bytes = event(&"x".repeat(20_000));
    made.ask(&bytes[..2500], 1000);
    let mut rest = &bytes[2500..];
    let mut is_refused = false;
    while !rest.is_empty() {
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
        match made.receive(&rest[..rest.len().min(1000)]) {
            Ok(length) => rest = &rest[length..],
            Err(code) => {
                assert_eq!(code, LAMBDA_PROTO_ERROR_MEMORY);
                // The same call fails the same way until something is done.
                assert_eq!(made.receive(rest), Err(LAMBDA_PROTO_ERROR_MEMORY));
                assert!(!is_refused);
                is_refused = true;
                let kind = LAMBDA_PROTO_MEMORY_EVENTS;
                // SAFETY: there is a client.
                assert_eq!(unsafe { lambda_proto_client_set_max_memory(made.client, kind, 0) }, 0);
            }
        }
    }
    assert!(is_refused);
    let (_, warnings) = made.step_with_warnings();
    assert_eq!(warnings[0].0, LAMBDA_PROTO_WARNING_EVENT_TOO_LARGE);
}

#[test]
fn a_long_report_gets_memory_or_is_cut() {
    let message = "m".repeat(REPORT);
    for most in [0, 1 << 22] {
        let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
        let mut made = Made::growing(3000, requests, [3000, most], 1).with_event("1", 1000);
        let fail = |made: &Made| made.fail(b"Function.Broken", message.as_bytes(), b"", b"");
        if most > 0 {
            assert_eq!(fail(&made), LAMBDA_PROTO_ERROR_MEMORY);
            let needed = made.needed(LAMBDA_PROTO_MEMORY_REQUESTS);
            assert!((REPORT..REPORT + 10_000).contains(&needed), "{needed}");
            made.give(LAMBDA_PROTO_MEMORY_REQUESTS, needed);
        }
        assert_eq!(fail(&made), LAMBDA_PROTO_OK);
        let (step, warnings) = made.step_with_warnings();
        assert_eq!(step, LAMBDA_PROTO_STEP_WRITE);
        assert_eq!(warnings[0].0, LAMBDA_PROTO_WARNING_FAILED);
        assert!(warnings[0].1.len() <= 512 && warnings[0].1.ends_with('…'));
        let sent = made.send();
        assert_eq!(sent.contains(&message), most > 0);
    }
}

#[test]
fn a_report_in_json_of_the_program_is_sent_unchanged_if_there_is_memory_for_it() {
    let json = format!("{{\"requestId\":\"7b\",\"trace\":[\"{}\"]}}", "f".repeat(REPORT));
    for most in [0, 1 << 22] {
        let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
        let mut made = Made::growing(3000, requests, [3000, most], 1);
        made.ask(&event("1"), 1000);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
        let fail = |made: &Made| made.fail_json(b"Dry", b"no water", json.as_bytes(), b"{}");
        if most > 0 {
            assert_eq!(fail(&made), LAMBDA_PROTO_ERROR_MEMORY);
            made.give(LAMBDA_PROTO_MEMORY_REQUESTS, made.needed(LAMBDA_PROTO_MEMORY_REQUESTS));
        }
        assert_eq!(fail(&made), LAMBDA_PROTO_OK);
        let (step, warnings) = made.step_with_warnings();
        assert_eq!(step, LAMBDA_PROTO_STEP_WRITE);
        assert_eq!(warnings[0].1, "invocation 7b: failed: Dry: no water");
        let sent = made.send();
        assert!(sent.contains("\r\nLambda-Runtime-Function-Error-Type: Dry\r\n"), "{sent}");
        let body =
            if most > 0 { &json } else { r#"{"errorType":"Dry","errorMessage":"no water"}"# };
        assert!(sent.ends_with(&format!("Content-Length: {}\r\n\r\n{body}", body.len())));
    }
}

#[test]
fn an_init_report_in_json_of_the_program_is_sent_unchanged_or_made_of_type_and_message() {
    let json = r#"{"errorMessage":"no table","stackTrace":[],"errorType":"NoTable"}"#;
    for json in [json, ""] {
        let mut made = Made::new(3000, LAMBDA_PROTO_REQUEST_MEMORY as usize);
        assert_eq!(made.fail_init_json(b"No\xff", b"", b"{}"), LAMBDA_PROTO_ERROR_UTF8);
        let report = made.fail_init_json(b"NoTable", b"no table", json.as_bytes());
        assert_eq!(report, LAMBDA_PROTO_OK);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_CONNECT);
        // SAFETY: there is a client.
        assert_eq!(unsafe { lambda_proto_client_connected(made.client) }, LAMBDA_PROTO_OK);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
        let sent = made.send();
        assert!(sent.starts_with("POST /2018-06-01/runtime/init/error HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("\r\nLambda-Runtime-Function-Error-Type: NoTable\r\n"), "{sent}");
        let made_up = r#"{"errorType":"NoTable","errorMessage":"no table"}"#;
        let body = if json.is_empty() { made_up } else { json };
        assert!(sent.ends_with(&format!("Content-Length: {}\r\n\r\n{body}", body.len())));
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
        made.receive_all(ACCEPTED, 1000);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_SETTLED);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_END);
    }
}

#[test]
fn a_stream_sends_its_pieces_and_ends() {
    let mut made = Made::in_flight("1");
    assert_eq!(made.stream(b"text/plain"), LAMBDA_PROTO_OK);
    let mut sent = String::new();
    for piece in ["Hello", "", ", Ada!"] {
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
        assert_eq!(made.chunk(piece.as_bytes()), LAMBDA_PROTO_OK);
        while made.step() == LAMBDA_PROTO_STEP_WRITE {
            sent += &made.send();
        }
    }
    // SAFETY: there is a client.
    assert_eq!(unsafe { lambda_proto_client_finish(made.client, 0) }, LAMBDA_PROTO_OK);
    while made.step() == LAMBDA_PROTO_STEP_WRITE {
        sent += &made.send();
    }
    assert!(sent.contains("Transfer-Encoding: chunked\r\n"));
    assert!(sent.ends_with("\r\n\r\n5\r\nHello\r\n6\r\n, Ada!\r\n0\r\n\r\n"), "{sent}");
    made.receive_all(ACCEPTED, 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_SETTLED);
}

#[test]
fn warnings_come_one_at_a_time_and_before_the_receipt() {
    let mut made = Made::in_flight("1");
    assert_eq!(made.warning().0, LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.respond(b"", b"2", false), LAMBDA_PROTO_OK);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
    // A failure after the answer only warns, here six times.
    for _ in 0..6 {
        assert_eq!(made.fail(b"A.B", b"late", b"", b""), LAMBDA_PROTO_ERROR_PHASE);
    }
    let (step, warnings) = made.step_with_warnings();
    assert_eq!(step, LAMBDA_PROTO_STEP_WRITE);
    let kinds: Vec<_> = warnings.iter().map(|(kind, _)| *kind).collect();
    let late = LAMBDA_PROTO_WARNING_FAILED_AFTER_ANSWER;
    assert_eq!(kinds, [late, late, late, late, LAMBDA_PROTO_WARNING_OTHER]);
    assert_eq!(warnings[0].1, "invocation 7b: failed after it was answered: A.B: late");
    assert_eq!(warnings[4].1, "2 more warnings were dropped");
    made.send();
    made.receive_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", 1000);
    let (step, warnings) = made.step_with_warnings();
    assert_eq!((step, warnings.len()), (LAMBDA_PROTO_STEP_SETTLED, 1));
    assert_eq!(warnings[0].0, LAMBDA_PROTO_WARNING_REFUSED);
    assert_eq!(made.receipt(), (LAMBDA_PROTO_RECEIPT_REFUSED, 413));
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_IDLE);
}

#[test]
fn nothing_takes_the_place_of_an_event_before_the_receipt_that_waits_for_a_warning() {
    let made = Made::in_flight("\"Ada\"");
    let (at, length) = made.event_slice().expect("an event");
    assert_eq!(made.respond(b"", b"2", true), LAMBDA_PROTO_OK);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
    // The service refuses the answer before it has read all of it.
    assert_eq!(made.sent(9), LAMBDA_PROTO_OK);
    made.receive(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").expect("room");
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_WARNING);
    assert_eq!(made.receive(&event("\"Bob\"")), Err(LAMBDA_PROTO_ERROR_ROOM));
    // SAFETY: there is a client.
    assert_eq!(unsafe { lambda_proto_client_ask(made.client) }, LAMBDA_PROTO_ERROR_PHASE);
    // SAFETY: the client has handed out the slice, and has not returned SETTLED.
    assert_eq!(unsafe { std::slice::from_raw_parts(at, length) }, b"\"Ada\"");
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_SETTLED);
    assert_eq!(made.receipt(), (LAMBDA_PROTO_RECEIPT_REFUSED, 413));
}

#[test]
fn what_arrives_with_the_reply_does_not_take_the_place_of_the_event_before_the_receipt() {
    let made = Made::in_flight("\"Ada\"");
    let (at, length) = made.event_slice().expect("an event");
    assert_eq!(made.respond(b"", b"2", true), LAMBDA_PROTO_OK);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
    assert_eq!(made.sent(9), LAMBDA_PROTO_OK);
    let refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    made.receive(&[&refusal[..], &event("\"Bob\"")].concat()).expect("room");
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_WARNING);
    // SAFETY: the client has handed out the slice, and has not returned SETTLED.
    assert_eq!(unsafe { std::slice::from_raw_parts(at, length) }, b"\"Ada\"");
    assert_eq!(made.step_with_warnings().0, LAMBDA_PROTO_STEP_SETTLED);
}

#[test]
fn a_taken_event_stays_in_its_memory() {
    let mut made = Made::in_flight("\"Ada\"");
    let (at, length) = made.event_slice().expect("an event");
    let mut other = vec![0xaa_u8; 512];
    // The client has the memory from the first call on, so it is not borrowed again.
    let (memory, room) = (other.as_mut_ptr(), other.len());
    let take = || {
        // SAFETY: there is a client, and the memory outlives it.
        unsafe { lambda_proto_client_take_event(made.client, memory.cast(), room) }
    };
    assert_eq!(take(), LAMBDA_PROTO_OK);
    assert_eq!(take(), LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.event(), Err(LAMBDA_PROTO_ERROR_PHASE));
    // SAFETY: the memory is the test's, and still there.
    let body = unsafe { std::slice::from_raw_parts(at, length) };
    assert_eq!(made.respond(b"", body, true), LAMBDA_PROTO_OK);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
    made.send();
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_SETTLED);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
    made.receive_all(&[ACCEPTED, &event("\"Bob\"")].concat(), 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
    assert_eq!(made.event().expect("an event"), b"\"Bob\"");
    assert_eq!(body, b"\"Ada\"");
}

#[test]
fn an_event_whose_answer_is_a_stream_cannot_be_taken() {
    let made = Made::in_flight("\"Ada\"");
    let mut other = vec![0xaa; 512];
    let mut take = || {
        let (pointer, length) = (other.as_mut_ptr().cast(), other.len());
        // SAFETY: there is a client, and the memory outlives it.
        unsafe { lambda_proto_client_take_event(made.client, pointer, length) }
    };
    assert_eq!(made.stream(b"text/plain"), LAMBDA_PROTO_OK);
    assert_eq!(take(), LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.event().expect("an event"), b"\"Ada\"");
    assert_eq!(made.chunk(b"one"), LAMBDA_PROTO_OK);
    assert_eq!(take(), LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.event().expect("an event"), b"\"Ada\"");
}

#[test]
fn a_report_that_is_refused_warns_only_when_it_is_sent() {
    let made = Made::in_flight("1");
    assert_eq!(made.stream(b"text/plain"), LAMBDA_PROTO_OK);
    assert_eq!(made.chunk(b"one"), LAMBDA_PROTO_OK);
    assert_eq!(made.fail(b"A.B", b"message", b"", b""), LAMBDA_PROTO_ERROR_UNSENT);
    let mut step = made.step();
    assert_eq!(step, LAMBDA_PROTO_STEP_WRITE);
    while step == LAMBDA_PROTO_STEP_WRITE {
        made.send();
        step = made.step();
    }
    assert_eq!(step, LAMBDA_PROTO_STEP_ANSWER);
    assert_eq!(made.fail(b"A.B", b"message", b"", b""), LAMBDA_PROTO_OK);
    let (step, warnings) = made.step_with_warnings();
    assert_eq!(step, LAMBDA_PROTO_STEP_WRITE);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_withdrawn_body_is_never_read_again() {
    for sent in [0, 10] {
        let made = Made::in_flight("1");
        let body = b"secret".to_vec();
        assert_eq!(made.respond(b"", &body, false), LAMBDA_PROTO_OK);
        assert_eq!(made.step(), LAMBDA_PROTO_STEP_WRITE);
        assert_eq!(made.sent(sent), LAMBDA_PROTO_OK);
        // SAFETY: there is a client.
        assert_eq!(unsafe { lambda_proto_client_withdraw(made.client) }, LAMBDA_PROTO_OK);
        drop(body);
        let (step, _) = made.step_with_warnings();
        let expected = if sent == 0 { LAMBDA_PROTO_STEP_ANSWER } else { LAMBDA_PROTO_STEP_SETTLED };
        assert_eq!(step, expected);
        assert!(!made.unsent().ends_with(b"secret"));
    }
}

#[test]
fn a_client_of_several_begins_anew_after_an_invalid_reply_and_a_single_one_does_not() {
    for slots in [1, 2] {
        let requests = LAMBDA_PROTO_REQUEST_MEMORY as usize;
        let mut made = Made::growing(4096, requests, [0, 0], slots);
        made.ask(b"garbage in reply to next\r\n\r\n", 1000);
        let begin = |made: &Made| {
            // SAFETY: there is a client.
            unsafe { lambda_proto_client_begin_anew(made.client) }
        };
        assert_eq!(begin(&made), LAMBDA_PROTO_ERROR_PHASE);
        let (step, _) = made.step_with_warnings();
        if step != LAMBDA_PROTO_STEP_END {
            // An invalid reply may also be survived by asking again.
            continue;
        }
        let (end, text) = made.end();
        assert_eq!(end, LAMBDA_PROTO_END_PROTOCOL);
        assert!(text.starts_with("the Runtime API violated the protocol: "), "{text}");
        assert_eq!(begin(&made) == LAMBDA_PROTO_OK, slots == 2);
        if slots == 2 {
            assert_eq!(made.end().0, LAMBDA_PROTO_ERROR_PHASE);
            made.ask(&event("1"), 1000);
            assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
        }
    }
}

#[test]
fn a_head_that_does_not_fit_ends_the_session() {
    let mut made = Made::new(64, LAMBDA_PROTO_REQUEST_MEMORY as usize);
    made.ask(&event("1")[..64], 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
    assert_eq!(made.receive(b"x"), Err(LAMBDA_PROTO_ERROR_ROOM));
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_END);
    assert_eq!(made.end().0, LAMBDA_PROTO_END_HEAD);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_END);
}

#[test]
fn backoff_grows_with_failed_attempts_within_its_limit() {
    let made = Made::new(1024, LAMBDA_PROTO_REQUEST_MEMORY as usize);
    // SAFETY: there is a client.
    let wait =
        |failed, random| unsafe { lambda_proto_client_backoff_ms(made.client, failed, random) };
    assert_eq!(wait(0, 7), 0);
    assert_eq!((wait(1, 0), wait(1, u32::MAX)), (25, 50));
    assert_eq!(wait(u32::MAX, u32::MAX), 3200);
}
