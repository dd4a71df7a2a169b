//! A local Lambda: the service side of the Runtime API, and an endpoint to invoke functions.
//!
//! It starts a bootstrap as Lambda does, hands it the events that callers post, and returns its
//! answers to them. The clients of this project are tested against it. It uses a third-party HTTP
//! stack (hyper), so that the two sides do not share their misreadings.
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
//! The runtime can also be a thread of the same program, so that a test can invoke its handler in
//! five lines: see the example at [`Function::external`].
//!
//! | module | responsible for |
//! |---|---|
//! | `machine` | the order in which a runtime may make its calls |
//! | `broker` | the state of one runtime, its extensions, and its invocations in flight |
//! | `runtime_api`, `report`, `extensions_api`, `refusal` | the calls and replies of both APIs |
//! | `variables` | what of the environment the function sees |
//! | `program`, `archive` | what is given as the program: a command, a folder, a zip archive |
//! | `place` | what an environment has of its own: its folders, its Runtime API's address |
//! | `watch` | whether the program has been built again |
//! | `notices` | what the lab says about its settings |
//! | `telemetry_api`, `telemetry` | what extensions are told: events, lines, and their delivery |
//! | `go_json` | JSON by the rules of Go, in which the service is written |
//! | `presence` | the connections of a runtime that is started by hand, and its end |
//! | `process` | a bootstrap or an extension, and what it starts: start, signals, memory, end |
//! | `lifecycle` | how, why and when the processes start, freeze, are restored, and end |
//! | `output`, `log` | the output of the bootstrap, the lab's own lines, and the tail of both |
//! | `environment` | one execution environment: its broker, its processes, its invocations |
//! | `clock` | the time that functions and callers see |
//! | `event`, `invocation`, `trace`, `region` | an event, and what the function gets with it |
//! | `pool` | several environments, and the queue for them |
//! | `http`, `connection`, `buffer` | what both servers share, and the memory of bodies |
//! | `invoke_api` | callers over HTTP |
//! | `browser` | which web pages may call |
//! | `lab`, `function` | callers in a program |
//! | `command`, `signals` | callers in a shell |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!(
    "lambda-lab starts, stops and signals processes as Unix does, and runs on Unix only"
);

mod answer;
#[cfg(feature = "zip")]
mod archive;
#[cfg(not(feature = "zip"))]
#[path = "no_archive.rs"]
mod archive;
mod broker;
mod browser;
mod buffer;
mod clock;
pub mod command;
mod connection;
mod environment;
mod event;
mod extensions_api;
mod function;
mod go_json;
mod http;
mod invocation;
mod invoke_api;
mod lab;
mod lifecycle;
mod log;
mod machine;
mod notices;
mod output;
mod place;
mod pool;
mod presence;
mod process;
mod program;
mod refusal;
mod region;
mod report;
mod runtime_api;
mod settings;
mod signals;
mod telemetry;
mod telemetry_api;
mod trace;
mod variables;
mod watch;

pub use answer::{Answer, FailureKind, FunctionFailure, InvokeError};
pub use command::local;
pub use event::{Event, MAX_PAYLOAD, NotJson};
pub use function::Function;
pub use lab::{Lab, StartError};
pub use log::{LogFormat, LogLevel};
pub use settings::Output;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
