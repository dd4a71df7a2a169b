//! Chunks of a request body (RFC 9112 section 7.1).
//!
//! The line end behind the data of a chunk is written with the prefix of the next one, so a chunk is
//! one prefix and one slice of the caller's:
//!
//! ```text
//!  1st prefix   data      2nd prefix     data      last chunk
//!  "5\r\n"      "hello"   "\r\n3\r\n"    "abc"     "\r\n0\r\n" trailers "\r\n"
//! ```

use super::write::put_hexadecimal;
use super::{Sink, Writer};

/// Whether data of the same body stand before a chunk: their line end is then written with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkPosition {
    /// It is the first.
    First,
    /// Another chunk stands before it.
    Later,
}

/// What stands before the data of a chunk of `length` bytes, which must not be 0.
pub(crate) fn put_chunk_prefix(sink: &mut Writer<'_>, position: ChunkPosition, length: usize) {
    put_line_end_of_chunk(sink, position);
    put_hexadecimal(sink, length as u64);
    sink.put(b"\r\n");
}

/// The last chunk, up to where trailers or the final line end follow.
pub(crate) fn put_last_chunk(sink: &mut Writer<'_>, position: ChunkPosition) {
    put_line_end_of_chunk(sink, position);
    sink.put(b"0\r\n");
}

fn put_line_end_of_chunk(sink: &mut Writer<'_>, position: ChunkPosition) {
    if position == ChunkPosition::Later {
        sink.put(b"\r\n");
    }
}
