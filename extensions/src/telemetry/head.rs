//! What a receiver needs of the head of a request, and nothing else knows its fields.

use lambda_proto::http::{BodyLength, RequestHead};

use super::digest::Digest;
use super::reply::Connection;

/// What the head of a request says, without its bytes.
pub(super) struct Facts {
    pub(super) is_post: bool,
    pub(super) expects_continue: bool,
    pub(super) sequence: Option<u64>,
    pub(super) connection: Connection,
}

impl Facts {
    pub(super) fn of(head: &RequestHead<'_>, fields: &Fields) -> Self {
        let has_body = head.body != BodyLength::Fixed(0);
        Self {
            is_post: head.method == b"POST",
            // A server ignores it in HTTP/1.0 (RFC 9110 section 10.1.1).
            expects_continue: fields.expects_continue && head.is_http_1_1 && has_body,
            sequence: fields.sequence,
            connection: match (head.is_persistent, head.is_http_1_1) {
                (true, true) => Connection::Persists,
                (true, false) => Connection::IsKeptAlive,
                (false, _) => Connection::Closes,
            },
        }
    }
}

/// The header fields that a receiver needs. They may be shown several times.
#[derive(Default)]
pub(super) struct Fields {
    expects_continue: bool,
    sequence: Option<u64>,
}

impl Fields {
    /// Returns whether it knows the name.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> bool {
        if name.eq_ignore_ascii_case(EXPECT) {
            self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            return true;
        }
        let is_known = name.eq_ignore_ascii_case(SEQUENCE_ID);
        if is_known && !value.is_empty() {
            self.sequence = Some(Digest::of(value));
        }
        is_known
    }
}

const EXPECT: &[u8] = b"Expect";
/// A digest of the body, by which a batch is known (emulator: `lambda-managed-instances`,
/// `telemetry/internal/client.go`).
const SEQUENCE_ID: &[u8] = b"Sequence-Id";
