//! Chunks of a request body (RFC 9112 section 7.1).
//!
//! The prefix of a chunk starts with the line end of the chunk before it, so that a chunk consists
//! of one prefix and one slice of the caller's data:
//!
//! ```text
//!  1st prefix   data      2nd prefix     data      last chunk
//!  "5\r\n"      "hello"   "\r\n3\r\n"    "abc"     "\r\n0\r\n" trailers "\r\n"
//! ```

use super::write::put_hexadecimal;
use super::{Sink, Writer};

/// Whether a chunk follows another one, whose line end is then written with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkPosition {
    /// The first chunk of its body.
    First,
    /// Any chunk after the first.
    Later,
}

/// Writes the prefix of a chunk of `length` bytes, which must not be 0.
pub(crate) fn put_chunk_prefix(sink: &mut Writer<'_>, position: ChunkPosition, length: usize) {
    put_line_end_of_chunk(sink, position);
    put_hexadecimal(sink, length as u64);
    sink.put(b"\r\n");
}

/// Writes the last chunk, up to its trailers or the final line end.
pub(crate) fn put_last_chunk(sink: &mut Writer<'_>, position: ChunkPosition) {
    put_line_end_of_chunk(sink, position);
    sink.put(b"0\r\n");
}

fn put_line_end_of_chunk(sink: &mut Writer<'_>, position: ChunkPosition) {
    if position == ChunkPosition::Later {
        sink.put(b"\r\n");
    }
}
