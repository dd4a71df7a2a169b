//! Vectors for services: what a runtime and a caller say, and what the service answers.
//!
//! | module | what it knows |
//! |---|---|
//! | `step` | the format of the files, which `conformance/service/README.md` describes |
//! | `expected` | when an answer is the one that a vector wants |
//! | `connection` | HTTP as a client sees it that reads everything |
//! | `known` | what the service has said, and its use in what comes later |
//! | `bootstrap` | what a service starts as its runtime |
//! | `player` | how a vector is played |
//! | `differences` | where a service is known to do otherwise, and why |
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
