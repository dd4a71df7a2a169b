//! Every public function of `lambda-proto` and `lambda-proto-extension` in one program, which is
//! never run.
//!
//! Each function is compiled for arguments of which the compiler knows nothing. So a check that
//! remains in the linked program is one that the compiler could not prove redundant. Futures are
//! compiled for any state.
//! `.ci/panic-free` disassembles the program and finds all such checks. It also compares the
//! functions in here with the public APIs of the crates.
#![no_std]
#![no_main]

mod functions;
mod methods;
mod opaque;

use core::hint::black_box;
use core::panic::PanicInfo;

/// The entry point, from which the linker finds the code to keep.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    functions::keep();
    methods::keep();
    #[cfg(feature = "seeded")]
    {
        keep(seeded as *const ());
        keep_future(seeded_future(&[], 0));
        black_box(&SEEDED);
    }
    wait()
}

fn wait() -> ! {
    loop {
        black_box(());
    }
}

/// Makes the compiler assume that this function is called with any arguments.
fn keep(function: *const ()) {
    black_box(function);
}

/// Makes the compiler assume that a future of this type is polled in any state.
fn keep_future<F: Future>(_: F) {
    keep(<F as Future>::poll as *const ());
}

/// A function that can panic, which the check must find.
#[cfg(feature = "seeded")]
fn seeded(bytes: &[u8], at: usize) -> u8 {
    bytes[at]
}

/// A future that can panic after it has waited, which the check must find, too.
#[cfg(feature = "seeded")]
async fn seeded_future(bytes: &[u8], at: usize) -> u8 {
    opaque::Wait.await;
    bytes[at]
}

/// A table with a library function that can panic, which the check must find, too.
#[cfg(feature = "seeded")]
static SEEDED: [fn(u32, u32) -> Option<char>; 1] = [char::from_digit];

/// Every panic ends up here, so the check starts here.
#[inline(never)]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    wait()
}
