//! An axum application.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use lambda_proto_tokio::http::Http;
use lambda_proto_tokio::{Error, Runtime};

async fn hello(Path(name): Path<String>) -> String {
    format!("Hello, {name}!")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = Router::new().route("/hello/{name}", get(hello));
    Runtime::from_env()?.run_service(Http::new(app)).await
}
