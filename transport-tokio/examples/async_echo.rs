//! Answers every event with itself: the same bytes, the same content type.
//!
//! With `--pipelined` the next event is asked for in the same write as the answer.

use std::process::ExitCode;

use lambda_proto_tokio::{Response, Runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let is_pipelined = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--pipelined") => true,
        Some(other) => {
            eprintln!("async_echo: \"{other}\" is not an option; the only one is --pipelined");
            return ExitCode::from(2);
        }
    };
    let runtime = match Runtime::from_env() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("async_echo: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.run(async |invocation, responder| {
        let response = Response::new(invocation.body()).content_type(invocation.content_type());
        Ok(if is_pipelined {
            responder.send_and_next(response).await
        } else {
            responder.send(response).await
        })
    });
    match result.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("async_echo: {error}");
            ExitCode::FAILURE
        }
    }
}
