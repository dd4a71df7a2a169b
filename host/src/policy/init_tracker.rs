use std::fmt;
use std::time::Duration;

use lambda_proto::lifecycle::Clocks;

use super::Options;

/// What has become of the init hooks, in memory of the caller: an array, a vector, a slice.
///
/// All hooks share one time limit. What they do together has one [outcome](InitOutcome), and once it has
/// been given it is final: hooks that end later are told so. Hooks on threads settle under a lock.
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
/// // The third is late. That is a timeout, but the failure says more.
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
    /// A tracker for as many hooks as `hooks` is long, all of them pending, whose time begins now.
    pub fn new(mut hooks: S, options: &Options, now: Clocks) -> Self {
        hooks.as_mut().fill(Hook::Pending);
        Self { hooks, expires_at: now.monotonic.saturating_add(options.init_timeout()) }
    }

    /// Tells how a hook has ended, by its place.
    ///
    /// # Errors
    ///
    /// A [`SettleError`] if there is no such hook or it is not pending; nothing has changed then.
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

    /// What came of it, once every hook has settled or the time is over. No hooks are ready at once.
    ///
    /// When the time is over it settles the hooks that are pending as timed out.
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

    /// When the time is over, as a time of the monotonic clock.
    pub fn expires_at(&self) -> Duration {
        self.expires_at
    }

    /// Every hook, by its place.
    pub fn hooks(&self) -> &[Hook] {
        self.hooks.as_ref()
    }
}

/// Where an init hook is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// It runs.
    #[default]
    Pending,
    /// It has done its work.
    Done,
    /// It wants the function not to start.
    Aborted,
    /// It failed.
    Failed,
    /// It had not ended when the time was over.
    TimedOut,
}

/// How an init hook has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookResult {
    /// It has done its work.
    Done,
    /// It wants the function not to start.
    Aborted,
    /// It failed.
    Failed,
}

/// What all init hooks come to. The greatest counts: a failure over an abort, an abort over a timeout.
///
/// A failure has a reason to show. An abort was meant. A timeout is what is said where nobody said
/// anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InitOutcome {
    /// Every hook has done its work.
    Ready,
    /// A hook had not ended when the time was over.
    TimedOut,
    /// A hook wants the function not to start.
    Aborted,
    /// A hook failed.
    Failed,
}

/// Why a hook cannot settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleError {
    /// The tracker has fewer hooks.
    NoSuchHook,
    /// It has settled before, as this, or its time was over.
    Settled(Hook),
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchHook => f.write_str("there are fewer init hooks"),
            Self::Settled(hook) => write!(f, "this init hook has settled before: {hook:?}"),
        }
    }
}

impl std::error::Error for SettleError {}
