//! Failures of handlers are reported, and the loop continues.

use ::std::error::Error;
use ::std::{fmt, io};

use serde_json::{Value, json};

use lambda_proto_scenarios::{Act, Event, Failure, Transport, scenarios};

scenarios! {
    on_every_runtime {
        a_failure_is_sent_with_type_and_message_in_header_and_body,
        the_causes_of_an_error_reach_the_caller_and_the_log,
        an_xray_cause_is_sent_as_a_header,
        an_xray_cause_above_1_mib_is_left_out_and_the_rest_is_sent,
        a_handler_that_always_fails_keeps_the_loop_going,
    }
    where_answering_blocks {
        an_error_after_send_is_logged_and_never_posted,
        an_error_after_send_and_next_is_logged_for_its_own_invocation,
        an_error_after_responder_fail_is_logged_and_the_first_one_counts,
    }
}

fn a_failure_is_sent_with_type_and_message_in_header_and_body(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        let failure = Failure::new("Function.NoSuchTable", "there is no table \"users\"");
        Act::Fail(failure.stack_trace("users::load\nmain"))
    });
    outcome.request.assert_error("id-1", "Function.NoSuchTable");
    assert_eq!(outcome.request.json()["errorMessage"], "there is no table \"users\"");
    assert_eq!(outcome.request.json()["stackTrace"], json!(["users::load", "main"]));
    assert_eq!(
        outcome.request.header("Content-Type"),
        Some("application/vnd.aws.lambda.error+json")
    );
}

fn the_causes_of_an_error_reach_the_caller_and_the_log(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        let refused = io::Error::other("connection\nrefused");
        Act::Fail(Failure::from(Layer("no order can be read", Layer("no table", refused))))
    });
    outcome.request.assert_error("id-1", "Function.Error");
    let body = outcome.request.json();
    assert_eq!(body["errorMessage"], "no order can be read");
    assert_eq!(body["stackTrace"][0], "caused by: no table");
    assert_eq!(body["stackTrace"][1], "caused by: connection refused");
    let line = "invocation id-1: failed: Function.Error: no order can be read: no table: ";
    assert_eq!(outcome.lines, [format!("{line}connection refused")]);
}

/// An error with a cause.
#[derive(Debug)]
struct Layer<E>(&'static str, E);

impl<E> fmt::Display for Layer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<E: Error + 'static> Error for Layer<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

fn an_xray_cause_is_sent_as_a_header(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        Act::Fail(Failure::new("Function.A", "b").xray_cause("{\n\"paths\":[\"caf\u{e9}\"]}"))
    });
    let cause = outcome.request.header("Lambda-Runtime-Function-XRay-Error-Cause").unwrap();
    let cause: Value = serde_json::from_str(cause).unwrap();
    assert_eq!(cause, json!({"paths": ["caf\u{e9}"]}));
}

fn an_xray_cause_above_1_mib_is_left_out_and_the_rest_is_sent(on: &dyn Transport) {
    let cause = format!("{{\"paths\":[\"{}\"]}}", "x".repeat(1024 * 1024));
    let outcome = on.invoke_once(Event::new("id-1", ""), move |_| {
        Act::Fail(Failure::new("Function.A", "b").xray_cause(cause.clone()))
    });
    outcome.request.assert_error("id-1", "Function.A");
    assert_eq!(outcome.request.header("Lambda-Runtime-Function-XRay-Error-Cause"), None);
}

fn an_error_after_send_is_logged_and_never_posted(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        Act::send("fine").then_fail("Function.TooLate", "the metrics are lost")
    });
    outcome.request.assert_response("id-1");
    assert_eq!(
        outcome.lines,
        ["invocation id-1: failed after it was answered: Function.TooLate: the metrics are lost"]
    );
}

fn an_error_after_send_and_next_is_logged_for_its_own_invocation(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |seen| {
        let act = Act::send_and_next("fine");
        match seen.request_id() {
            "id-1" => act.then_fail("Function.TooLate", "oh"),
            _ => act,
        }
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    connection.expect_next();
    let expected = "invocation id-1: failed after it was answered: Function.TooLate: oh";
    assert_eq!(run.stop(), [expected]);
}

fn an_error_after_responder_fail_is_logged_and_the_first_one_counts(on: &dyn Transport) {
    let outcome = on.invoke_once(Event::new("id-1", ""), |_| {
        Act::fail("Function.First", "one").then_fail("Function.Second", "two")
    });
    outcome.request.assert_error("id-1", "Function.First");
    assert_eq!(
        outcome.lines,
        [
            "invocation id-1: failed: Function.First: one",
            "invocation id-1: failed after it was answered: Function.Second: two"
        ]
    );
}

fn a_handler_that_always_fails_keeps_the_loop_going(on: &dyn Transport) {
    let service = on.service();
    let run = on.run(&service, |_| Act::fail("Function.Always", "no"));
    let mut connection = service.connection();
    for round in 0..10 {
        let id = format!("id-{round}");
        connection.invoke(Event::new(&id, ""));
        connection.request().assert_error(&id, "Function.Always");
        connection.take_answer();
    }
    connection.expect_next();
    let lines = (0..10).map(|round| format!("invocation id-{round}: failed: Function.Always: no"));
    assert_eq!(run.stop(), lines.collect::<Vec<_>>());
}
