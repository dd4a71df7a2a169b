//! How other HTTP, JSON and base64 libraries read the bytes that `lambda-proto` writes and reads.
//! The comparisons are in `tests/`.
//!
//! hyper runs here without sockets, threads and clocks: it gets bytes from memory, and is polled
//! until it wants more. So every run is the same, and none can hang.

mod calls;
mod client;
mod difference;
mod memory;
mod ours;
mod server;

pub use calls::{Call, Parts, report_of};
pub use client::{Reading, Reply, receive_by_hyper};
pub use difference::Difference;
pub use memory::Fields;
pub use ours::receive_by_ours;
pub use server::{Request, Served, serve};
