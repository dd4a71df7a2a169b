use std::fmt;
use std::time::Duration;

use lambda_proto::lifecycle::Clocks;

use super::Options;

/// The states of the init hooks, in memory of the caller: an array, a vector or a slice.
///
/// All hooks share one time limit and one [outcome](InitOutcome). An outcome that has been returned
/// is final: hooks that end later get an error. If hooks run on several threads, put the tracker
/// into a lock.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto::lifecycle::Clocks;
/// use lambda_proto_host::policy::{Hook, HookResult, InitTracker, InitOutcome, Options};
///
/// let at = |secs| Clocks { monotonic: Duration::from_secs(secs), wall: Duration::ZERO };
/// let mut tracker = InitTracker::new([Hook::default(); 3], &Options::new(), at(0));
/// tracker.settle(0, HookResult::Done)?;
/// tracker.settle(1, HookResult::Failed)?;
/// assert_eq!(tracker.outcome(at(4)), None);
///
/// // The third hook is late. That is a timeout, but the failure takes precedence.
/// assert_eq!(tracker.outcome(at(5)), Some(InitOutcome::Failed));
/// assert_eq!(tracker.hooks(), [Hook::Done, Hook::Failed, Hook::TimedOut]);
/// assert!(tracker.settle(2, HookResult::Done).is_err());
/// # Ok::<(), lambda_proto_host::policy::SettleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct InitTracker<S> {
    hooks: S,
    expires_at: Duration,
}

impl<S: AsRef<[Hook]> + AsMut<[Hook]>> InitTracker<S> {
    /// A tracker with one pending hook per element of `hooks`. Their time begins now.
    pub fn new(mut hooks: S, options: &Options, now: Clocks) -> Self {
        hooks.as_mut().fill(Hook::Pending);
        Self { hooks, expires_at: now.monotonic.saturating_add(options.init_timeout()) }
    }

    /// Records the result of the hook in this place.
    ///
    /// # Errors
    ///
    /// A [`SettleError`] if there is no such hook or it is not pending; nothing changes then.
    pub fn settle(&mut self, place: usize, result: HookResult) -> Result<(), SettleError> {
        let hook = self.hooks.as_mut().get_mut(place).ok_or(SettleError::NoSuchHook)?;
        if *hook != Hook::Pending {
            return Err(SettleError::Settled(*hook));
        }
        *hook = match result {
            HookResult::Done => Hook::Done,
            HookResult::Aborted => Hook::Aborted,
            HookResult::Failed => Hook::Failed,
        };
        Ok(())
    }

    /// The outcome, once every hook has settled or the time is over; without hooks, immediately.
    ///
    /// When the time is over, this settles the pending hooks as timed out.
    pub fn outcome(&mut self, now: Clocks) -> Option<InitOutcome> {
        if now.monotonic >= self.expires_at {
            let pending = self.hooks.as_mut().iter_mut().filter(|hook| **hook == Hook::Pending);
            pending.for_each(|hook| *hook = Hook::TimedOut);
        }
        let mut outcome = InitOutcome::Ready;
        for hook in self.hooks.as_ref() {
            outcome = outcome.max(match hook {
                Hook::Pending => return None,
                Hook::Done => InitOutcome::Ready,
                Hook::TimedOut => InitOutcome::TimedOut,
                Hook::Aborted => InitOutcome::Aborted,
                Hook::Failed => InitOutcome::Failed,
            });
        }
        Some(outcome)
    }

    /// When the time is over, on the monotonic clock.
    pub fn expires_at(&self) -> Duration {
        self.expires_at
    }

    /// The states of the hooks, by place.
    pub fn hooks(&self) -> &[Hook] {
        self.hooks.as_ref()
    }
}

/// The state of an init hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// It is running.
    #[default]
    Pending,
    /// It succeeded.
    Done,
    /// It decided that the function must not start.
    Aborted,
    /// It failed.
    Failed,
    /// It had not ended when the time was over.
    TimedOut,
}

/// The result of an init hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookResult {
    /// It succeeded.
    Done,
    /// It decided that the function must not start.
    Aborted,
    /// It failed.
    Failed,
}

/// The outcome of all init hooks. The greatest wins: a failure over an abort, an abort over a
/// timeout.
///
/// A failure comes first because it has a message; an abort comes before a timeout because it was
/// intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitOutcome {
    /// Every hook succeeded.
    Ready,
    /// A hook had not ended when the time was over.
    TimedOut,
    /// A hook decided that the function must not start.
    Aborted,
    /// A hook failed.
    Failed,
}

/// Why a hook cannot settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleError {
    /// There is no hook in this place.
    NoSuchHook,
    /// The hook has already settled, in this state, or its time was over.
    Settled(Hook),
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchHook => f.write_str("there is no init hook in this place"),
            Self::Settled(hook) => write!(f, "this init hook has already settled: {hook:?}"),
        }
    }
}

impl std::error::Error for SettleError {}
