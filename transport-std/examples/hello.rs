//! JSON in, a greeting out: `{"name":"Ada"}` gives `{"greeting":"Hello, Ada!"}`.

use lambda_proto_std::{Error, Runtime};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Event<'e> {
    name: std::borrow::Cow<'e, str>,
}

#[derive(Serialize)]
struct Greeting {
    greeting: String,
}

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|invocation, reply| {
        let event: Event<'_> = invocation.json()?;
        reply.json(&Greeting { greeting: format!("Hello, {}!", event.name) })
    })
}
