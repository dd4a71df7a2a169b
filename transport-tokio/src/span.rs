//! The invocation as a span of [`tracing`](https://docs.rs/tracing), with the names that
//! [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/faas/aws-lambda/) has for functions.
//!
//! [`in_span`] awaits the work of a handler in the span of its invocation; [`SpanLayer`] does it for
//! a service of tower (feature `tower`). A program that needs no record of errors attaches an
//! [`invocation_span`] itself, with `tracing::Instrument`.
//!
//! ```no_run
//! use lambda_proto_tokio::span::in_span;
//! use lambda_proto_tokio::{Error, Failure, Log, Runtime};
//! use tracing_subscriber::{layer::SubscriberExt, registry};
//!
//! async fn find(order: &str) -> Result<String, Failure> {
//!     tracing::info!("looking");
//!     Ok(format!("{order}: two chairs"))
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     // Log lines here; a layer of `tracing_opentelemetry` beside it exports the spans.
//!     let subscriber = registry().with(Log::from_env().tracing_layer());
//!     tracing::subscriber::set_global_default(subscriber).expect("it is the first");
//!     Runtime::from_env()?
//!         .run(async |invocation, responder| {
//!             in_span(&invocation, async {
//!                 let order = std::str::from_utf8(invocation.body())?;
//!                 Ok(responder.send(find(order).await?).await)
//!             })
//!             .await
//!         })
//!         .await
//! }
//! ```
//!
//! | field | value |
//! |---|---|
//! | `otel.name` | the function's name, which is the span's name for OpenTelemetry |
//! | `otel.kind` | `server` |
//! | `faas.invocation_id` | the request id |
//! | `faas.coldstart` | whether it is the first invocation of an environment that was started for it; see below |
//! | `faas.trigger` | empty; the function records it, since only the event tells |
//! | `aws.lambda.invoked_arn` | the ARN that the caller used |
//! | `cloud.resource_id` | the same with the version that the alias stands for |
//! | `cloud.account.id` | the account in the ARN |
//! | `aws.xray.trace_id` | the X-Ray trace header as received; OpenTelemetry has no name for it |
//! | `otel.status_code`, `otel.status_description` | after an error or a panic `ERROR`, and its message; that of a [`Failure`] without the type |
//! | `error.type` | after a panic or a [`Failure`] its [type](Failure::reported_type); otherwise empty, and the function may record it |
//!
//! With [`in_span`] the span ends with the future, with [`SpanLayer`] when the answer has been sent. An
//! error that an HTTP response with status 500 [hides](crate::http::OnError::Respond) is in it, too.
//!
//! A field that is not known is absent. `Span::current().record("faas.trigger", "http")` records an
//! empty one. The span has the parent that any span has where it is made. To continue the trace of
//! the caller, make an [`invocation_span`], and give it the parent that a propagator of OpenTelemetry
//! reads from the trace header before it is entered; [`in_span`] and [`SpanLayer`] enter theirs at
//! once. An exporter that sends spans in batches has to be flushed before the environment is frozen:
//! by the handler after its answer, or by [work that is waited for](crate::Context::spawn_work).
//!
//! # Cold starts
//!
//! The first span of the process has `faas.coldstart`. With several slots, that is the first of the
//! invocations that arrive together. After SnapStart, it is the first invocation after each restore,
//! for which its caller has waited. With provisioned concurrency and on managed instances no
//! invocation has it, because the environment was started before.
//!
//! # Log lines
//!
//! A [`Log`](crate::Log) takes only the request id from the span, so its lines are not longer. With
//! `run` and `run_parallel` each line of a handler has the request id in any case; with the span, so
//! have those of tasks that are spawned with `tracing::Instrument::in_current_span`.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use lambda_proto::api::InvocationHead;
use lambda_proto_host::environment::{Environment, InitializationType};
use lambda_proto_host::{Failure, TracingLayer, unwinding};
use pin_project_lite::pin_project;
use tracing::field::{Empty, display};
use tracing::{Span, info_span};

/// The span of an invocation, which is not entered yet. See the [module](self) for its fields.
///
/// Make one for each invocation: the first one that is made has the cold start.
pub fn invocation_span<'i>(invocation: impl Into<InvocationHead<'i>>) -> Span {
    let head = invocation.into();
    span(head.request_id(), head.invoked_function_arn(), head.trace_id())
}

/// Awaits the future in the span of the invocation, which records its error or panic.
pub fn in_span<'i, F>(invocation: impl Into<InvocationHead<'i>>, future: F) -> InSpan<F> {
    InSpan::new(future, invocation_span(invocation))
}

fn span(request_id: &str, arn: Option<&str>, trace_id: Option<&str>) -> Span {
    let environment = Environment::of_process();
    let resource_id = arn.map(|arn| resource_id(arn, environment.function_version()));
    info_span!(
        target: TracingLayer::INVOCATION,
        "invocation",
        "otel.name" = environment.function_name(),
        "otel.kind" = "server",
        "otel.status_code" = Empty,
        "otel.status_description" = Empty,
        "error.type" = Empty,
        "faas.invocation_id" = request_id,
        "faas.coldstart" = is_cold_start(&HAS_SERVED, environment.initialization_type()),
        "faas.trigger" = Empty,
        "aws.lambda.invoked_arn" = arn,
        "cloud.resource_id" = resource_id.as_deref(),
        "cloud.account.id" = arn.and_then(|arn| arn.split(':').nth(4)),
        "aws.xray.trace_id" = trace_id,
    )
}

/// Whether an invocation of this process has had a span.
static HAS_SERVED: AtomicBool = AtomicBool::new(false);

fn is_cold_start(has_served: &AtomicBool, start: Option<InitializationType<'_>>) -> bool {
    use InitializationType::{ManagedInstances, ProvisionedConcurrency};
    let is_first = !has_served.swap(true, Relaxed);
    is_first && !matches!(start, Some(ProvisionedConcurrency | ManagedInstances))
}

/// The ARN of the function, with the version in the place of an alias.
fn resource_id<'a>(arn: &'a str, version: Option<&str>) -> Cow<'a, str> {
    // arn:aws:lambda:region:account:function:name:alias
    let alias = arn.match_indices(':').nth(6).map(|(at, _)| at);
    match (alias, version) {
        (Some(at), Some(version)) => format!("{}:{version}", &arn[..at]).into(),
        _ => arn.into(),
    }
}

pin_project! {
    /// A future in the span of an invocation, in which it is also dropped.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct InSpan<F> {
        // `None` only during the drop.
        #[pin]
        future: Option<F>,
        span: Span,
    }

    impl<F> PinnedDrop for InSpan<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.span.enter();
            this.future.set(None);
        }
    }
}

impl<F> InSpan<F> {
    fn new(future: F, span: Span) -> Self {
        Self { future: Some(future), span }
    }
}

impl<F, T, E> Future for InSpan<F>
where
    F: Future<Output = Result<T, E>>,
    E: fmt::Display + 'static,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let span: &Span = this.span;
        let _entered = span.enter();
        let _records = RecordsPanic(span);
        let future = this.future.as_pin_mut().expect("it is there until the drop");
        let result = ready!(future.poll(context));
        if let Err(error) = &result {
            // Without the type, which the boxed errors of services do not show.
            match (error as &dyn Any).downcast_ref::<Failure>() {
                Some(failure) => record_failure(span, failure),
                None => record(span, error),
            }
        }
        Poll::Ready(result)
    }
}

/// Records a panic that unwinds past it.
struct RecordsPanic<'s>(&'s Span);

impl Drop for RecordsPanic<'_> {
    fn drop(&mut self) {
        if let Some(failure) = unwinding() {
            record_failure(self.0, &failure);
        }
    }
}

fn record(span: &Span, error: &dyn fmt::Display) {
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", display(error));
}

fn record_failure(span: &Span, failure: &Failure) {
    span.record("error.type", failure.reported_type());
    record(span, &failure.message());
}

/// Records a failure that the answer hides in the current span, if that is the invocation's.
#[cfg(feature = "http")]
pub(crate) fn record_current(failure: &Failure) {
    record_failure(&Span::current(), failure);
}

#[cfg(feature = "tower")]
pub use layer::{Invoked, SpanAnswer, SpanFuture, SpanLayer, SpanService};

#[cfg(feature = "tower")]
mod layer {
    use std::fmt;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use lambda_proto_host::Failure;
    use pin_project_lite::pin_project;
    use tower_layer::Layer;
    use tower_service::Service;
    use tracing::Span;

    use super::{InSpan, RecordsPanic, invocation_span};
    use crate::parallel::{Invocation, Responder, Sent};
    use crate::tower::Answer;

    /// Calls a service, and sends its answer, in the span of each invocation; a layer of tower.
    ///
    /// ```no_run
    /// use lambda_proto_tokio::parallel::Invocation;
    /// use lambda_proto_tokio::span::SpanLayer;
    /// use lambda_proto_tokio::tower::service_fn;
    /// use lambda_proto_tokio::{Error, Runtime};
    /// use tower::ServiceBuilder;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Error> {
    ///     let hello = service_fn(async |_: Invocation| {
    ///         tracing::info!("in the span");
    ///         Ok("hello")
    ///     });
    ///     let service = ServiceBuilder::new().layer(SpanLayer).service(hello);
    ///     Runtime::from_env()?.run_service(service).await
    /// }
    /// ```
    ///
    /// Put it before the others, so that their errors are in the span. The wait until the service is
    /// ready is not in it.
    ///
    /// The answer is a [`SpanAnswer`], with which the span lasts until the answer is sent: it has the
    /// error of an HTTP body, for example. A handler in the shape of `lambda_runtime` is the
    /// exception; its span ends with the handler.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct SpanLayer;

    impl<S> Layer<S> for SpanLayer {
        type Service = SpanService<S>;

        fn layer(&self, inner: S) -> SpanService<S> {
            SpanService { inner }
        }
    }

    /// The service of a [`SpanLayer`].
    #[derive(Clone, Copy, Debug)]
    pub struct SpanService<S> {
        inner: S,
    }

    impl<S, Q> Service<Q> for SpanService<S>
    where
        S: Service<Q, Error: fmt::Display + 'static>,
        Q: Invoked,
    {
        type Response = SpanAnswer<S::Response>;
        type Error = S::Error;
        type Future = SpanFuture<S::Future>;

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            self.inner.poll_ready(context)
        }

        fn call(&mut self, request: Q) -> Self::Future {
            let span = request.invocation_span();
            let future = {
                let _entered = span.enter();
                let _records = RecordsPanic(&span);
                self.inner.call(request)
            };
            SpanFuture { future: InSpan::new(future, span) }
        }
    }

    pin_project! {
        /// The future of a [`SpanService`].
        #[derive(Debug)]
        pub struct SpanFuture<F> {
            #[pin]
            future: InSpan<F>,
        }
    }

    impl<F, A, E> Future for SpanFuture<F>
    where
        F: Future<Output = Result<A, E>>,
        E: fmt::Display + 'static,
    {
        type Output = Result<SpanAnswer<A>, E>;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            let mut future = self.project().future;
            let answer = ready!(future.as_mut().poll(context))?;
            Poll::Ready(Ok(SpanAnswer { answer, span: future.span.clone() }))
        }
    }

    /// The answer of a service, with the span of its invocation, in which it is sent.
    #[derive(Debug)]
    pub struct SpanAnswer<A> {
        answer: A,
        span: Span,
    }

    impl<A> SpanAnswer<A> {
        /// The answer without the span.
        pub fn into_inner(self) -> A {
            self.answer
        }
    }

    /// # Errors
    ///
    /// As the answer itself. The span records them.
    impl<A: Answer + Send> Answer for SpanAnswer<A> {
        async fn answer(self, responder: Responder) -> Result<Sent, Failure> {
            InSpan::new(self.answer.answer(responder), self.span).await
        }
    }

    #[cfg(feature = "lambda-runtime")]
    impl<A, B, S> crate::lambda_runtime::IntoFunctionResponse<B, S> for SpanAnswer<A>
    where
        A: crate::lambda_runtime::IntoFunctionResponse<B, S>,
    {
        fn into_response(self) -> crate::lambda_runtime::FunctionResponse<B, S> {
            self.answer.into_response()
        }
    }

    /// The requests of services that have an invocation, and so a span of it.
    pub trait Invoked {
        /// The [span](super::invocation_span) of the invocation.
        fn invocation_span(&self) -> Span;
    }

    impl Invoked for Invocation {
        fn invocation_span(&self) -> Span {
            invocation_span(self)
        }
    }

    /// With a lifecycle.
    impl Invoked for (Invocation, crate::Context) {
        fn invocation_span(&self) -> Span {
            invocation_span(&self.0)
        }
    }

    #[cfg(feature = "lambda-runtime")]
    impl<T> Invoked for crate::lambda_runtime::LambdaEvent<T> {
        fn invocation_span(&self) -> Span {
            let context = &self.context;
            let arn = Some(&*context.invoked_function_arn).filter(|arn| !arn.is_empty());
            super::span(&context.request_id, arn, context.xray_trace_id.as_deref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_invocation_of_an_environment_that_was_started_for_it_is_a_cold_start() {
        use InitializationType::{ManagedInstances, OnDemand, ProvisionedConcurrency, SnapStart};
        for (start, is_cold) in [
            (None, true),
            (Some(OnDemand), true),
            (Some(SnapStart), true),
            (Some(ProvisionedConcurrency), false),
            (Some(ManagedInstances), false),
            (Some(InitializationType::Other("new")), true),
        ] {
            let has_served = AtomicBool::new(false);
            assert_eq!(is_cold_start(&has_served, start), is_cold, "{start:?}");
            assert!(!is_cold_start(&has_served, start), "{start:?}");
        }
    }

    #[test]
    fn the_version_takes_the_place_of_an_alias() {
        let arn = "arn:aws:lambda:eu-central-1:123456789012:function:orders";
        for (invoked, version, id) in [
            (arn.to_owned(), Some("7"), arn.to_owned()),
            (format!("{arn}:live"), Some("7"), format!("{arn}:7")),
            (format!("{arn}:7"), Some("7"), format!("{arn}:7")),
            (format!("{arn}:live"), None, format!("{arn}:live")),
            ("no ARN".to_owned(), Some("7"), "no ARN".to_owned()),
            (":::::::".to_owned(), Some("7"), ":::::::7".to_owned()),
        ] {
            assert_eq!(resource_id(&invoked, version), id, "{invoked}");
        }
    }
}
