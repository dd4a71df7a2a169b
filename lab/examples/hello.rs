//! JSON in, a greeting out: `{"name":"Ada"}` gives `{"greeting":"Hello, Ada!"}`.
//!
//! `cargo run --release --example hello -- '{"name":"Ada"}'` invokes it once. Without an argument
//! it keeps running and prints how to invoke it. The same program is a bootstrap for Lambda.

use lambda_proto_std::{Error, Runtime};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Event {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    greeting: String,
}

fn main() -> Result<(), Error> {
    lambda_lab::local();
    Runtime::from_env()?.run(|invocation, responder| {
        let event: Event = invocation.json()?;
        responder.json(&Greeting { greeting: format!("Hello, {}!", event.name) })
    })
}
