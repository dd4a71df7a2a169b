//! The C library of layer one: all functions of `lambda_proto_capi`, and a panic handler.
//!
//! `capi/install` builds it, adds layer two, and makes the shared library.
#![no_std]

use core::panic::PanicInfo;

pub use lambda_proto_capi::*;

/// Core does not panic in release builds, which `.ci/panic-free` shows, and the functions around it
/// do not either. If one did, the process must end: nothing may unwind into C.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    trap()
}

/// Ends the process with a signal, without a C library.
fn trap() -> ! {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    // SAFETY: the instruction is undefined on purpose, and does not return.
    unsafe {
        core::arch::asm!("ud2", options(noreturn, nomem, nostack))
    }
    #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
    // SAFETY: the instruction is undefined on purpose, and does not return.
    unsafe {
        core::arch::asm!("udf #1", options(noreturn, nomem, nostack))
    }
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm"
    )))]
    compile_error!("how does a process end on this architecture without a C library?")
}
