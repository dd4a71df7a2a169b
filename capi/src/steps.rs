//! The next step, and what it is about.

use core::ffi::c_char;

use lambda_proto::client::{End, Receipt, Step};

use crate::constants::*;
use crate::handle::{Client, Parts, command, look};
use crate::pointers::{Bytes, Out, code};

/// What to do now.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_step(client: *mut Client) -> i32 {
    // SAFETY: the caller vouches for the pointer.
    let parts = match unsafe { command(client) } {
        Ok(parts) => parts,
        Err(code) => return code,
    };
    if parts.warnings.is_any() || parts.is_receipt_waiting {
        return waiting(parts);
    }
    // Most steps follow a command or a write, so nothing has arrived.
    let quiet = if parts.is_pipelined { None } else { parts.client.exchange().quiet_step() };
    match quiet {
        Some(Step::Connect { .. }) => LAMBDA_PROTO_STEP_CONNECT,
        Some(Step::Write) => LAMBDA_PROTO_STEP_WRITE,
        Some(Step::Read) => LAMBDA_PROTO_STEP_READ,
        Some(Step::Idle) => LAMBDA_PROTO_STEP_IDLE,
        Some(Step::Answer) => {
            parts.body = Bytes::EMPTY;
            LAMBDA_PROTO_STEP_ANSWER
        }
        _ => step(parts),
    }
}

/// The next step, with all that has happened before it. Out of line, because it needs registers
/// that the other steps do not have to save.
#[inline(never)]
fn step(parts: &mut Parts) -> Code {
    let warnings = &mut parts.warnings;
    // Until the receipt is returned, perhaps after warnings, the next event may not take the place of
    // this one.
    let mut exchange = if !parts.is_pipelined || parts.client.invocation().is_none() {
        parts.client.exchange()
    } else {
        let Some((_, exchange)) = parts.client.in_flight() else { return LAMBDA_PROTO_ERROR_PHASE };
        exchange
    };
    let step = exchange.step(|warning| warnings.push(warning));
    let is_warned = parts.warnings.is_any();
    let code = match step {
        Step::Connect { .. } => LAMBDA_PROTO_STEP_CONNECT,
        Step::Write => LAMBDA_PROTO_STEP_WRITE,
        Step::Read => LAMBDA_PROTO_STEP_READ,
        Step::Idle => LAMBDA_PROTO_STEP_IDLE,
        Step::Answer => {
            parts.body = Bytes::EMPTY;
            LAMBDA_PROTO_STEP_ANSWER
        }
        Step::Settled(receipt) => {
            parts.receipt = Some(receipt);
            parts.is_pipelined = false;
            // It is returned only once, so it waits for the warnings; other steps come again.
            parts.is_receipt_waiting = is_warned;
            parts.body = Bytes::EMPTY;
            LAMBDA_PROTO_STEP_SETTLED
        }
        Step::End(end) => {
            parts.is_pipelined = false;
            parts.body = Bytes::EMPTY;
            if !is_warned && parts.end.as_bytes().is_empty() {
                parts.end.set(&end);
            }
            LAMBDA_PROTO_STEP_END
        }
    };
    if is_warned { waiting(parts) } else { code }
}

/// The oldest warning, or the receipt that comes after the warnings.
#[cold]
fn waiting(parts: &mut Parts) -> Code {
    if parts.warnings.is_any() {
        parts.warnings.take();
        return LAMBDA_PROTO_STEP_WARNING;
    }
    parts.is_receipt_waiting = false;
    LAMBDA_PROTO_STEP_SETTLED
}

/// The receipt that a step has returned last.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_receipt(
    client: *const Client,
    status: *mut i32,
) -> i32 {
    let receipt = || {
        let out = Out::new(status)?;
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { look(client)? };
        let receipt = parts.receipt.filter(|_| !parts.is_receipt_waiting);
        let (receipt, status) = match receipt.ok_or(LAMBDA_PROTO_ERROR_PHASE)? {
            Receipt::Known(outcome) if outcome.is_accepted() => {
                (LAMBDA_PROTO_RECEIPT_ACCEPTED, outcome.status())
            }
            Receipt::Known(outcome) => (LAMBDA_PROTO_RECEIPT_REFUSED, outcome.status()),
            Receipt::Pipelined => (LAMBDA_PROTO_RECEIPT_PIPELINED, 0),
            Receipt::FateUnknown => (LAMBDA_PROTO_RECEIPT_UNKNOWN, 0),
        };
        // SAFETY: the caller vouches for the pointer.
        unsafe { out.set(i32::from(status)) };
        Ok(receipt)
    };
    code(receipt())
}

/// The warning of the last step.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_warning(
    client: *const Client,
    text: *mut *const c_char,
    length: *mut usize,
) -> i32 {
    let warning = || {
        let (out, length) = (Out::new(text)?, Out::new(length)?);
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { look(client)? };
        let (kind, text) = parts.warnings.taken().ok_or(LAMBDA_PROTO_ERROR_PHASE)?;
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            out.set(text.as_ptr().cast());
            length.set(text.len());
        }
        Ok(kind)
    };
    code(warning())
}

/// Why the session is over.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_end(
    client: *const Client,
    text: *mut *const c_char,
    length: *mut usize,
) -> i32 {
    let end = || {
        let (out, length) = (Out::new(text)?, Out::new(length)?);
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { look(client)? };
        let text = parts.end.as_bytes();
        // There is a text from the step on.
        let end = parts.client.end().filter(|_| !text.is_empty());
        let kind = match end.ok_or(LAMBDA_PROTO_ERROR_PHASE)? {
            End::Done => LAMBDA_PROTO_END_DONE,
            End::Protocol(_) => LAMBDA_PROTO_END_PROTOCOL,
            End::NoRoom => LAMBDA_PROTO_END_HEAD,
            End::Command(_) => LAMBDA_PROTO_END_MEMORY,
            // `Service`, and what core may add.
            _ => LAMBDA_PROTO_END_SERVICE,
        };
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            out.set(text.as_ptr().cast());
            length.set(text.len());
        }
        Ok(kind)
    };
    code(end())
}

/// Resets the client as for a new process.
///
/// # Safety
///
/// As the [crate](crate#safety) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lambda_proto_client_begin_anew(client: *mut Client) -> i32 {
    let begin = || {
        // SAFETY: the caller vouches for the pointer.
        let parts = unsafe { command(client)? };
        let end = parts.client.end().ok_or(LAMBDA_PROTO_ERROR_PHASE)?;
        if parts.is_receipt_waiting || !end.begins_anew(parts.concurrency) {
            return Err(LAMBDA_PROTO_ERROR_PHASE);
        }
        parts.client.begin_anew();
        parts.body = Bytes::EMPTY;
        parts.receipt = None;
        parts.end.clear();
        Ok(LAMBDA_PROTO_OK)
    };
    code(begin())
}
