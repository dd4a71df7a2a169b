//! Runtimes whose handlers run on several threads.
#![allow(dead_code, reason = "every test binary uses its part of it")]

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use lambda_proto_service::{Running, Service};
use lambda_proto_tokio::parallel::{Invocation, Responder, Sent};
use lambda_proto_tokio::{Endpoint, Error, Failure, Runtime};

/// A runtime that talks to this service and logs to its lines.
pub(crate) fn runtime(service: &Service) -> Runtime {
    let endpoint = Endpoint::parse(&service.address()).expect("the test's address is one");
    let lines = service.lines().clone();
    Runtime::new(endpoint).log(move |line| lines.push(line.to_string()))
}

/// A tokio runtime with four threads.
pub(crate) fn threads() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(4).enable_all().build().expect("threads")
}

/// Runs a runtime with this number of slots on four threads.
pub(crate) fn run_parallel<F, A>(service: &Service, slots: usize, handler: F) -> Running<Error>
where
    F: Fn(Invocation, Responder) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Sent, Failure>> + Send + 'static,
{
    let runtime = runtime(service).slots(slots);
    let stop = runtime.stop_handle();
    let run = move || threads().block_on(runtime.run_parallel(handler));
    Running::new(service.lines(), move || stop.stop(), run)
}

/// Polls a future once, and drops it.
pub(crate) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
