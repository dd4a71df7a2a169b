//! This crate with the plain functions of its blocking sister, for tests that the transports share.
//! Hooks become async hooks that block. Handlers are called in the task of the runtime, and a
//! handler that blocks holds up its only thread.
#![allow(dead_code, unused_imports, reason = "every test binary uses its part of it")]

use lambda_proto_host::lifecycle::{InitResult, NoLifecycle};
use lambda_proto_tokio::{self as real, InitContext, ShutdownContext};

pub(crate) use lambda_proto_tokio::{
    Context, Endpoint, Error, Failure, Invocation, Options, Policy, Record, StopHandle,
};

pub(crate) struct Runtime<L = NoLifecycle>(real::Runtime<L>);

pub(crate) struct Lifecycle(real::Lifecycle);

/// Takes the answer, which is sent when the handler has returned.
pub(crate) struct Responder(());

pub(crate) struct Sent(String);

impl Responder {
    pub(crate) fn send(self, body: &str) -> Sent {
        Sent(body.to_owned())
    }
}

impl Runtime {
    pub(crate) fn from_env() -> Result<Self, Error> {
        real::Runtime::from_env().map(Self)
    }

    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self(real::Runtime::new(endpoint))
    }

    pub(crate) fn log(self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Self {
        Self(self.0.log(write))
    }

    pub(crate) fn lifecycle(self, lifecycle: Lifecycle) -> Runtime<real::Lifecycle> {
        Runtime(self.0.lifecycle(lifecycle.0))
    }

    pub(crate) fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder) -> Result<Sent, Failure>,
    {
        block_on(self.0.run(async |invocation, responder| {
            let Sent(body) = handler(invocation, Responder(()))?;
            Ok(responder.send(body).await)
        }))
    }
}

impl Runtime<real::Lifecycle> {
    pub(crate) fn stop_handle(&self) -> StopHandle {
        self.0.stop_handle()
    }

    pub(crate) fn run<F>(self, handler: F) -> Result<(), Error>
    where
        F: for<'i> Fn(Invocation<'i>, Responder, Context) -> Result<Sent, Failure>,
    {
        block_on(self.0.run(async |invocation, responder, context| {
            let Sent(body) = handler(invocation, Responder(()), context)?;
            Ok(responder.send(body).await)
        }))
    }
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(real::Lifecycle::new())
    }

    pub(crate) fn options(self, options: Options) -> Self {
        Self(self.0.options(options))
    }

    pub(crate) fn work(self, policy: Policy) -> Self {
        Self(self.0.work(policy))
    }

    pub(crate) fn signals(self, are_handled: bool) -> Self {
        Self(self.0.signals(are_handled))
    }

    pub(crate) fn on_init<R: InitResult>(
        self,
        name: &'static str,
        hook: impl FnOnce(&InitContext) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_init(name, async move |init: &InitContext| hook(init)))
    }

    pub(crate) fn on_shutdown(
        self,
        name: &'static str,
        hook: impl FnOnce(&ShutdownContext) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        Self(self.0.on_shutdown(name, async move |shutdown: &ShutdownContext| hook(shutdown)))
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.expect("a tokio runtime").block_on(future)
}
