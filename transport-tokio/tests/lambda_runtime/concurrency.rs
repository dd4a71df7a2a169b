//! Several invocations at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use lambda_proto_service::{Connection, Event, Gate, Service as Lambda};
use lambda_proto_tokio::Lifecycle;
use lambda_proto_tokio::lambda_runtime::{
    Error, LambdaEvent, run_concurrent, run_concurrent_on, run_on, service_fn,
};
use tokio::sync::{Barrier, Semaphore};
use tower::ServiceBuilder;

use crate::support::{invoke, runtime, start, start_on};

const SLOTS: usize = 3;

fn invoke_all(connections: &mut [Connection]) {
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.send(Event::new("id-1", slot.to_string()).bytes());
    }
}

#[track_caller]
fn expect_answers(connections: &mut [Connection]) {
    for (slot, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.request().body, slot.to_string().as_bytes());
        connection.take_answer();
        connection.expect_next();
    }
}

#[test]
fn the_slots_of_a_handler_that_cannot_be_cloned_take_turns_in_one_task() {
    let lambda = Lambda::start();
    let run = start_on(&lambda, runtime(&lambda).slots(SLOTS), async |runtime| {
        let main = thread::current().id();
        let (all, mut calls) = (&Barrier::new(SLOTS), Box::new(0));
        let handler = service_fn(move |event: LambdaEvent<usize>| {
            *calls += 1;
            async move {
                all.wait().await;
                assert_eq!(thread::current().id(), main);
                Ok::<_, Error>(event.payload)
            }
        });
        run_on(runtime, handler).await
    });
    let mut connections = lambda.open_slots(SLOTS);
    for _ in 0..3 {
        invoke_all(&mut connections);
        expect_answers(&mut connections);
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn every_slot_gets_its_turn_when_the_handler_is_not_ready_for_all() {
    let lambda = Lambda::start();
    let (go_on, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (waits, begins) = (go_on.clone(), begun.clone());
    let run = start_on(&lambda, runtime(&lambda).slots(SLOTS), async |runtime| {
        let handler = service_fn(move |event: LambdaEvent<usize>| {
            let (waits, begins) = (waits.clone(), begins.clone());
            async move {
                let most = begins.fetch_add(1, SeqCst) + 1;
                waits.acquire().await?.forget();
                begins.fetch_sub(1, SeqCst);
                assert_eq!(most, 1, "at the same time");
                Ok::<_, Error>(event.payload)
            }
        });
        run_on(runtime, ServiceBuilder::new().concurrency_limit(1).service(handler)).await
    });
    let mut connections = lambda.open_slots(SLOTS);
    for _ in 0..5 {
        invoke_all(&mut connections);
        go_on.add_permits(SLOTS);
        expect_answers(&mut connections);
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn clones_of_a_handler_run_on_several_threads() {
    let lambda = Lambda::start();
    let barrier = Arc::new(std::sync::Barrier::new(2));
    let run = start_on(&lambda, runtime(&lambda).slots(2), async |runtime| {
        let handler = service_fn(move |event: LambdaEvent<usize>| {
            let barrier = barrier.clone();
            async move {
                // Blocks its thread until the other blocks one.
                tokio::task::block_in_place(|| barrier.wait());
                match event.payload {
                    7 => Err::<usize, Error>("seven".into()),
                    number => Ok(number),
                }
            }
        });
        run_concurrent_on(runtime, handler).await
    });
    let mut connections = lambda.open_slots(2);
    for _ in 0..3 {
        invoke_all(&mut connections);
        expect_answers(&mut connections);
    }
    for connection in &mut connections {
        connection.send(Event::new("id-1", "7").bytes());
    }
    for connection in &mut connections {
        connection.request().assert_error("id-1", "Function.Error");
        connection.take_answer();
        connection.expect_next();
    }
    run.stop();
}

#[test]
fn a_runtime_with_a_lifecycle_runs_its_hooks_around_a_handler() {
    for is_concurrent in [false, true] {
        let lambda = Lambda::start();
        let is_shut_down = Gate::default();
        let shuts_down = is_shut_down.clone();
        let run = start(&lambda, async move |runtime| {
            let lifecycle = Lifecycle::new().signals(false).on_shutdown("end", async move |_| {
                shuts_down.open();
                Ok(())
            });
            let runtime = runtime.lifecycle(lifecycle);
            let handler =
                service_fn(async |event: LambdaEvent<usize>| Ok::<_, Error>(event.payload));
            match is_concurrent {
                true => run_concurrent_on(runtime, handler).await,
                false => run_on(runtime, handler).await,
            }
        });
        let mut connection = lambda.connection();
        assert_eq!(invoke(&mut connection, "7").body, b"7");
        connection.expect_next();
        assert!(!is_shut_down.is_open());
        run.stop();
        assert!(is_shut_down.is_open());
    }
}

#[test]
fn the_future_of_a_concurrent_run_may_be_spawned() {
    fn is_send<T: Send>(_: &T) {}

    let lambda = Lambda::start();
    let handler = service_fn(async |event: LambdaEvent<usize>| Ok::<_, Error>(event.payload));
    is_send(&run_concurrent(handler));
    is_send(&run_concurrent_on(runtime(&lambda), handler));
}
