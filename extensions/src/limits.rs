//! The limits of this crate; those of HTTP and JSON are [`lambda_proto::limits`].

/// Bytes of the identifier that the service gives to an extension or to one of its events.
///
/// The identifiers are UUIDs of 36 bytes.
pub const MAX_EXTENSION_ID: usize = 64;

/// Bytes of the name of an extension: usually a file name, which may be this long.
pub const MAX_EXTENSION_NAME: usize = 255;
