//! Programs with their own loop pull invocations from workers.

mod support;

use std::sync::Arc;
use std::time::Duration;

use lambda_proto_service::Running;
use lambda_proto_tokio::{ContentType, Error, Failure, HttpPrelude, Receipt, StreamOver, Worker};
use tokio::sync::Barrier;

use support::{Event, Service};

/// Runs a loop around a worker of this service.
fn pull<F>(service: &Service, run: F) -> Running<Error>
where
    F: AsyncFnOnce(Worker) -> Result<(), Error> + Send + 'static,
{
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    service.run_loop(stop, async move || run(runtime.into_worker()).await)
}

#[test]
fn a_worker_hands_out_invocations_one_by_one_until_it_is_stopped() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        while let Some((invocation, responder)) = worker.next().await? {
            responder.send(invocation.body()).await;
        }
        assert!(worker.next().await?.is_none(), "stopped for good");
        Ok(())
    });
    let mut connection = service.connection();
    for body in ["one", "two"] {
        connection.invoke(Event::new("id-1", body));
        assert_eq!(connection.request().body, body.as_bytes());
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_wait_that_is_given_up_loses_no_invocation() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        let mut given_up = 0;
        loop {
            // Polls once.
            match tokio::time::timeout(Duration::ZERO, worker.next()).await {
                Ok(Ok(Some((invocation, responder)))) => {
                    responder.send(invocation.body()).await;
                }
                Ok(ended) => {
                    assert!(given_up > 0);
                    return ended.map(drop);
                }
                Err(_elapsed) => {
                    given_up += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
    let mut connection = service.connection();
    connection.expect_next();
    for id in ["id-1", "id-2"] {
        // Each byte may be the last that a wait reads.
        connection.send_byte_by_byte(Event::new(id, "event").bytes());
        let request = connection.request();
        request.assert_response(id);
        assert_eq!(request.body, b"event");
        connection.take_answer();
        connection.expect_next();
    }
    service.expect_no_connection();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_responder_that_is_dropped_is_reported_by_the_next_wait() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        while let Some((_, responder)) = worker.next().await? {
            drop(responder);
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Runtime.NoResponse");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn a_worker_reports_failures_through_its_responder() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        while let Some((_, responder)) = worker.next().await? {
            responder.fail(Failure::new("Function.Script", "line 3: no such name")).await;
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Function.Script");
    connection.take_answer();
    connection.expect_next();
    let line = "invocation id-1: failed: Function.Script: line 3: no such name";
    assert_eq!(run.stop(), [line]);
}

#[test]
fn a_worker_answers_without_the_responder_and_only_once() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        assert!(worker.send("before the first").await.is_none());
        let mut count = 0;
        while let Some((invocation, _)) = worker.next().await? {
            let answer = invocation.body().to_ascii_uppercase();
            let answered = worker.send(&answer).await.expect("it is in flight");
            assert!(matches!(answered, Receipt::Known(outcome) if outcome.is_accepted()));
            assert!(worker.send("a second one").await.is_none());
            count += 1;
        }
        assert_eq!(count, 2);
        Ok(())
    });
    let mut connection = service.connection();
    for (id, event, answer) in [("id-1", "one", b"ONE"), ("id-2", "two", b"TWO")] {
        connection.invoke(Event::new(id, event));
        let request = connection.request();
        request.assert_response(id);
        assert_eq!(request.body, answer);
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn an_answer_that_is_given_up_before_its_first_byte_can_be_given_again() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        while let Some((_, responder)) = worker.next().await? {
            drop(responder.send("never polled"));
            let responder = worker.responder().expect("it is not answered");
            responder.send("the second").await;
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    assert_eq!(connection.request().body, b"the second");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_worker_pipelines() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        while let Some((invocation, responder)) = worker.next().await? {
            responder.send_and_next(invocation.body()).await;
        }
        Ok(())
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2", "id-3"] {
        connection.invoke(Event::new(id, "x"));
        connection.request().assert_response(id);
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
}

#[test]
fn a_worker_returns_the_error_that_ends_it() {
    let service = Service::start();
    let run = pull(&service, async |mut worker| {
        while let Some((_, responder)) = worker.next().await? {
            responder.send("").await;
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request();
    connection.refuse(500, "InternalServerError", "no");
    let error = run.error();
    assert!(error.contains("response was answered with 500"), "{error}");
}

#[test]
fn workers_move_to_tasks_on_other_threads_and_take_invocations_at_the_same_time() {
    let service = Service::start();
    let runtime = service.runtime().slots(3);
    let stop = runtime.stop_handle();
    let run = Running::new(
        service.lines(),
        move || stop.stop(),
        move || {
            let mut tokio = tokio::runtime::Builder::new_multi_thread();
            let tokio = tokio.worker_threads(2).enable_all().build().expect("tokio starts");
            let barrier = Arc::new(Barrier::new(3));
            let tasks = runtime.into_workers().into_iter().map(|mut worker| {
                let barrier = barrier.clone();
                tokio.spawn(async move {
                    while let Some((invocation, responder)) = worker.next().await? {
                        barrier.wait().await;
                        responder.send(invocation.body()).await;
                    }
                    Ok::<(), Error>(())
                })
            });
            let tasks: Vec<_> = tasks.collect();
            tasks.into_iter().try_for_each(|task| tokio.block_on(task).expect("no panic"))
        },
    );
    let mut connections = service.open_slots(3);
    for connection in &mut connections {
        connection.send(Event::new("id-1", "x").bytes());
    }
    for connection in &mut connections {
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn an_error_of_one_worker_ends_the_others_on_which_the_service_counts() {
    let service = Service::start();
    let runtime = service.runtime().slots(2);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let mut workers = runtime.into_workers();
        let (mut second, mut first) = (workers.pop().unwrap(), workers.pop().unwrap());
        let (first, second) = tokio::join!(first.next(), second.next());
        let ended = [first, second].map(|next| next.map(|next| next.is_none()));
        assert!(ended.iter().any(|ended| matches!(ended, Err(Error::Service(_)))), "{ended:?}");
        assert!(ended.iter().any(|ended| matches!(ended, Ok(true))), "{ended:?}");
        Ok(())
    });
    let mut connections = service.open_slots(2);
    connections[0].refuse(500, "InternalServerError", "no");
    run.expect_end();
    service.lines().wait_for("a slot has ended: the Runtime API ends this runtime");
}

#[test]
fn a_panic_that_drops_one_worker_ends_the_others() {
    let service = Service::start();
    let runtime = service.runtime().slots(2);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let mut workers = runtime.into_workers();
        let (mut second, mut first) = (workers.pop().unwrap(), workers.pop().unwrap());
        let panicking = tokio::spawn(async move {
            let _in_flight = first.next().await;
            panic!("the loop of the test panics");
        });
        assert!(panicking.await.unwrap_err().is_panic());
        assert!(second.next().await?.is_none());
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let mut report = service.connection();
    report.request().assert_error("id-1", "Function.Panic");
    report.take_answer();
    run.expect_end();
    service.lines().wait_for("a slot has ended: Function.Panic");
}

/// Calls functions that have no responder, once for each invocation, until the end.
fn script<F>(service: &Service, script: F) -> Running<Error>
where
    F: AsyncFn(&mut Worker) + Send + 'static,
{
    pull(service, async move |mut worker| {
        while worker.next().await?.is_some() {
            script(&mut worker).await;
        }
        Ok(())
    })
}

#[test]
fn a_worker_streams_without_a_responder() {
    let service = Service::start();
    let run = script(&service, async |worker| {
        assert_eq!(worker.write(b"too early").await, Err(StreamOver));
        assert!(worker.finish().await.is_none());
        assert!(worker.stream(ContentType::TEXT));
        assert!(!worker.stream(ContentType::TEXT), "it has begun");
        assert!(worker.send("instead").await.is_none());
        assert_eq!(worker.write(b"one").await, Ok(()));
        assert_eq!(worker.write(b"two").await, Ok(()));
        let receipt = worker.finish().await.expect("there is a stream");
        assert!(matches!(receipt, Receipt::Known(outcome) if outcome.is_accepted()));
        assert!(worker.finish().await.is_none());
        assert_eq!(worker.write(b"too late").await, Err(StreamOver));
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        let request = connection.request();
        request.assert_response(id);
        assert_eq!(request.chunks, [b"one", b"two"]);
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_stream_of_a_worker_ends_with_its_failure() {
    let service = Service::start();
    let run = script(&service, async |worker| {
        assert!(worker.stream(ContentType::TEXT));
        assert_eq!(worker.write(b"half").await, Ok(()));
        worker.fail(Failure::new("Function.Half", "no more")).await;
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let request = connection.request();
    assert_eq!(request.chunks, [b"half"]);
    assert_eq!(request.trailer("Lambda-Runtime-Function-Error-Type"), Some("Function.Half"));
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn when_the_service_closes_the_connection_a_stream_is_over_and_the_worker_continues() {
    let service = Service::start();
    let run = script(&service, async |worker| {
        assert!(worker.stream(ContentType::TEXT));
        while worker.write(&[b'x'; 100_000]).await.is_ok() {}
        assert_eq!(worker.write(b"x").await, Err(StreamOver));
        assert!(worker.finish().await.is_none());
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.close();
    service.connection().expect_next();
    run.stop();
}

#[test]
fn the_invocation_and_its_responder_are_available_again_until_it_is_answered() {
    let service = Service::start();
    let run = script(&service, async |worker| {
        assert_eq!(worker.invocation().expect("it is in flight").body(), b"event");
        let prelude = HttpPrelude::new(418, &[], &[]).expect("a status");
        let responder = worker.responder().expect("it is not answered");
        responder.stream_http(&prelude).await.finish().await;
        assert!(worker.responder().is_none());
        assert!(worker.invocation().is_none());
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "event"));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}
