//! An axum application behind a function URL, API Gateway or an Application Load Balancer.
//!
//! The event is one of theirs. With the argument `stream`, function URLs and REST APIs get
//! responses piece by piece.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Query};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use lambda_proto_tokio::http::{ClientAddress, Http};
use lambda_proto_tokio::{Error, Runtime};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

#[derive(Deserialize)]
struct Greeting {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Order {
    pieces: u32,
}

#[derive(Serialize)]
struct Price {
    article: String,
    price: u32,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let app = Router::new()
        .route("/", get(hello))
        .route("/orders/{article}", post(price))
        .route("/lines/{count}", get(lines));
    let is_streamed = std::env::args().any(|argument| argument == "stream");
    Runtime::from_env()?.run_service(Http::new(app).streaming(is_streamed)).await
}

async fn hello(
    Query(greeting): Query<Greeting>,
    client: Option<Extension<ClientAddress>>,
) -> String {
    let name = greeting.name.unwrap_or_else(|| "World".to_owned());
    match client {
        Some(Extension(ClientAddress(address))) => format!("Hello, {name} at {address}!\n"),
        None => format!("Hello, {name}!\n"),
    }
}

async fn price(Path(article): Path<String>, Json(order): Json<Order>) -> Json<Price> {
    Json(Price { article, price: order.pieces.saturating_mul(7) })
}

/// The lines, one every 100 ms.
async fn lines(Path(count): Path<u32>) -> Body {
    Body::from_stream(stream::unfold(1, move |line| async move {
        if line > count {
            return None;
        }
        sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, Infallible>(format!("line {line}\n")), line + 1))
    }))
}
