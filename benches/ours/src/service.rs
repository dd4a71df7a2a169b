//! An echo as a service of tower.

use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::tower::service_fn;
use lambda_proto_tokio::{Error, Failure, Response, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    Runtime::from_env()?.run_service(service_fn(echo)).await
}

async fn echo(invocation: Invocation) -> Result<Response<'static>, Failure> {
    Ok(Response::new(invocation.body().to_vec()))
}
