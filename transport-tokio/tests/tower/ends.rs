//! The end of a run, and what its future may do.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready, select};
use lambda_proto_service::{Event, Gate, Service as Lambda};
use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::tower::service_fn;
use lambda_proto_tokio::{Failure, Lifecycle};
use tokio::sync::Notify;
use tower::Service;

use crate::support::{run, runtime, threads};

/// A service that opens the gate, then waits before it answers.
fn waits(
    begun: &Gate,
    go_on: &Arc<Notify>,
) -> impl Service<Invocation, Response = &'static str, Error: Into<Failure> + Send, Future: Send>
+ Clone
+ Send
+ use<> {
    let (begun, go_on) = (begun.clone(), go_on.clone());
    service_fn(move |_: Invocation| {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        async move {
            begun.open();
            go_on.notified().await;
            Ok("answer")
        }
    })
}

#[test]
fn a_stop_lets_a_service_answer_and_ends_the_slots_that_wait() {
    let lambda = Lambda::start();
    let (begun, go_on) = (Gate::default(), Arc::new(Notify::new()));
    let service = waits(&begun, &go_on);
    let run = run(&lambda, runtime(&lambda).slots(2), move || service);
    let mut connections = lambda.open_slots(2);
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
fn a_future_that_is_dropped_lets_a_service_answer() {
    let lambda = Lambda::start();
    let (begun, go_on) = (Gate::default(), Arc::new(Notify::new()));
    let service = waits(&begun, &go_on);
    let runtime = runtime(&lambda);
    let threads = threads();
    let has_begun = begun.clone();
    let running = threads.spawn(async move {
        let run = std::pin::pin!(runtime.run_service(service));
        let begun = std::pin::pin!(tokio::task::spawn_blocking(move || has_begun.wait()));
        assert!(matches!(select(run, begun).await, Either::Right(_)));
    });
    let mut connection = lambda.connection();
    connection.invoke(Event::new("id-1", ""));
    threads.block_on(running).unwrap();
    go_on.notify_one();
    assert_eq!(connection.request().body, b"answer");
    connection.take_answer();
    connection.expect_end();
    assert_eq!(lambda.lines().all(), [""; 0]);
}

/// May move to another thread, but two threads must not share it, like many services.
#[derive(Clone, Default)]
struct NotSync(Cell<u32>);

impl<R> Service<R> for NotSync {
    type Response = String;
    type Error = Failure;
    type Future = Ready<Result<String, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        self.0.set(self.0.get() + 1);
        ready(Ok(self.0.get().to_string()))
    }
}

#[test]
fn the_future_of_a_run_may_be_spawned() {
    fn is_send<T: Send>(_: &T) {}

    let lambda = Lambda::start();
    let with_lifecycle = runtime(&lambda).lifecycle(Lifecycle::new());
    is_send(&with_lifecycle.run_service(NotSync::default()));
    let runtime = runtime(&lambda);
    let stop = runtime.stop_handle();
    let threads = threads();
    let run = threads.spawn(runtime.run_service(NotSync::default()));
    let mut connection = lambda.connection();
    for _ in 0..2 {
        // Each invocation has a clone of its own.
        connection.invoke(Event::new("id-1", ""));
        assert_eq!(connection.request().body, b"1");
        connection.take_answer();
    }
    connection.expect_next();
    stop.stop();
    threads.block_on(run).unwrap().unwrap();
}
