//! The Runtime API, version 2018-06-01: its requests, its replies and what they mean.
//!
//! This layer has no state. [`Request`] writes any request of the API, [`InvocationHead`] reads the
//! head of an event, [`Outcome`] says what the status of a reply means. The
//! [machine](crate::machine::Machine) puts them in order; a program with its own order can use them
//! alone:
//!
//! ```
//! use lambda_proto::api::Endpoint;
//! use lambda_proto::api::Request;
//!
//! let endpoint = Endpoint::parse("127.0.0.1:9001")?.with_user_agent("my-runtime/1.0")?;
//! let mut out = [0; 256];
//! let length = Request::Next.encode(&endpoint, &mut out)?;
//! assert_eq!(
//!     core::str::from_utf8(&out[..length])?,
//!     "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\
//!      Host: 127.0.0.1:9001\r\n\
//!      User-Agent: my-runtime/1.0\r\n\r\n",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod concurrency;
mod content_type;
mod deadline;
mod documents;
mod endpoint;
mod invocation;
mod names;
mod outcome;
mod prelude;
mod report;
mod request;
mod writer;

pub use concurrency::{Concurrency, InvalidSlots};
pub(crate) use content_type::OwnedContentType;
pub use content_type::{ContentType, InvalidContentType};
pub use deadline::Deadline;
pub use documents::{ClientApplication, ClientContext, CognitoIdentity, ServiceError};
pub use endpoint::{Endpoint, EndpointError, EndpointProblem, InvalidUserAgent};
pub use invocation::{HeadIndex, InvocationHead, InvocationIds};
pub use outcome::{Action, Call, Meaning, Outcome};
pub use prelude::{HttpPrelude, PreludeError};
pub use report::ErrorReport;
pub use request::{Request, ResponseLength};
pub use writer::RequestWriter;
