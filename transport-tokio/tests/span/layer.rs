//! Spans of services.

use std::time::Duration;

use lambda_proto_service::Service as Lambda;
use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::span::SpanLayer;
use lambda_proto_tokio::tower::service_fn;
use lambda_proto_tokio::{Context, Failure, Lifecycle};
use tower::ServiceBuilder;

use crate::support::{Spans, assert_status, invoke};

#[test]
fn a_service_and_its_layers_run_in_the_span() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let layers = ServiceBuilder::new().layer(SpanLayer).timeout(Duration::from_millis(20));
        let service = service_fn(|invocation: Invocation| {
            tracing::info!("called");
            assert_ne!(invocation.body(), b"panic in call", "told to");
            async move {
                tokio::task::yield_now().await;
                tracing::info!("working");
                match invocation.body() {
                    b"fail" => Err(Failure::new("Function.Sad", "no luck")),
                    b"late" => std::future::pending().await,
                    b"panic" => panic!("told to"),
                    _ => Ok("answer"),
                }
            }
        });
        runtime.run_service(layers.service(service)).await
    });
    let mut connection = lambda.connection();
    for (event, error_type) in [
        ("fail", "Function.Sad"),
        ("late", "Function.Error"),
        ("panic", "Function.Panic"),
        ("panic in call", "Function.Panic"),
    ] {
        invoke(&mut connection, "id-1", event).assert_error("id-1", error_type);
    }
    assert_eq!(invoke(&mut connection, "id-2", "").body, b"answer");
    connection.expect_next();
    let lines = run.stop();
    let [.., called, working] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&**called, &**working), ("invocation id-2: called", "invocation id-2: working"));
    let [sad, late, panicked, called, fine] = &spans.all()[..] else { panic!("not five spans") };
    assert_status(sad, Some("no luck"));
    assert_status(late, Some("request timed out"));
    for panicked in [panicked, called] {
        assert_eq!(panicked.get("otel.status_code"), Some("ERROR"));
    }
    assert_status(fine, None);
    assert_eq!(fine.get("faas.invocation_id"), Some("id-2"));
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
