//! The machine against a small model of it, and the runtime against a model of the service.

mod composed;
mod exhaustive;
mod pair;
mod random;
mod reference;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod wire;
