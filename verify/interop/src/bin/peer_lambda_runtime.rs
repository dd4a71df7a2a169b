//! A function on `lambda_runtime`, the client that AWS publishes for Rust, to be run under the lab.
//!
//! The event is JSON, for instance `{"do":"echo","value":1}`; see [`Event`] for all of them.

use std::io::Read;
use std::net::TcpStream;

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Diagnostic, Error, FunctionResponse, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};

/// What to do.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Event {
    /// Answer with the value.
    Echo { value: Value },
    /// Answer with a text of this many bytes.
    Answer { bytes: usize },
    /// Fail with a type and a message.
    Fail {
        #[serde(rename = "type")]
        error_type: String,
        message: String,
    },
    /// Panic.
    Panic { message: String },
    /// Answer with the process id and the metadata of the invocation.
    Describe,
    /// Stream a line, then everything received from this address.
    Relay { address: String },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Event>) -> Result<FunctionResponse<Value, Body>, Diagnostic> {
    let context = event.context;
    let answer = match event.payload {
        Event::Echo { value } => value,
        Event::Answer { bytes } => Value::String("a".repeat(bytes)),
        Event::Fail { error_type, message } => {
            return Err(Diagnostic { error_type, error_message: message });
        }
        Event::Panic { message } => panic!("{message}"),
        Event::Describe => json!({
            "process": std::process::id(),
            "request_id": context.request_id,
            "deadline": context.deadline,
            "function": context.invoked_function_arn,
            "trace_id": context.xray_trace_id,
            "client_context": context.client_context,
            "tenant_id": context.tenant_id,
            "name": context.env_config.function_name,
            "memory": context.env_config.memory,
            "version": context.env_config.version,
            "log_group": context.env_config.log_group,
            "log_stream": context.env_config.log_stream,
        }),
        Event::Relay { address } => return Ok(relay(address)),
    };
    Ok(FunctionResponse::BufferedResponse(answer))
}

fn relay(address: String) -> FunctionResponse<Value, Body> {
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        sender.send_data("first\n".into()).await?;
        let mut source = TcpStream::connect(address)?;
        loop {
            // Reading blocks, and the runtime's only thread must be free to send.
            let read = tokio::task::spawn_blocking(move || {
                let mut room = vec![0; 1024];
                let length = source.read(&mut room)?;
                room.truncate(length);
                Ok::<_, std::io::Error>((source, room))
            });
            let (from, chunk) = read.await??;
            if chunk.is_empty() {
                return Ok::<_, Error>(());
            }
            sender.send_data(chunk.into()).await?;
            source = from;
        }
    });
    FunctionResponse::StreamingResponse(Response::from(body))
}
