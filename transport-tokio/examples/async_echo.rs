//! Answers every event with itself: the same bytes, the same content type.
//!
//! With `--pipelined` the next event is asked for in the same write as the answer. With
//! `--parallel` the handlers of several slots run on all threads.

use std::process::ExitCode;

use lambda_proto_tokio::{Error, Response, Runtime};

fn main() -> ExitCode {
    let (mut is_parallel, mut is_pipelined) = (false, false);
    for option in std::env::args().skip(1) {
        match &*option {
            "--parallel" => is_parallel = true,
            "--pipelined" => is_pipelined = true,
            other => {
                eprintln!(
                    "async_echo: \"{other}\" is not an option; use --parallel, --pipelined or both"
                );
                return ExitCode::from(2);
            }
        }
    }
    let result = match is_parallel {
        true => run_parallel(is_pipelined),
        false => run(is_pipelined),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("async_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(is_pipelined: bool) -> Result<(), Error> {
    let running = Runtime::from_env()?.run(async |invocation, responder| {
        let response = Response::new(invocation.body()).content_type(invocation.content_type());
        Ok(match is_pipelined {
            true => responder.send_and_next(response).await,
            false => responder.send(response).await,
        })
    });
    running.await
}

#[tokio::main]
async fn run_parallel(is_pipelined: bool) -> Result<(), Error> {
    let running = Runtime::from_env()?.run_parallel(move |invocation, responder| async move {
        let response = Response::new(invocation.body()).content_type(invocation.content_type());
        Ok(match is_pipelined {
            true => responder.send_and_next(response).await,
            false => responder.send(response).await,
        })
    });
    running.await
}
