//! Vectors for services: what a runtime and a caller send, and what the service must reply.
//!
//! | module | what it knows |
//! |---|---|
//! | `step` | the format of the files, as `conformance/service/README.md` describes it |
//! | `expected` | when a responder matches a vector |
//! | `connection` | HTTP from the side of a client that reads everything |
//! | `known` | the replies so far, and how later steps refer to them |
//! | `bootstrap` | the bootstrap that a service starts as its runtime |
//! | `player` | how a vector is played |
//! | `differences` | the known deviations of a service, and their reasons |
//! | `command` | the command line |

mod bootstrap;
mod command;
mod connection;
mod differences;
mod expected;
mod known;
mod player;
mod step;

pub use bootstrap::Bootstrap;
pub use command::{USAGE, command};
pub use differences::{Difference, Outcome, Row, complaints, differences, outcome};
pub use expected::Expected;
pub use player::{Cut, Failure, Player, Service};
pub use step::{Invoke, Settings, Step, Vector, VectorFile, all};
