use lambda_proto_host::Failure;

use crate::{Error, Invocation, Lifecycle, Responder, Runtime, Sent, parallel};

/// A runtime that the program has set up, with or without a [lifecycle](Runtime::lifecycle).
pub trait AnyRuntime {
    /// As [`Runtime::run`].
    #[doc(hidden)]
    fn run_all<H>(self, handler: H) -> impl Future<Output = Result<(), Error>>
    where
        H: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>;

    /// As [`Runtime::run_parallel`], with a handler for each slot.
    #[doc(hidden)]
    fn run_all_tasks<H, A>(
        self,
        for_slot: impl Fn() -> H + Send + 'static,
    ) -> impl Future<Output = Result<(), Error>> + Send
    where
        H: FnMut(parallel::Invocation, parallel::Responder) -> A + Send + 'static,
        A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static;
}

impl AnyRuntime for Runtime {
    async fn run_all<H>(self, handler: H) -> Result<(), Error>
    where
        H: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    {
        self.run(handler).await
    }

    async fn run_all_tasks<H, A>(
        self,
        for_slot: impl Fn() -> H + Send + 'static,
    ) -> Result<(), Error>
    where
        H: FnMut(parallel::Invocation, parallel::Responder) -> A + Send + 'static,
        A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static,
    {
        self.run_tasks(for_slot).await
    }
}

impl AnyRuntime for Runtime<Lifecycle> {
    async fn run_all<H>(self, handler: H) -> Result<(), Error>
    where
        H: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    {
        self.run(async |invocation, responder, _| handler(invocation, responder).await).await
    }

    async fn run_all_tasks<H, A>(
        self,
        for_slot: impl Fn() -> H + Send + 'static,
    ) -> Result<(), Error>
    where
        H: FnMut(parallel::Invocation, parallel::Responder) -> A + Send + 'static,
        A: Future<Output = Result<parallel::Sent, Failure>> + Send + 'static,
    {
        self.run_tasks(move || {
            let mut handler = for_slot();
            move |invocation, responder, _| handler(invocation, responder)
        })
        .await
    }
}
