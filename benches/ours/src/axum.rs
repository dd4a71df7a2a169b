//! An axum application on `lambda-proto-tokio`; `lambda_http.rs` of the peers is the same on
//! `lambda_http`.

use axum::Router;
use axum::routing::get;
use lambda_proto_tokio::http::Http;
use lambda_proto_tokio::{Error, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let router = Router::new().route("/", get(async || "Hello, World!"));
    Runtime::from_env()?.run_service(Http::new(router)).await
}
