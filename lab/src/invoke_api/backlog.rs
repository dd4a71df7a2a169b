use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many asynchronous events may be accepted and not yet answered.
pub(super) const MAX_EVENTS: usize = 1_000;

/// How many bytes they may have together: 64 MiB.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The room for asynchronous events: those that wait, and those that the function has not answered.
///
/// Lambda's own queue is far larger, but it is not in the memory of a developer's machine.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// The room that one event takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _event: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Default for Backlog {
    fn default() -> Self {
        let (events, bytes) = (Semaphore::new(MAX_EVENTS), Semaphore::new(MAX_BYTES));
        Self { events: Arc::new(events), bytes: Arc::new(bytes) }
    }
}

impl Backlog {
    /// Room for an event of this length, if there is any.
    pub(super) fn take(&self, length: usize) -> Option<Taken> {
        let length = u32::try_from(length).ok()?;
        let event = Arc::clone(&self.events).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(length).ok()?;
        Some(Taken { _event: event, _bytes: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_a_number_of_events_and_of_bytes() {
        let backlog = Backlog::default();
        let mut taken: Vec<_> = (0..MAX_EVENTS).map(|_| backlog.take(1).unwrap()).collect();
        assert!(backlog.take(1).is_none());
        taken.pop();
        let rest = MAX_BYTES - taken.len();
        assert!(backlog.take(rest + 1).is_none());
        let all = backlog.take(rest).unwrap();
        drop((all, taken));
        // What was refused has taken nothing.
        assert!(backlog.take(MAX_BYTES).is_some());
    }
}
