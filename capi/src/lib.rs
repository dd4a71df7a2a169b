//! Layer one of the C interface: `lambda_proto::client` behind opaque types, in memory of the caller.
//!
//! `include/lambda_proto.h` is the contract of every function here; the documentation in this crate
//! only names what it maps to. Tests hold the two against each other. C programs link
//! `capi/library`, which makes libraries of this crate and adds a panic handler.
//!
//! # Safety
//!
//! All functions that take pointers are unsafe, for the same reasons:
//!
//! - A pointer is null or valid for what the header says: a slice for its length, an out-parameter
//!   for one value. A client is memory of [`lambda_proto_client_size`] bytes or more which nobody
//!   but these functions has written to since [`lambda_proto_client_init`].
//! - Memory that a client was given, and the body of an answer, stays valid and is not written to by
//!   others until the header says that it is the caller's again. Room that was handed out may be
//!   written to.
//! - One thread at a time uses a client.
//!
//! What can be checked is checked: null, alignment, lengths, and that a handle is a client that is
//! where it was made.
#![no_std]

#[cfg(test)]
extern crate std;

mod commands;
mod connection;
mod constants;
mod errors;
mod handle;
mod invocation;
mod memory;
mod outage;
mod pointers;
mod prelude;
mod steps;
mod text;

pub use commands::{
    lambda_proto_client_ask, lambda_proto_client_chunk, lambda_proto_client_fail,
    lambda_proto_client_fail_init, lambda_proto_client_fail_init_json,
    lambda_proto_client_fail_json, lambda_proto_client_fail_restore, lambda_proto_client_finish,
    lambda_proto_client_give_up, lambda_proto_client_respond, lambda_proto_client_restore_next,
    lambda_proto_client_shut_down, lambda_proto_client_stream, lambda_proto_client_withdraw,
};
pub use connection::{
    lambda_proto_client_backoff_ms, lambda_proto_client_connected, lambda_proto_client_host,
    lambda_proto_client_is_connected, lambda_proto_client_is_streaming,
    lambda_proto_client_is_waiting, lambda_proto_client_losses, lambda_proto_client_lost,
    lambda_proto_client_may_stop, lambda_proto_client_port, lambda_proto_client_received,
    lambda_proto_client_room, lambda_proto_client_sent, lambda_proto_client_unsent,
    lambda_proto_client_write_failed, lambda_proto_refuses_early,
};
pub use constants::*;
pub use errors::{
    lambda_proto_abi_version, lambda_proto_error_name, lambda_proto_error_text,
    lambda_proto_version,
};
pub use handle::{
    Client, lambda_proto_client_align, lambda_proto_client_close, lambda_proto_client_init,
    lambda_proto_client_size, lambda_proto_slots,
};
pub use invocation::{
    lambda_proto_client_deadline_ms, lambda_proto_client_event, lambda_proto_client_field,
    lambda_proto_client_header, lambda_proto_client_take_event,
};
pub use memory::{
    lambda_proto_client_give_memory, lambda_proto_client_memory_needed,
    lambda_proto_client_set_max_event, lambda_proto_client_set_max_memory,
};
pub use outage::{
    Outage, lambda_proto_outage_align, lambda_proto_outage_connected, lambda_proto_outage_failed,
    lambda_proto_outage_init, lambda_proto_outage_lasted_ms, lambda_proto_outage_lost,
    lambda_proto_outage_size,
};
pub use prelude::lambda_proto_http_prelude;
pub use steps::{
    lambda_proto_client_begin_anew, lambda_proto_client_end, lambda_proto_client_receipt,
    lambda_proto_client_step, lambda_proto_client_warning,
};
