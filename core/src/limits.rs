//! The limits of this crate, each with its reason.
//!
//! A limit on received bytes protects the caller's memory; a limit on sent bytes keeps a request
//! within what the service reads.
//!
//! The body of a reply that is not an event has no limit. It takes no memory, as its bytes are
//! dropped when they arrive, but a service that never ends it keeps the client reading. An embedder
//! that does not trust its service ends the connection with [`Exchange::lost`].
//!
//! [`Exchange::lost`]: crate::client::Exchange::lost

use core::time::Duration;

/// How long a runtime tries without any connection before it gives up; see
/// [`Outage`](crate::client::Outage).
///
/// The service is on the same machine: if it has been unreachable for this long, it does not come
/// back, and Lambda replaces a process that exits.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum size in bytes of a response head, from the status line to the blank line that ends it.
///
/// A longer head is [`HeadError::TooLarge`](crate::http::HeadError::TooLarge).
pub const MAX_HEAD: usize = 64 * 1024;

/// Maximum number of header fields in a response head.
///
/// The service sends about ten. More fields are
/// [`HeadError::TooManyFields`](crate::http::HeadError::TooManyFields).
pub const MAX_FIELDS: usize = 128;

/// Maximum number of interim replies (1xx) before a reply.
///
/// The service sends none, as no request expects one. Without a limit, a service that sends
/// nothing else would keep a core busy forever: more are
/// [`ReplyError::TooManyInterimReplies`](crate::http::ReplyError::TooManyInterimReplies).
pub const MAX_INTERIM_REPLIES: usize = 100;

/// Maximum size in bytes of the line that starts a chunk: the chunk size and its extensions,
/// without the line end.
pub const MAX_CHUNK_LINE: usize = 4 * 1024;

/// Maximum size in bytes of the trailer section that may follow the last chunk of a response.
pub const MAX_RESPONSE_TRAILERS: usize = 64 * 1024;

/// Maximum size in bytes of a request id or an attempt id.
///
/// The service's ids are UUIDs of 36 bytes. An event with a longer request id cannot be answered
/// and is a [`ReceiveError`](crate::machine::ReceiveError); a longer attempt id is not echoed.
pub const MAX_ID: usize = 256;

/// Maximum nesting depth of the JSON documents that this crate reads.
pub const MAX_JSON_DEPTH: usize = 64;

/// Maximum size in bytes of `host:port` in the address of the Runtime API: a DNS name of 253 bytes,
/// brackets, a colon and five digits (RFC 1035 section 2.3.4).
pub const MAX_AUTHORITY: usize = 261;

/// Maximum size in bytes of the path prefix in the address of the Runtime API.
pub const MAX_PATH_PREFIX: usize = 128;

/// Maximum size in bytes of the `User-Agent` value; the service keeps no more (emulator:
/// `appctx/appctxutil.go`).
pub const MAX_USER_AGENT: usize = 128;

/// Maximum size in bytes of a content type to send.
pub const MAX_CONTENT_TYPE: usize = 256;

/// Maximum size in bytes of an error type, in the header and in the body.
pub const MAX_ERROR_TYPE: usize = 128;

/// Maximum size in bytes of the body of an error report; longer reports are cut.
///
/// Managed instances refuse more with 413 (emulator: `lambda-managed-instances/rapi/router.go`).
pub const MAX_ERROR_BODY: usize = 1024 * 1024;

/// Maximum size in bytes of the X-Ray cause header; a longer cause is left out.
pub const MAX_XRAY_CAUSE: usize = 1024 * 1024;

/// Maximum size in bytes of the error trailers of a streamed response, including their last blank
/// line.
///
/// The service is a Go program, and Go's server looks for the end of the trailers only in the 4,096
/// bytes of its read buffer (`net/http/transfer.go`, `seeUpcomingDoubleCRLF`). The JSON of a
/// mid-stream error is cut so that its base64 fits.
pub const MAX_ERROR_TRAILERS: usize = 4 * 1024;

/// Size in bytes of the largest event and of the largest buffered response, as the service counts
/// them: 6 MiB and 100 bytes (emulator: `interop.MaxPayloadSize`).
///
/// This crate does not enforce it by itself; transports size their buffers by it, and pass it to
/// [`Client::with_max_event`](crate::client::Client::with_max_event).
pub const MAX_PAYLOAD: usize = 6 * 1024 * 1024 + 100;

/// Size in bytes of a buffer that holds the head of any request without a cause for X-Ray.
///
/// The longest head is that of a response: the path prefix, a request id of [`MAX_ID`] bytes, all
/// percent-encoded, and every optional header at its limit. Add room for the body of an error
/// report, for the head of a pipelined `next`, and, for a stream that ends with an error,
/// [`MAX_ERROR_TRAILERS`] and 7 bytes.
pub const MAX_REQUEST_HEAD: usize =
    MAX_PATH_PREFIX + 3 * MAX_ID + MAX_AUTHORITY + MAX_USER_AGENT + MAX_CONTENT_TYPE + MAX_ID + 512;
