//! Hooks around a function's invocations: at init, at a snapshot, before each invocation and at
//! shutdown.
//!
//! A function registers them with a [`Lifecycle`]. A transport takes it
//! [apart](Lifecycle::into_parts) and runs each kind at its time. [`lambda_proto::lifecycle`] and
//! [`policy`](crate::policy) compute deadlines and decisions from readings of the [`clock`].
//!
//! | when | which hooks run | how | what a failure becomes |
//! |---|---|---|---|
//! | before the first invocation | [init](run_init) | concurrently, one time limit for all | `Runtime.InitError`, and two more |
//! | then, with SnapStart | [before the snapshot](run_before_snapshot) | the last registered first | `Runtime.BeforeSnapshotError` |
//! | when the snapshot is restored | [after the restore](run_after_restore) | as registered | `Runtime.AfterRestoreError` |
//! | before each invocation | [for the invocation](Lifecycle::before_invocation) | as registered | a line in the log |
//! | before the process ends | [shutdown](run_shutdown) | concurrently, until a moment | [`Error::Shutdown`](crate::Error::Shutdown) |
//!
//! In programs that abort on panics, a hook that panics ends the process, like any other panic.

mod cancellation;
pub mod clock;
mod fired;
mod hook_threads;
mod init;
mod registered;
mod resources;
mod shutdown;
mod snapshot;

pub use cancellation::{Cancellation, Shutdown};
pub use fired::Fired;
pub(crate) use hook_threads::drop_unrun;
pub use init::{
    INIT_ABORTED, INIT_ERROR, INIT_TIMEOUT, InitContext, InitEnd, InitHook, InitResult, run_init,
};
pub use registered::{InvocationHook, Lifecycle, Named, NoLifecycle, Parts};
pub use resources::{Resources, Store};
pub(crate) use shutdown::drop_values;
pub use shutdown::{ShutdownContext, ShutdownHook, run_shutdown};
pub use snapshot::{
    AFTER_RESTORE_ERROR, BEFORE_SNAPSHOT_ERROR, SnapshotHook, run_after_restore,
    run_before_snapshot,
};
