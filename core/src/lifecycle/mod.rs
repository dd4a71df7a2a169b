//! Lambda's rules of time: how long an invocation may run, how long the environment was away, how
//! the time for a shutdown is divided.
//!
//! Everything here is computed from values that the caller passes in, above all readings of both
//! [`Clocks`]. There is no timer and no thread; the embedder waits.
//!
//! | when | what |
//! |---|---|
//! | an invocation arrives | [`IdleGap`]: the time away; [`TimeLimit`]: when to cancel |
//! | the process must end | [`ShutdownWindow`]: who may use how much of the time left |
//!
//! ```
//! use core::time::Duration;
//! use lambda_proto::api::Deadline;
//! use lambda_proto::lifecycle::{Clocks, ShutdownWindow, TimeLimit};
//!
//! let at = |millis| Clocks {
//!     monotonic: Duration::from_millis(millis),
//!     wall: Duration::from_millis(1_795_252_819_000 + millis),
//! };
//!
//! // An invocation arrives with 3 s to run; it is cancelled 500 ms before its deadline.
//! let limit = TimeLimit::on_arrival(Some(Deadline::from_unix_millis(1_795_252_822_000)), at(0));
//! assert_eq!(limit.cancel_at(Duration::from_millis(500)), Some(Duration::from_millis(2_500)));
//!
//! // SIGTERM comes 500 ms before SIGKILL: an invocation has 50 ms left, the hooks have the rest.
//! let window = ShutdownWindow::new(Duration::from_millis(500), Duration::from_millis(50));
//! assert_eq!(window.cancel_at(at(1_000)), Duration::from_millis(1_050));
//! assert_eq!(window.hooks_until(at(1_000), at(1_050)), Duration::from_millis(1_500));
//! ```

mod clocks;
mod limit;
mod shutdown;

pub use clocks::{Clocks, IdleGap};
pub use limit::TimeLimit;
pub use shutdown::ShutdownWindow;
