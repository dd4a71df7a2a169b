//! Spans of plain handlers.

use lambda_proto_service::{Event, Service as Lambda};
use lambda_proto_tokio::Failure;
use lambda_proto_tokio::span::{in_span, invocation_span};
use tracing::{Instrument, Span};

use crate::support::{Spans, assert_status, invoke};

#[test]
fn a_span_has_the_names_of_open_telemetry() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let run = runtime.run(async |invocation, responder| {
            let span = invocation_span(&invocation);
            span.record("faas.trigger", "timer");
            Ok(responder.send("").instrument(span).await)
        });
        run.await
    });
    let mut connection = lambda.connection();
    let arn = "arn:aws:lambda:eu-central-1:123456789012:function:orders";
    connection.invoke(
        Event::new("id-1", "")
            .header("Lambda-Runtime-Invoked-Function-Arn", arn)
            .header("Lambda-Runtime-Trace-Id", "Root=1-5e1b;Sampled=1"),
    );
    connection.request();
    connection.take_answer();
    invoke(&mut connection, "id-2", "");
    connection.expect_next();
    run.stop();
    let [span, bare] = &spans.all()[..] else { panic!("not two spans") };
    for (name, value) in [
        ("otel.kind", Some("server")),
        ("faas.invocation_id", Some("id-1")),
        ("faas.trigger", Some("timer")),
        ("aws.lambda.invoked_arn", Some(arn)),
        ("cloud.resource_id", Some(arn)),
        ("cloud.account.id", Some("123456789012")),
        ("aws.xray.trace_id", Some("Root=1-5e1b;Sampled=1")),
        ("error.type", None),
    ] {
        assert_eq!(span.get(name), value, "{name}");
    }
    assert_status(span, None);
    assert_eq!(bare.get("faas.invocation_id"), Some("id-2"));
    assert_eq!(bare.get("faas.coldstart"), Some("false"));
    for name in ["aws.lambda.invoked_arn", "cloud.resource_id", "cloud.account.id"] {
        assert_eq!(bare.get(name), None);
    }
}

#[test]
fn an_error_and_a_panic_are_in_the_span_of_their_invocation() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let run = runtime.run(async |invocation, responder| {
            in_span(&invocation, async {
                tokio::task::yield_now().await;
                match invocation.body() {
                    b"fail" => Err(Failure::new("Function.Sad", "no luck")),
                    b"panic" => panic!("told to"),
                    _ => Ok(responder.send("").await),
                }
            })
            .await
        });
        run.await
    });
    let mut connection = lambda.connection();
    for (event, error_type) in [("fail", "Function.Sad"), ("panic", "Function.Panic")] {
        invoke(&mut connection, "id-1", event).assert_error("id-1", error_type);
    }
    invoke(&mut connection, "id-1", "").assert_response("id-1");
    connection.expect_next();
    run.stop();
    let [failed, panicked, fine] = &spans.all()[..] else { panic!("not three spans") };
    assert_status(failed, Some("no luck"));
    assert!(panicked.get("otel.status_description").is_some(), "{panicked:?}");
    assert_eq!(panicked.get("otel.status_code"), Some("ERROR"));
    assert_status(fine, None);
    let types = [failed, panicked, fine].map(|span| span.get("error.type"));
    assert_eq!(types, [Some("Function.Sad"), Some("Function.Panic"), None]);
}

#[test]
fn log_lines_have_the_request_id_and_no_other_field_of_the_span() {
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let run = runtime.run(async |invocation, responder| {
            tracing::info!("before");
            in_span(&invocation, async {
                Span::current().record("faas.trigger", "timer");
                tracing::info!("within");
                let task = async { tracing::info!("spawned") }.in_current_span();
                tokio::spawn(task).await?;
                Ok::<_, Failure>(responder.send("").await)
            })
            .await
        });
        run.await
    });
    let mut connection = lambda.connection();
    invoke(&mut connection, "id-1", "");
    connection.expect_next();
    let lines = run.stop();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, message) in lines.iter().zip(["before", "within", "spawned"]) {
        assert_eq!(*line, format!("invocation id-1: {message}"));
    }
}
