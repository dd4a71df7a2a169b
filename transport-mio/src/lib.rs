//! AWS Lambda invocations on an event loop: many at once on one thread, in a [`mio`] loop of your own or
//! one that is brought along. No async stack, and no allocation per invocation once it is warm.
//!
//! ```no_run
//! use lambda_proto_mio::{Error, Runtime};
//!
//! fn main() -> Result<(), Error> {
//!     Runtime::from_env()?.run(|invocation, reply| reply.send(invocation.body()))
//! }
//! ```
//!
//! The handler gets an [`Invocation`] and a [`Reply`], both its own. It may answer at once, keep the reply
//! until something else in the loop has come, or give both to another thread; the loop goes on with the
//! other slots meanwhile. Answers may come in any order. A reply is used up by answering, so there is no
//! second answer; one that is dropped reports an error for its invocation, and so does a handler that
//! panics.
//!
//! Programs with a loop of their own [register](Runtime::register) the slots in it: see [`Slots`].
//!
//! What belongs around the invocations, from hooks of the start to the end by SIGTERM, and what is known
//! of each beside its event, is a [lifecycle](Runtime::lifecycle).
//!
//! Memory for events and answers comes from a pool that all slots share. A slot that waits for an
//! invocation holds none of it, and what the pool keeps is [capped](Runtime::max_pooled).
//!
//! The protocol itself is in [`lambda_proto`]; this crate adds sockets that do not block, the pool, and
//! the way back from other threads.
#![forbid(unsafe_code)]

mod dialer;
mod event;
mod handoff;
mod hub;
mod lane;
mod lifecycle;
mod own_loop;
mod pieces;
mod pool;
mod reply;
mod runtime;
mod slots;
mod socket;
mod stop;
mod stream;

pub use event::Event;
pub use handoff::Key;
pub use lambda_proto::lifecycle::{IdleGap, TimeLimit};
pub use lambda_proto::slot::{Answer, StreamOver};
pub use lambda_proto::{ContentType, Deadline, Endpoint, HttpPrelude, InvocationHead, Outcome};
#[cfg(feature = "tracing")]
pub use lambda_proto_host::TracingLayer;
#[cfg(any(feature = "log", feature = "tracing"))]
pub use lambda_proto_host::current;
pub use lambda_proto_host::environment::Environment;
pub use lambda_proto_host::lifecycle::{Cancellation, Lifecycle};
pub use lambda_proto_host::policy::{Options, Policy};
pub use lambda_proto_host::{Error, Failure, Fields, Format, Level, Log, Record, Task};
pub use lifecycle::{Context, LifecycleRuntime};
pub use reply::{Hold, Invocation, Reply, Response};
pub use runtime::Runtime;
pub use slots::Slots;
pub use stop::StopHandle;
pub use stream::{BlockingStream, ResponseStream};
