use core::time::Duration;

use super::InvalidSubscription;
use crate::limits::{BATCH_BYTES, BATCH_RECORDS, BATCH_TIMEOUT, DEFAULT_BATCH_TIMEOUT};

/// When the service sends a batch: whichever limit is reached first.
///
/// With a [barrier](crate::barrier), an invocation may have to wait for the timeout, so choose a
/// short one.
///
/// A limit that is not set is the service's own. A delivery can be twice as large as the limit of
/// its bytes, and some more [Lambda Developer Guide: Telemetry API].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    max_items: Option<u32>,
    max_bytes: Option<u32>,
    timeout_millis: Option<u32>,
}

impl Buffering {
    /// The limits of the service. The documentation names 1,000 or 10,000 records, 262,144 bytes
    /// and one second.
    pub const DEFAULT: Self = Self { max_items: None, max_bytes: None, timeout_millis: None };

    /// Limits the records of a batch.
    ///
    /// # Errors
    ///
    /// [`InvalidSubscription::MaxItems`] unless the number is in [`BATCH_RECORDS`].
    pub fn with_max_items(mut self, items: u32) -> Result<Self, InvalidSubscription> {
        if !BATCH_RECORDS.contains(&items) {
            return Err(InvalidSubscription::MaxItems(items));
        }
        self.max_items = Some(items);
        Ok(self)
    }

    /// Limits the bytes of a batch.
    ///
    /// # Errors
    ///
    /// [`InvalidSubscription::MaxBytes`] unless the number is in [`BATCH_BYTES`].
    pub fn with_max_bytes(mut self, bytes: u32) -> Result<Self, InvalidSubscription> {
        if !BATCH_BYTES.contains(&bytes) {
            return Err(InvalidSubscription::MaxBytes(bytes));
        }
        self.max_bytes = Some(bytes);
        Ok(self)
    }

    /// Limits the time that a record waits. Anything below a millisecond is dropped.
    ///
    /// # Errors
    ///
    /// [`InvalidSubscription::Timeout`] unless the time is in [`BATCH_TIMEOUT`].
    pub fn with_timeout(mut self, timeout: Duration) -> Result<Self, InvalidSubscription> {
        if !BATCH_TIMEOUT.contains(&timeout) {
            return Err(InvalidSubscription::Timeout(timeout));
        }
        self.timeout_millis = u32::try_from(timeout.as_millis()).ok();
        Ok(self)
    }

    /// How long a record may wait for its batch.
    pub(crate) fn longest_wait(&self) -> Duration {
        let millis = self.timeout_millis.map(u64::from);
        millis.map_or(DEFAULT_BATCH_TIMEOUT, Duration::from_millis)
    }

    /// The members of the JSON object, in order.
    pub(super) const fn members(&self) -> [(&'static str, Option<u32>); 3] {
        [
            ("\"maxItems\":", self.max_items),
            ("\"maxBytes\":", self.max_bytes),
            ("\"timeoutMs\":", self.timeout_millis),
        ]
    }
}

impl Default for Buffering {
    fn default() -> Self {
        Self::DEFAULT
    }
}
