//! A slot, and the worker that it lends to its responders.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(any(feature = "log", feature = "tracing"))]
use lambda_proto_host::current::RequestId;
use lambda_proto_host::{Error, Failure, NO_RESPONSE, Tasks};
use tokio::sync::Notify;

use super::{Invocation, Responder, Sent};
use crate::catching::Catching;
use crate::worker::Core;

/// A worker whose invocations own their event, and whose responders own the worker.
pub(crate) struct Slot {
    home: Arc<Home>,
    key: Key,
    #[cfg(any(feature = "log", feature = "tracing"))]
    request_id: RequestId,
}

/// Names an invocation of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    slot: usize,
    /// Which of the slot's invocations it is.
    number: u64,
}

/// The place to which the worker of a slot returns. It is allocated once per slot.
struct Home {
    /// `None` while there is a lease.
    worker: Mutex<Option<Box<Core>>>,
    has_returned: Notify,
}

/// The worker of a slot, which returns home when this is dropped.
pub(crate) struct Lease {
    /// `None` only during the drop.
    worker: Option<Box<Core>>,
    home: Arc<Home>,
}

impl Slot {
    pub(crate) fn new(worker: Core, slot: usize) -> Self {
        let worker = Mutex::new(Some(Box::new(worker)));
        Self {
            home: Arc::new(Home { worker, has_returned: Notify::new() }),
            key: Key { slot, number: 0 },
            #[cfg(any(feature = "log", feature = "tracing"))]
            request_id: RequestId::from(""),
        }
    }

    /// Waits for the next invocation; `None` once the runtime is stopped.
    pub(crate) async fn next(
        &mut self,
        tasks: Option<&Tasks>,
    ) -> Result<Option<(Invocation, Responder)>, Error> {
        let mut worker = self.lease().await;
        if !worker.wait().await? {
            return Ok(None);
        }
        self.key.number += 1;
        Ok(worker.take_event().map(|event| {
            let invocation = Invocation::new(event);
            #[cfg(any(feature = "log", feature = "tracing"))]
            {
                self.request_id = RequestId::from(invocation.request_id());
            }
            (invocation, Responder::new(worker, self.key, tasks.cloned()))
        }))
    }

    /// Awaits the handler of the last [`next`](Self::next), and its responder if that is elsewhere.
    /// Reports the invocation as failed if the handler has failed or panicked.
    pub(crate) async fn handle(&self, handler: impl Future<Output = Result<Sent, Failure>>) {
        // Its future is dropped in this block, with all that it still has.
        let result = {
            let handler = pin!(handler);
            let handling = Catching::new(handler);
            #[cfg(any(feature = "log", feature = "tracing"))]
            let handling = handling.during(self.request_id);
            handling.await
        };
        let mut worker = self.lease().await;
        let failure = match result.and_then(|result| result) {
            Ok(sent) if sent.key == self.key => return,
            Ok(_) => {
                let line = "the handler returned the proof of another invocation";
                worker.log().error(format_args!("slot {}: {line}", self.key.slot));
                Failure::new(NO_RESPONSE, line)
            }
            Err(failure) => failure,
        };
        worker.fail(&failure).await;
    }

    /// Waits until the worker is at home, and takes it.
    async fn lease(&self) -> Lease {
        loop {
            let worker = self.home.worker().take();
            if worker.is_some() {
                return Lease { worker, home: self.home.clone() };
            }
            // A return since the look above lets this pass.
            self.home.has_returned.notified().await;
        }
    }
}

impl Home {
    fn worker(&self) -> MutexGuard<'_, Option<Box<Core>>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.home.worker() = self.worker.take();
        self.home.has_returned.notify_one();
    }
}

impl Deref for Lease {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.worker.as_deref().expect("it is there until the drop")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Core {
        self.worker.as_deref_mut().expect("it is there until the drop")
    }
}
