//! The AWS Lambda Runtime API for programs that embed it: bytes in, events out; commands in, bytes
//! out. No I/O, no clock, no allocation, no `unsafe`, no `std`.
//!
//! ```text
//!  your handler / your language runtime / your event loop
//!         │
//!  ┌──────┴────────────────────────────────────────────────────────────┐
//!  │ driver    (feature `embedded-io`) a blocking loop over any stream │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ slot      memory, the next step, what follows when things fail    │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ machine   phases, the invocation in hand, what follows a loss     │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ api       requests and answers of the Runtime API, and their      │
//!  │           meaning                                                 │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ http      heads, lengths, chunks                                  │
//!  └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Two small APIs beside the Runtime API have modules of their own, built on `http` as it is:
//! [`extension`], by which a runtime gets SIGTERM, and [`metadata`], which names the availability zone.
//!
//! Beside all of them stands [`lifecycle`]: how long an invocation may run, how long the environment was
//! frozen, how a shutdown is divided. It computes from readings of the clocks that the caller passes in.
//!
//! Each layer is public and can be used without the ones above it. Programs with an event loop of their
//! own want [`slot`], or the crate `lambda-proto-mio`; programs that block want `driver`, or the crate
//! `lambda-proto-std`. The first page of [`machine`] walks through one invocation with every byte in
//! view.
//!
//! # Words
//!
//! The *service* hands out *events*. An *invocation* is an event with its id and deadline, and the function's
//! *answer* to it is a response or an error. The service's *reply* to a request has a meaning, its
//! *outcome*. A *loss* is a connection that ended, and *recovery* what follows it.
//!
//! # Whose fault is it
//!
//! [`CommandError`] is the caller's, [`ReceiveError`] the service's, and both are small `Copy`
//! values. A refusal by the service is no error: it is an [`Event::Outcome`] that says what it
//! [means](api::Outcome::meaning) and what to do [then](api::Outcome::then). No input makes anything in
//! here panic.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod api;
mod base64;
#[cfg(feature = "embedded-io")]
pub mod driver;
pub mod extension;
pub mod http;
mod json;
pub mod lifecycle;
pub mod limits;
pub mod machine;
pub mod metadata;
pub mod slot;

pub use api::{
    Concurrency, ContentType, Deadline, Endpoint, EndpointError, ErrorReport, HttpPrelude,
    InvocationHead, Outcome,
};
pub use http::BufferTooSmall;
pub use json::{JsonError, JsonStr};
pub use machine::{CommandError, Event, Machine, Phase, ReceiveError, Recovery};
