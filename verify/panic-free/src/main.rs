//! Every function of the public APIs of `lambda-proto` and `lambda-proto-extension` in one program, which is
//! never run.
//!
//! Each is there for itself, for arguments of which the compiler knows nothing. So a check that is left in
//! the linked program is one that the compiler could not prove to be needless, and `.ci/panic-free`, which
//! takes the program apart, finds all of them. It also compares what is kept in here with what the crates have.
#![no_std]
#![no_main]

mod functions;
mod methods;
mod opaque;

use core::hint::black_box;
use core::panic::PanicInfo;

/// Where the linker begins to look for what is needed.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    functions::keep();
    methods::keep();
    #[cfg(feature = "seeded")]
    {
        keep(seeded as *const ());
        black_box(&SEEDED);
    }
    wait()
}

fn wait() -> ! {
    loop {
        black_box(());
    }
}

/// Makes the compiler believe that somebody calls this function, with any arguments.
fn keep(function: *const ()) {
    black_box(function);
}

/// What the check must find: a function that can panic.
#[cfg(feature = "seeded")]
fn seeded(bytes: &[u8], at: usize) -> u8 {
    bytes[at]
}

/// What the check must find, too: a table with a function of Rust's library that can.
#[cfg(feature = "seeded")]
static SEEDED: [fn(u32, u32) -> Option<char>; 1] = [char::from_digit];

/// All panics come to here, where the check begins.
#[inline(never)]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    wait()
}
