//! A log that nobody reads does not block a runtime.

use lambda_proto_mio as transport;

#[path = "../../verify/unread_log.rs"]
mod unread_log;
