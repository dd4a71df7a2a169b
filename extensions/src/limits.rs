//! The limits of this crate; those of HTTP and JSON are [`lambda_proto::limits`].

use core::ops::RangeInclusive;
use core::time::Duration;

/// Bytes of the identifier that the service gives to an extension or to one of its events.
///
/// The identifiers are UUIDs of 36 bytes.
pub const MAX_EXTENSION_ID: usize = 64;

/// Bytes of the name of an extension: usually a file name, which may be this long.
pub const MAX_EXTENSION_NAME: usize = 255;

/// Records of one batch, if a subscription limits them [Lambda Developer Guide: Telemetry API
/// reference].
pub const BATCH_RECORDS: RangeInclusive<u32> = 1_000..=10_000;

/// Bytes of one batch, if a subscription limits them.
pub const BATCH_BYTES: RangeInclusive<u32> = 262_144..=1_048_576;

/// How long a record may wait for its batch, if a subscription limits it.
pub const BATCH_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(25)..=Duration::from_millis(30_000);
