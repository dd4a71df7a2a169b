//! What processes have sent that is still to be read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use uuid::Uuid;

use super::Broker;

/// The number of open connections, plus the number of requests that are still being read: of each
/// external extension by its id, and of all others.
#[derive(Debug)]
pub(super) struct Visits(watch::Sender<HashMap<Option<Uuid>, usize>>);

/// A connection that is open, or a request that is still being read.
#[derive(Debug)]
pub(crate) struct Visit {
    broker: Arc<Broker>,
    /// The external extension whose it is.
    of: Mutex<Option<Uuid>>,
}

impl Visits {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(HashMap::new()))
    }

    /// Waits until nothing of this external extension, or of all others, is left to be read.
    pub(super) async fn none_of(&self, whose: Option<Uuid>) {
        // Cannot fail: the sender is a field of `self`.
        let _ = self.0.subscribe().wait_for(|visits| !visits.contains_key(&whose)).await;
    }

    /// Waits until nothing is left to be read.
    pub(super) async fn none(&self) {
        // Cannot fail: the sender is a field of `self`.
        let _ = self.0.subscribe().wait_for(HashMap::is_empty).await;
    }

    fn add(&self, whose: Option<Uuid>) {
        self.0.send_modify(|visits| *visits.entry(whose).or_default() += 1);
    }

    fn remove(&self, whose: Option<Uuid>) {
        self.0.send_modify(|visits| {
            if let Some(count) = visits.get_mut(&whose) {
                *count -= 1;
                if *count == 0 {
                    visits.remove(&whose);
                }
            }
        });
    }
}

impl Broker {
    /// Begins to read a connection, or a request.
    pub(crate) fn visit(self: &Arc<Self>) -> Visit {
        self.visits.add(None);
        Visit { broker: Arc::clone(self), of: Mutex::new(None) }
    }
}

impl Visit {
    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// An extension with this id has sent a request. If it is external, so is the connection.
    pub(crate) fn belongs_to(&self, id: Uuid) {
        let mut of = self.lock();
        if of.is_none() && self.broker.is_external(id) {
            self.broker.visits.add(Some(id));
            self.broker.visits.remove(None);
            *of = Some(id);
        }
    }

    /// Whether it is one of an external extension.
    pub(crate) fn is_of_extension(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Uuid>> {
        self.of.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.broker.visits.remove(*self.lock());
    }
}
