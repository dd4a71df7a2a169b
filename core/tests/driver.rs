//! The blocking driver.

mod driver_scripts;
#[path = "loops/blocking.rs"]
mod loops;
mod memory;
