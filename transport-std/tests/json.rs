//! JSON in, JSON out, and invalid JSON.
#![cfg(feature = "json")]

mod support;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use support::{Event, Service, invoke_once};

#[derive(Deserialize)]
struct Greeting<'e> {
    name: &'e str,
    times: u32,
}

#[derive(Serialize)]
struct Answer {
    text: String,
}

#[test]
fn an_event_is_read_as_json_and_the_answer_written_as_json() {
    let event = Event::new("id-1", r#"{"name":"Ada","times":2}"#);
    let outcome = invoke_once(event, |invocation, responder| {
        let greeting: Greeting<'_> = invocation.json()?;
        responder.json(&Answer {
            text: format!("{} \u{e9}\n", greeting.name.repeat(greeting.times as usize)),
        })
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.header("Content-Type"), Some("application/json"));
    assert_eq!(outcome.request.body, "{\"text\":\"AdaAda \u{e9}\\n\"}".as_bytes());
}

#[test]
fn an_event_that_does_not_parse_is_an_unmarshal_error_that_says_where() {
    for wrong in ["", "{", "not json", r#"{"name":"Ada"}"#, r#"{"name":1,"times":2}"#, "\u{feff}{}"]
    {
        let outcome = invoke_once(Event::new("id-1", wrong), |invocation, responder| {
            let greeting: Greeting<'_> = invocation.json()?;
            Ok(responder.send(greeting.name))
        });
        outcome.request.assert_error("id-1", "Runtime.UnmarshalError");
        let message = outcome.request.json()["errorMessage"].as_str().unwrap().to_owned();
        assert!(message.contains("line 1 column"), "{message}");
    }
}

#[test]
fn an_event_that_nests_without_end_is_an_unmarshal_error_and_the_next_one_is_answered() {
    let service = Service::start();
    let run = service
        .run(|invocation, responder| responder.json(&invocation.json::<serde_json::Value>()?));
    let mut connection = service.connection();
    for nested in ["[".repeat(100_000), "[".repeat(100_000) + &"]".repeat(100_000)] {
        connection.invoke(Event::new("id-1", nested));
        connection.request().assert_error("id-1", "Runtime.UnmarshalError");
        connection.take_answer();
    }
    connection.invoke(Event::new("id-2", "[[1]]"));
    assert_eq!(connection.request().body, b"[[1]]");
    connection.take_answer();
    run.stop();
}

#[test]
fn a_result_that_does_not_serialise_is_a_marshal_error_and_nothing_is_sent_as_response() {
    let service = Service::start();
    let run =
        service.run(|_, responder| responder.json(BTreeMap::from([((1, 2), "a pair is no key")])));
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "{}"));
    let first = connection.request();
    first.assert_error("id-1", "Runtime.MarshalError");
    assert!(first.json()["errorMessage"].as_str().unwrap().contains("key"), "{first:?}");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn an_answer_contains_nothing_of_an_earlier_one_that_did_not_serialise() {
    let service = Service::start();
    let run = service.run(|invocation, responder| match invocation.body() {
        b"fail" => responder.json(&(vec!["left over"; 1000], BTreeMap::from([((1, 2), 3)]))),
        _ => responder.json("whole"),
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "fail"));
    connection.request().assert_error("id-1", "Runtime.MarshalError");
    connection.take_answer();
    connection.invoke(Event::new("id-2", ""));
    assert_eq!(connection.request().body, b"\"whole\"");
    connection.take_answer();
    run.stop();
}
