//! Lifecycle arithmetic: what time there is, what starts with the function, what is left behind when it
//! freezes.
//!
//! Everything in here is computed from values that the caller passes in, above all from readings of both
//! [`Clocks`]. There is no timer and no thread; whoever owns a clock waits.
//!
//! | when | what |
//! |---|---|
//! | the function starts | [`Options`] say how long everything may take; an [`InitGate`] collects what became of its init hooks |
//! | an invocation arrives | an [`IdleGap`] says how long the environment was away, a [`TimeLimit`] when to cancel |
//! | it has been answered | a [`Ledger`] knows the work that still runs, a [`Boundary`] what to do about it before `next` |
//! | the process is to end | a [`ShutdownWindow`] says who may use how much of the time that is left |
//!
//! ```
//! use core::time::Duration;
//! use lambda_proto::{Concurrency, Deadline};
//! use lambda_proto::lifecycle::{
//!     Boundary, Clocks, Crossing, InvocationNumber, Ledger, Options, Policy, TimeLimit,
//! };
//!
//! let at = |millis| Clocks {
//!     monotonic: Duration::from_millis(millis),
//!     wall: Duration::from_millis(1_795_252_819_000 + millis),
//! };
//! let options = Options::new();
//!
//! // An invocation arrives with 3 s to run; it is cancelled 500 ms before its deadline.
//! let limit = TimeLimit::on_arrival(Some(Deadline::from_unix_millis(1_795_252_822_000)), at(0));
//! assert_eq!(limit.cancel_at(options.cancellation_buffer()), Some(Duration::from_millis(2_500)));
//!
//! // It is answered and leaves a task behind, which is waited for before `next` is asked for.
//! let mut ledger = Ledger::<32, 4>::new(Concurrency::Single);
//! let task = ledger.begin(InvocationNumber(1), "7b", at(100));
//! let boundary = Boundary::reached(Policy::default(), limit, at(150));
//! let until = Duration::from_millis(2_500);
//! assert_eq!(ledger.cross(&boundary, at(150)), Crossing::Wait { until });
//! ledger.end(task, at(400))?;
//! assert_eq!(ledger.cross(&boundary, at(400)), Crossing::GoOn);
//! # Ok::<(), lambda_proto::lifecycle::EndError>(())
//! ```

mod boundary;
mod clocks;
mod gate;
mod ledger;
mod limit;
mod options;
mod shutdown;

pub use boundary::{Boundary, Crossing, Policy};
pub use clocks::{Clocks, IdleGap};
pub use gate::{Hook, HookResult, InitGate, InitOutcome, SettleError};
pub use ledger::{
    EndError, EndedTask, InvocationNumber, Ledger, LedgerReport, OpenTask, TaskToken,
};
pub use limit::TimeLimit;
pub use options::{InvalidOption, Options};
pub use shutdown::ShutdownWindow;
