//! Every way to answer, from the handler and from other tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lambda_proto_service::{Event, Gate, Service};
use lambda_proto_tokio::parallel::{Invocation, Responder, ResponseStream, Sent};
use lambda_proto_tokio::{ContentType, Failure, HttpPrelude, Receipt, Response};

use crate::support::run_parallel;

#[test]
fn the_types_of_a_handler_may_move_to_other_tasks() {
    fn moves<T: Send + 'static>() {}
    moves::<Invocation>();
    moves::<Responder>();
    moves::<ResponseStream>();
    moves::<Sent>();
}

#[test]
fn a_handler_answers_from_its_own_task_one_invocation_after_the_other() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        let response = Response::new(invocation.body()).content_type(invocation.content_type());
        Ok(responder.send(response).await)
    });
    let mut connection = service.connection();
    for (id, body) in [("id-1", "one"), ("id-2", "two"), ("id-3", "")] {
        connection.invoke(Event::new(id, body).header("Content-Type", "text/x-test"));
        let request = connection.request();
        request.assert_response(id);
        assert_eq!(request.body, body.as_bytes());
        assert_eq!(request.header("Content-Type"), Some("text/x-test"));
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn an_invocation_and_its_responder_answer_in_another_task() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        let answer = tokio::spawn(async move {
            let answer = [invocation.request_id().as_bytes(), invocation.body()].concat();
            responder.send(answer).await
        });
        Ok(answer.await?)
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, "x"));
        let request = connection.request();
        request.assert_response(id);
        assert_eq!(request.body, format!("{id}x").as_bytes());
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn an_event_outlives_its_answer_and_the_next_invocation() {
    let service = Service::start();
    let first = Arc::new(std::sync::Mutex::new(None::<Invocation>));
    let run = run_parallel(&service, 1, move |invocation, responder| {
        let before = first.lock().unwrap().replace(invocation);
        async move {
            let before = before.as_ref().map_or(&b"none"[..], |before| before.body());
            Ok(responder.send(before).await)
        }
    });
    let mut connection = service.connection();
    for (event, answer) in [("one", "none"), ("two", "one"), ("three", "two")] {
        connection.invoke(Event::new("id-1", event));
        assert_eq!(connection.request().body, answer.as_bytes());
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
}

#[test]
fn the_receipt_of_an_answer_is_in_its_proof() {
    let service = Service::start();
    let receipts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = receipts.clone();
    let run = run_parallel(&service, 1, move |_, responder: Responder| {
        let seen = seen.clone();
        async move {
            let sent = responder.send("answer").await;
            seen.lock().unwrap().push(sent.receipt());
            Ok(sent)
        }
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request();
    connection.take_answer();
    connection.invoke(Event::new("id-2", ""));
    connection.request();
    connection.refuse(413, "RequestEntityTooLarge", "no");
    connection.expect_next();
    run.stop();
    let receipts = receipts.lock().unwrap();
    let is_accepted = receipts.iter().map(|receipt| match receipt {
        Receipt::Known(outcome) => outcome.is_accepted(),
        _ => panic!("{receipt:?}"),
    });
    assert_eq!(is_accepted.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn work_after_the_answer_delays_only_the_next_invocation() {
    let service = Service::start();
    let (is_working, gate) = (Arc::new(tokio::sync::Notify::new()), Gate::default());
    let (notified, worked) = (is_working.clone(), gate.clone());
    let run = run_parallel(&service, 1, move |_, responder: Responder| {
        let (notified, worked) = (notified.clone(), worked.clone());
        async move {
            let sent = responder.send("answer").await;
            notified.notified().await;
            worked.open();
            Ok(sent)
        }
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    assert_eq!(connection.request().body, b"answer");
    connection.take_answer();
    connection.expect_silence();
    assert!(!gate.is_open());
    is_working.notify_one();
    connection.expect_next();
    assert!(gate.is_open());
    run.stop();
}

#[test]
fn a_pipelined_answer_leaves_with_the_next_request() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        Ok(responder.send_and_next(invocation.body()).await)
    });
    let mut connection = service.connection();
    connection.expect_next();
    for id in ["id-1", "id-2", "id-3"] {
        connection.send(Event::new(id, "x").bytes());
        connection.request().assert_response(id);
        // Before the answer is taken.
        connection.expect_next();
        connection.take_answer();
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_stream_moves_between_tasks_and_ends_in_another() {
    let service = Service::start();
    let calls = AtomicUsize::new(0);
    let run = run_parallel(&service, 1, move |_, responder: Responder| {
        let is_pipelined = calls.fetch_add(1, SeqCst) > 0;
        async move {
            let mut stream = responder.stream(ContentType::TEXT);
            stream.write_all(b"one").await?;
            let answer = tokio::spawn(async move {
                stream.write_all(b"").await?;
                stream.write_all(b"two").await?;
                Ok(match is_pipelined {
                    true => stream.finish_and_next().await,
                    false => stream.finish().await,
                })
            });
            answer.await?
        }
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let request = connection.request();
    assert_eq!(request.chunks, [b"one", b"two"]);
    assert_eq!(request.header("Content-Type"), Some("text/plain; charset=utf-8"));
    connection.take_answer();
    connection.invoke(Event::new("id-2", ""));
    assert_eq!(connection.request().chunks, [b"one", b"two"]);
    connection.expect_next();
    connection.take_answer();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn an_http_stream_begins_with_its_prelude() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |_, responder: Responder| {
        let prelude = HttpPrelude::new(201, &[("content-type", "text/plain")], &["a=1"])?;
        let mut stream = responder.stream_http(&prelude).await;
        stream.write_all(b"body").await?;
        Ok(stream.finish().await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let request = connection.request();
    let head = request.body.iter().position(|byte| *byte == 0).expect("the end of the prelude");
    assert!(request.body.starts_with(b"{\"statusCode\":201,"), "{request:?}");
    assert_eq!(request.body[head..], *b"\0\0\0\0\0\0\0\0body");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[cfg(feature = "json")]
#[test]
fn json_is_read_and_written_and_a_failure_of_either_is_reported() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        let number: i32 = invocation.json()?;
        if number == 0 {
            // A map whose keys are no strings.
            return responder.json(std::collections::HashMap::from([((1, 2), 3)])).await;
        }
        responder.json(number + 1).await
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "41"));
    assert_eq!(connection.request().body, b"42");
    connection.take_answer();
    for (event, error_type) in [("x", "Runtime.UnmarshalError"), ("0", "Runtime.MarshalError")] {
        connection.invoke(Event::new("id-2", event));
        connection.request().assert_error("id-2", error_type);
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
}

#[test]
fn an_invocation_has_the_head_of_its_event() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        let head = invocation.head();
        let text = format!(
            "{} {:?} {:?} {:?} {:?} {:?}",
            invocation.request_id(),
            invocation.tenant_id(),
            invocation.trace_id(),
            invocation.invoked_function_arn(),
            invocation.header("X-Other").map(<[u8]>::len),
            invocation.time_left().map(|left| left.is_zero()),
        );
        assert_eq!(head.deadline(), invocation.deadline());
        Ok::<_, Failure>(responder.send(text).await)
    });
    let mut connection = service.connection();
    let event = Event::new("id-1", "")
        .header("Lambda-Runtime-Aws-Tenant-Id", "blue")
        .header("Lambda-Runtime-Trace-Id", "Root=1")
        .header("Lambda-Runtime-Invoked-Function-Arn", "arn:x")
        .header("Lambda-Runtime-Deadline-Ms", "1000")
        .header("X-Other", "four");
    connection.invoke(event);
    let expected = r#"id-1 Some("blue") Some("Root=1") Some("arn:x") Some(4) Some(true)"#;
    assert_eq!(connection.request().body, expected.as_bytes());
    connection.take_answer();
    connection.expect_next();
    run.stop();
}
