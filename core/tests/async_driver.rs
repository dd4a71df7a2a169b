//! The async driver, each of whose waits is pending first.

mod driver_scripts;
#[path = "loops/awaiting.rs"]
mod loops;
mod memory;
