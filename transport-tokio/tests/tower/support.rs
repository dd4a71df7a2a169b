//! Runtimes that call a service of tower, on four threads.

use std::time::Instant;

use lambda_proto_service::{
    Connection, Event, Outcome, PATIENCE, Request, Running, Service as Lambda,
};
use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::tower::Answer;
use lambda_proto_tokio::{Error, Failure, Runtime};
use tower::Service;

#[path = "../parallel/support.rs"]
mod parallel;

pub(crate) use parallel::{runtime, threads};

/// Runs the service that `make` makes within tokio.
pub(crate) fn run<S>(
    lambda: &Lambda,
    runtime: Runtime,
    make: impl FnOnce() -> S + Send + 'static,
) -> Running<Error>
where
    S: Service<Invocation, Response: Answer + Send, Error: Into<Failure> + Send>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let stop = runtime.stop_handle();
    let run = move || threads().block_on(async { runtime.run_service(make()).await });
    Running::new(lambda.lines(), move || stop.stop(), run)
}

/// Runs the service with one slot.
pub(crate) fn run_one<S>(lambda: &Lambda, service: S) -> Running<Error>
where
    S: Service<Invocation, Response: Answer + Send, Error: Into<Failure> + Send>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    run(lambda, runtime(lambda), move || service)
}

/// Serves one event to the service, and checks that the loop continues.
pub(crate) fn invoke_once<S>(event: impl Into<Vec<u8>>, service: S) -> Request
where
    S: Service<Invocation, Response: Answer + Send, Error: Into<Failure> + Send>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let lambda = Lambda::start();
    Outcome::of(&lambda, run_one(&lambda, service), Event::new("id-1", event)).request
}

/// Waits until this is so.
#[track_caller]
pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it does not happen");
        std::thread::yield_now();
    }
}

/// Serves an event, and takes the answer.
#[track_caller]
pub(crate) fn invoke(connection: &mut Connection, event: &str) -> Request {
    connection.invoke(Event::new("id-1", event));
    let request = connection.request();
    connection.take_answer();
    request
}

/// The type and the message of an error.
#[track_caller]
pub(crate) fn error_of(request: &Request) -> (String, String) {
    let error = request.json();
    let text = |name: &str| error[name].as_str().expect("a text").to_owned();
    request.assert_error("id-1", &text("errorType"));
    (text("errorType"), text("errorMessage"))
}

/// Checks that this is an error of type `Function.Error` with this message.
#[track_caller]
pub(crate) fn assert_unnamed(request: &Request, message: &str) {
    assert_eq!(error_of(request), ("Function.Error".to_owned(), message.to_owned()));
}
