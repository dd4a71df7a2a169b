//! A runtime with a lifecycle whose handlers own their invocations and run on all threads.

#[path = "support/lifecycle.rs"]
mod support;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_proto_tokio::parallel::{Invocation, Responder};
use lambda_proto_tokio::{Context, Error, Failure, Lifecycle};
use tokio::sync::{Barrier, oneshot};
use tokio::time::sleep;

use support::{Event, Gate, Kind, PATIENCE, Service};

/// An event with a deadline in an hour.
fn due_in_an_hour(id: &str) -> Event {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let deadline = (now + Duration::from_secs(3600)).as_millis().to_string();
    Event::new(id, "").header("Lambda-Runtime-Deadline-Ms", deadline)
}

/// A lifecycle that opens the gate at its end.
fn opens(gate: &Gate) -> Lifecycle {
    let gate = gate.clone();
    Lifecycle::new().signals(false).on_shutdown("end", async move |_| {
        sleep(Duration::from_millis(1)).await;
        gate.open();
        Ok(())
    })
}

#[test]
fn every_slot_has_the_values_of_the_init_hooks_and_the_shutdown_hooks_run_last() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let is_shut_down = Gate::default();
        let lifecycle = opens(&is_shut_down).on_init("number", async |init| {
            sleep(Duration::from_millis(1)).await;
            init.put(17_u32);
        });
        let runtime = service.runtime().slots(3).lifecycle(lifecycle);
        let all = Arc::new(Barrier::new(3));
        let run = service.run_loop(runtime.stop_handle(), async move || {
            let handler = move |_: Invocation, responder: Responder, context: Context| {
                let all = all.clone();
                async move {
                    all.wait().await;
                    let number = context.get::<u32>().copied().unwrap_or_default();
                    Ok(responder.send(number.to_string()).await)
                }
            };
            runtime.run_parallel(handler).await
        });
        let mut connections = service.open_slots(3);
        for connection in &mut connections {
            connection.send(due_in_an_hour("id-1").bytes());
        }
        for connection in &mut connections {
            assert_eq!(connection.request().body, b"17", "{kind:?}");
            connection.take_answer();
            connection.expect_next();
        }
        assert!(!is_shut_down.is_open());
        run.stop();
        assert!(is_shut_down.is_open());
    }
}

#[test]
fn next_is_not_asked_for_before_the_work_of_another_task_has_ended() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let runtime = service.runtime().lifecycle(Lifecycle::new());
        let (sender, works) = channel();
        let run = service.run_loop(runtime.stop_handle(), async move || {
            let run = runtime.run_parallel(move |invocation, responder, context| {
                let sender = sender.clone();
                async move {
                    let answering = tokio::spawn(async move {
                        let (ends, end) = oneshot::channel::<()>();
                        sender.send(ends).expect("the test waits");
                        context.spawn_work(&invocation, "the books", async move {
                            end.await.expect("the test ends it");
                        });
                        assert!(context.idle_gap().is_none() || invocation.request_id() != "id-1");
                        responder.send_and_next("").await
                    });
                    Ok(answering.await?)
                }
            });
            run.await
        });
        let mut connection = service.connection();
        for id in ["id-1", "id-2"] {
            connection.expect_next();
            connection.send(due_in_an_hour(id).bytes());
            connection.request().assert_response(id);
            connection.take_answer();
            let ends = works.recv_timeout(PATIENCE).expect("work");
            connection.expect_silence();
            ends.send(()).expect("it waits");
        }
        connection.expect_next();
        assert_eq!(run.stop(), [""; 0], "{kind:?}");
    }
}

#[test]
fn a_future_that_is_dropped_lets_handlers_answer_and_then_runs_the_shutdown_hooks() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let is_shut_down = Gate::default();
        let runtime = service.runtime().lifecycle(opens(&is_shut_down));
        let (begun, has_begun) = channel();
        let (drops, may_drop) = oneshot::channel::<()>();
        let (ends, may_end) = oneshot::channel::<()>();
        let (answers, may_answer) = oneshot::channel::<()>();
        let may_answer = std::sync::Mutex::new(Some(may_answer));
        let run = service.run_loop(runtime.stop_handle(), async move || {
            let run = runtime.run_parallel(move |_, responder, _| {
                begun.send(()).expect("the test waits");
                let may_answer = may_answer.lock().unwrap().take();
                async move {
                    may_answer.ok_or("invoked twice")?.await?;
                    Ok(responder.send("answer").await)
                }
            });
            tokio::select! {
                result = run => return result,
                _ = may_drop => {}
            }
            may_end.await.map_err(|_| panic!("the test has ended"))
        });
        let mut connection = service.connection();
        connection.expect_next();
        connection.send(due_in_an_hour("id-1").bytes());
        has_begun.recv_timeout(PATIENCE).expect("the handler begins");
        drops.send(()).expect("it waits");
        connection.expect_silence();
        assert!(!is_shut_down.is_open());
        answers.send(()).expect("the handler waits");
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_end();
        is_shut_down.wait();
        ends.send(()).expect("it waits");
        run.expect_end();
    }
}

#[test]
fn a_start_that_fails_and_an_error_of_a_slot_end_the_runtime() {
    let service = Service::of(Kind::MultiThread);
    let lifecycle = Lifecycle::new().on_init("no", async |_| -> Result<(), Failure> {
        Err(Failure::new("Function.No", "not today"))
    });
    let runtime = service.runtime().lifecycle(lifecycle);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        runtime.run_parallel(async |_, responder: Responder, _| Ok(responder.send("").await)).await
    });
    let mut connection = service.connection();
    connection.request().assert_init_error("Runtime.InitError");
    connection.take_answer();
    assert!(matches!(run.end(), Err(Error::Init { .. })));

    let service = Service::of(Kind::MultiThread);
    let is_shut_down = Gate::default();
    let runtime = service.runtime().slots(2).lifecycle(opens(&is_shut_down));
    let run = service.run_loop(runtime.stop_handle(), async move || {
        runtime.run_parallel(async |_, responder: Responder, _| Ok(responder.send("").await)).await
    });
    let mut connections = service.open_slots(2);
    connections[0].refuse(500, "InternalServerError", "no");
    assert!(matches!(run.end(), Err(Error::Service(_))));
    assert!(is_shut_down.is_open());
}
