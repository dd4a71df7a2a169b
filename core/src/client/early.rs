/// How many bytes of a reply [`refuses_early`] looks at: up to the first digit of its status.
pub const EARLY_REPLY: usize = b"HTTP/1.1 4".len();

/// Whether a reply that comes while a write waits means that the write is useless. `beginning` are
/// the first [`EARLY_REPLY`] bytes of what there is to read, which the embedder has only looked at;
/// none, if that is the end of the stream.
///
/// A service may refuse a large answer and read no more of it, without closing the connection; the
/// write would never end. If this is true, read the reply, or call
/// [`write_failed`](super::Exchange::write_failed) and go on: the client then asks for the read.
/// It is false for the beginning of an interim reply, and for that of an acceptance: a proxy such as
/// cargo-lambda accepts an answer before it has read it, and still reads it.
///
/// ```
/// use lambda_proto::client::refuses_early;
///
/// assert!(refuses_early(b"HTTP/1.1 413 Too Large"));
/// assert!(!refuses_early(b"HTTP/1.1 202 Accepted"));
/// assert!(!refuses_early(b"HTTP/1.1 100 Continue"));
/// // There is more to come.
/// assert!(!refuses_early(b"HTTP/1.1 "));
/// assert!(refuses_early(b""));
/// ```
pub fn refuses_early(beginning: &[u8]) -> bool {
    match beginning.get(EARLY_REPLY - 1) {
        Some(digit) => !matches!(digit, b'1' | b'2'),
        None => beginning.is_empty(),
    }
}
