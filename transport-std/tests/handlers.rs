//! How a runtime is made, and what a handler may be.

mod support;

use std::sync::Mutex;

use support::{Event, Service};

#[test]
fn a_custom_user_agent_replaces_the_default() {
    let service = Service::start();
    let runtime = service.runtime().user_agent("my-language/1.2").unwrap();
    let run = service.run_as(runtime, |_, responder| Ok(responder.send("")));
    let mut connection = service.connection();
    assert_eq!(connection.expect_next().header("User-Agent"), Some("my-language/1.2"));
    run.stop();
}

#[test]
fn a_user_agent_that_would_break_its_header_is_refused() {
    for wrong in ["", " x", "a\r\nb: c", "caf\u{e9}", &"x".repeat(129)] {
        let error = Service::start().runtime().user_agent(wrong).err().expect(wrong);
        assert!(error.to_string().contains("user agent"), "{error}");
    }
}

#[test]
fn a_handler_that_modifies_its_captures_runs_with_run_mut() {
    let service = Service::start();
    let runtime = service.runtime();
    let mut count = 0;
    let stop = runtime.stop_handle();
    let run = service.run_loop(stop, move || {
        runtime.run_mut(move |_, responder| {
            count += 1;
            Ok(responder.send(format!("{count}")))
        })
    });
    let mut connection = service.connection();
    for count in 1..=3 {
        connection.invoke(Event::new("id-1", ""));
        assert_eq!(connection.request().body, count.to_string().as_bytes());
        connection.take_answer();
    }
    run.stop();
}

#[test]
fn a_handler_may_keep_copies_of_its_events() {
    let service = Service::start();
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let run = service.run(move |invocation, responder| {
        kept.lock().unwrap().push(invocation.body().to_vec());
        Ok(responder.send(""))
    });
    let mut connection = service.connection();
    for body in ["a", "b"] {
        connection.invoke(Event::new("id-1", body));
        connection.request();
        connection.take_answer();
    }
    run.stop();
    assert_eq!(*seen.lock().unwrap(), [b"a", b"b"]);
}
