//! HTTP/1.1 framing: where a head ends, how long a body is, what a chunk looks like.
//!
//! This layer knows nothing about Lambda. It reads responses and writes requests in memory that the
//! caller owns, and every piece of it can be used alone:
//!
//! ```
//! use lambda_proto::http::{BodyDecoder, HeadParser};
//!
//! let input = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
//! let parsed = HeadParser::default().parse(input, |name, value| {
//!     assert_eq!((name, value), (&b"Content-Length"[..], &b"2"[..]));
//! })?;
//! let (length, head) = parsed.expect("the head is complete");
//! assert_eq!(head.status, 200);
//!
//! let mut rest = &input[length..];
//! let mut body = BodyDecoder::new(head.body);
//! assert_eq!(body.decode(&mut rest)?, Some(&b"hi"[..]));
//! assert!(body.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where a head ends
//!
//! There is one rule, and [`HeadParser`] is its only home: a head starts with its status line, each
//! of its lines ends with CR LF, and it ends with the first empty line. A line feed without its
//! carriage return and a blank line before the status line are errors. How the bytes were cut on their
//! way makes no difference.

mod body;
mod bytes;
mod chunk;
mod framing;
mod head;
mod reply;
mod write;

pub use body::{BodyDecoder, BodyError, BodyLength};
pub(crate) use bytes::{
    ALPHANUMERIC, AsciiSet, is_field_byte, is_field_value, is_token, offset, parse_decimal,
};
pub use chunk::{ChunkPosition, encode_chunk_prefix, encode_last_chunk};
pub(crate) use chunk::{put_chunk_prefix, put_last_chunk};
pub use framing::ResponseHead;
pub(crate) use framing::is_name;
pub use head::{HeadError, HeadParser};
pub use reply::{ReplyError, ReplyPart, ReplyReader};
pub use write::BufferTooSmall;
pub(crate) use write::{Counter, Sink, Writer, copy, put_decimal};
