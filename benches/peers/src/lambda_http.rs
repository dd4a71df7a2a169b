//! An axum application on `lambda_http`, as in its README.

use axum::Router;
use axum::routing::get;
use lambda_http::{Error, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(Router::new().route("/", get(async || "Hello, World!"))).await
}
