use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lambda_proto_host::Reach;
use lambda_proto_host::lifecycle::Shutdown;
use tokio::sync::Notify;

/// Ends [`Runtime::run`](crate::Runtime::run) between invocations, from any task or thread.
///
/// A slot that waits for an invocation, or for post-response work, stops immediately; one that
/// connects, when the attempt has ended; one whose event is arriving or that runs a handler, when
/// the answer has been sent. An invocation that the service hands out just as a slot stops waiting
/// is lost, as it is when Lambda ends the environment.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopping: AtomicBool,
    changed: Notify,
    reach: Reach,
    /// The service has not replied to the report of a dropped slot.
    is_silent: AtomicBool,
    /// The shutdown that a stop begins, for code that waits before the first invocation.
    stopping: OnceLock<Shutdown>,
}

impl StopHandle {
    /// Stops every slot, for good. May be called repeatedly.
    pub fn stop(&self) {
        self.shared.is_stopping.store(true, SeqCst);
        self.shared.changed.notify_waiters();
        if let Some(stopping) = self.shared.stopping.get() {
            stopping.begin();
        }
    }

    /// Whether [`stop`](Self::stop) has been called.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(SeqCst)
    }

    /// Waits until [`stop`](Self::stop) is called.
    pub async fn stopped(&self) {
        let mut changed = pin!(self.shared.changed.notified());
        // Listens before it looks, so that no stop is missed between the two.
        changed.as_mut().enable();
        if !self.is_stopping() {
            changed.await;
        }
    }

    /// Makes a stop also begin this shutdown, immediately if the stop came first; call it once.
    pub(crate) fn set_stopping(&self, stopping: &Shutdown) {
        let stopping = self.shared.stopping.get_or_init(|| stopping.clone());
        // If the stop does not find it, it came before.
        if self.is_stopping() {
            stopping.begin();
        }
    }

    /// Whether the slots have connections.
    pub(crate) fn reach(&self) -> &Reach {
        &self.shared.reach
    }

    /// How long the drop of a slot may block: not after another slot has waited in vain.
    pub(crate) fn patience_of_drop(&self) -> Duration {
        if self.shared.is_silent.load(SeqCst) { Duration::ZERO } else { Duration::from_secs(1) }
    }

    /// Notes that the service has not replied to the report of a dropped slot.
    pub(crate) fn service_is_silent(&self) {
        self.shared.is_silent.store(true, SeqCst);
    }
}

/// Stops a runtime whose future is dropped.
pub(crate) struct StopOnDrop<'s>(pub(crate) &'s StopHandle);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
