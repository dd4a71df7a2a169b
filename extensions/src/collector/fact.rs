//! What the collector needs of a record.

use lambda_proto::json::JsonStr;

use crate::barrier::RequestId;
use crate::telemetry::{Record, RecordType, Unread};

/// What the barrier needs of a record.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Nothing,
    Started(Option<RequestId>),
    RuntimeDone(Option<RequestId>),
    Reported(Option<RequestId>),
}

impl Fact {
    pub(super) fn of(record: &Record<'_>) -> Self {
        Self::new(record.record_type, record.request_id())
    }

    /// A record with a field that cannot be read is still a record of its type.
    pub(super) fn of_unread(unread: &Unread<'_>) -> Self {
        unread.record_type().map_or(Self::Nothing, |kind| Self::new(kind, unread.request_id()))
    }

    /// Whether it tells the end of an invocation. This counts as soon as it was read: the function
    /// must not wait until a batch comes again, and a batch that is given up comes no more.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::RuntimeDone(_) | Self::Reported(_))
    }

    fn new(record_type: RecordType<'_>, id: Option<JsonStr<'_>>) -> Self {
        match record_type {
            RecordType::Start => Self::Started(id.and_then(RequestId::new)),
            RecordType::RuntimeDone => Self::RuntimeDone(id.and_then(RequestId::new)),
            RecordType::Report => Self::Reported(id.and_then(RequestId::new)),
            _ => Self::Nothing,
        }
    }
}
