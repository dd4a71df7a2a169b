//! Errors whose type the caller sees.

use std::num::ParseIntError;

use lambda_proto_tokio::{Error, ErrorType, Runtime};
use serde::Deserialize;

#[derive(Deserialize)]
struct Query {
    order: String,
}

#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("there is no order {0:?}")]
    NotFound(String),
    #[error("the number of pieces cannot be read")]
    Unreadable(#[from] ParseIntError),
}

impl ErrorType for OrderError {
    fn error_type(&self) -> &str {
        match self {
            Self::NotFound(_) => "Function.OrderNotFound",
            Self::Unreadable(_) => "Function.OrderUnreadable",
        }
    }
}

fn pieces(order: &str) -> Result<u32, OrderError> {
    match order {
        "17" => Ok("2".parse()?),
        "18" => Ok("two".parse()?),
        _ => Err(OrderError::NotFound(order.to_owned())),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?.error_type::<OrderError>();
    let run = runtime.run(async |invocation, responder| {
        let query: Query = invocation.json()?;
        responder.json(pieces(&query.order)?).await
    });
    run.await
}
