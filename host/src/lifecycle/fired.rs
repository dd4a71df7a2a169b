use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::Cancellation;

/// The future of [`Cancellation::fired`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Fired<'c> {
    cancellation: &'c Cancellation,
    /// The place of its waker, once it has waited.
    id: Option<u64>,
}

impl<'c> Fired<'c> {
    pub(super) fn new(cancellation: &'c Cancellation) -> Self {
        Self { cancellation, id: None }
    }
}

impl Future for Fired<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { cancellation, id } = &mut *self;
        let mut waiting = cancellation.waiting();
        if cancellation.is_cancelled() {
            return Poll::Ready(());
        }
        let old = waiting.tasks.set(id, context.waker());
        drop(waiting);
        // Dropped outside the lock, which the drop of a task may need.
        drop(old);
        Poll::Pending
    }
}

impl Drop for Fired<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let removed = self.cancellation.waiting().tasks.remove(id);
            drop(removed);
        }
    }
}

/// The tasks that wait for any cancellation of a shutdown. They are few: a search is fast.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    wakers: Vec<(u64, Waker)>,
    last_id: u64,
}

impl Tasks {
    /// Takes the wakers of all tasks. Those that still wait set theirs again.
    pub(super) fn take(&mut self) -> Vec<(u64, Waker)> {
        std::mem::take(&mut self.wakers)
    }

    /// Sets the waker of the task with this id, or of a new task. Returns the waker before.
    fn set(&mut self, id: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        let known = id.and_then(|id| self.wakers.iter_mut().find(|(other, _)| *other == id));
        if let Some((_, known)) = known {
            return (!known.will_wake(waker)).then(|| std::mem::replace(known, waker.clone()));
        }
        self.last_id += 1;
        *id = Some(self.last_id);
        self.wakers.push((self.last_id, waker.clone()));
        None
    }

    fn remove(&mut self, id: u64) -> Option<(u64, Waker)> {
        let place = self.wakers.iter().position(|(other, _)| *other == id)?;
        Some(self.wakers.swap_remove(place))
    }
}
