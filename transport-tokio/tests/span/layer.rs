//! Spans of services.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lambda_proto_service::Service as Lambda;
use lambda_proto_tokio::parallel::{Invocation, Responder, Sent};
use lambda_proto_tokio::span::SpanLayer;
use lambda_proto_tokio::tower::{Answer, service_fn};
use lambda_proto_tokio::{Context, Failure, Lifecycle};
use tower::ServiceBuilder;
use tracing::Span;

use crate::support::{Spans, assert_status, invoke};

#[test]
fn a_service_and_its_layers_run_in_the_span() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let layers = ServiceBuilder::new().layer(SpanLayer);
        let service = service_fn(|invocation: Invocation| {
            tracing::info!("called");
            assert_ne!(invocation.body(), b"panic in call", "told to");
            async move {
                tokio::task::yield_now().await;
                tracing::info!("working");
                match invocation.body() {
                    b"fail" => Err(Failure::new("Function.Sad", "no luck")),
                    b"panic" => panic!("told to"),
                    _ => Ok("answer"),
                }
            }
        });
        runtime.run_service(layers.service(service)).await
    });
    let mut connection = lambda.connection();
    for (event, error_type) in
        [("fail", "Function.Sad"), ("panic", "Function.Panic"), ("panic in call", "Function.Panic")]
    {
        invoke(&mut connection, "id-1", event).assert_error("id-1", error_type);
    }
    assert_eq!(invoke(&mut connection, "id-2", "").body, b"answer");
    connection.expect_next();
    let lines = run.stop();
    let [.., called, working] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&**called, &**working), ("invocation id-2: called", "invocation id-2: working"));
    let [sad, panicked, called, fine] = &spans.all()[..] else { panic!("not four spans") };
    assert_status(sad, Some("no luck"));
    for panicked in [panicked, called] {
        assert_eq!(panicked.get("otel.status_code"), Some("ERROR"));
    }
    assert_status(fine, None);
    assert_eq!(fine.get("faas.invocation_id"), Some("id-2"));
}

/// Keeps, when it is dropped, whether that is in the span of an invocation.
struct DroppedIn(Arc<Mutex<Vec<bool>>>);

impl Drop for DroppedIn {
    fn drop(&mut self) {
        let span = Span::current();
        let is_in = span.metadata().is_some_and(|metadata| metadata.name() == "invocation");
        self.0.lock().unwrap().push(is_in);
    }
}

#[test]
fn a_call_that_a_layer_gives_up_is_dropped_in_the_span_and_its_error_is_in_it() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let drops = Arc::new(Mutex::new(Vec::new()));
    let kept = drops.clone();
    let run = spans.run(&lambda, async |runtime| {
        let layers = ServiceBuilder::new().layer(SpanLayer).timeout(Duration::from_millis(20));
        let late = service_fn(move |_: Invocation| {
            let dropped = DroppedIn(kept.clone());
            async move {
                let _dropped = dropped;
                std::future::pending::<Result<&str, Failure>>().await
            }
        });
        runtime.run_service(layers.service(late)).await
    });
    let mut connection = lambda.connection();
    invoke(&mut connection, "id-1", "").assert_error("id-1", "Function.Error");
    connection.expect_next();
    run.stop();
    let [late] = &spans.all()[..] else { panic!("not one span") };
    assert_status(late, Some("request timed out"));
    assert_eq!(*drops.lock().unwrap(), [true]);
}

/// Fails, or panics, when it is sent.
struct NotSent(&'static str);

impl Answer for NotSent {
    async fn answer(self, responder: Responder) -> Result<Sent, Failure> {
        tracing::info!("sending");
        match self.0 {
            "fail" => Err(Failure::new("Function.Sad", "no luck")),
            "panic" => panic!("told to"),
            text => Ok(responder.send(text).await),
        }
    }
}

#[test]
fn an_answer_is_sent_in_the_span_which_has_its_error() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let service = service_fn(async |invocation: Invocation| {
            Ok(NotSent(match invocation.body() {
                b"fail" => "fail",
                b"panic" => "panic",
                _ => "sent",
            }))
        });
        runtime.run_service(ServiceBuilder::new().layer(SpanLayer).service(service)).await
    });
    let mut connection = lambda.connection();
    invoke(&mut connection, "id-1", "fail").assert_error("id-1", "Function.Sad");
    invoke(&mut connection, "id-2", "panic").assert_error("id-2", "Function.Panic");
    assert_eq!(invoke(&mut connection, "id-3", "").body, b"sent");
    connection.expect_next();
    run.stop();
    let [failed, panicked, sent] = &spans.all()[..] else { panic!("not three spans") };
    assert_status(failed, Some("no luck"));
    assert_eq!(panicked.get("otel.status_code"), Some("ERROR"));
    assert_status(sent, None);
}

#[cfg(feature = "http")]
#[test]
fn the_error_of_an_http_body_is_in_the_span_also_if_the_client_gets_a_response() {
    use lambda_proto_tokio::http::{Http, OnError};

    let pieces = || {
        let pieces = [Ok("one"), Err(std::io::Error::other("the disk is gone"))];
        axum::body::Body::from_stream(futures_util::stream::iter(pieces))
    };
    let app = axum::Router::new().fallback(async move || pieces());
    let event = r#"{"httpMethod":"GET","path":"/","requestContext":{"httpMethod":"GET"}}"#;
    for (is_streamed, on_error) in
        [(false, OnError::Report), (false, OnError::Respond), (true, OnError::Report)]
    {
        let (lambda, spans) = (Lambda::start(), Spans::default());
        let http = Http::new(app.clone()).streaming(is_streamed).on_error(on_error);
        let run = spans.run(&lambda, async move |runtime| {
            runtime.run_service(ServiceBuilder::new().layer(SpanLayer).service(http)).await
        });
        let mut connection = lambda.connection();
        let answer = invoke(&mut connection, "id-1", event);
        match on_error {
            _ if is_streamed => {
                assert_eq!(answer.trailer_error()["errorMessage"], "the disk is gone");
            }
            OnError::Report => answer.assert_error("id-1", "Function.Error"),
            _ => assert_eq!(answer.json()["statusCode"], 500),
        }
        connection.expect_next();
        run.stop();
        let [span] = &spans.all()[..] else { panic!("not one span") };
        assert_status(span, Some("the disk is gone"));
    }
}

#[test]
fn a_pair_with_a_context_has_a_span() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let service = service_fn(async |(_, context): (Invocation, Context)| {
            Ok(format!("{:?}", context.get::<u32>()))
        });
        let lifecycle = Lifecycle::new().signals(false);
        let service = ServiceBuilder::new().layer(SpanLayer).service(service);
        runtime.lifecycle(lifecycle).run_service(service).await
    });
    let mut connection = lambda.connection();
    assert_eq!(invoke(&mut connection, "id-1", "").body, b"None");
    connection.expect_next();
    run.stop();
    let spans = spans.all();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].get("faas.invocation_id"), Some("id-1"));
}

#[cfg(feature = "lambda-runtime")]
#[test]
fn a_handler_in_the_shape_of_lambda_runtime_has_a_span() {
    use lambda_proto_service::Event;
    use lambda_proto_tokio::lambda_runtime::{Error, LambdaEvent, run_on, service_fn};

    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let handler = service_fn(async |event: LambdaEvent<u32>| {
            tracing::info!("called");
            Ok::<_, Error>(event.payload)
        });
        let handler = ServiceBuilder::new().layer(SpanLayer).service(handler);
        run_on(runtime, handler).await.expect("the runtime is stopped");
        Ok(())
    });
    let mut connection = lambda.connection();
    let event = Event::new("id-1", "7").header("Lambda-Runtime-Invoked-Function-Arn", "a:b:c:d:e");
    connection.invoke(event);
    assert_eq!(connection.request().body, b"7");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), ["invocation id-1: called"]);
    let spans = spans.all();
    assert_eq!(spans[0].get("faas.invocation_id"), Some("id-1"));
    assert_eq!(spans[0].get("cloud.account.id"), Some("e"));
}
