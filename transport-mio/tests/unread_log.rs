//! A log that nobody reads stops nobody.

use lambda_proto_mio as transport;

#[path = "../../verify/unread_log.rs"]
mod unread_log;
