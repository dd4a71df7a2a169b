//! Payloads, responses, and the shapes that handlers have.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use lambda_proto_service::Service as Lambda;
use lambda_proto_tokio::lambda_runtime::{
    Context, Error, FunctionResponse, LambdaEvent, StreamResponse, run_on, service_fn, streaming,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceBuilder;

use crate::support::{assert_error, event, invoke, invoke_once, start};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    pieces: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    request_id: String,
    message: String,
}

async fn confirm(event: LambdaEvent<Order>) -> Result<Receipt, Error> {
    let (order, context) = event.into_parts();
    let message = format!("{} of {}", order.pieces, order.order_id);
    Ok(Receipt { request_id: context.request_id, message })
}

#[test]
fn a_function_of_own_types_reads_and_writes_json() {
    let request = invoke_once(event(r#"{"orderId":"17","pieces":2}"#), service_fn(confirm));
    request.assert_response("id-1");
    assert_eq!(request.json(), json!({"requestId": "id-1", "message": "2 of 17"}));
    assert_eq!(request.header("Content-Type"), Some("application/json"));
}

#[test]
fn any_json_is_a_payload_and_a_response() {
    async fn greet(event: LambdaEvent<Value>) -> Result<Value, Error> {
        let name = event.payload["name"].as_str().unwrap_or("world");
        Ok(json!({"message": format!("Hello, {name}!")}))
    }

    let request = invoke_once(event(r#"{"name":"Ada"}"#), service_fn(greet));
    assert_eq!(request.json(), json!({"message": "Hello, Ada!"}));
    let request = invoke_once(event("[]"), service_fn(greet));
    assert_eq!(request.json(), json!({"message": "Hello, world!"}));
}

#[test]
fn unit_is_null_on_both_sides() {
    async fn nothing(_event: LambdaEvent<()>) -> Result<(), Error> {
        Ok(())
    }

    assert_eq!(invoke_once(event("null"), service_fn(nothing)).body, b"null");
    let request = invoke_once(event("1"), service_fn(nothing));
    request.assert_error("id-1", "Runtime.UnmarshalError");
}

#[test]
fn the_handler_borrows_a_client_that_main_has_made_and_need_not_be_send() {
    struct Client {
        calls: std::cell::Cell<u32>,
    }

    async fn count(client: &Client, event: LambdaEvent<u32>) -> Result<u32, Error> {
        let not_send = std::rc::Rc::new(event.payload);
        tokio::task::yield_now().await;
        client.calls.set(client.calls.get() + *not_send);
        Ok(client.calls.get())
    }

    let lambda = Lambda::start();
    let run = start(&lambda, async |runtime| {
        let client = Client { calls: std::cell::Cell::new(0) };
        let client = &client;
        let handler =
            service_fn(move |event: LambdaEvent<u32>| async move { count(client, event).await });
        run_on(runtime, handler).await
    });
    let mut connection = lambda.connection();
    assert_eq!(invoke(&mut connection, "2").body, b"2");
    assert_eq!(invoke(&mut connection, "40").body, b"42");
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn layers_of_tower_go_around_the_handler() {
    static LATE: AtomicU32 = AtomicU32::new(0);

    async fn wait(event: LambdaEvent<u64>) -> Result<&'static str, Error> {
        LATE.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(event.payload)).await;
        Ok("in time")
    }

    let lambda = Lambda::start();
    let run = start(&lambda, async |runtime| {
        let layers = ServiceBuilder::new().timeout(Duration::from_millis(50)).map_request(
            |mut event: LambdaEvent<u64>| {
                event.payload *= 1000;
                event
            },
        );
        run_on(runtime, layers.service(service_fn(wait))).await
    });
    let mut connection = lambda.connection();
    assert_eq!(invoke(&mut connection, "0").body, b"\"in time\"");
    let late = invoke(&mut connection, "60");
    assert_error(&late, "Function.Error", "request timed out");
    assert_eq!(invoke(&mut connection, "0").body, b"\"in time\"");
    connection.expect_next();
    run.stop();
    assert_eq!(LATE.load(SeqCst), 3);
}

#[test]
fn a_service_of_tower_itself_is_a_handler() {
    let echo = tower::service_fn(async |event: LambdaEvent<Value>| Ok::<_, Error>(event.payload));
    assert_eq!(invoke_once(event("[1]"), echo).body, b"[1]");
}

#[test]
fn a_handler_decides_between_a_value_and_a_stream() {
    type Either = FunctionResponse<Value, streaming::Body>;

    async fn either(event: LambdaEvent<bool>) -> Result<Either, Error> {
        Ok(match event.payload {
            true => Either::StreamingResponse(StreamResponse::from(streaming::Body::from("text"))),
            false => Either::BufferedResponse(json!([1])),
        })
    }

    assert_eq!(invoke_once(event("false"), service_fn(either)).body, b"[1]");
    let request = invoke_once(event("true"), service_fn(either));
    assert!(request.body.ends_with(b"\0text"), "{request:?}");
}

#[test]
fn a_handler_is_tested_with_an_event_that_the_test_makes() {
    let mut context = Context::default();
    context.request_id = "id-7".to_owned();
    let order = Order { order_id: "17".to_owned(), pieces: 1 };
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
    let receipt = tokio.block_on(confirm(LambdaEvent::new(order, context))).expect("a receipt");
    assert_eq!(receipt.request_id, "id-7");
}
