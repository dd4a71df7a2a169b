//! A runtime of this crate under a service that the test itself scripts.
#![allow(dead_code, unused_imports, reason = "every test binary uses its part of it")]

use std::ops::Deref;

use lambda_proto_service::{Place, Running};
use lambda_proto_std::{
    Context, Endpoint, Error, Failure, Invocation, Lifecycle, Responder, Runtime, Sent, StopHandle,
};

pub(crate) use lambda_proto_service::{
    Connection, Event, Gate, MOMENT, Outcome, PATIENCE, Request,
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
        F: for<'i> Fn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
        F: Send + Sync + 'static,
    {
        self.run_as(self.runtime(), handler)
    }

    /// Runs a runtime that the test has made.
    pub(crate) fn run_as<F>(&self, runtime: Runtime, handler: F) -> Running<Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
        F: Send + Sync + 'static,
    {
        self.run_loop(runtime.stop_handle(), move || runtime.run(handler))
    }

    /// Runs a runtime with one slot and a lifecycle.
    pub(crate) fn run_lifecycle<F>(&self, lifecycle: Lifecycle, handler: F) -> Running<Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
        F: Send + Sync + 'static,
    {
        self.run_lifecycle_as(self.runtime(), lifecycle, handler)
    }

    /// Runs a runtime that the test has made, with a lifecycle.
    pub(crate) fn run_lifecycle_as<F>(
        &self,
        runtime: Runtime,
        lifecycle: Lifecycle,
        handler: F,
    ) -> Running<Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
        F: Send + Sync + 'static,
    {
        let runtime = runtime.lifecycle(lifecycle);
        self.run_loop(runtime.stop_handle(), move || runtime.run(handler))
    }

    /// Runs the test's own loop around a runtime with this handle.
    pub(crate) fn run_loop(
        &self,
        stop: StopHandle,
        run: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Running<Error> {
        Running::new(self.lines(), move || stop.stop(), run)
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
    F: for<'i> Fn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    F: Send + Sync + 'static,
{
    let service = Service::start();
    Outcome::of(&service, service.run(handler), event)
}
