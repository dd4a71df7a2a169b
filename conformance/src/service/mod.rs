//! Vectors for services: what a runtime and a caller send, and what the service must reply.
//!
//! | module | responsible for |
//! |---|---|
//! | `step` | the format of the files, as `conformance/service/README.md` describes it |
//! | `expected` | when a reply matches a vector |
//! | `pattern` | when a value does |
//! | `connection` | HTTP as a client that reads everything |
//! | `known` | the replies so far, and how later steps refer to them |
//! | `bootstrap` | the processes that a service starts as its runtime and its external extensions |
//! | `listener` | the listeners to which a service delivers telemetry |
//! | `events` | when the events that have come match a vector |
//! | `ports` | ports for processes that take some time until they listen |
//! | `player` | playing a vector |
//! | `differences` | the known deviations of a service, and their reasons |
//! | `command` | the command line |

mod bootstrap;
mod command;
mod connection;
mod differences;
mod events;
mod expected;
mod known;
mod listener;
mod pattern;
mod player;
mod ports;
mod step;

pub use bootstrap::{Bootstrap, Order, Process};
pub use command::{USAGE, command};
pub use differences::{Difference, Outcome, Row, complaints, differences, outcome};
pub use events::Event;
pub use expected::Expected;
pub use listener::Listen;
pub use pattern::Words;
pub use player::{Cut, Failure, Player, Service};
pub use ports::Port;
pub use step::{Delivery, Invoke, Settings, Step, Vector, VectorFile, all};
