//! No text of a handler or of an event can add a header line or end the process.

use lambda_proto_scenarios::{Act, Event, Failure, Outcome, Response, Transport, scenarios};

scenarios! {
    on_every_runtime {
        an_error_type_never_leaves_its_header,
        an_error_message_arrives_as_it_is,
        a_long_error_type_is_cut_and_a_long_message_is_not,
        a_message_above_1_mib_is_cut_between_characters,
        an_empty_error_type_is_sent_as_unknown,
        an_xray_cause_never_leaves_its_header,
        a_content_type_that_would_leave_its_header_is_an_error_of_its_invocation,
        the_8_bit_content_type_of_an_event_goes_back_byte_for_byte,
        an_8_bit_attempt_id_goes_back_byte_for_byte,
        a_request_id_never_leaves_the_path,
        long_and_odd_headers_of_an_event_reach_the_handler,
        control_characters_of_a_caller_reach_the_handler_and_end_nothing,
        an_event_with_a_line_break_in_a_header_ends_the_runtime_with_an_error,
    }
}

const HOSTILE: [&str; 7] = [
    "a\r\nX-Injected: yes",
    "a\nX-Injected: yes",
    "a\rX-Injected: yes",
    "a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "nul \0 bell \x07 del \x7f tab \t",
    "caf\u{e9} \u{1f980} \u{2028}",
    "\"\\/{}\u{0}\u{1f}",
];

const ERROR_HEADERS: [&str; 5] =
    ["content-length", "content-type", "host", "lambda-runtime-function-error-type", "user-agent"];

fn fail_with(on: &dyn Transport, error_type: String, message: String) -> Outcome {
    on.invoke_once(Event::new("id-1", ""), move |_| {
        Act::Fail(Failure::new(error_type.clone(), message.clone()))
    })
}

fn an_error_type_never_leaves_its_header(on: &dyn Transport) {
    for hostile in HOSTILE {
        let request = fail_with(on, hostile.to_owned(), "m".to_owned()).request;
        assert_eq!(request.header_names(), ERROR_HEADERS, "{hostile:?}");
        let header = request.header("Lambda-Runtime-Function-Error-Type").unwrap();
        assert!(header.bytes().all(|byte| byte.is_ascii_graphic()), "{header:?}");
        assert_eq!(request.json()["errorType"], hostile, "the body has it as it is");
    }
}

fn an_error_message_arrives_as_it_is(on: &dyn Transport) {
    for hostile in HOSTILE {
        let request = fail_with(on, "Function.A".to_owned(), hostile.to_owned()).request;
        request.assert_error("id-1", "Function.A");
        assert_eq!(request.header_names(), ERROR_HEADERS, "{hostile:?}");
        assert_eq!(request.json()["errorMessage"], hostile);
    }
}

fn a_long_error_type_is_cut_and_a_long_message_is_not(on: &dyn Transport) {
    let message = "m".repeat(10 * 1024);
    let request =
        fail_with(on, format!("Function.{}", "T".repeat(10 * 1024)), message.clone()).request;
    let header = request.header("Lambda-Runtime-Function-Error-Type").unwrap();
    assert_eq!(header, format!("Function.{}", "T".repeat(128 - "Function.".len())));
    assert_eq!(request.json()["errorType"], header);
    assert_eq!(request.json()["errorMessage"], message);
}

fn a_message_above_1_mib_is_cut_between_characters(on: &dyn Transport) {
    let request = fail_with(on, "Function.A".to_owned(), "\u{1f980}".repeat(1024 * 1024)).request;
    request.assert_error("id-1", "Function.A");
    assert!(
        (1024 * 1024 - 8..=1024 * 1024).contains(&request.body.len()),
        "{}",
        request.body.len()
    );
    let json = request.json();
    assert!(json["errorMessage"].as_str().unwrap().chars().all(|symbol| symbol == '\u{1f980}'));
}

fn an_empty_error_type_is_sent_as_unknown(on: &dyn Transport) {
    let request = fail_with(on, String::new(), String::new()).request;
    request.assert_error("id-1", "Runtime.Unknown");
    assert_eq!(request.json()["errorMessage"], "");
}

fn an_xray_cause_never_leaves_its_header(on: &dyn Transport) {
    for hostile in HOSTILE {
        let request = on
            .invoke_once(Event::new("id-1", ""), move |_| {
                Act::Fail(Failure::new("Function.A", "m").xray_cause(hostile))
            })
            .request;
        let cause = request.header("Lambda-Runtime-Function-XRay-Error-Cause");
        assert!(cause.is_none_or(|cause| cause.is_ascii()), "{cause:?}");
        assert!(request.headers.len() <= ERROR_HEADERS.len() + 1, "{:?}", request.headers);
    }
}

fn a_content_type_that_would_leave_its_header_is_an_error_of_its_invocation(on: &dyn Transport) {
    let long = "x".repeat(10 * 1024);
    for wrong in ["a\r\nX-Injected: yes", "a\nb", "a\rb", "a\0b", "", &long] {
        let wrong = wrong.to_owned();
        let outcome = on.invoke_once(Event::new("id-1", ""), move |_| {
            Act::send(Response::from("").content_type(wrong.as_str()))
        });
        outcome.request.assert_error("id-1", "Function.Error");
    }
}

fn the_8_bit_content_type_of_an_event_goes_back_byte_for_byte(on: &dyn Transport) {
    let event = Event::new("id-1", "").header("Content-Type", b"text/x; name=\"\xe9\xff\"");
    let outcome = on.invoke_once(event, |seen| {
        let content_type = seen.content_type().expect("there is one");
        Act::send(Response::from("").content_type(content_type.as_bytes()))
    });
    outcome.request.assert_response("id-1");
    let sent = outcome.request.header_bytes("Content-Type");
    assert_eq!(sent, Some(&b"text/x; name=\"\xe9\xff\""[..]));
}

fn an_8_bit_attempt_id_goes_back_byte_for_byte(on: &dyn Transport) {
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", b"\xe9\ttry\xff");
    let outcome = on.invoke_once(event, |_| Act::send(""));
    let sent = outcome.request.header_bytes("Lambda-Runtime-Invocation-Id");
    assert_eq!(sent, Some(&b"\xe9\ttry\xff"[..]));
}

fn a_request_id_never_leaves_the_path(on: &dyn Transport) {
    let event = Event::new("../a b?c#d%2f\u{e9}", "");
    let outcome = on.invoke_once(event, |_| Act::send(""));
    outcome.request.assert_response("..%2Fa%20b%3Fc%23d%252f%C3%A9");
}

fn long_and_odd_headers_of_an_event_reach_the_handler(on: &dyn Transport) {
    let long = vec![b'c'; 10 * 1024];
    let event = Event::new("id-1", "")
        .header("Lambda-Runtime-Client-Context", &long)
        .header("Lambda-Runtime-Cognito-Identity", b"\xff\xfe not json")
        .header("Lambda-Runtime-Deadline-Ms", "soon")
        .header("Lambda-Runtime-Trace-Id", b"\xe9");
    let outcome = on.invoke_once(event, |seen| {
        assert_eq!(seen.cognito_identity(), Some(&b"\xff\xfe not json"[..]));
        assert_eq!((seen.deadline(), seen.trace_id()), (None, None));
        Act::send(seen.client_context().unwrap_or_default())
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body, long);
}

fn control_characters_of_a_caller_reach_the_handler_and_end_nothing(on: &dyn Transport) {
    // The first is what AWS's emulator puts into the header for `X-Amz-Client-Context: ewF9`.
    for hostile in ["{\u{1}}", "\0", "a\u{7f}b", "\u{1b}[31m"] {
        let event = Event::new("id-1", "")
            .header("Lambda-Runtime-Client-Context", hostile)
            .header("Lambda-Runtime-Trace-Id", hostile);
        let outcome = on.invoke_once(event, move |seen| {
            assert_eq!(seen.trace_id(), Some(hostile));
            Act::send(seen.client_context().unwrap_or_default())
        });
        outcome.request.assert_response("id-1");
        assert_eq!(outcome.request.body, hostile.as_bytes());
    }
}

fn an_event_with_a_line_break_in_a_header_ends_the_runtime_with_an_error(on: &dyn Transport) {
    for hostile in ["a\rb", "a\nb"] {
        let service = on.service();
        let run = on.run(&service, |_| Act::send(""));
        let mut connection = service.connection();
        connection.invoke(Event::new("id-1", "").header("Lambda-Runtime-Trace-Id", hostile));
        let error = run.error();
        assert!(error.contains("violated the protocol"), "{hostile:?}: {error}");
    }
}
