//! The limits of this crate; those of HTTP and JSON are [`lambda_proto::limits`].

/// Bytes of the identifier that the service gives to an extension or to an event of one.
///
/// They are UUIDs of 36 bytes.
pub const MAX_EXTENSION_ID: usize = 64;

/// Bytes of the name of an extension: that of a file may be, and usually is, its name.
pub const MAX_EXTENSION_NAME: usize = 255;
