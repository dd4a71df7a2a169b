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
fn an_event_is_read_as_json_across_an_await_and_the_answer_written_as_json() {
    let event = Event::new("id-1", r#"{"name":"Ada","times":2}"#);
    let outcome = invoke_once(event, async |invocation, responder| {
        let greeting: Greeting<'_> = invocation.json()?;
        tokio::task::yield_now().await;
        let text = format!("{} \u{e9}\n", greeting.name.repeat(greeting.times as usize));
        responder.json(&Answer { text }).await
    });
    outcome.request.assert_response("id-1");
    assert_eq!(outcome.request.header("Content-Type"), Some("application/json"));
    assert_eq!(outcome.request.body, "{\"text\":\"AdaAda \u{e9}\\n\"}".as_bytes());
}

#[test]
fn an_event_that_does_not_parse_is_an_unmarshal_error_that_says_where() {
    for wrong in ["", "{", "not json", r#"{"name":"Ada"}"#, r#"{"name":1,"times":2}"#, "\u{feff}{}"]
    {
        let outcome = invoke_once(Event::new("id-1", wrong), async |invocation, responder| {
            let greeting: Greeting<'_> = invocation.json()?;
            Ok(responder.send(greeting.name).await)
        });
        outcome.request.assert_error("id-1", "Runtime.UnmarshalError");
        let message = outcome.request.json()["errorMessage"].as_str().unwrap().to_owned();
        assert!(message.contains("line 1 column"), "{message}");
    }
}

#[test]
fn a_result_that_does_not_serialise_is_a_marshal_error_and_nothing_is_sent_as_response() {
    let outcome = invoke_once(Event::new("id-1", "{}"), async |_, responder| {
        responder.json(BTreeMap::from([((1, 2), "a pair is no key")])).await
    });
    outcome.request.assert_error("id-1", "Runtime.MarshalError");
    let message = outcome.request.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.contains("key"), "{message}");
}

#[test]
fn an_answer_contains_nothing_of_an_earlier_one_that_did_not_serialise() {
    let service = Service::start();
    let run = service.run(async |invocation, responder| match invocation.body() {
        b"fail" => responder.json(&(vec!["left over"; 1000], BTreeMap::from([((1, 2), 3)]))).await,
        _ => responder.json("whole").await,
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
