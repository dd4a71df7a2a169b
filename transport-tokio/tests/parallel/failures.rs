//! What becomes of an invocation whose handler does not answer it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use futures_util::future::{Either, pending, select};
use lambda_proto_service::{Connection, Event, Gate, Service};
use lambda_proto_tokio::parallel::{Invocation, Responder, Sent};
use lambda_proto_tokio::{ContentType, Failure, Receipt};
use tokio::sync::mpsc::unbounded_channel;

use crate::support::{poll_once, run_parallel};

const SAD: &str = "Function.Sad";

fn sad() -> Failure {
    Failure::new(SAD, "no luck")
}

/// Serves an event, takes the error that is reported for it, and checks that the slot goes on.
#[track_caller]
fn expect_error(connection: &mut Connection, error_type: &str) {
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", error_type);
    connection.take_answer();
}

#[test]
fn a_failure_is_reported_and_so_is_one_through_the_responder() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        if invocation.body() == b"fail" {
            return Ok(responder.fail(Failure::new("Function.Told", "line 3")).await);
        }
        Err(sad())
    });
    let mut connection = service.connection();
    expect_error(&mut connection, SAD);
    connection.invoke(Event::new("id-2", "fail"));
    connection.request().assert_error("id-2", "Function.Told");
    connection.take_answer();
    connection.expect_next();
    let lines = run.stop();
    assert_eq!(lines[1], "invocation id-2: failed: Function.Told: line 3");
}

#[test]
fn a_responder_that_is_dropped_in_any_task_is_reported() {
    let service = Service::start();
    let proof = Arc::new(Mutex::new(None::<Sent>));
    let calls = AtomicUsize::new(0);
    let run = run_parallel(&service, 1, move |_, responder: Responder| {
        let call = calls.fetch_add(1, SeqCst);
        let proof = proof.clone();
        async move {
            // The only proof that a handler without an answer can return.
            if call == 0 {
                *proof.lock().unwrap() = Some(responder.send("").await);
                return Err(sad());
            }
            match call {
                1 => drop(responder),
                _ => tokio::spawn(async move { drop(responder) }).await?,
            }
            proof.lock().unwrap().take().ok_or_else(sad)
        }
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-0", ""));
    connection.request().assert_response("id-0");
    connection.take_answer();
    expect_error(&mut connection, "Runtime.NoResponse");
    expect_error(&mut connection, SAD);
    connection.expect_next();
    let lines = run.stop();
    assert!(lines[0].contains("failed after it was answered"), "{lines:?}");
    let refused = "the handler returned the proof of another invocation";
    assert_eq!(lines[1], format!("slot 0: {refused}"));
    assert_eq!(lines[2], format!("invocation id-1: failed: Runtime.NoResponse: {refused}"));
}

#[test]
fn the_proof_of_another_invocation_is_refused_and_logged_after_an_answer_too() {
    let service = Service::start();
    let earlier = Arc::new(Mutex::new(None::<Sent>));
    let run = run_parallel(&service, 1, move |_, responder: Responder| {
        let earlier = earlier.clone();
        async move {
            let sent = responder.send("answer").await;
            earlier.lock().unwrap().replace(sent).ok_or_else(sad)
        }
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        connection.request().assert_response(id);
        connection.take_answer();
    }
    connection.expect_next();
    let lines = run.stop();
    let refused = "slot 0: the handler returned the proof of another invocation";
    assert_eq!(lines[1], refused, "{lines:?}");
}

#[test]
fn the_proof_of_the_same_invocation_of_another_slot_is_refused() {
    let service = Service::start();
    // Both answer, and each returns what the other has answered.
    let proofs = Arc::new(Mutex::new([None::<Sent>, None]));
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let run = run_parallel(&service, 2, move |invocation: Invocation, responder: Responder| {
        let (proofs, both) = (proofs.clone(), both.clone());
        async move {
            let own = usize::from(invocation.body() == b"1");
            let sent = responder.send("answer").await;
            proofs.lock().unwrap()[own] = Some(sent);
            both.wait().await;
            Ok(proofs.lock().unwrap()[1 - own].take().expect("the other one has answered"))
        }
    });
    let mut connections = service.open_slots(2);
    for (connection, body) in connections.iter_mut().zip(["0", "1"]) {
        connection.send(Event::new("id-1", body).bytes());
    }
    for connection in &mut connections {
        connection.request().assert_response("id-1");
        connection.take_answer();
    }
    for connection in &mut connections {
        connection.expect_next();
    }
    let lines = run.stop();
    for slot in 0..2 {
        let refused = format!("slot {slot}: the handler returned the proof of another invocation");
        assert!(lines.contains(&refused), "{lines:?}");
    }
}

#[test]
fn a_panic_before_or_after_an_await_fails_its_invocation_and_the_slot_goes_on() {
    let service = Service::start();
    let calls = AtomicUsize::new(0);
    let run = run_parallel(&service, 1, move |_, responder: Responder| {
        let call = calls.fetch_add(1, SeqCst);
        assert_ne!(call, 0, "before there is a future");
        async move {
            assert_ne!(call, 1, "before the first await");
            tokio::task::yield_now().await;
            assert_ne!(call, 2, "after an await");
            let sent = responder.send("answer").await;
            assert_ne!(call, 3, "after the answer");
            Ok(sent)
        }
    });
    let mut connection = service.connection();
    for message in ["before there is", "before the first", "after an await"] {
        connection.invoke(Event::new("id-1", ""));
        let request = connection.request();
        request.assert_error("id-1", "Function.Panic");
        assert!(request.json()["errorMessage"].as_str().unwrap().contains(message), "{request:?}");
        connection.take_answer();
    }
    for _ in 0..2 {
        connection.invoke(Event::new("id-1", ""));
        assert_eq!(connection.request().body, b"answer");
        connection.take_answer();
    }
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.iter().any(|line| line.contains("after the answer")), "{lines:?}");
}

/// A future that keeps the responder when it panics.
struct Keeps {
    _responder: Responder,
}

impl Future for Keeps {
    type Output = Result<Sent, Failure>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        panic!("with the responder in the future");
    }
}

#[test]
fn a_future_that_keeps_its_responder_when_it_panics_is_dropped_with_it() {
    let service = Service::start();
    let run = run_parallel(&service, 1, |_, responder| Keeps { _responder: responder });
    let mut connection = service.connection();
    expect_error(&mut connection, "Function.Panic");
    expect_error(&mut connection, "Function.Panic");
    connection.expect_next();
    run.stop();
}

#[test]
fn a_failure_waits_for_a_responder_in_another_task_which_may_still_answer() {
    let service = Service::start();
    let (sender, mut responders) = unbounded_channel::<Responder>();
    let (late, waits) = (Gate::default(), Gate::default());
    let (opened, waited) = (late.clone(), waits.clone());
    let run = run_parallel(&service, 1, move |_, responder| {
        let sent = sender.send(responder).is_ok();
        let waited = waited.clone();
        async move {
            assert!(sent);
            waited.open();
            Err(sad())
        }
    });
    let tasks = tokio::runtime::Runtime::new().unwrap();
    tasks.spawn(async move {
        for call in 0.. {
            let Some(responder) = responders.recv().await else { break };
            let opened = opened.clone();
            tokio::task::spawn_blocking(move || opened.wait()).await.unwrap();
            match call {
                0 => assert_ne!(responder.send("late").await.receipt(), Receipt::FateUnknown),
                _ => drop(responder),
            }
        }
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    waits.wait();
    connection.expect_silence();
    late.open();
    assert_eq!(connection.request().body, b"late");
    connection.take_answer();
    expect_error(&mut connection, SAD);
    connection.expect_next();
    let lines = run.stop();
    assert!(lines[0].contains("failed after it was answered"), "{lines:?}");
    tasks.shutdown_background();
}

#[test]
fn a_leaked_responder_holds_up_its_slot_and_no_other() {
    let service = Service::start();
    let run = run_parallel(&service, 2, async |invocation: Invocation, responder: Responder| {
        if invocation.body() == b"leak" {
            std::mem::forget(responder);
            return Err(sad());
        }
        Ok(responder.send("answer").await)
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Event::new("id-1", "leak").bytes());
    connections[1].send(Event::new("id-2", "").bytes());
    for _ in 0..3 {
        assert_eq!(connections[1].request().body, b"answer");
        connections[1].take_answer();
        connections[1].invoke(Event::new("id-2", ""));
    }
    connections[0].expect_silence();
    // The runtime waits for the slot, so the test leaves it.
    drop(run);
}

#[test]
fn an_answer_whose_future_is_dropped_is_reported_and_one_on_its_way_is_not_sent_twice() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        let is_polled = invocation.body() == b"polled";
        let sending = responder.send("answer");
        match is_polled {
            true => assert!(poll_once(sending).await.is_none(), "the reply has not come"),
            false => drop(sending),
        }
        Err(sad())
    });
    let mut connection = service.connection();
    expect_error(&mut connection, SAD);
    connection.invoke(Event::new("id-2", "polled"));
    assert_eq!(connection.request().body, b"answer");
    connection.take_answer();
    connection.expect_next();
    let lines = run.stop();
    assert!(lines[1].contains("failed after it was answered"), "{lines:?}");
}

#[test]
fn a_handler_that_cancels_a_part_of_itself_still_answers() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |_, responder: Responder| {
        let never = std::pin::pin!(pending::<()>());
        let soon = std::pin::pin!(tokio::task::yield_now());
        assert!(matches!(select(never, soon).await, Either::Right(_)));
        Ok(responder.send("answer").await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    assert_eq!(connection.request().body, b"answer");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn a_stream_that_is_dropped_or_failed_ends_with_the_error_after_its_data() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |invocation: Invocation, responder: Responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"begun").await?;
        match invocation.body() {
            b"fail" => Ok(stream.fail(Failure::new("Function.Told", "line 3")).await),
            b"elsewhere" => {
                tokio::spawn(async move { drop(stream) });
                Err(sad())
            }
            _ => Err(sad()),
        }
    });
    let mut connection = service.connection();
    for (event, error_type) in [("fail", "Function.Told"), ("elsewhere", SAD), ("", SAD)] {
        connection.invoke(Event::new("id-1", event));
        let request = connection.request();
        assert_eq!(request.body, b"begun");
        assert_eq!(request.trailer_error()["errorType"], error_type);
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
}

#[test]
fn a_stream_that_the_service_has_ended_is_over_for_each_way_to_go_on() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |_, responder: Responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        let error = loop {
            if let Err(error) = stream.write_all(&[b'x'; 100_000]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        stream.write_all(b"more").await.unwrap_err();
        Ok(stream.finish().await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head();
    connection.chunk();
    connection.close();
    let mut connection = service.connection();
    connection.expect_next();
    run.stop();
}
