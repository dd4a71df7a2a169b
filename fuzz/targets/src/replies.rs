//! Replies of a service that behaves well, for the targets in which it says more than that.

/// An event.
pub(crate) const EVENT: &[u8] =
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 5\r\n\r\n\"Ada\"";

/// An event in chunks.
pub(crate) const CHUNKED_EVENT: &[u8] =
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7c\r\nTransfer-Encoding: chunked\r\n\r\n\
      2\r\n\"A\r\n3\r\nda\"\r\n0\r\n\r\n";

/// The reply to an answer.
pub(crate) const ACCEPTED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

/// The reply to a pipelined answer, and the next event.
pub(crate) const ACCEPTED_AND_EVENT: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n\
      HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 5\r\n\r\n\"Ada\"";
