//! A local Lambda: the service side of the Runtime API, and an endpoint to invoke functions at.
//!
//! It starts a bootstrap as Lambda does, hands it the events that callers post, and tells them what it
//! answers. It is what this project is tested with, and built from other people's HTTP (hyper), so that
//! the two sides do not share their misreadings.
//!
//! ```no_run
//! use lambda_lab::Function;
//!
//! let lab = Function::new("target/release/examples/echo").start()?;
//! let answer = lab.invoke(r#"{"name":"Ada"}"#)?;
//! assert_eq!(answer.body, br#"{"name":"Ada"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | `machine` | the order in which a runtime may call |
//! | `broker` | one runtime's state, its extensions, and the invocations that it has in hand |
//! | `runtime_api`, `report`, `extensions_api`, `refusal` | what runtimes and extensions say and are answered |
//! | `process` | the bootstrap, its signals and its end |
//! | `lifecycle` | how a process starts, is frozen, is restored, and ends; why, and after which time |
//! | `environment` | one of each, and an invocation at a time |
//! | `clock` | the time as functions and callers are told it |
//! | `pool` | several environments, and the queue |
//! | `invoke_api` | who invokes over HTTP |
//! | `lab`, `function`, `command` | who invokes from a program, or from a shell |

mod answer;
mod broker;
mod clock;
pub mod command;
mod environment;
mod event;
mod extensions_api;
mod function;
mod http;
mod invocation;
mod invoke_api;
mod lab;
mod lifecycle;
mod log;
mod machine;
mod pool;
mod process;
mod refusal;
mod report;
mod runtime_api;
mod settings;

pub use answer::{Answer, FailureKind, FunctionFailure, InvokeError};
pub use command::local;
pub use event::{Event, MAX_PAYLOAD};
pub use function::Function;
pub use lab::{Lab, StartError};
pub use settings::Output;
