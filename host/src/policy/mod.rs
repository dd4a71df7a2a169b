//! Policies for the function's own work: how long each phase may take, how init ended, and which
//! work may still run when the environment freezes.
//!
//! Everything here is computed from values that the caller passes in, mainly readings of both
//! [`Clocks`](lambda_proto::lifecycle::Clocks). There is no timer and no thread here: the waiting
//! is done by [hooks](crate::lifecycle) and [`Tasks`](crate::Tasks). [`lambda_proto::lifecycle`]
//! has the times that Lambda sets.
//!
//! | when | what |
//! |---|---|
//! | the function starts | [`Options`] define how long each phase may take, and document the environment variables; an [`InitTracker`] collects the results of the init hooks |
//! | an invocation has been answered | a [`Ledger`] tracks the work that still runs, a [`FreezePoint`] decides what to do about it before `next` |
//!
//! ```
//! use std::time::Duration;
//! use lambda_proto::api::{Concurrency, Deadline};
//! use lambda_proto::lifecycle::{Clocks, TimeLimit};
//! use lambda_proto_host::policy::{FreezePoint, FreezeDecision, InvocationNumber, Ledger, Options, Policy};
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
//! // It is answered while a task still runs, which is drained before `next`.
//! let mut ledger = Ledger::<32, 4>::new(Concurrency::Single);
//! let task = ledger.begin(InvocationNumber(1), "7b", at(100));
//! let freeze_point = FreezePoint::reached(Policy::default(), limit, at(150));
//! let until = Duration::from_millis(2_500);
//! assert_eq!(ledger.cross(&freeze_point, at(150)), FreezeDecision::Wait { until });
//! ledger.end(task, at(400))?;
//! assert_eq!(ledger.cross(&freeze_point, at(400)), FreezeDecision::GoOn);
//! # Ok::<(), lambda_proto_host::policy::EndError>(())
//! ```

mod freeze_point;
mod init_tracker;
mod ledger;
mod options;
mod written_options;

pub use freeze_point::{FreezeDecision, FreezePoint, Policy};
pub use init_tracker::{Hook, HookResult, InitOutcome, InitTracker, SettleError};
pub use ledger::{
    EndError, EndedTask, InvocationNumber, Ledger, LedgerReport, OpenTask, TaskToken,
};
pub use options::{InvalidOption, Options};
pub(crate) use written_options::{Setting, WrittenOptions};
