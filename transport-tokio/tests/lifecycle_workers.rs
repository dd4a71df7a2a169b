//! Programs that take invocations from workers of a runtime with a lifecycle.

#[path = "support/lifecycle.rs"]
mod support;

use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_proto_tokio::{Error, InLifecycle, Lifecycle, Runtime, Worker};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

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

async fn worker(runtime: Runtime<Lifecycle>) -> Worker<InLifecycle> {
    runtime.into_worker().await.expect("it starts").expect("it is not stopped")
}

/// Polls the future of `next` once, and drops it.
fn begin_next(worker: &mut Worker<InLifecycle>) {
    let mut next = pin!(worker.next());
    let polled = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
}

#[test]
fn the_end_of_the_last_worker_runs_the_shutdown_hooks() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let is_shut_down = Gate::default();
        let runtime = service.runtime().slots(2).lifecycle(opens(&is_shut_down));
        let (watched, stop) = (is_shut_down.clone(), runtime.stop_handle());
        let run = service.run_loop(stop, async move || {
            let mut tasks = JoinSet::new();
            for mut worker in runtime.into_workers().await? {
                // Moves to another thread if there is one.
                tasks.spawn(async move {
                    while let Some((_, responder, context)) = worker.next().await? {
                        assert!(context.remaining().is_none());
                        responder.send("answer").await;
                    }
                    Ok::<_, Error>(worker)
                });
            }
            while let Some(worker) = tasks.join_next().await {
                let worker = worker.expect("the task does not panic")?;
                assert!(!watched.is_open());
                worker.end().await?;
                assert_eq!(watched.is_open(), tasks.is_empty());
            }
            Ok(())
        });
        let mut connections = service.open_slots(2);
        for connection in &mut connections {
            connection.send(Event::new("id-1", "").bytes());
            connection.request().assert_response("id-1");
            connection.take_answer();
            connection.expect_next();
        }
        run.stop();
        assert!(is_shut_down.is_open());
    }
}

#[test]
fn an_error_of_one_worker_stops_the_others() {
    let service = Service::start();
    let is_shut_down = Gate::default();
    let runtime = service.runtime().slots(2).lifecycle(opens(&is_shut_down));
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let workers = runtime.into_workers().await?;
        let mut workers = workers.into_iter();
        let (mut one, mut other) = (workers.next().unwrap(), workers.next().unwrap());
        let is_over =
            async |worker: &mut Worker<InLifecycle>| worker.next().await.map(|next| next.is_none());
        let results = tokio::join!(is_over(&mut one), is_over(&mut other));
        drop(one);
        other.end().await?;
        match results {
            (Err(error), Ok(true)) | (Ok(true), Err(error)) => Err(error),
            others => panic!("{others:?}"),
        }
    });
    let mut connections = service.open_slots(2);
    connections[0].refuse(500, "InternalServerError", "no");
    assert!(matches!(run.end(), Err(Error::Service(_))));
    assert!(is_shut_down.is_open());
}

#[test]
fn an_error_of_the_last_worker_runs_the_shutdown_hooks_without_blocking() {
    let service = Service::start();
    let is_shut_down = Gate::default();
    let runtime = service.runtime().lifecycle(opens(&is_shut_down));
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let mut worker = worker(runtime).await;
        while let Some(_unexpected) = worker.next().await? {}
        Ok(())
    });
    service.open_slots(1)[0].refuse(500, "InternalServerError", "no");
    assert!(matches!(run.end(), Err(Error::Service(_))));
    assert!(is_shut_down.is_open());
}

#[test]
fn a_runtime_that_is_stopped_before_its_start_has_no_workers() {
    let service = Service::start();
    let (is_shut_down, has_begun) = (Gate::default(), Gate::default());
    let start = |gate: &Gate| {
        let begins = has_begun.clone();
        let lifecycle = opens(gate).on_init("hook", async move |_| begins.open());
        let runtime = service.runtime().lifecycle(lifecycle);
        runtime.stop_handle().stop();
        runtime
    };
    let (one, many) = Kind::CurrentThread.block_on(async {
        let one = start(&is_shut_down).into_worker().await.expect("a stop is no error");
        let many = start(&Gate::default()).into_workers().await.expect("a stop is no error");
        (one, many)
    });
    assert!(one.is_none() && many.is_empty());
    assert!(is_shut_down.is_open() && !has_begun.is_open());
    service.expect_no_connection();
}

#[test]
fn a_wait_for_work_or_for_an_invocation_that_is_dropped_continues() {
    let service = Service::start();
    let runtime = service.runtime().lifecycle(Lifecycle::new());
    let (sender, told) = channel();
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let mut worker = worker(runtime).await;
        let (invocation, responder, context) = worker.next().await?.expect("an invocation");
        let work = context.begin_work(&invocation, "the books");
        responder.send("").await;
        for _ in 0..2 {
            begin_next(&mut worker);
            assert!(timeout(Duration::from_millis(20), worker.next()).await.is_err());
        }
        drop(work);
        // It asks for the next invocation, which does not come before the test has been told.
        assert!(timeout(Duration::from_millis(20), worker.next()).await.is_err());
        sender.send(()).expect("the test waits");
        begin_next(&mut worker);
        let gap = Duration::from_millis(20);
        let (invocation, responder, context) = worker.next().await?.expect("an invocation");
        assert_eq!(invocation.request_id(), "id-2");
        // From the time when it was asked for first.
        assert!(context.idle_gap().and_then(|idle| idle.thawed_after(gap)).is_some());
        responder.send("").await;
        while let Some(_unexpected) = worker.next().await? {}
        worker.end().await
    });
    let mut connection = service.connection();
    connection.invoke(due_in_an_hour("id-1"));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    told.recv_timeout(PATIENCE).expect("both waits were dropped");
    connection.send(due_in_an_hour("id-2").bytes());
    connection.request().assert_response("id-2");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn a_responder_that_is_taken_again_waits_for_registered_work_before_it_asks() {
    let service = Service::start();
    let runtime = service.runtime().lifecycle(Lifecycle::new());
    let (sender, told) = channel();
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let mut worker = worker(runtime).await;
        let (invocation, responder, context) = worker.next().await?.expect("an invocation");
        sender.send(context.begin_work(&invocation, "the books")).expect("the test waits");
        // Taken again below.
        drop(responder);
        let responder = worker.responder().expect("it is unanswered");
        responder.send_and_next("answer").await;
        assert!(worker.responder().is_none());
        while let Some(_unexpected) = worker.next().await? {}
        worker.end().await
    });
    let mut connection = service.connection();
    connection.invoke(due_in_an_hour("id-1"));
    connection.request().assert_response("id-1");
    connection.expect_silence();
    connection.take_answer();
    connection.expect_silence();
    drop(told.recv_timeout(PATIENCE).expect("a task"));
    connection.expect_next();
    run.stop();
}

#[test]
fn a_panic_of_a_handler_is_reported_and_the_next_invocation_has_a_context() {
    let service = Service::start();
    let run = service.run(Lifecycle::new(), async |invocation, responder, context| {
        sleep(Duration::from_millis(1)).await;
        assert_ne!(invocation.request_id(), "id-1", "not this one");
        assert!(context.idle_gap().is_some());
        Ok(responder.send("").await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Function.Panic");
    connection.take_answer();
    connection.invoke(Event::new("id-2", ""));
    connection.request().assert_response("id-2");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}
