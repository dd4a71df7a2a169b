use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::clock;
use crate::{Failure, catch};

/// Hooks that run concurrently, each on its own thread. The threads are not joined: a hook that
/// does not end is left running.
pub(super) struct HookThreads<T> {
    kind: &'static str,
    /// The names of the hooks by place; `None` for those that have ended.
    running: Vec<Option<Cow<'static, str>>>,
    // The sender is kept too, so that the channel stays open when all hooks have ended.
    ends: (Sender<End<T>>, Receiver<End<T>>),
}

struct End<T> {
    place: usize,
    /// When the hook ended, on the monotonic clock.
    at: Duration,
    result: Result<T, Failure>,
}

/// A hook that has ended.
pub(super) struct Ended<T> {
    pub(super) place: usize,
    pub(super) name: Cow<'static, str>,
    pub(super) result: Result<T, Failure>,
}

impl<T: Send + 'static> HookThreads<T> {
    /// A set without hooks. `kind` is part of the names of their threads.
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, running: Vec::new(), ends: mpsc::channel() }
    }

    /// Starts a hook in the next place. If its thread cannot be started, the hook has failed.
    pub(super) fn start(
        &mut self,
        name: Cow<'static, str>,
        hook: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) {
        let place = self.running.len();
        // A thread name must not contain NUL characters.
        let thread = format!("lambda-{}-{name}", self.kind).replace('\0', " ");
        self.running.push(Some(name));
        let ends = self.ends.0.clone();
        let started = thread::Builder::new().name(thread).spawn(move || {
            let result = catch(hook);
            // The receiver may be gone.
            let _ = ends.send(End { place, at: clock::now().monotonic, result });
        });
        if let Err(error) = started {
            let result = Err(Failure::from_display(format_args!(
                "could not start a thread for it: {error}"
            )));
            // Cannot fail: `self` holds the receiver.
            let _ = self.ends.0.send(End { place, at: clock::now().monotonic, result });
        }
    }

    /// Waits for the next hook to end. Returns `None` if none is running, or once the monotonic
    /// clock reaches `until`.
    ///
    /// A hook that ended before `until` is returned even if this is called later. A hook that ended
    /// at `until` or later counts as unfinished: hooks that check their cancellation end at just
    /// that time, and the outcome must not depend on chance.
    pub(super) fn next(&mut self, until: Duration) -> Option<Ended<T>> {
        while self.is_running() {
            let left = until.saturating_sub(clock::now().monotonic);
            let End { place, at, result } = self.ends.1.recv_timeout(left).ok()?;
            if at < until {
                let name = self.running.get_mut(place)?.take()?;
                return Some(Ended { place, name, result });
            }
        }
        None
    }

    pub(super) fn is_running(&self) -> bool {
        self.unfinished().next().is_some()
    }

    /// The names of the hooks that have not ended.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &str> {
        self.running.iter().flatten().map(|name| &**name)
    }
}

/// Drops hooks that never run, on a thread that nobody waits for: what they hold is dropped by the
/// function's code, which may panic or take long.
pub(crate) fn drop_unrun<F: Send + 'static>(hooks: Vec<F>) {
    if hooks.is_empty() {
        return;
    }
    let dropping = move || {
        let _logged_by_the_panic_hook = catch(move || {
            drop(hooks);
            Ok(())
        });
    };
    // Without a thread they are dropped here.
    let _caught = catch(move || {
        let _no_thread = thread::Builder::new().name("lambda-unrun".to_owned()).spawn(dropping);
        Ok(())
    });
}

/// Adds a sentence about a hook to a list of sentences.
pub(super) fn add(list: &mut String, kind: &str, name: &str, what: fmt::Arguments<'_>) {
    let between = if list.is_empty() { "" } else { "; " };
    let _infallible = write!(list, "{between}{kind} hook {name:?} {what}");
}
