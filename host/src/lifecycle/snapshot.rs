use super::{Named, Resources};
use crate::{Failure, catch};

/// The error type of a failed before-snapshot hook [Lambda Developer Guide: SnapStart with custom
/// runtimes].
pub const BEFORE_SNAPSHOT_ERROR: &str = "Runtime.BeforeSnapshotError";
/// The error type of a failed after-restore hook [Lambda Developer Guide: SnapStart with custom
/// runtimes].
pub const AFTER_RESTORE_ERROR: &str = "Runtime.AfterRestoreError";

/// A before-snapshot or after-restore hook.
pub type SnapshotHook = Named<dyn FnOnce(&Resources) -> Result<(), Failure> + Send>;

/// Runs the before-snapshot hooks on this thread, one after another, the last registered first
/// [Lambda Developer Guide: SnapStart runtime hooks].
///
/// # Errors
///
/// The first failure or panic, after which no further hook runs. It has the type
/// [`BEFORE_SNAPSHOT_ERROR`] and names the hook.
pub fn run_before_snapshot(hooks: Vec<SnapshotHook>, resources: &Resources) -> Result<(), Failure> {
    run("before-snapshot", BEFORE_SNAPSHOT_ERROR, hooks.into_iter().rev(), resources)
}

/// Runs the after-restore hooks on this thread, one after another, the first registered first
/// [Lambda Developer Guide: SnapStart runtime hooks].
///
/// # Errors
///
/// The first failure or panic, after which no further hook runs. It has the type
/// [`AFTER_RESTORE_ERROR`] and names the hook.
pub fn run_after_restore(hooks: Vec<SnapshotHook>, resources: &Resources) -> Result<(), Failure> {
    run("after-restore", AFTER_RESTORE_ERROR, hooks.into_iter(), resources)
}

fn run(
    kind: &str,
    error_type: &'static str,
    mut hooks: impl Iterator<Item = SnapshotHook>,
    resources: &Resources,
) -> Result<(), Failure> {
    hooks.try_for_each(|Named { name, run }| {
        catch(|| run(resources)).map_err(|failure| {
            let message = format!("{kind} hook {name:?} failed: {failure}");
            failure.error_type(error_type).with_message(message)
        })
    })
}
