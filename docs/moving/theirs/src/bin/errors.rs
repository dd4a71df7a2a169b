//! Errors whose type the caller sees.

use std::num::ParseIntError;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
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

impl From<OrderError> for Diagnostic {
    fn from(error: OrderError) -> Self {
        let error_type = match error {
            OrderError::NotFound(_) => "Function.OrderNotFound",
            OrderError::Unreadable(_) => "Function.OrderUnreadable",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

fn pieces(order: &str) -> Result<u32, OrderError> {
    match order {
        "17" => Ok("2".parse()?),
        "18" => Ok("two".parse()?),
        _ => Err(OrderError::NotFound(order.to_owned())),
    }
}

async fn answer(event: LambdaEvent<Query>) -> Result<u32, OrderError> {
    pieces(&event.payload.order)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(answer)).await
}
