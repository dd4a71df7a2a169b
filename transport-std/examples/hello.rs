//! JSON in, a greeting out: `{"name":"Ada"}` gives `{"greeting":"Hello, Ada!"}`.

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
    Runtime::from_env()?.run(|invocation, reply| {
        let event: Event = invocation.json()?;
        reply.json(&Greeting { greeting: format!("Hello, {}!", event.name) })
    })
}
