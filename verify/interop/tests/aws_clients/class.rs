//! The class by itself, in the ways in which the clients use it, and against hostile services. The
//! calls are made by `capi/aws-lambda-cpp/tests/calls.cpp` under the sanitizers.

use std::process::Command;

use lambda_interop::Process;
use lambda_proto_service::{Connection, Event, Service, reply};

use crate::calls::{assert_said, call, call_with, calls};

/// The next connection, with its `next` open.
fn asking(service: &Service) -> Connection {
    let mut connection = service.connection();
    connection.expect_next();
    connection
}

fn event(id: &str, attempt: &str) -> Event {
    Event::new(id, "event").header("Lambda-Runtime-Invocation-Id", attempt)
}

#[test]
fn the_headers_and_types_do_what_they_say() {
    let service = Service::start();
    assert_said(&mut call(&service, &["facts"]), &["facts ok"]);
    service.expect_no_connection();
}

#[test]
fn invocations_are_answered_one_after_the_other_on_one_connection() {
    const REPORT: &str = r#"{"errorType":"A.B","errorMessage":"m","requestId":"2","trace":["é"]}"#;
    let service = Service::start();
    let failure = format!("failure|2|{REPORT}");
    let calls = ["next", "success3|1|a|one", "next", &failure, "next", "success|3|three"];
    let mut process = call(&service, &calls);
    let mut connection = asking(&service);
    connection.send(event("1", "a").bytes());
    let answer = connection.request();
    answer.assert_response("1");
    assert_eq!(answer.header("Content-Type"), Some("a/b"));
    assert_eq!(answer.header("User-Agent"), Some("calls/1"));
    assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), Some("a"));
    assert_eq!(answer.body, b"one");
    connection.take_answer();

    connection.expect_next();
    connection.send(event("2", "b").bytes());
    let answer = connection.request();
    answer.assert_error("2", "A.B");
    // The dialect with two arguments does not say it.
    assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), Some("b"));
    assert_eq!(answer.header("Lambda-Runtime-Function-XRay-Error-Cause"), Some("{}"));
    assert_eq!(String::from_utf8(answer.body).unwrap(), REPORT);
    connection.take_answer();

    connection.expect_next();
    connection.send(Event::new("3", "event").bytes());
    let answer = connection.request();
    assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), None);
    connection.take_answer();
    assert_said(
        &mut process,
        &[
            "next ok 1 a event",
            "success3 ok",
            "next ok 2 b event",
            "failure ok",
            "next ok 3  event",
            "success ok",
        ],
    );
    service.expect_no_connection();
}

#[test]
fn an_invocation_that_was_answered_elsewhere_leaves_its_connection_to_the_next_one() {
    let service = Service::start();
    let mut process = call(&service, &["next", "next", "next", "success|3|three"]);
    let mut connection = asking(&service);
    for id in ["1", "2", "3"] {
        connection.send(event(id, "a").bytes());
        if id != "3" {
            connection.expect_next();
        }
    }
    connection.request().assert_response("3");
    connection.take_answer();
    assert_said(
        &mut process,
        &["next ok 1 a event", "next ok 2 a event", "next ok 3 a event", "success ok"],
    );
}

#[test]
fn one_thread_answers_while_another_waits_for_an_invocation() {
    let service = Service::start();
    let mut process = call(&service, &["next", "thread", "success|1|one", "join", "success|2|two"]);
    let mut waiting = asking(&service);
    waiting.send(event("1", "a").bytes());
    // Which of them uses this connection depends on the threads.
    let mut other = service.connection();
    let (first, second) = (waiting.request(), other.request());
    let (mut waiting, mut other, answer) =
        if first.is_next() { (waiting, other, second) } else { (other, waiting, first) };
    answer.assert_response("1");
    assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), Some("a"));
    other.take_answer();
    process.wait_for_output("success ok").unwrap();
    waiting.send(event("2", "b").bytes());
    waiting.request().assert_response("2");
    waiting.take_answer();
    assert_said(
        &mut process,
        &["next ok 1 a event", "success ok", "thread ok 2 b event", "success ok"],
    );
}

#[test]
fn an_answer_that_may_be_of_either_attempt_carries_no_attempt_id() {
    const SLOTS: &[(&str, &str)] = &[("AWS_LAMBDA_MAX_CONCURRENCY", "2")];
    let service = Service::start();
    let calls = ["next", "next", "success|1|one", "success|1|two"];
    let mut process = call_with(&service, &calls, SLOTS);
    let mut first = asking(&service);
    first.send(event("1", "a").bytes());
    let mut second = asking(&service);
    second.send(event("1", "b").bytes());
    for connection in [&mut second, &mut first] {
        let answer = connection.request();
        answer.assert_response("1");
        assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), None);
        connection.take_answer();
    }
    let next = ["next ok 1 a event", "next ok 1 b event"];
    assert_said(&mut process, &[next[0], next[1], "success ok", "success ok"]);

    // The first answer says which, so the second is of the other one.
    let service = Service::start();
    let calls = ["next", "next", "success3|1|b|one", "success|1|two"];
    let mut process = call_with(&service, &calls, SLOTS);
    let mut first = asking(&service);
    first.send(event("1", "a").bytes());
    let mut second = asking(&service);
    second.send(event("1", "b").bytes());
    for (connection, attempt) in [(&mut second, "b"), (&mut first, "a")] {
        let answer = connection.request();
        assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), Some(attempt));
        connection.take_answer();
    }
    assert_said(&mut process, &[next[0], next[1], "success3 ok", "success ok"]);
}

#[test]
fn an_id_that_is_not_in_flight_may_be_posted_and_may_be_percent_encoded() {
    let service = Service::start();
    let calls = [
        "success|a%2Fb%20c%25|x",
        "success3|a/b c%41|attempt|x",
        r#"failure3|7||{"errorType":"A"}"#,
    ];
    let mut process = call(&service, &calls);
    let mut connection = service.connection();
    let path = |id: &str, call: &str| format!("/2018-06-01/runtime/invocation/{id}/{call}");
    let answer = connection.request();
    assert_eq!(answer.path, path("a%2Fb%20c%25", "response"));
    connection.answer(400, "", "");
    let answer = connection.request();
    assert_eq!(answer.path, path("a%2Fb%20c%2541", "response"));
    assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), Some("attempt"));
    connection.take_answer();
    let answer = connection.request();
    assert_eq!(answer.path, path("7", "error"));
    assert_eq!(answer.body, br#"{"errorType":"A"}"#);
    connection.take_answer();
    assert_said(&mut process, &["success 400", "success3 ok", "failure3 ok"]);
}

#[test]
fn an_id_or_type_that_cannot_be_sent_is_refused_without_a_request() {
    let service = Service::start();
    let long = format!("success|{}|x", "a".repeat(100_000));
    let calls =
        ["success||x", "success|a%0d%0ab|x", "success3| a||x", "success3|a|b\r\nc|x", &long];
    let mut process = call(&service, &calls);
    let refused = ["success -1", "success -1", "success3 -1", "success3 -1", "success -1"];
    assert_said(&mut process, &refused);

    let mut process = call(&service, &["next", "typed|1|a\r\nb: c", "next"]);
    let mut connection = asking(&service);
    connection.send(event("1", "a").bytes());
    // The invocation was not answered, so the next call leaves it.
    connection.expect_next();
    connection.send(event("2", "a").bytes());
    assert_said(&mut process, &["next ok 1 a event", "typed -1", "next ok 2 a event"]);
}

#[test]
fn run_handler_reports_a_response_that_cannot_be_sent() {
    for content_type in ["a\r\nb: c".to_owned(), "a".repeat(257)] {
        let service = Service::start();
        let mut process = call(&service, &[&format!("handler|{content_type}")]);
        let mut connection = asking(&service);
        for (id, attempt) in [("1", "a"), ("2", "b")] {
            connection.send(event(id, attempt).bytes());
            let report = connection.request();
            report.assert_error(id, "Runtime.InvalidResponse");
            assert_eq!(report.header("Lambda-Runtime-Invocation-Id"), Some(attempt));
            connection.take_answer();
            connection.expect_next();
        }
        connection.answer(500, "", "");
        assert_said(&mut process, &["handler returned"]);
    }
}

#[test]
fn a_forked_process_has_connections_of_its_own() {
    let service = Service::start();
    let calls = ["next", "success|1|one", "fork", "next", "success|2|two"];
    let mut process = call(&service, &calls);
    let mut parent = asking(&service);
    parent.send(event("1", "a").bytes());
    parent.request().assert_response("1");
    parent.take_answer();
    let mut child = asking(&service);
    child.send(event("2", "b").bytes());
    child.request().assert_response("2");
    child.take_answer();
    assert_said(
        &mut process,
        &["next ok 1 a event", "success ok", "next ok 2 b event", "success ok"],
    );
    // Nothing but its end arrives there.
    parent.expect_end();
}

#[test]
fn a_lost_answer_is_sent_again_and_a_refused_one_is_not() {
    let service = Service::start();
    let mut process = call(&service, &["next", "success|1|one", "next", "large|2|1000000"]);
    let mut connection = asking(&service);
    connection.send(event("1", "a").bytes());
    connection.request().assert_response("1");
    connection.close();
    let mut connection = service.connection();
    connection.request().assert_response("1");
    connection.take_answer();
    connection.expect_next();
    connection.send(event("2", "b").bytes());
    assert_eq!(connection.request().body.len(), 1_000_000);
    connection.answer(413, "", "{}");
    assert_said(
        &mut process,
        &["next ok 1 a event", "success ok", "next ok 2 b event", "large 413"],
    );
}

#[test]
fn after_a_reply_of_500_every_call_fails_at_once() {
    let service = Service::start();
    let mut process = call(&service, &["next", "success|1|one", "next", "success|1|one"]);
    let mut connection = asking(&service);
    connection.send(event("1", "a").bytes());
    connection.request().assert_response("1");
    connection.answer(500, "", "");
    assert_said(&mut process, &["next ok 1 a event", "success 500", "next 500", "success 500"]);

    let mut process = call(&service, &["next", "next"]);
    let mut connection = asking(&service);
    connection.answer(500, "", "");
    assert_said(&mut process, &["next 500", "next 500"]);
}

#[test]
fn after_a_reply_of_500_what_is_in_flight_elsewhere_is_still_answered() {
    let service = Service::start();
    let mut process = call_with(
        &service,
        &["next", "next", "success|1|one", "success|2|two", "next", "success|3|three"],
        &[("AWS_LAMBDA_MAX_CONCURRENCY", "2")],
    );
    let mut first = asking(&service);
    first.send(event("1", "a").bytes());
    let mut second = asking(&service);
    second.send(event("2", "b").bytes());
    first.request().assert_response("1");
    first.answer(500, "", "");
    let answer = second.request();
    answer.assert_response("2");
    assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), Some("b"));
    second.take_answer();
    assert_said(
        &mut process,
        &[
            "next ok 1 a event",
            "next ok 2 b event",
            "success 500",
            "success ok",
            "next 500",
            "success 500",
        ],
    );
}

#[test]
fn what_arrives_unasked_is_not_the_reply_to_an_adopted_answer() {
    let service = Service::start();
    let mut process = call(&service, &["next", "success|1|one", "success|2|two"]);
    let mut connection = asking(&service);
    connection.send(event("1", "a").bytes());
    connection.request().assert_response("1");
    // Both arrive together, so the second is there before the next call.
    connection.send([reply(202, "", ""), reply(408, "Connection: close\r\n", "")].concat());
    let mut other = service.connection();
    other.request().assert_response("2");
    other.take_answer();
    assert_said(&mut process, &["next ok 1 a event", "success ok", "success ok"]);
}

#[test]
fn an_event_that_is_cut_off_is_reported_and_another_one_is_asked_for() {
    let service = Service::start();
    let mut process = call(&service, &["next"]);
    let mut connection = asking(&service);
    let bytes = event("1", "a").bytes();
    connection.send(&bytes[..bytes.len() - 2]);
    connection.close();
    let mut connection = service.connection();
    let report = connection.request();
    assert_eq!(report.path, "/2018-06-01/runtime/invocation/1/error");
    connection.take_answer();
    connection.expect_next();
    connection.send(event("2", "b").bytes());
    assert_said(&mut process, &["next ok 2 b event"]);
}

#[test]
fn an_invocation_with_a_nul_in_its_id_fails_and_another_one_is_asked_for() {
    let service = Service::start();
    let mut process = call(&service, &["next"]);
    let mut connection = asking(&service);
    connection.send(event("a\0b", "a").bytes());
    let report = connection.request();
    assert_eq!(report.path, "/2018-06-01/runtime/invocation/a%00b/error");
    connection.take_answer();
    connection.expect_next();
    connection.send(event("2", "b").bytes());
    assert_said(&mut process, &["next ok 2 b event"]);
}

#[test]
fn without_memory_an_invocation_is_reported_or_stays_in_flight() {
    let service = Service::start();
    let calls = ["next", "success|1|one", "memory|50000", "next"];
    let mut process = call(&service, &calls);
    let mut connection = asking(&service);
    let large =
        |id: &str| Event::new(id, "e".repeat(100_000)).header("Lambda-Runtime-Invocation-Id", "a");
    connection.send(large("1").bytes());
    connection.request().assert_response("1");
    connection.take_answer();
    connection.expect_next();
    // The session has room for it now, and the copy has none.
    connection.send(large("2").bytes());
    connection.request().assert_error("2", "Runtime.EventTooLarge");
    connection.take_answer();
    connection.expect_next();
    connection.send(event("3", "a").bytes());
    let first = format!("next ok 1 a {}", "e".repeat(100_000));
    assert_said(&mut process, &[&first, "success ok", "next ok 3 a event"]);

    let service = Service::start();
    let calls = ["next", "starved|1|100000|50000", "success|1|one"];
    let mut process = call(&service, &calls);
    let mut connection = asking(&service);
    connection.send(event("1", "a").bytes());
    let answer = connection.request();
    answer.assert_response("1");
    assert_eq!(answer.header("Lambda-Runtime-Invocation-Id"), Some("a"));
    connection.take_answer();
    assert_said(&mut process, &["next ok 1 a event", "starved -1", "success ok"]);
}

#[test]
fn an_attempt_id_with_a_nul_is_none() {
    let service = Service::start();
    let calls = ["next", "success3|1||one", "next", "success|2|two"];
    let mut process = call(&service, &calls);
    let mut connection = asking(&service);
    connection.send(event("1", "a\0b").bytes());
    connection.request().assert_response("1");
    connection.take_answer();
    connection.expect_next();
    connection.send(event("2", "c\0d").bytes());
    connection.request().assert_response("2");
    connection.take_answer();
    let lines = ["next ok 1  event", "success3 ok", "next ok 2  event", "success ok"];
    assert_said(&mut process, &lines);
    service.expect_no_connection();
}

#[test]
fn sessions_that_nobody_answers_do_not_pile_up() {
    let service = Service::start();
    // Each answer for an invocation of another client leaves an idle session, which `next` takes.
    let calls = ["next", "success|x|x", "next", "success|x|x", "next", "success|x|x", "next"];
    let mut process = call(&service, &calls);
    let mut idle = asking(&service);
    let mut held = Vec::new();
    for id in ["1", "2", "3"] {
        idle.send(event(id, "a").bytes());
        held.push(idle);
        idle = service.connection();
        idle.request().assert_response("x");
        idle.take_answer();
        idle.expect_next();
    }
    // At most one invocation is in flight, so the first connections are of no use.
    held.remove(0).expect_end();
    idle.send(event("4", "a").bytes());
    let next = ["next ok 1 a event", "next ok 2 a event", "next ok 3 a event", "next ok 4 a event"];
    let x = "success ok";
    assert_said(&mut process, &[next[0], x, next[1], x, next[2], x, next[3]]);
}

#[test]
fn a_report_is_sent_as_it_is_or_cut_if_it_is_longer_than_a_mebibyte() {
    let service = Service::start();
    let mut process = call(
        &service,
        &["long|1|100000", "long|2|200000", "failure|3|no \u{1} json", "failure|4|"],
    );
    let mut connection = service.connection();
    let report = connection.request();
    report.assert_error("1", "A.B");
    assert!(report.body.len() > 800_000);
    connection.take_answer();
    let report = connection.request();
    assert_eq!(report.header("Lambda-Runtime-Function-Error-Type"), Some("A.B"));
    assert_eq!(report.body, "{\"errorType\":\"A.B\",\"errorMessage\":\"é🦀\"}".as_bytes());
    connection.take_answer();
    assert_eq!(connection.request().body, b"no \x01 json");
    connection.take_answer();
    assert!(!connection.request().body.is_empty());
    connection.take_answer();
    assert_said(&mut process, &["long ok", "long ok", "failure ok", "failure ok"]);
}

#[test]
fn a_failed_start_is_reported_as_the_client_has_written_it() {
    const REPORT: &str =
        r#"{"errorMessage":"no table","stackTrace":["é"],"errorType":"Function.NoTable","at":7}"#;
    for (report, error_type) in [(REPORT, "Function.NoTable"), ("no json", "Runtime.Unknown")] {
        let service = Service::start();
        let mut process = call(&service, &[&format!("init|{report}")]);
        let mut connection = service.connection();
        let request = connection.request();
        assert_eq!(request.path, "/2018-06-01/runtime/init/error");
        assert_eq!(request.header("Lambda-Runtime-Function-Error-Type"), Some(error_type));
        assert_eq!(String::from_utf8_lossy(&request.body), report);
        connection.take_answer();
        assert_said(&mut process, &["init ok"]);
    }
}

#[test]
fn an_address_that_is_none_fails_each_call() {
    for address in ["", "a b:1", "127.0.0.1:99999"] {
        let mut command = Command::new(calls());
        command.args(["next", "success|1|one"]).env("AWS_LAMBDA_RUNTIME_API", address);
        let mut process = Process::start(&mut command).unwrap();
        assert_said(&mut process, &["next -1", "success -1"]);
    }
}

#[test]
fn with_several_slots_an_invalid_reply_begins_a_new_session() {
    let service = Service::start();
    let mut process = call_with(&service, &["next"], &[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]);
    let mut connection = asking(&service);
    connection.send("this is not HTTP\r\n\r\n");
    let mut connection = asking(&service);
    connection.send(event("1", "a").bytes());
    assert_said(&mut process, &["next ok 1 a event"]);
}
