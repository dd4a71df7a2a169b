//! Vectors for services: what a runtime and a caller send, and what the service must reply.
//!
//! | module | responsible for |
//! |---|---|
//! | `step` | the format of the files, as `conformance/service/README.md` describes it |
//! | `expected` | when a reply matches a vector |
//! | `connection` | HTTP as a client that reads everything |
//! | `known` | the replies so far, and how later steps refer to them |
//! | `bootstrap` | the bootstrap that a service starts as its runtime |
//! | `player` | playing a vector |
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
pub use expected::{Expected, Words};
pub use player::{Cut, Failure, Player, Service};
pub use step::{Invoke, Settings, Step, Vector, VectorFile, all};
