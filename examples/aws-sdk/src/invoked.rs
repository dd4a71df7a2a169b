//! What the requests of the SDK have of the invocation that makes them: its trace id, and the time
//! that it has left.
//!
//! The SDK reads the trace id from `_X_AMZN_TRACE_ID`, one variable for the whole process. With
//! several slots there are several invocations, so here the trace id belongs to the future of each:
//! tokio sets a task-local value whenever it polls the future, whatever else the task or the thread
//! does in between.

use lambda_proto_tokio::{Cancellation, Context, Invocation};

use aws_sdk_sqs::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;

tokio::task_local! {
    static INVOKED: Invoked;
}

/// What requests need of an invocation.
#[derive(Clone)]
pub(crate) struct Invoked {
    trace_id: Option<String>,
    cancellation: Cancellation,
}

impl Invoked {
    pub(crate) fn by(invocation: &Invocation<'_>, context: &Context) -> Self {
        Self {
            trace_id: invocation.trace_id().map(str::to_owned),
            cancellation: context.cancellation(),
        }
    }

    /// Awaits a future whose requests are those of this invocation.
    ///
    /// A task that the future spawns is not part of it, and needs a `during` of its own.
    pub(crate) async fn during<F: Future>(self, future: F) -> F::Output {
        INVOKED.scope(self, future).await
    }
}

/// The interceptor of the client. It leaves requests outside of [`Invoked::during`] alone.
#[derive(Debug)]
pub(crate) struct OfInvocation;

impl Intercept for OfInvocation {
    fn name(&self) -> &'static str {
        "OfInvocation"
    }

    /// Limits an operation with all of its attempts to the time that is left.
    ///
    /// Only this timeout may differ between operations. The SDK keeps a pool of connections for
    /// each pair of connect and read timeouts, so different ones would open a connection each time.
    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Ok(Some(left)) = INVOKED.try_with(|invoked| invoked.cancellation.remaining()) {
            let timeouts = TimeoutConfig::builder().operation_timeout(left).build();
            config.interceptor_state().store_put(timeouts);
        }
        Ok(())
    }

    /// Adds the trace id to every attempt, in the place of one from the environment.
    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Ok(Some(trace_id)) = INVOKED.try_with(|invoked| invoked.trace_id.clone()) {
            context.request_mut().headers_mut().try_insert("x-amzn-trace-id", trace_id)?;
        }
        Ok(())
    }
}
