//! The same through the public API of `lambda-proto-std` and over a socket, for values that this
//! layer changes: failures, content types, HTTP responses and ids.

use std::io::Write;
use std::thread::{self, JoinHandle};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_proto_differential::{Call, Served, serve};
use lambda_proto_service::{Connection, Service};
use lambda_proto_std::{
    ContentType, Endpoint, Failure, HttpPrelude, Invocation, Responder, Response, Runtime, Sent,
};
use serde_json::Value;

use crate::{PLACES, check_shape, values};

/// Serves these events, one after the other, to the runtime that connects, and returns the answers.
fn serve_events(events: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<Served>>) {
    let service = Service::start();
    let address = service.address();
    let answers = thread::spawn(move || {
        let mut connection = service.connection();
        let answers = events.into_iter().map(|event| {
            let next = read(&mut connection);
            assert_eq!(next.requests[0].target, "/2018-06-01/runtime/invocation/next");
            connection.send(event);
            let answer = read(&mut connection);
            connection.take_answer();
            answer
        });
        answers.collect()
    });
    (address, answers)
}

/// Reads until hyper's server has only whole requests, or stops.
fn read(connection: &mut Connection) -> Served {
    let mut bytes = Vec::new();
    loop {
        bytes.extend(connection.take_bytes());
        let served = serve(&bytes);
        let is_whole = served.left == 0 && !served.requests.is_empty();
        if is_whole || served.error.is_some() {
            return served;
        }
    }
}

fn event(request_id: &[u8], attempt_id: &[u8]) -> Vec<u8> {
    [
        b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: ",
        request_id,
        b"\r\nLambda-Runtime-Invocation-Id: ",
        attempt_id,
        b"\r\nContent-Length: 0\r\n\r\n",
    ]
    .concat()
}

/// What a handler does with a value.
type Handler = for<'i> fn(Invocation<'i>, Responder<'i>, &str) -> Result<Sent<'i>, Failure>;

/// Lets a worker answer one invocation for each value, and returns what its service received.
fn answers(handler: Handler, values: &[String], events: Vec<Vec<u8>>) -> Vec<Served> {
    let (address, service) = serve_events(events);
    let endpoint = Endpoint::parse(&address).expect("an address");
    let runtime = Runtime::new(endpoint.with_user_agent("test/1").expect("a user agent"));
    let mut worker = runtime.log(|_| {}).into_worker();
    for value in values {
        let (invocation, responder) =
            worker.next().expect("the service continues").expect("it is not stopped");
        if let Err(failure) = handler(invocation, responder, value) {
            worker.fail(&failure);
        }
    }
    drop(worker);
    service.join().expect("the service has seen all answers")
}

/// All texts that try to break out, and the characters of all bytes.
fn texts() -> Vec<String> {
    let mut values = [values::attempts(), values::bytes()].concat();
    values.push("x".repeat(8 * 1024).into());
    values.push("\r\nX: y".repeat(1_000).into());
    values.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect()
}

/// Checks that the answer with every text has the shape of a harmless answer, or of the error
/// report of a handler whose value was refused.
fn check(handler: Handler, is_meant: fn(&Served, &str) -> bool) {
    let texts = [vec!["harmless".to_owned()], texts()].concat();
    let served = answers(handler, &texts, vec![event(b"8476a536", b"9f"); texts.len()]);
    let harmless = &served[0];
    assert!(is_meant(harmless, "harmless"), "{harmless:?}");
    assert!(!is_meant(harmless, "something else"));
    let refused = answers(
        |_, _, _| Err(Failure::new("A.B", "")),
        &texts[..1],
        vec![event(b"8476a536", b"9f")],
    );
    let mut refusals = 0;
    for (text, served) in texts.iter().zip(&served) {
        let is_refusal = served.requests.first().is_some_and(|it| it.target.ends_with("/error"))
            && !harmless.requests[0].target.ends_with("/error");
        let wanted = if is_refusal { &refused[0] } else { harmless };
        if let Err(fault) = check_shape(wanted, served, &[]) {
            panic!("{text:?}: {fault}");
        }
        refusals += usize::from(is_refusal);
        assert!(is_refusal || is_meant(served, text), "{text:?}: {served:?}");
    }
    assert!(refusals < texts.len() / 2, "{refusals} of {}", texts.len());
}

/// The JSON of an error, in the body or in the trailers.
fn report(served: &Served) -> Value {
    let request = &served.requests[0];
    let trailer = request.trailer("lambda-runtime-function-error-body");
    let decoded = trailer.map(|it| STANDARD.decode(it).expect("base64"));
    serde_json::from_slice(&decoded.unwrap_or_else(|| request.body.clone())).expect("JSON")
}

#[test]
fn no_part_of_a_failure_breaks_out() {
    check(
        |_, _, text| {
            let failure = Failure::new(text.to_owned(), text.to_owned());
            Err(failure.stack_trace(text.to_owned()).xray_cause(text))
        },
        |served, text| report(served)["errorMessage"] == text,
    );
}

#[test]
fn no_message_of_an_error_or_of_a_panic_breaks_out() {
    check(
        |_, _, text| Err(Failure::from(text.to_owned())),
        |served, text| report(served)["errorMessage"] == text,
    );
    check(
        |_, responder, text| Ok(responder.fail(Failure::from_panic(&text.to_owned()))),
        |served, text| report(served)["errorMessage"] == text,
    );
}

#[test]
fn no_failure_in_the_trailers_of_a_stream_breaks_out() {
    check(
        |_, responder, text| {
            let mut stream = responder.stream(ContentType::TEXT);
            stream.write_all(b"begun")?;
            Ok(stream.fail(Failure::new(text.to_owned(), text.to_owned())))
        },
        |served, text| {
            let message = report(served)["errorMessage"].as_str().expect("text").to_owned();
            // A message that is too long for the trailers is cut.
            served.requests[0].body == b"begun"
                && (message == text || (text.len() > 1_000 && text.starts_with(&message)))
        },
    );
}

#[test]
fn no_content_type_breaks_out() {
    check(
        |_, responder, text| {
            let content_type = ContentType::new(text)?;
            Ok(responder.send(Response::from("body").content_type(content_type)))
        },
        |served, text| {
            let field = served.requests[0].field("content-type");
            field == Some(text.trim_matches([' ', '\t']).as_bytes())
        },
    );
}

#[test]
fn no_header_and_no_cookie_of_an_http_response_breaks_out() {
    check(
        |_, responder, text| {
            let headers = [("x-a", text)];
            let mut stream = responder.stream_http(&HttpPrelude::new(200, &headers, &[text])?);
            stream.write_all(text.as_bytes())?;
            Ok(stream.finish())
        },
        |served, text| {
            let body = &served.requests[0].body;
            let end = body.windows(8).position(|it| it == [0; 8]).expect("the end of a prelude");
            let prelude: Value = serde_json::from_slice(&body[..end]).expect("JSON");
            prelude["headers"] == serde_json::json!({"x-a": text})
                && prelude["cookies"] == serde_json::json!([text])
                && body[end + 8..] == *text.as_bytes()
        },
    );
}

#[test]
fn no_body_breaks_out() {
    check(
        |_, responder, text| Ok(responder.send(text)),
        |served, text| served.requests[0].body == text.as_bytes(),
    );
}

#[test]
fn no_id_of_the_service_breaks_out() {
    // With a line end in it, or with blanks around it, the service would send another id.
    let is_id = |it: &String| {
        (1..=256).contains(&it.len())
            && !it.contains(['\r', '\n'])
            && it.trim_matches([' ', '\t']) == it
    };
    let ids: Vec<String> =
        [vec!["8476a536".to_owned()], texts()].concat().into_iter().filter(is_id).collect();
    let events = ids.iter().map(|id| event(id.as_bytes(), id.as_bytes())).collect();
    let served = answers(|_, responder, _| Ok(responder.send("body")), &ids, events);
    let places: Vec<_> =
        PLACES.iter().filter(|place| place.name.contains(" id, of the service")).collect();
    assert_eq!((places.len(), served.len()), (2, ids.len()));
    for (id, answer) in ids.iter().zip(&served) {
        if let Err(fault) = check_shape(&served[0], answer, &places) {
            panic!("{id:?}: {fault}");
        }
        for place in &places {
            let is_meant = (place.is_meant)(Call::Response, &answer.requests[0], id.as_bytes());
            assert!(is_meant, "{} {id:?}: {answer:?}", place.name);
        }
    }
}
