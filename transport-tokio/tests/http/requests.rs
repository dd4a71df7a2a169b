//! From events to requests, as an application sees them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use axum::body::HttpBody;
use axum::extract::{Extension, Path, Query, RawQuery};
use axum::http::{HeaderMap, Request, Response};
use axum::routing::get;
use axum::{Json, Router};
use lambda_proto_service::{Event, Running, Service};
use lambda_proto_tokio::http::{Body, ClientAddress, Http, RequestContext};
use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::{Context, Lifecycle};
use serde_json::{Value, json};

use super::support::{Function, SOURCES, block_on, changed, document, event, runtime};

/// An application that answers with a description of the request.
fn mirror() -> Router {
    Router::new().fallback(describe)
}

async fn describe(request: axum::extract::Request) -> String {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("it is in memory");
    let context: &RequestContext = head.extensions.get().expect("each request has one");
    let kind = match context {
        RequestContext::FunctionUrl(_) => "FunctionUrl",
        RequestContext::ApiGatewayV2(_) => "ApiGatewayV2",
        RequestContext::ApiGatewayV1(_) => "ApiGatewayV1",
        RequestContext::LoadBalancer(_) => "LoadBalancer",
        RequestContext::Unread(_) => "Unread",
        _ => "another",
    };
    let client: Option<&ClientAddress> = head.extensions.get();
    let mut described = json!({
        "context": kind,
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "headers": headers(&head.headers),
        "body": body.escape_ascii().to_string(),
        "client": client.map(|ClientAddress(address)| address.to_string()),
        "stage": context.stage(),
        "path": context.path(),
    });
    let members = described.as_object_mut().expect("an object");
    members.retain(|_, value| !value.is_null());
    described.to_string()
}

fn headers(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let values = |name| {
        let values = headers.get_all(name).iter();
        values.map(|value| value.as_bytes().escape_ascii().to_string()).collect()
    };
    headers.keys().map(|name| (name.as_str(), values(name))).collect()
}

#[test]
fn the_events_of_each_source_become_the_requests_of_their_clients() {
    let mut function = Function::of(Http::new(mirror()));
    for (source, _) in SOURCES {
        let document = document(source);
        let vectors = document["vectors"].as_array().expect("vectors");
        assert!(vectors.len() >= 12, "{source}");
        for vector in vectors.iter().filter(|vector| vector.get("refused").is_none()) {
            let event = changed(&document["event"], &vector["event"]);
            let answer = function.response(event.to_string());
            let body = answer["body"].as_str().expect("text");
            let request: Value = serde_json::from_str(body).expect("JSON");
            let expected = changed(&document["request"], &vector["request"]);
            assert_eq!(request, expected, "{source}: {}", vector["name"]);
        }
    }
    function.stop();
}

#[test]
fn an_event_that_is_no_request_is_refused_with_the_reason() {
    use serde_json::Value::Null;

    let app = Router::new().fallback(async || -> String { unreachable!("there is no request") });
    let mut function = Function::of(Http::new(app));
    let mut reasons = Vec::new();
    for (source, _) in SOURCES {
        let document = document(source);
        for vector in document["vectors"].as_array().expect("vectors") {
            let Some(refused) = vector.get("refused") else { continue };
            let event = changed(&document["event"], &vector["event"]);
            let refused = refused.as_str().expect("text");
            let (name, status) = (&vector["name"], &vector["status"]);
            if *status != Null {
                // The client is told, and the log says why.
                assert_eq!(&function.response(event.to_string())["statusCode"], status, "{name}");
                reasons.push(refused.to_owned());
                continue;
            }
            let answer = function.invoke(event.to_string());
            answer.assert_error("id-1", "Runtime.UnmarshalError");
            let message = answer.json()["errorMessage"].to_string();
            let message: String = serde_json::from_str(&message).expect("text");
            assert!(message.contains(refused), "{source}: {name}: {message}");
        }
    }
    let mut log = function.stop();
    log.retain(|line| line.contains("the request is invalid; responding with status 400"));
    assert_eq!(log.len(), reasons.len(), "{log:?}");
    for (line, reason) in log.iter().zip(reasons) {
        assert!(line.contains(&reason), "{line}");
    }
}

#[test]
fn parameters_keep_the_order_of_the_event() {
    let event = br#"{"httpMethod":"GET","path":"/","requestContext":{"httpMethod":"GET"},
        "multiValueQueryStringParameters":{"z":["1"],"a":["2","3"],"m":["4"]}}"#;
    let mut function = Function::of(Http::new(mirror()));
    let answer = function.response(event);
    let request: Value =
        serde_json::from_str(answer["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(request["uri"], "/?z=1&a=2&a=3&m=4");
    function.stop();
}

#[test]
fn routes_and_extractors_of_axum_work() {
    #[derive(serde::Deserialize)]
    struct Pieces {
        pieces: u32,
    }
    let app = Router::new()
        .route(
            "/orders/{order}",
            get(async |Path(order): Path<String>, RawQuery(query): RawQuery| {
                format!("{order} {query:?}")
            })
            .post(async |Path(order): Path<String>, Json(pieces): Json<Pieces>| {
                format!("{} pieces of {order}", pieces.pieces)
            }),
        )
        .route("/one", get(async |Query(pieces): Query<Pieces>| format!("{}", pieces.pieces)));
    let mut function = Function::of(Http::new(app));
    let base = document("function_url")["event"].clone();
    let answers: [(Value, u16, &str); 4] = [
        (json!({"rawPath": "/orders/a%2Fb%20c"}), 200, "a/b c Some(\"pieces=2&pieces=3\")"),
        (json!({"rawPath": "/one", "rawQueryString": "pieces=2"}), 200, "2"),
        (
            json!({
                "body": "{\"pieces\":4}",
                "headers": {"content-type": "application/json"},
                "requestContext": {"http": {"method": "POST"}}
            }),
            200,
            "4 pieces of 17",
        ),
        (json!({"rawPath": "/nowhere"}), 404, ""),
    ];
    for (changes, status, body) in answers {
        let answer = function.response(changed(&base, &changes).to_string());
        assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(status), &json!(body)));
    }
    function.stop();
}

#[test]
fn the_trace_id_is_that_of_the_invocation() {
    let mut function = Function::of(Http::new(mirror()));
    for source in ["function_url", "load_balancer"] {
        let trace_id = "Root=1-5c536348-3d683b8b04734faae651f476;Parent=7c9a;Sampled=1";
        let event = Event::new("id-1", event(source)).header("Lambda-Runtime-Trace-Id", trace_id);
        let answer = function.invoke_with(event).json();
        let request: Value =
            serde_json::from_str(answer["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(request["headers"]["x-amzn-trace-id"], json!([trace_id]));
    }
    function.stop();
}

#[test]
fn a_trace_id_that_cannot_be_a_header_is_left_out() {
    let mut function = Function::of(Http::new(mirror()));
    for (source, from_event) in [
        ("function_url", Value::Null),
        ("load_balancer", json!(["Root=1-5c536348-3d683b8b04734faae651f476"])),
    ] {
        let event = Event::new("id-1", event(source)).header("Lambda-Runtime-Trace-Id", "a\u{1}b");
        let answer = function.invoke_with(event).json();
        assert_eq!(answer["statusCode"], 200);
        let request: Value =
            serde_json::from_str(answer["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(request["headers"]["x-amzn-trace-id"], from_event, "{source}");
    }
    function.stop();
}

#[test]
fn an_encoded_path_that_is_no_text_stays_as_it_is_and_is_refused_by_the_extractor_of_paths() {
    let app = Router::new()
        .route("/text/{name}", axum::routing::any(async |Path(name): Path<String>| name))
        .fallback(async |uri: http::Uri| uri.path().to_owned());
    let mut function = Function::of(Http::new(app));
    for (source, path) in
        [("function_url", "rawPath"), ("http_api", "rawPath"), ("load_balancer", "path")]
    {
        let event = document(source)["event"].clone();
        let mut answer =
            |text: &str| function.response(changed(&event, &json!({path: text})).to_string());
        assert_eq!(answer("/any/%FF%C3%28")["body"], "/any/%FF%C3%28", "{source}");
        let refused = answer("/text/%FF%C3%28");
        assert_eq!(refused["statusCode"], 400, "{source}: {refused}");
    }
    function.stop();
}

#[test]
fn base64_that_is_no_text_is_refused_by_the_extractors_of_text_and_json() {
    let app = Router::new()
        .route("/text", axum::routing::post(async |text: String| text))
        .route("/json", axum::routing::post(async |Json(value): Json<Value>| value.to_string()));
    let mut function = Function::of(Http::new(app));
    for (source, path) in [("rest_api", "/text"), ("load_balancer", "/json")] {
        let lists = source == "rest_api";
        let json = if lists { json!(["application/json"]) } else { json!("application/json") };
        let headers = if lists { "multiValueHeaders" } else { "headers" };
        let bytes = json!({
            "httpMethod": "POST",
            "path": path,
            "body": "Iv+AIg==",
            "isBase64Encoded": true,
            headers: {"content-type": json}
        });
        let answer = function.response(changed(&document(source)["event"], &bytes).to_string());
        assert_eq!(answer["statusCode"], 400, "{path}: {answer}");
    }
    function.stop();
}

#[test]
fn the_invocation_and_the_authorizer_are_extensions() {
    async fn who(
        Extension(invocation): Extension<Arc<Invocation>>,
        Extension(context): Extension<RequestContext>,
        context_of_lifecycle: Option<Extension<Arc<Context>>>,
    ) -> String {
        assert!(context_of_lifecycle.is_none());
        let RequestContext::ApiGatewayV2(context) = context else { return String::new() };
        let authorizer = context.authorizer.as_ref().and_then(|it| it.jwt.as_ref());
        let subject = authorizer.map_or("nobody", |jwt| jwt.claims["sub"].as_str());
        format!("{} {subject}", invocation.request_id())
    }
    let mut function = Function::of(Http::new(Router::new().fallback(who)));
    assert_eq!(function.response(event("http_api"))["body"], "id-1 ada");
    function.stop();
}

#[test]
fn a_context_that_is_not_read_is_there_as_json_with_the_reason() {
    async fn read(Extension(context): Extension<RequestContext>) -> String {
        let RequestContext::Unread(unread) = &context else { return format!("{context:?}") };
        let json: Value = serde_json::from_str(unread.json()).expect("JSON");
        let (stage, path) = (context.stage(), context.path());
        format!("{} {} {stage:?} {path:?}", json["identity"], unread.error())
    }
    let mut function = Function::of(Http::new(Router::new().fallback(read)));
    let mut event = document("rest_api")["event"].clone();
    event["requestContext"]["identity"] = Value::Null;
    let answer = function.response(event.to_string());
    assert_eq!(answer["statusCode"], 200);
    let body = answer["body"].as_str().expect("text");
    assert!(body.starts_with("null invalid type: null"), "{body}");
    let path = event["requestContext"]["path"].as_str();
    assert!(body.ends_with(&format!(r#"Some("prod") {path:?}"#)), "{body}");
    function.stop();
}

#[test]
fn the_context_of_a_lifecycle_is_an_extension() {
    async fn greet(Extension(context): Extension<Arc<Context>>) -> String {
        context.get::<String>().cloned().unwrap_or_default()
    }
    let service = Service::start();
    let lifecycle = Lifecycle::new().signals(false).on_init("greeting", async |init| {
        init.put(String::from("hello"));
    });
    let runtime = runtime(&service).lifecycle(lifecycle);
    let stop = runtime.stop_handle();
    let http = Http::new(Router::new().fallback(greet));
    let run = move || block_on(runtime.run_service(http));
    let running = Running::new(service.lines(), move || stop.stop(), run);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", event("rest_api")));
    let answer = connection.request();
    answer.assert_response("id-1");
    assert_eq!(answer.json()["body"], "hello");
    connection.take_answer();
    running.stop();
}

#[test]
fn the_body_is_given_once_and_its_length_is_known() {
    let mut body = Body::from("whole");
    assert_eq!(HttpBody::size_hint(&body).exact(), Some(5));
    assert_eq!(body.clone().into_bytes(), "whole");
    let mut next = || {
        let body = Pin::new(&mut body);
        let frame = HttpBody::poll_frame(body, &mut task::Context::from_waker(Waker::noop()));
        frame.map_ok(|frame| frame.into_data().expect("data"))
    };
    assert!(matches!(next(), Poll::Ready(Some(Ok(data))) if data == "whole"));
    assert!(matches!(next(), Poll::Ready(None)));
    assert!(body.is_end_stream());
}

#[test]
fn an_application_that_is_no_router_takes_the_body_as_it_is() {
    let app = tower::service_fn(async |request: Request<Body>| {
        let bytes = request.into_body().into_bytes();
        Ok::<_, Infallible>(Response::new(Body::from(bytes)))
    });
    let mut function = Function::of(Http::new(app));
    let base = document("load_balancer")["event"].clone();
    let answer = function.response(changed(&base, &json!({"body": "as it is"})).to_string());
    assert_eq!(answer["body"], "as it is");
    function.stop();
}
