//! HTTP/1.1 framing: where a head ends, how long a body is, what a chunk looks like.
//!
//! This layer knows nothing about Lambda. [`ReplyReader`] reads what a service sends, and
//! [`RequestReader`] what a client sends, in memory that the caller owns. Each works alone:
//!
//! ```
//! use lambda_proto::http::{BodyLength, ReplyPart, ReplyReader};
//!
//! let mut reader = ReplyReader::default();
//! let mut no_field = |_: &[u8], _: &[u8]| false;
//!
//! // A head that is cut stays in the input, and is presented again with more bytes after it.
//! let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Enc";
//! assert_eq!(reader.read(&mut input, &mut no_field)?, None);
//! assert_eq!(input.len(), 29);
//!
//! let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
//! let Some(ReplyPart::Head(head)) = reader.read(&mut input, &mut no_field)? else { panic!() };
//! assert_eq!((head.status, head.body), (200, BodyLength::Chunked));
//! assert_eq!(reader.read(&mut input, &mut no_field)?, Some(ReplyPart::Body(b"hel")));
//!
//! // A body is consumed as it arrives, and the next reply may follow it immediately.
//! assert_eq!(reader.read(&mut input, &mut no_field)?, None);
//! assert!(input.is_empty());
//! let mut input: &[u8] = b"lo\r\n0\r\n\r\nHTTP/1.1 202 Accepted\r\n";
//! assert_eq!(reader.read(&mut input, &mut no_field)?, Some(ReplyPart::Body(b"lo")));
//! assert_eq!(reader.read(&mut input, &mut no_field)?, Some(ReplyPart::End));
//! assert_eq!(input, b"HTTP/1.1 202 Accepted\r\n");
//! # Ok::<(), lambda_proto::http::ReplyError>(())
//! ```
//!
//! # Where a head ends
//!
//! There is one rule: a head starts with its status line or request line, each of its lines ends
//! with CR LF, and the first empty line ends it. A line feed without its carriage return and a
//! blank line before the head are errors; only a request may follow one blank line. Nothing depends
//! on how the bytes were split on their way.

mod body;
mod bytes;
mod chunk;
mod framing;
mod head;
mod reply;
mod request;
#[cfg(test)]
mod tests;
mod write;

pub use body::{BodyError, BodyLength};
pub(crate) use bytes::{
    ALPHANUMERIC, AsciiSet, is_field_byte, is_field_value, is_token, offset, parse_decimal,
};
pub(crate) use chunk::{ChunkPosition, put_chunk_prefix, put_last_chunk};
pub use framing::ResponseHead;
pub(crate) use framing::is_name;
pub use head::HeadError;
pub(crate) use head::HeadParser;
pub use reply::{ReplyError, ReplyPart, ReplyReader};
pub use request::{RequestError, RequestHead, RequestPart, RequestReader};
pub use write::BufferTooSmall;
pub(crate) use write::{Counter, Sink, Writer, copy, put_decimal};
