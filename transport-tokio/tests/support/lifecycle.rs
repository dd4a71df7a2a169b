//! A runtime with a lifecycle under a service that the test itself scripts.
#![allow(dead_code, unused_imports, reason = "every test binary uses its part of it")]

use std::ops::Deref;

use lambda_proto_service::Running;
use lambda_proto_tokio::{
    Context, Endpoint, Error, Failure, Invocation, Lifecycle, Responder, Runtime, Sent, StopHandle,
};
use tokio::runtime::Builder;

pub(crate) use lambda_proto_service::{Connection, Event, Gate, PATIENCE, Request};

/// A service, with methods that start runtimes that talk to it.
pub(crate) struct Service {
    service: lambda_proto_service::Service,
    kind: Kind,
}

/// The kinds of tokio runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CurrentThread,
    MultiThread,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub(crate) fn block_on<F: Future>(self, future: F) -> F::Output {
        let mut builder = match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::MultiThread => Builder::new_multi_thread(),
        };
        let tokio = builder.worker_threads(2).enable_all().build().expect("a tokio runtime");
        let output = tokio.block_on(future);
        // What a test leaves running must not hold it up.
        tokio.shutdown_background();
        output
    }
}

impl Deref for Service {
    type Target = lambda_proto_service::Service;

    fn deref(&self) -> &Self::Target {
        &self.service
    }
}

impl Service {
    /// A service of runtimes on one thread.
    pub(crate) fn start() -> Self {
        Self::of(Kind::CurrentThread)
    }

    pub(crate) fn of(kind: Kind) -> Self {
        Self { service: lambda_proto_service::Service::start(), kind }
    }

    /// A runtime that talks to this service and logs to its lines.
    pub(crate) fn runtime(&self) -> Runtime {
        let endpoint = Endpoint::parse(&self.address()).expect("the test's address is one");
        let lines = self.lines().clone();
        Runtime::new(endpoint).log(move |line| lines.push(line.to_string()))
    }

    /// Runs a runtime with one slot and a lifecycle.
    pub(crate) fn run<F>(&self, lifecycle: Lifecycle, handler: F) -> Running<Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
        F: Send + 'static,
    {
        self.run_as(self.runtime(), lifecycle, handler)
    }

    /// Runs a runtime that the test has made, with a lifecycle.
    pub(crate) fn run_as<F>(
        &self,
        runtime: Runtime,
        lifecycle: Lifecycle,
        handler: F,
    ) -> Running<Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
        F: Send + 'static,
    {
        let runtime = runtime.lifecycle(lifecycle);
        self.run_loop(runtime.stop_handle(), async move || runtime.run(handler).await)
    }

    /// Runs the test's own loop around a runtime with this handle.
    pub(crate) fn run_loop(
        &self,
        stop: StopHandle,
        run: impl AsyncFnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Running<Error> {
        let kind = self.kind;
        Running::new(self.lines(), move || stop.stop(), move || kind.block_on(run()))
    }
}
