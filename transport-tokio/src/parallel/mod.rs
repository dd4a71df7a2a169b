//! The types for handlers that run on all threads of the tokio runtime: invocations and responders
//! that own what they need, for [`Runtime::run_parallel`](crate::Runtime::run_parallel).
//!
//! They have the methods of the [borrowed](crate::Invocation) types, are `Send` and `'static`, and
//! may move to another task. Nothing is copied for that: the invocation takes over the memory of
//! its event, and the responder the connection of its slot.
//!
//! ```no_run
//! use lambda_proto_tokio::{Error, Runtime};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let runtime = Runtime::from_env()?;
//!     runtime
//!         .run_parallel(|invocation, responder| async move {
//!             let answer = tokio::spawn(async move { responder.send(invocation.body()).await });
//!             Ok(answer.await?)
//!         })
//!         .await
//! }
//! ```
//!
//! # Exactly one answer
//!
//! Answering consumes the [`Responder`] and returns a [`Sent`], which the handler must return. That
//! it is the `Sent` of this invocation is only checked when the handler returns it. A second answer
//! does not compile:
//!
//! ```compile_fail,E0382
//! # async fn handler(
//! #     responder: lambda_proto_tokio::parallel::Responder,
//! # ) -> lambda_proto_tokio::parallel::Sent {
//! responder.send("one").await;
//! responder.send("two").await
//! # }
//! ```
//!
//! A slot asks for its next invocation when the handler has ended and the responder has been used
//! or dropped. If the handler ends first, with a failure, the slot waits for the responder, and
//! reports the failure unless the responder has answered. A responder that is leaked, for example
//! by [`std::mem::forget`], holds up its slot like a handler that never ends: the invocation times
//! out, and a stop waits.

mod invocation;
mod responder;
mod slot;
mod stream;

pub use invocation::Invocation;
pub use responder::{Responder, Sent};
pub(crate) use slot::Slot;
pub use stream::ResponseStream;
