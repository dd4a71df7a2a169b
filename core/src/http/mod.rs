//! HTTP/1.1 framing: where a head ends, how long a body is, what a chunk looks like.
//!
//! This layer knows nothing about Lambda. It reads responses and writes requests in memory that the
//! caller owns, and every piece of it can be used alone:
//!
//! ```
//! use lambda_proto::http::{BodyDecoder, HeadScanner, parse_response_head};
//!
//! let mut input: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
//! let end = HeadScanner::default().find_end(input)?.expect("the head is complete");
//! let (head_bytes, mut rest) = input.split_at(end);
//! let head = parse_response_head(head_bytes, |name, value| {
//!     assert_eq!((name, value), ("Content-Length", &b"2"[..]));
//! })?;
//! assert_eq!(head.status, 200);
//!
//! let mut body = BodyDecoder::new(head.body);
//! assert_eq!(body.decode(&mut rest)?, Some(&b"hi"[..]));
//! assert!(body.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where a head ends
//!
//! There is one rule, and [`HeadScanner`] is its only home: a head starts with its status line, each
//! of its lines ends with CR LF, and it ends with the first empty line. A line feed without its
//! carriage return and a blank line before the status line are errors, although httparse alone
//! would accept both; so the bytes that are parsed are always exactly the bytes that were scanned.

mod body;
mod chunk;
mod head;
mod reply;
mod write;

pub use body::{BodyDecoder, BodyError, BodyLength};
pub use chunk::{ChunkPosition, encode_chunk_prefix, encode_last_chunk};
pub(crate) use chunk::{put_chunk_prefix, put_last_chunk};
pub use head::{HeadError, HeadScanner, ResponseHead, parse_response_head};
pub(crate) use head::{is_name, offset, parse_decimal};
pub use reply::ReplyError;
pub(crate) use reply::{ReplyPart, ReplyReader};
pub use write::BufferTooSmall;
pub(crate) use write::{Counter, Sink, Writer, is_field_byte, put_decimal};
