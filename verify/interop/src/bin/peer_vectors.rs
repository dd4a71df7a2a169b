//! The function for the vectors in `conformance/` on `lambda_runtime`, the client that AWS
//! publishes for Rust. It takes as many invocations at once as `AWS_LAMBDA_MAX_CONCURRENCY` says.

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{
    Diagnostic, Error, FunctionResponse, LambdaEvent, run_concurrent, service_fn,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What an event may ask for; any other event is returned as it is.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Act {
    Fail(Fail),
    Panic {
        message: String,
    },
    Http {
        status: u16,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default)]
        cookies: Vec<String>,
        #[serde(default)]
        chunks: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Fail {
    #[serde(rename = "type")]
    error_type: String,
    message: String,
    times: Option<usize>,
}

type Answer = Result<FunctionResponse<Value, Body>, Diagnostic>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    run_concurrent(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Answer {
    let Ok(act) = Act::deserialize(&event.payload) else {
        return Ok(FunctionResponse::BufferedResponse(event.payload));
    };
    match act {
        Act::Fail(fail) => Err(Diagnostic {
            error_type: fail.error_type,
            error_message: fail.message.repeat(fail.times.unwrap_or(1)),
        }),
        Act::Panic { message } => panic!("{message}"),
        // This client can stream only HTTP responses.
        Act::Http { status, headers, cookies, chunks } => {
            let mut all = serde_json::Map::new();
            for (name, value) in headers {
                all.insert(name, Value::String(value));
            }
            let prelude = json!({ "statusCode": status, "headers": all, "cookies": cookies });
            let prelude = serde_json::from_value(prelude).map_err(|error| Diagnostic {
                error_type: "NoPrelude".to_owned(),
                error_message: error.to_string(),
            })?;
            let (mut sender, stream) = channel();
            tokio::spawn(async move {
                for chunk in chunks {
                    sender.send_data(chunk.into()).await?;
                }
                Ok::<_, Error>(())
            });
            let response = Response { metadata_prelude: prelude, stream };
            Ok(FunctionResponse::StreamingResponse(response))
        }
    }
}
