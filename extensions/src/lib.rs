//! The other APIs of Lambda's execution environment: bytes in, events out; commands in, bytes out.
//! No I/O, no clock, no allocation, no `unsafe`, no `std`.
//!
//! - The Extensions API, version 2020-01-01: an [`Extension`] registers, asks for events, and
//!   reports failures.
//! - [`subscription`] asks for telemetry and logs.
//! - [`telemetry`] receives what the service tells about its environment: logs, and the records of
//!   the Telemetry API and the Logs API.
//! - A [`barrier`] says when an extension that waits for telemetry may ask for its next event.
//! - A [`collector`] joins subscription, telemetry and barrier to the policy of a whole extension.
//! - [`metadata`] names the availability zone.
//!
//! They complement the Runtime API, which the crate [`lambda_proto`] implements, and use separate
//! connections. Replies are read with the `http` layer of that crate.
//!
//! The feature `std` adds blocking I/O over `std::net` for an extension without events,
//! `InternalExtension`, and for the metadata endpoint, `metadata::Metadata`.
//!
//! # An extension
//!
//! An extension may live in the runtime's own process. Even one that subscribes to no events is
//! useful: the runtime gets SIGTERM only while an extension is registered [Lambda Developer Guide:
//! Extensions API]. It registers before the runtime's first `next`, and asks for an event once,
//! because init completes only when every extension has asked. That request stays open until the
//! environment ends:
//!
//! ```
//! use lambda_proto::api::Endpoint;
//! use lambda_proto_extension::{
//!     Event, Extension, ExtensionName, InternalEvents, Phase, Registrant,
//! };
//!
//! let mut extension = Extension::new(Endpoint::parse("127.0.0.1:9001")?);
//! let mut out = [0; 512];
//!
//! let registrant = Registrant::internal(ExtensionName::new("my-runtime")?, InternalEvents::None);
//! let length = extension.register(&registrant, &mut out)?;
//! assert!(out[..length].ends_with(b"{\"events\":[]}"));
//! extension.sent(length);
//!
//! let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: c7d2\r\nContent-Length: 2\r\n\r\n{}";
//! assert_eq!(extension.receive(&mut input)?, Some(Event::Document(b"{}")));
//! let Some(Event::Reply(reply)) = extension.receive(&mut input)? else { panic!() };
//! assert!(reply.is_accepted());
//! assert_eq!((extension.phase(), extension.identifier()), (Phase::Registered, "c7d2"));
//!
//! let length = extension.next(&mut out)?;
//! assert!(out[..length].starts_with(b"GET /2020-01-01/extension/event/next HTTP/1.1\r\n"));
//! extension.sent(length);
//! assert_eq!(extension.phase(), Phase::Asking);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It needs its own connection, because its open `next` would block the runtime's connection.
//!
#![doc = include_str!("extension/phase.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

pub mod barrier;
#[cfg(feature = "std")]
mod bounded;
pub mod collector;
mod extension;
pub mod limits;
pub mod metadata;
pub mod subscription;
pub mod telemetry;

pub use extension::{
    Call, CommandError, EnvironmentEvent, Event, Extension, ExtensionName, ExternalEvents,
    InternalEvents, InvalidExtensionName, Invoke, ManagedEvents, Phase, ReceiveError, Recovery,
    Refusal, RefusalKind, Registrant, Registration, Remedy, Reply, Shutdown, ShutdownCause,
    ShutdownReason,
};
#[cfg(feature = "std")]
pub use extension::{InternalExtension, NotAvailable};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
