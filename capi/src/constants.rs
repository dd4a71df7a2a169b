//! The constants of the header, by the same names; a test compares them.

use lambda_proto::{client, limits};

/// What a function returns: 0, a positive number, or one of the errors.
pub(crate) type Code = i32;

/// What lambda_proto_abi_version() returns for this header.
pub const LAMBDA_PROTO_ABI_VERSION: i32 = 1;
/// Largest event and largest response, in bytes, as Lambda counts them: 6 MiB and 100 bytes.
pub const LAMBDA_PROTO_MAX_PAYLOAD: i32 = 6291556;
/// Memory for requests that is enough for every request of layer one but for long error
/// reports, which are cut to fit, in bytes.
pub const LAMBDA_PROTO_REQUEST_MEMORY: i32 = 2821;
/// The most memory that a request can use: an error report of 1 MiB with a cause for X-Ray.
pub const LAMBDA_PROTO_MAX_REQUEST_MEMORY: i32 = 2104076;
/// Memory for events that is enough for every head of an event: 64 KiB. An event needs its head
/// and its body.
pub const LAMBDA_PROTO_MAX_HEAD: i32 = 65536;
/// How long to try without any connection, in milliseconds; see lambda_proto_outage_*.
pub const LAMBDA_PROTO_PATIENCE_MS: i32 = 60000;
/// How many bytes of a reply lambda_proto_refuses_early() looks at.
pub const LAMBDA_PROTO_EARLY_REPLY: i32 = 10;
/// Most headers, and most cookies, of lambda_proto_http_prelude().
pub const LAMBDA_PROTO_MAX_PRELUDE_FIELDS: i32 = 64;
/// Success.
pub const LAMBDA_PROTO_OK: i32 = 0;
/// A pointer is NULL that may not be.
pub const LAMBDA_PROTO_ERROR_NULL: i32 = -1;
/// Memory for an opaque type does not have its alignment.
pub const LAMBDA_PROTO_ERROR_ALIGNMENT: i32 = -2;
/// Memory is too short for what it is to hold.
pub const LAMBDA_PROTO_ERROR_SHORT: i32 = -3;
/// A length exceeds PTRDIFF_MAX, or more bytes are reported than there was room or data for.
pub const LAMBDA_PROTO_ERROR_LENGTH: i32 = -4;
/// The memory holds no such object: it was not initialised, was closed, or was moved.
pub const LAMBDA_PROTO_ERROR_HANDLE: i32 = -5;
/// The call is not allowed in this phase, such as a second response.
pub const LAMBDA_PROTO_ERROR_PHASE: i32 = -6;
/// Bytes of the previous command have not been sent.
pub const LAMBDA_PROTO_ERROR_UNSENT: i32 = -7;
/// This connection takes no further request: take the next step.
pub const LAMBDA_PROTO_ERROR_RECONNECT: i32 = -8;
/// More memory is needed: lambda_proto_client_memory_needed() says which, and how much.
pub const LAMBDA_PROTO_ERROR_MEMORY: i32 = -9;
/// A text is not UTF-8.
pub const LAMBDA_PROTO_ERROR_UTF8: i32 = -10;
/// Not the address of a Runtime API: use host:port or \[v6-address\]:port.
pub const LAMBDA_PROTO_ERROR_ADDRESS: i32 = -11;
/// A user agent has 1 to 128 visible ASCII characters.
pub const LAMBDA_PROTO_ERROR_USER_AGENT: i32 = -12;
/// A content type has 1 to 256 bytes and no control characters.
pub const LAMBDA_PROTO_ERROR_CONTENT_TYPE: i32 = -13;
/// A number or constant is out of range, or the text of a number is none.
pub const LAMBDA_PROTO_ERROR_ARGUMENT: i32 = -14;
/// No room before the next step: take it.
pub const LAMBDA_PROTO_ERROR_ROOM: i32 = -15;
/// The service accepts no more of this stream. Only layer two returns this and what follows.
pub const LAMBDA_PROTO_ERROR_STREAM_OVER: i32 = -16;
/// The session is over: exit with a code other than 0.
pub const LAMBDA_PROTO_ERROR_ENDED: i32 = -17;
/// There was no connection for LAMBDA_PROTO_PATIENCE_MS: exit with a code other than 0.
pub const LAMBDA_PROTO_ERROR_UNREACHABLE: i32 = -18;
/// A system call failed: lambda_proto_runtime_errno() says why.
pub const LAMBDA_PROTO_ERROR_SYSTEM: i32 = -19;
/// AWS_LAMBDA_RUNTIME_API is not set.
pub const LAMBDA_PROTO_ERROR_ENVIRONMENT: i32 = -20;
/// A signal handler ran while layer two waited for an invocation or a restore.
pub const LAMBDA_PROTO_ERROR_INTERRUPTED: i32 = -21;
/// For one event with the head of its reply.
pub const LAMBDA_PROTO_MEMORY_EVENTS: i32 = 1;
/// For the head of a request, the body of an error report, and the reply.
pub const LAMBDA_PROTO_MEMORY_REQUESTS: i32 = 2;
/// Drop any connection, wait lambda_proto_client_backoff_ms(), connect to
/// lambda_proto_client_host() and _port(), call lambda_proto_client_connected(). After a failed
/// attempt call nothing, and try again.
pub const LAMBDA_PROTO_STEP_CONNECT: i32 = 1;
/// Write lambda_proto_client_unsent(), call _sent() or _write_failed().
pub const LAMBDA_PROTO_STEP_WRITE: i32 = 2;
/// Read into lambda_proto_client_room(), however long that takes, call _received() or _lost().
pub const LAMBDA_PROTO_STEP_READ: i32 = 3;
/// Nothing is outstanding: call lambda_proto_client_ask(), or stop. At the start perhaps
/// _restore_next() or _fail_init().
pub const LAMBDA_PROTO_STEP_IDLE: i32 = 4;
/// Answer the invocation in flight, now or later: _respond(), _fail() or _stream(). While
/// _is_streaming(), continue its stream: _chunk(), _finish() or _fail().
pub const LAMBDA_PROTO_STEP_ANSWER: i32 = 5;
/// lambda_proto_client_receipt() of an answer, of an init or restore report, or of
/// _restore_next(): once for each. The body of the answer may be freed now.
pub const LAMBDA_PROTO_STEP_SETTLED: i32 = 6;
/// The session is over: lambda_proto_client_end() says why.
pub const LAMBDA_PROTO_STEP_END: i32 = 7;
/// Log lambda_proto_client_warning(), a problem that does not end the session.
pub const LAMBDA_PROTO_STEP_WARNING: i32 = 8;
/// The service has accepted it.
pub const LAMBDA_PROTO_RECEIPT_ACCEPTED: i32 = 1;
/// The service has refused it; there was a warning.
pub const LAMBDA_PROTO_RECEIPT_REFUSED: i32 = 2;
/// The reply arrives together with the next invocation.
pub const LAMBDA_PROTO_RECEIPT_PIPELINED: i32 = 3;
/// The connection was lost, or the session ended first. After _restore_next(): treat it as a
/// restore.
pub const LAMBDA_PROTO_RECEIPT_UNKNOWN: i32 = 4;
/// The service refused a call.
pub const LAMBDA_PROTO_WARNING_REFUSED: i32 = 1;
/// The received bytes are not a valid reply; they are ignored with their connection.
pub const LAMBDA_PROTO_WARNING_INVALID_REPLY: i32 = 2;
/// The connection was lost before the reply; the answer is sent again.
pub const LAMBDA_PROTO_WARNING_SENT_AGAIN: i32 = 3;
/// The connection was lost, and it is unknown whether the answer arrived.
pub const LAMBDA_PROTO_WARNING_FATE_UNKNOWN: i32 = 4;
/// The session ended before the answer was sent.
pub const LAMBDA_PROTO_WARNING_UNSENT: i32 = 5;
/// The connection was lost in the middle of the event; its invocation fails.
pub const LAMBDA_PROTO_WARNING_EVENT_LOST: i32 = 6;
/// The event exceeded the limit or the memory; its invocation fails.
pub const LAMBDA_PROTO_WARNING_EVENT_TOO_LARGE: i32 = 7;
/// The invocation was given up without an answer.
pub const LAMBDA_PROTO_WARNING_UNANSWERED: i32 = 8;
/// The invocation was answered with an error.
pub const LAMBDA_PROTO_WARNING_FAILED: i32 = 9;
/// The invocation failed after its answer; the caller is not affected.
pub const LAMBDA_PROTO_WARNING_FAILED_AFTER_ANSWER: i32 = 10;
/// Any other; also warnings that were dropped, as more than four waited.
pub const LAMBDA_PROTO_WARNING_OTHER: i32 = 11;
/// A failed init or restore was reported, or the client was shut down.
pub const LAMBDA_PROTO_END_DONE: i32 = 1;
/// The service violated the protocol. With several slots, drop the connection, wait about a
/// second, and call lambda_proto_client_begin_anew().
pub const LAMBDA_PROTO_END_PROTOCOL: i32 = 2;
/// The service wants the process to end.
pub const LAMBDA_PROTO_END_SERVICE: i32 = 3;
/// A request of the client itself does not fit the memory for requests.
pub const LAMBDA_PROTO_END_MEMORY: i32 = 4;
/// A head from the service does not fit the memory for it.
pub const LAMBDA_PROTO_END_HEAD: i32 = 5;
/// Lambda-Runtime-Aws-Request-Id; always present, UTF-8.
pub const LAMBDA_PROTO_FIELD_REQUEST_ID: i32 = 1;
/// Lambda-Runtime-Invocation-Id: the id of this attempt.
pub const LAMBDA_PROTO_FIELD_ATTEMPT_ID: i32 = 2;
/// Lambda-Runtime-Invoked-Function-Arn; UTF-8.
pub const LAMBDA_PROTO_FIELD_FUNCTION_ARN: i32 = 3;
/// Lambda-Runtime-Trace-Id: the X-Ray trace header; UTF-8.
pub const LAMBDA_PROTO_FIELD_TRACE_ID: i32 = 4;
/// Lambda-Runtime-Client-Context: JSON from AWS, base64 from some local services.
pub const LAMBDA_PROTO_FIELD_CLIENT_CONTEXT: i32 = 5;
/// Lambda-Runtime-Cognito-Identity: JSON.
pub const LAMBDA_PROTO_FIELD_COGNITO_IDENTITY: i32 = 6;
/// Lambda-Runtime-Aws-Tenant-Id; UTF-8.
pub const LAMBDA_PROTO_FIELD_TENANT_ID: i32 = 7;
/// Content-Type of the event.
pub const LAMBDA_PROTO_FIELD_CONTENT_TYPE: i32 = 8;

/// Converts a length of core at compile time.
const fn is(constant: i32, length: usize) -> bool {
    constant as usize == length
}

const _: () = {
    assert!(is(LAMBDA_PROTO_MAX_PAYLOAD, limits::MAX_PAYLOAD));
    assert!(is(LAMBDA_PROTO_REQUEST_MEMORY, limits::MAX_REQUEST_HEAD + REPLY));
    assert!(is(LAMBDA_PROTO_MAX_REQUEST_MEMORY, MAX_REPORT));
    assert!(is(LAMBDA_PROTO_MAX_HEAD, limits::MAX_HEAD));
    assert!(LAMBDA_PROTO_PATIENCE_MS as u128 == limits::PATIENCE.as_millis());
    assert!(is(LAMBDA_PROTO_EARLY_REPLY, client::EARLY_REPLY));
};

/// Bytes that a client leaves free after a request for its reply.
pub(crate) const REPLY: usize = 512;

/// What a stream writes before its error trailers: the last chunk.
pub(crate) const LAST_CHUNK: usize = 7;

/// The most memory that a report takes, with everything that can come with it.
const MAX_REPORT: usize = limits::MAX_REQUEST_HEAD
    + limits::MAX_ERROR_BODY
    + limits::MAX_XRAY_CAUSE
    + limits::MAX_ERROR_TRAILERS
    + LAST_CHUNK
    + REPLY;
