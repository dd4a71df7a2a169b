//! No text of a handler or of an event can add a header line or end the process.

mod support;

use lambda_proto_std::{ContentType, Failure, Response};

use support::{Event, Outcome, Service, invoke_once};

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

fn fail_with(error_type: String, message: String) -> Outcome {
    invoke_once(Event::new("id-1", ""), move |_, _| {
        Err(Failure::new(error_type.clone(), message.clone()))
    })
}

#[test]
fn an_error_type_never_leaves_its_header() {
    for hostile in HOSTILE {
        let request = fail_with(hostile.to_owned(), "m".to_owned()).request;
        assert_eq!(request.header_names(), ERROR_HEADERS, "{hostile:?}");
        let header = request.header("Lambda-Runtime-Function-Error-Type").unwrap();
        assert!(header.bytes().all(|byte| byte.is_ascii_graphic()), "{header:?}");
        assert_eq!(request.json()["errorType"], hostile, "the body has it as it is");
    }
}

#[test]
fn an_error_message_arrives_as_it_is() {
    for hostile in HOSTILE {
        let request = fail_with("Function.A".to_owned(), hostile.to_owned()).request;
        request.assert_error("id-1", "Function.A");
        assert_eq!(request.header_names(), ERROR_HEADERS, "{hostile:?}");
        assert_eq!(request.json()["errorMessage"], hostile);
    }
}

#[test]
fn a_long_error_type_is_cut_and_a_long_message_is_not() {
    let message = "m".repeat(10 * 1024);
    let request = fail_with(format!("Function.{}", "T".repeat(10 * 1024)), message.clone()).request;
    let header = request.header("Lambda-Runtime-Function-Error-Type").unwrap();
    assert_eq!(header, format!("Function.{}", "T".repeat(128 - "Function.".len())));
    assert_eq!(request.json()["errorType"], header);
    assert_eq!(request.json()["errorMessage"], message);
}

#[test]
fn a_message_above_1_mib_is_cut_between_characters() {
    let request = fail_with("Function.A".to_owned(), "\u{1f980}".repeat(1024 * 1024)).request;
    request.assert_error("id-1", "Function.A");
    assert!(
        (1024 * 1024 - 8..=1024 * 1024).contains(&request.body.len()),
        "{}",
        request.body.len()
    );
    let json = request.json();
    assert!(json["errorMessage"].as_str().unwrap().chars().all(|symbol| symbol == '\u{1f980}'));
}

#[test]
fn an_empty_error_type_is_sent_as_unknown() {
    let request = fail_with(String::new(), String::new()).request;
    request.assert_error("id-1", "Runtime.Unknown");
    assert_eq!(request.json()["errorMessage"], "");
}

#[test]
fn an_xray_cause_never_leaves_its_header() {
    for hostile in HOSTILE {
        let request = invoke_once(Event::new("id-1", ""), move |_, _| {
            Err(Failure::new("Function.A", "m").xray_cause(hostile))
        })
        .request;
        let cause = request.header("Lambda-Runtime-Function-XRay-Error-Cause");
        assert!(cause.is_none_or(|cause| cause.is_ascii()), "{cause:?}");
        assert!(request.headers.len() <= ERROR_HEADERS.len() + 1, "{:?}", request.headers);
    }
}

#[test]
fn a_content_type_that_would_leave_its_header_is_an_error_of_its_invocation() {
    let long = "x".repeat(10 * 1024);
    for wrong in ["a\r\nX-Injected: yes", "a\nb", "a\rb", "a\0b", "", &long] {
        let wrong = wrong.to_owned();
        let outcome = invoke_once(Event::new("id-1", ""), move |_, reply| {
            let content_type = ContentType::from_bytes(wrong.as_bytes())?;
            Ok(reply.send(Response::new(b"").content_type(content_type)))
        });
        outcome.request.assert_error("id-1", "Function.Error");
    }
}

#[test]
fn the_8_bit_content_type_of_an_event_goes_back_byte_for_byte() {
    let event = Event::new("id-1", "").header("Content-Type", b"text/x; name=\"\xe9\xff\"");
    let outcome = invoke_once(event, |invocation, reply| {
        Ok(reply.send(Response::new(b"").content_type(invocation.content_type())))
    });
    outcome.request.assert_response("id-1");
    let sent = outcome.request.header_bytes("Content-Type");
    assert_eq!(sent, Some(&b"text/x; name=\"\xe9\xff\""[..]));
}

#[test]
fn an_8_bit_attempt_id_goes_back_byte_for_byte() {
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", b"\xe9\ttry\xff");
    let outcome = invoke_once(event, |_, reply| Ok(reply.send("")));
    let sent = outcome.request.header_bytes("Lambda-Runtime-Invocation-Id");
    assert_eq!(sent, Some(&b"\xe9\ttry\xff"[..]));
}

#[test]
fn a_request_id_never_leaves_the_path() {
    let event = Event::new("../a b?c#d%2f\u{e9}", "");
    let outcome = invoke_once(event, |_, reply| Ok(reply.send("")));
    outcome.request.assert_response("..%2Fa%20b%3Fc%23d%252f%C3%A9");
}

#[test]
fn long_and_odd_headers_of_an_event_reach_the_handler() {
    let long = vec![b'c'; 10 * 1024];
    let event = Event::new("id-1", "")
        .header("Lambda-Runtime-Client-Context", &long)
        .header("Lambda-Runtime-Cognito-Identity", b"\xff\xfe not json")
        .header("Lambda-Runtime-Deadline-Ms", "soon")
        .header("Lambda-Runtime-Trace-Id", b"\xe9");
    let outcome = invoke_once(event, |invocation, reply| {
        assert_eq!(invocation.cognito_identity(), Some(&b"\xff\xfe not json"[..]));
        assert_eq!((invocation.deadline(), invocation.trace_id()), (None, None));
        Ok(reply.send(invocation.client_context().unwrap_or_default()))
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.body, long);
}

#[test]
fn control_characters_of_a_caller_reach_the_handler_and_end_nothing() {
    // What `X-Amz-Client-Context: ewF9` makes of the header at AWS's emulator, and worse.
    for hostile in ["{\u{1}}", "\0", "a\u{7f}b", "\u{1b}[31m"] {
        let event = Event::new("id-1", "")
            .header("Lambda-Runtime-Client-Context", hostile)
            .header("Lambda-Runtime-Trace-Id", hostile);
        let outcome = invoke_once(event, move |invocation, reply| {
            assert_eq!(invocation.trace_id(), Some(hostile));
            Ok(reply.send(invocation.client_context().unwrap_or_default()))
        });
        outcome.request.assert_response("id-1");
        assert_eq!(outcome.request.body, hostile.as_bytes());
    }
}

#[test]
fn an_event_with_a_line_break_in_a_header_ends_the_runtime_with_an_error() {
    for hostile in ["a\rb", "a\nb"] {
        let service = Service::start();
        let run = service.run(|_, reply| Ok(reply.send("")));
        let mut connection = service.connection();
        connection.invoke(Event::new("id-1", "").header("Lambda-Runtime-Trace-Id", hostile));
        let error = run.error();
        assert!(error.contains("does not speak its protocol"), "{hostile:?}: {error}");
    }
}
