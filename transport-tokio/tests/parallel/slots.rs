//! Several slots, their tasks, and their end.

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use futures_util::future::{Either, select};
use lambda_proto_service::{Event, Gate, Service};
use lambda_proto_tokio::Error;
use lambda_proto_tokio::parallel::{Invocation, Responder};

use crate::support::{run_parallel, runtime, threads};

const SLOTS: usize = 4;

#[test]
fn handlers_run_on_several_threads_at_the_same_time() {
    let service = Service::start();
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let all = seen.clone();
    let barrier = Arc::new(Barrier::new(SLOTS));
    let run = run_parallel(&service, SLOTS, move |_, responder: Responder| {
        let (all, barrier) = (all.clone(), barrier.clone());
        async move {
            // Blocks its thread until each of the others blocks one.
            tokio::task::block_in_place(|| barrier.wait());
            all.lock().unwrap().insert(thread::current().id());
            Ok(responder.send("answer").await)
        }
    });
    let mut connections = service.open_slots(SLOTS);
    for round in 0..10 {
        let id = format!("id-{round}");
        for connection in &mut connections {
            connection.send(Event::new(&id, "").bytes());
        }
        for connection in &mut connections {
            connection.request().assert_response(&id);
            connection.take_answer();
            connection.expect_next();
        }
    }
    assert_eq!(run.stop(), [""; 0]);
    assert!(seen.lock().unwrap().len() >= SLOTS);
}

#[test]
fn handlers_share_the_only_thread_of_a_current_thread_runtime() {
    let service = Service::start();
    let runtime = runtime(&service).slots(2);
    let stop = runtime.stop_handle();
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let handler = move |_: Invocation, responder: Responder| {
        let both = both.clone();
        async move {
            both.wait().await;
            Ok(responder.send("answer").await)
        }
    };
    let run = lambda_proto_service::Running::new(
        service.lines(),
        move || stop.stop(),
        move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().unwrap().block_on(runtime.run_parallel(handler))
        },
    );
    let mut connections = service.open_slots(2);
    for connection in &mut connections {
        connection.send(Event::new("id-1", "").bytes());
    }
    for connection in &mut connections {
        assert_eq!(connection.request().body, b"answer");
        connection.take_answer();
        connection.expect_next();
    }
    run.stop();
}

#[test]
fn a_stop_lets_a_handler_answer_and_ends_the_waiting_slots_at_once() {
    let service = Service::start();
    let (begun, go_on) = (Gate::default(), Arc::new(tokio::sync::Notify::new()));
    let (is_running, notified) = (begun.clone(), go_on.clone());
    let run = run_parallel(&service, 2, move |_, responder: Responder| {
        let (is_running, notified) = (is_running.clone(), notified.clone());
        async move {
            is_running.open();
            notified.notified().await;
            Ok(responder.send("answer").await)
        }
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Event::new("id-1", "").bytes());
    begun.wait();
    run.tell_to_stop();
    connections[1].expect_end();
    go_on.notify_one();
    assert_eq!(connections[0].request().body, b"answer");
    connections[0].take_answer();
    connections[0].expect_end();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_slot_that_is_lost_ends_the_others() {
    let service = Service::start();
    let run = run_parallel(&service, 3, async |_, responder: Responder| {
        Ok(responder.send("answer").await)
    });
    let mut connections = service.open_slots(3);
    connections[1].refuse(500, "InternalServerError", "no");
    connections[0].expect_end();
    connections[2].expect_end();
    let error = run.end().unwrap_err();
    assert!(matches!(error, Error::Service(_)), "{error}");
    service.lines().wait_for("has ended: the Runtime API ends this runtime");
}

#[test]
fn a_slot_with_a_broken_protocol_starts_over_and_the_others_go_on() {
    let service = Service::start();
    let run = run_parallel(&service, 2, async |_, responder: Responder| {
        Ok(responder.send("answer").await)
    });
    let mut connections = service.open_slots(2);
    connections[0].send("this is not HTTP\r\n\r\n");
    connections[1].send(Event::new("id-1", "").bytes());
    assert_eq!(connections[1].request().body, b"answer");
    connections[1].take_answer();
    connections[1].expect_next();
    let mut again = service.connection();
    again.invoke(Event::new("id-2", ""));
    again.request().assert_response("id-2");
    again.take_answer();
    again.expect_next();
    let lines = run.stop();
    assert!(lines[0].contains("starts over: "), "{lines:?}");
}

#[test]
fn the_error_of_the_only_slot_is_returned_as_it_is() {
    let service = Service::start();
    let run = run_parallel(&service, 1, async |_, responder: Responder| {
        Ok(responder.send("answer").await)
    });
    service.connection().send("this is not HTTP\r\n\r\n");
    let error = run.end().unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert_eq!(service.lines().all(), [""; 0]);
}

#[test]
fn dropping_the_future_stops_the_slots_after_their_invocation_in_flight() {
    let service = Service::start();
    let runtime = runtime(&service).slots(2);
    let (begun, go_on) =
        (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (is_running, notified) = (begun.clone(), go_on.clone());
    let stop = runtime.stop_handle();
    let threads = threads();
    let running = threads.spawn(async move {
        let run = std::pin::pin!(runtime.run_parallel(move |_, responder: Responder| {
            let (is_running, notified) = (is_running.clone(), notified.clone());
            async move {
                is_running.notify_one();
                notified.notified().await;
                Ok(responder.send("answer").await)
            }
        }));
        let begun = std::pin::pin!(begun.notified());
        assert!(matches!(select(run, begun).await, Either::Right(_)));
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Event::new("id-1", "").bytes());
    threads.block_on(running).unwrap();
    assert!(stop.is_stopping());
    connections[1].expect_end();
    go_on.notify_one();
    assert_eq!(connections[0].request().body, b"answer");
    connections[0].take_answer();
    connections[0].expect_end();
    assert_eq!(service.lines().all(), [""; 0]);
}

#[test]
fn the_end_of_the_tokio_runtime_is_an_error_of_the_slots() {
    let service = Service::start();
    let other = threads();
    // The slots are tasks of the runtime in which the future is polled first.
    let runtime = runtime(&service).slots(2);
    let mut run = Box::pin(
        runtime.run_parallel(async |_, responder: Responder| Ok(responder.send("answer").await)),
    );
    other.block_on(async {
        assert!(crate::support::poll_once(&mut run).await.is_none());
    });
    let _open = service.open_slots(2);
    other.shutdown_background();
    let error = threads().block_on(run).unwrap_err();
    assert!(
        matches!(&error, Error::Panicked { message } if message.contains("cancelled")),
        "{error}"
    );
}
