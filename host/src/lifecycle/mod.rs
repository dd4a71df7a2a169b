//! What a function does around its invocations: hooks at its start, at a snapshot and at its end.
//!
//! A function registers them with a [`Lifecycle`]; a transport takes it [apart](Lifecycle::into_parts) and
//! runs each kind when its time has come. What follows from the time is computed by
//! [`lambda_proto::lifecycle`] and [`policy`](crate::policy), from readings that [`clock`] takes.
//!
//! | when | which hooks run | how | what a failure is |
//! |---|---|---|---|
//! | before the first invocation | [init](run_init) | concurrently, one time limit for all | `Runtime.InitError`, and two more |
//! | then, with SnapStart | [before the snapshot](run_before_snapshot) | the last registered first | `Runtime.BeforeSnapshotError` |
//! | when the snapshot is restored | [after the restore](run_after_restore) | as registered | `Runtime.AfterRestoreError` |
//! | when the process is to end | [shutdown](run_shutdown) | concurrently, until a moment | a line in the log |
//!
//! In programs that abort on panics a hook that panics ends the process, as everything else there does.

mod cancellation;
pub mod clock;
mod hook_threads;
mod init;
mod registered;
mod resources;
mod shutdown;
mod snapshot;

pub use cancellation::{Cancellation, Shutdown};
pub use init::{
    INIT_ABORTED, INIT_ERROR, INIT_TIMEOUT, InitContext, InitHook, InitResult, run_init,
};
pub use registered::{Lifecycle, Named, NoLifecycle, Parts};
pub use resources::Resources;
pub use shutdown::{ShutdownContext, ShutdownHook, run_shutdown};
pub use snapshot::{
    AFTER_RESTORE_ERROR, BEFORE_SNAPSHOT_ERROR, SnapshotHook, run_after_restore,
    run_before_snapshot,
};
