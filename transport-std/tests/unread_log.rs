//! A log that nobody reads stops nobody.

use lambda_proto_std as transport;

#[path = "../../verify/unread_log.rs"]
mod unread_log;
