//! The machine compared with a small model of it, and the runtime with a model of the service.

mod composed;
mod exhaustive;
mod pair;
#[path = "../phase_table/mod.rs"]
mod phase_table;
mod random;
mod reference;
#[path = "../support/mod.rs"]
mod support;
mod wire;
