//! Applications that fail.

use std::fmt;
use std::io;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::stream;
use lambda_proto_tokio::http::{Body as EventBody, Http, OnError};
use lambda_proto_tokio::tower::BoxError;
use serde_json::{Value, json};
use tower::{Service, ServiceBuilder};

use super::support::{Function, event};

#[derive(Clone, Debug)]
struct NoTable;

impl fmt::Display for NoTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no table")
    }
}

impl std::error::Error for NoTable {}

/// What fails of an application.
#[derive(Clone, Copy, Debug)]
enum Fails {
    Ready,
    Call,
    Body,
}

impl Fails {
    const ALL: [Self; 3] = [Self::Ready, Self::Call, Self::Body];
}

impl Service<Request<EventBody>> for Fails {
    type Response = Response<Body>;
    type Error = NoTable;
    type Future = std::future::Ready<Result<Response<Body>, NoTable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoTable>> {
        Poll::Ready(match self {
            Self::Ready => Err(NoTable),
            Self::Call | Self::Body => Ok(()),
        })
    }

    fn call(&mut self, _: Request<EventBody>) -> Self::Future {
        std::future::ready(match self {
            Self::Ready => unreachable!("it is not ready"),
            Self::Call => Err(NoTable),
            Self::Body => {
                let pieces = stream::iter([Ok("lost"), Err(io::Error::other(NoTable))]);
                Ok(Response::new(Body::from_stream(pieces)))
            }
        })
    }
}

#[test]
fn an_error_of_the_application_is_reported_for_its_invocation() {
    for fails in Fails::ALL {
        let mut function = Function::of(Http::new(fails));
        for source in ["function_url", "load_balancer"] {
            let answer = function.invoke(event(source));
            answer.assert_error("id-1", "Function.Error");
            assert_eq!(answer.json()["errorMessage"], "there is no table", "{fails:?}");
        }
        function.stop();
    }
}

#[test]
fn an_error_becomes_a_response_with_status_500_if_that_is_chosen_and_is_logged() {
    for fails in Fails::ALL {
        let mut function = Function::of(Http::new(fails).on_error(OnError::Respond));
        for (source, headers) in [("rest_api", "multiValueHeaders"), ("http_api", "headers")] {
            let answer = function.response(event(source));
            let expected =
                json!({"statusCode": 500, headers: {}, "isBase64Encoded": false, "body": ""});
            assert_eq!(answer, expected, "{fails:?}");
        }
        let lines = function.stop();
        let logged: Vec<_> = lines.iter().filter(|line| line.contains("no table")).collect();
        assert_eq!(logged.len(), 2, "{lines:?}");
        assert!(logged[0].contains("status 500"), "{logged:?}");
        assert!(logged[0].contains("id-1"), "{logged:?}");
    }
}

#[test]
fn an_error_becomes_a_streamed_response_where_responses_are_streamed() {
    for fails in [Fails::Ready, Fails::Call] {
        let http = Http::new(fails).on_error(OnError::Respond).streaming(true);
        let mut function = Function::of(http);
        let answer = function.invoke(event("function_url"));
        answer.assert_response("id-1");
        let prelude = br#"{"statusCode":500,"headers":{},"cookies":[]}"#;
        assert_eq!(answer.chunks, [&prelude[..], &[0; 8]], "{fails:?}");
        assert_eq!(function.response(event("http_api"))["statusCode"], 500);
        function.stop();
    }
}

#[test]
fn an_event_that_is_no_request_is_an_error_of_its_invocation_in_any_case() {
    let mut function = Function::of(Http::new(Fails::Call).on_error(OnError::Respond));
    function.invoke("{}").assert_error("id-1", "Runtime.UnmarshalError");
    function.stop();
}

#[test]
fn a_panic_of_the_application_is_a_failure_and_the_next_request_is_answered() {
    let app = axum::Router::new()
        .route("/orders/17", axum::routing::get(async || -> String { panic!("a bug") }))
        .fallback(async || "fine");
    let mut function = Function::of(Http::new(app).on_error(OnError::Respond));
    function.invoke(event("function_url")).assert_error("id-1", "Function.Panic");
    let mut other: Value = serde_json::from_slice(&event("function_url")).expect("JSON");
    other["rawPath"] = "/".into();
    assert_eq!(function.response(other.to_string())["body"], "fine");
    function.stop();
}

#[test]
fn layers_around_the_application_and_around_the_whole_fail_as_they_do_elsewhere() {
    let slow = axum::Router::new().fallback(std::future::pending::<String>);
    let limit = std::time::Duration::from_millis(5);
    let inside = ServiceBuilder::new().timeout(limit).service(slow.clone());
    let mut function = Function::of(Http::new(inside).on_error(OnError::Respond));
    assert_eq!(function.response(event("function_url"))["statusCode"], 500);
    function.stop();

    let outside = ServiceBuilder::new().timeout(limit).service(Http::new(slow));
    let mut function = Function::of_service(outside);
    function.invoke(event("function_url")).assert_error("id-1", "Function.Error");
    function.stop();
}

#[test]
fn the_error_of_an_application_may_be_boxed() {
    let app = tower::service_fn(async |_: Request<EventBody>| {
        Err::<Response<Body>, BoxError>("no reason".into())
    });
    let mut function = Function::of(Http::new(app));
    let answer = function.invoke(event("rest_api"));
    answer.assert_error("id-1", "Function.Error");
    assert_eq!(answer.json()["errorMessage"], "no reason");
    function.stop();
}
