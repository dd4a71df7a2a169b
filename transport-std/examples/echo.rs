//! Answers every event with itself: the same bytes, the same content type.
//!
//! With `--pipelined` the next event is asked for in the same write as the answer.

use std::process::ExitCode;

use lambda_proto_std::{Response, Runtime};

fn main() -> ExitCode {
    let is_pipelined = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--pipelined") => true,
        Some(other) => {
            eprintln!("echo: \"{other}\" is not an option; the only one is --pipelined");
            return ExitCode::from(2);
        }
    };
    let result = Runtime::from_env().and_then(|runtime| {
        runtime.run(|invocation, responder| {
            let response = Response::new(invocation.body()).content_type(invocation.content_type());
            Ok(if is_pipelined {
                responder.send_and_next(response)
            } else {
                responder.send(response)
            })
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
