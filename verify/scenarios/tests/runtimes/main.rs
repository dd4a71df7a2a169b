//! Every scenario over every runtime. To run a part: `cargo test -p lambda-proto-scenarios
//! recovery::memory`.

mod connections;
mod failures;
mod handlers;
mod hostile_text;
mod payloads;
mod recovery;
mod refusals;
mod slots;
mod stop;
mod streaming;
mod unreachable;
