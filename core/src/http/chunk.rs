//! Chunks of a request body (RFC 9112 section 7.1).
//!
//! The line end behind the data of a chunk is written with the prefix of the next one, so a chunk is
//! one prefix and one slice of the caller's:
//!
//! ```text
//!  1st prefix   data      2nd prefix     data      last chunk
//!  "5\r\n"      "hello"   "\r\n3\r\n"    "abc"     "\r\n0\r\n" trailers "\r\n"
//! ```

use super::Sink;

/// What stands before the data of a chunk of `length` bytes, which must not be 0.
pub(crate) fn put_chunk_prefix(sink: &mut impl Sink, is_first: bool, length: usize) {
    put_line_end_of_chunk(sink, is_first);
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut left = length;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left % 16];
        left /= 16;
        if left == 0 {
            break;
        }
    }
    sink.put(&digits[at..]);
    sink.put(b"\r\n");
}

/// The last chunk, up to where trailers or the final line end follow.
pub(crate) fn put_last_chunk(sink: &mut impl Sink, is_first: bool) {
    put_line_end_of_chunk(sink, is_first);
    sink.put(b"0\r\n");
}

fn put_line_end_of_chunk(sink: &mut impl Sink, is_first: bool) {
    if !is_first {
        sink.put(b"\r\n");
    }
}
