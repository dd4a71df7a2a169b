//! A runtime of this crate under a service that the test itself scripts.
#![allow(dead_code, unused_imports, reason = "every test binary uses its part of it")]

use std::ops::Deref;
use std::time::Duration;

use lambda_proto_service::{Place, Running};
use lambda_proto_tokio::{
    Endpoint, Error, Failure, Invocation, Responder, Runtime, Sent, StopHandle,
};

pub(crate) use lambda_proto_service::{
    Connection, Event, Gate, Lines, MOMENT, Outcome, PATIENCE, Request,
};

/// A service, with methods that start runtimes that talk to it.
pub(crate) struct Service(lambda_proto_service::Service);

impl Deref for Service {
    type Target = lambda_proto_service::Service;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Service {
    pub(crate) fn start() -> Self {
        Self(lambda_proto_service::Service::start())
    }

    /// A runtime that talks to this service and logs to its lines.
    pub(crate) fn runtime(&self) -> Runtime {
        runtime_at(self.place())
    }

    /// Runs a runtime with one slot.
    pub(crate) fn run<F>(&self, handler: F) -> Running<Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
        F: Send + 'static,
    {
        self.run_as(self.runtime(), handler)
    }

    /// Runs a runtime that the test has made.
    pub(crate) fn run_as<F>(&self, runtime: Runtime, handler: F) -> Running<Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
        F: Send + 'static,
    {
        self.run_loop(runtime.stop_handle(), async move || runtime.run(handler).await)
    }

    /// Runs the test's own loop around a runtime with this handle, on a thread of its own.
    pub(crate) fn run_loop<F>(&self, stop: StopHandle, run: F) -> Running<Error>
    where
        F: AsyncFnOnce() -> Result<(), Error> + Send + 'static,
    {
        Running::new(self.lines(), move || stop.stop(), move || block_on(run()))
    }
}

pub(crate) fn runtime_at(place: &Place) -> Runtime {
    let endpoint = Endpoint::parse(place.address()).expect("the test's address is one");
    let lines = place.lines().clone();
    Runtime::new(endpoint).log(move |line| lines.push(line.to_string()))
}

/// Runs one invocation whose answer the service accepts, and checks that the loop continues.
pub(crate) fn invoke_once<F>(event: Event, handler: F) -> Outcome
where
    F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    F: Send + 'static,
{
    let service = Service::start();
    Outcome::of(&service, service.run(handler), event)
}

/// Runs a future on this thread alone.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.enable_all().build().expect("tokio starts").block_on(future)
}

/// Waits until the test opens the gate, and lets other slots work until then.
pub(crate) async fn is_open(gate: &Gate) {
    let opened = async {
        while !gate.is_open() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.expect("nobody opened the gate");
}
