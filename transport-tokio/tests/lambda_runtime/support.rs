//! Runs handlers against a service that the test scripts.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::Stream;
use lambda_proto_service::{Connection, Event, Outcome, Request, Running, Service as Lambda};
use lambda_proto_tokio::Runtime;
use lambda_proto_tokio::lambda_runtime::{
    Diagnostic, Error, IntoFunctionResponse, LambdaEvent, Service, run_on,
};
use serde::{Deserialize, Serialize};

#[path = "../parallel/support.rs"]
mod parallel;

pub(crate) use parallel::runtime;

/// Runs `main` on a thread of its own.
pub(crate) fn start(
    lambda: &Lambda,
    main: impl AsyncFnOnce(Runtime) -> Result<(), Error> + Send + 'static,
) -> Running<Error> {
    start_on(lambda, runtime(lambda), main)
}

/// Runs `main` with a runtime that the test has made.
pub(crate) fn start_on(
    lambda: &Lambda,
    runtime: Runtime,
    main: impl AsyncFnOnce(Runtime) -> Result<(), Error> + Send + 'static,
) -> Running<Error> {
    let stop = runtime.stop_handle();
    let run = move || {
        let mut tokio = tokio::runtime::Builder::new_multi_thread();
        let tokio = tokio.worker_threads(2).enable_all().build().expect("threads");
        tokio.block_on(main(runtime))
    };
    Running::new(lambda.lines(), move || stop.stop(), run)
}

/// Serves one event to a handler, and checks that the loop continues.
pub(crate) fn invoke_once<A, F, R, B, S, D, E>(event: Event, handler: F) -> Request
where
    F: Service<LambdaEvent<A>, Response = R> + Send + 'static,
    F::Error: Into<Diagnostic> + Debug + 'static,
    A: for<'de> Deserialize<'de>,
    R: IntoFunctionResponse<B, S>,
    B: Serialize,
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send,
    E: Into<Error> + Send + Debug,
{
    let lambda = Lambda::start();
    let run = start(&lambda, async move |runtime| run_on(runtime, handler).await);
    Outcome::of(&lambda, run, event).request
}

/// An event with this body.
pub(crate) fn event(body: &str) -> Event {
    Event::new("id-1", body)
}

/// Serves an event, and takes the answer.
#[track_caller]
pub(crate) fn invoke(connection: &mut Connection, body: &str) -> Request {
    connection.invoke(event(body));
    let request = connection.request();
    connection.take_answer();
    request
}

/// Checks the type and the message of an error.
#[track_caller]
pub(crate) fn assert_error(request: &Request, error_type: &str, message: &str) {
    request.assert_error("id-1", error_type);
    assert_eq!(request.json()["errorMessage"], message);
}
