//! The AWS Lambda Runtime API for programs that embed it: bytes in, events out; commands in, bytes
//! out. No I/O, no clock, no allocation, no `unsafe`, no `std`.
//!
//! A [`Machine`](machine::Machine) speaks the protocol for one runtime client. It is in one of five
//! phases. A command inside a box keeps the phase: `next` in `Ready` asks for an invocation, and
//! `next` in `Reporting` is pipelined after an answer whose reply has not arrived.
//!
//! ```text
//!                             reply before the end of a stream
//!                           ┌───────────────────────────────────┐
//!                           ▼                                   │
//!  ┌──────────────┐     ┌───────┐                       ┌───────┴───────┐
//!  │ Init         │ next│ Ready │      whole event      │ Invoking      │
//!  │ restore_next ├────▶│ next  ├──────────────────────▶│ stream, chunk │
//!  └──────┬───────┘     └───────┘                       └───────┬───────┘
//!         │                 ▲                                   │ respond, fail,
//!         │ fail_init,      │                                   │ finish, finish_with_error
//!         │ fail_restore    │                                   ▼
//!         │                 │         reply             ┌───────────────┐
//!         │                 └───────────────────────────┤ Reporting     │
//!         ▼                                             │ next          │
//!  ┌──────────────┐                                     └───────────────┘
//!  │ ShuttingDown │◀──── any phase: shut_down, a reply that says Action::Exit, an invalid reply
//!  └──────────────┘
//! ```
//!
//! This example passes through all of them. The embedder owns the socket: it sends what commands
//! write and passes in what arrives.
//!
//! ```
//! use lambda_proto::api::Action;
//! use lambda_proto::api::{ContentType, Endpoint};
//! use lambda_proto::machine::{CommandError, Event, Machine, Phase};
//!
//! let endpoint = Endpoint::parse("127.0.0.1:9001")?.with_user_agent("hello/1.0")?;
//! let mut machine = Machine::new(endpoint);
//! let mut out = [0; 512];
//!
//! // Init: ask for the first invocation.
//! assert_eq!(machine.phase(), Phase::Init);
//! let length = machine.next(&mut out)?;
//! assert_eq!(
//!     &out[..length],
//!     b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\
//!       Host: 127.0.0.1:9001\r\n\
//!       User-Agent: hello/1.0\r\n\
//!       \r\n"
//! );
//! machine.sent(length);
//!
//! // Ready: the event arrives, in any number of pieces.
//! assert_eq!(machine.phase(), Phase::Ready);
//! let mut input: &[u8] = b"HTTP/1.1 200 OK\r\n\
//!     Lambda-Runtime-Aws-Request-Id: 7b\r\n\
//!     Content-Length: 5\r\n\
//!     \r\n\
//!     \"A";
//! let Some(Event::Invocation(head)) = machine.receive(&mut input)? else { panic!() };
//! assert_eq!(head.request_id(), "7b");
//! assert_eq!(machine.receive(&mut input)?, Some(Event::Body(b"\"A")));
//! assert_eq!(machine.receive(&mut input)?, None);
//! let mut input: &[u8] = b"da\"";
//! assert_eq!(machine.receive(&mut input)?, Some(Event::Body(b"da\"")));
//! assert_eq!(machine.receive(&mut input)?, Some(Event::InvocationEnd));
//!
//! // Invoking: respond. `out` takes the head of the request; the body is never copied.
//! assert_eq!(machine.phase(), Phase::Invoking);
//! let body = b"\"Hello, Ada!\"";
//! let length = machine.respond(Some(ContentType::JSON), body.len(), &mut out)?;
//! assert_eq!(
//!     machine.unsent(&out[..length], body).concat(),
//!     b"POST /2018-06-01/runtime/invocation/7b/response HTTP/1.1\r\n\
//!       Host: 127.0.0.1:9001\r\n\
//!       User-Agent: hello/1.0\r\n\
//!       Content-Type: application/json\r\n\
//!       Content-Length: 13\r\n\
//!       \r\n\
//!       \"Hello, Ada!\""
//! );
//!
//! // Reporting: a socket may take the bytes in several writes; `unsent` gives what is left.
//! assert_eq!(machine.phase(), Phase::Reporting);
//! machine.sent(length);
//! assert_eq!(machine.unsent(&out[..length], body), [b"", &body[..], b""]);
//! machine.sent(body.len());
//! let mut input: &[u8] = b"HTTP/1.1 202 Accepted\r\n\
//!     Content-Length: 16\r\n\
//!     \r\n\
//!     {\"status\":\"OK\"}\n";
//! let Some(Event::Outcome(outcome)) = machine.receive(&mut input)? else { panic!() };
//! assert!(outcome.is_accepted());
//! assert_eq!(outcome.action(), Action::Continue);
//!
//! // Ready: the environment may be frozen once `next` is sent, so finish other work first.
//! assert_eq!(machine.phase(), Phase::Ready);
//! let length = machine.next(&mut out)?;
//! machine.sent(length);
//! let mut input: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
//! let Some(Event::Outcome(outcome)) = machine.receive(&mut input)? else { panic!() };
//! assert_eq!(outcome.action(), Action::Exit);
//!
//! // ShuttingDown: the service cannot continue. Commands are refused; the process should exit.
//! assert_eq!(machine.phase(), Phase::ShuttingDown);
//! let error = CommandError::WrongPhase(Phase::ShuttingDown);
//! assert_eq!(machine.next(&mut out), Err(error));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The [phase table](machine#commands-and-input) lists every transition, and what follows a lost
//! connection.
//!
//! # Layers
//!
//! ```text
//!  your handler / your language runtime / your event loop
//!         │
//!  ┌──────┴────────────────────────────────────────────────────────────┐
//!  │ driver        (feature `embedded-io`)       a blocking loop, or   │
//!  │ async_driver  (feature `embedded-io-async`) an async loop over    │
//!  │               any stream                                          │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ client    memory, the next step, reconnecting                     │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ machine   phases, the invocation in flight, lost connections      │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ api       requests and replies of the Runtime API, and what the   │
//!  │           replies mean                                            │
//!  ├───────────────────────────────────────────────────────────────────┤
//!  │ http      heads, lengths, chunks                                  │
//!  └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Each layer is public and works without the ones above it. A program with its own event loop uses
//! [`client`], or the crate `lambda-proto-mio`. A program that blocks uses `driver`, or the crate
//! `lambda-proto-std`; one with an async executor, `async_driver`, or, on tokio, the crate
//! `lambda-proto-tokio`.
//!
//! Next to the layers, [`lifecycle`] computes from the caller's clock readings how much time there
//! is to run and to stop, and how long the environment was frozen. The Extensions API and the
//! metadata endpoint are in the crate `lambda-proto-extension`, which builds on
//! [`http::ReplyReader`], [`api::RequestWriter`] and [`json`].
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | *service* | the server of the Runtime API: Lambda, AWS's emulator, a local Lambda |
//! | *event*, *invocation* | what the service hands out; an event with its request id and deadline |
//! | *answer* | what the function gives for an invocation: a *response* or an *error* |
//! | *reply*, *outcome* | what the service sends back to a request; what that means |
//! | *receipt* | what became of an answer, retries included ([`client::Receipt`]) |
//! | *loss*, *recovery* | a connection that ended; what follows it |
//! | *freeze* | what Lambda does to the environment from a `next` until its event arrives |
//! | *slot* | the n-th place of a runtime that takes several invocations at a time |
//! | *session* | everything that a client and the service exchange, up to `ShuttingDown` |
//! | *embedder* | the program that drives a machine or a client |
//!
//! # Whose fault is it
//!
//! A [`CommandError`](machine::CommandError) is the caller's fault, a
//! [`ReceiveError`](machine::ReceiveError) the service's. Both are small `Copy` values. A refusal
//! by the service is not an error: it is an [`Event::Outcome`](machine::Event::Outcome), which says
//! what it [means](api::Outcome::meaning) and what to do [next](api::Outcome::action). No input
//! makes this crate panic, which the compiled code of releases is searched for (`.ci/panic-free`).
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod api;
#[cfg(feature = "embedded-io-async")]
pub mod async_driver;
mod base64;
pub mod client;
#[cfg(feature = "embedded-io")]
pub mod driver;
#[cfg(any(feature = "embedded-io", feature = "embedded-io-async"))]
mod flow;
pub mod http;
pub mod json;
pub mod lifecycle;
pub mod limits;
pub mod machine;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
