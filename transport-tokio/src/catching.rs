use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(any(feature = "log", feature = "tracing"))]
use lambda_proto_host::current::{self, RequestId};
use lambda_proto_host::{Failure, catch};

/// A future that ends with a failure if the other one panics.
///
/// With the features `log` and `tracing`, the other one also has a current invocation of its own:
/// what it sets in one poll is set again in the next, on any thread.
pub(crate) struct Catching<'f, F> {
    future: Pin<&'f mut F>,
    #[cfg(any(feature = "log", feature = "tracing"))]
    current: RequestId,
}

impl<'f, F> Catching<'f, F> {
    pub(crate) fn new(future: Pin<&'f mut F>) -> Self {
        Self {
            future,
            #[cfg(any(feature = "log", feature = "tracing"))]
            current: RequestId::from(""),
        }
    }

    /// The same with this current invocation.
    #[cfg(any(feature = "log", feature = "tracing"))]
    pub(crate) fn during(self, current: RequestId) -> Self {
        Self { current, ..self }
    }
}

impl<F: Future> Future for Catching<'_, F> {
    type Output = Result<F::Output, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        #[cfg(any(feature = "log", feature = "tracing"))]
        let _others = current::begin(self.current);
        let polled = catch(|| Ok(self.future.as_mut().poll(context)));
        #[cfg(any(feature = "log", feature = "tracing"))]
        {
            self.current = current::request_id();
        }
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }
}
