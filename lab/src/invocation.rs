use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::event::Event;
use crate::settings::Settings;

/// An event on its way to a runtime.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// Of this attempt, and never again.
    pub(crate) attempt_id: String,
    /// Milliseconds since the Unix epoch; from when its time has begun.
    deadline: OnceLock<u128>,
    clock: Clock,
    timeout: Duration,
    pub(crate) function_arn: String,
    pub(crate) event: Event,
    /// When the runtime got it first.
    pub(crate) delivered: OnceLock<Instant>,
    /// Why its runtime cannot go on, by the type of the error.
    pub(crate) dead_end: OnceLock<String>,
    /// Whether nothing more comes of it.
    pub(crate) over: watch::Sender<bool>,
}

impl Invocation {
    pub(crate) fn new(event: Event, settings: &Settings, clock: Clock) -> Self {
        Self {
            request_id: Uuid::new_v4().to_string(),
            attempt_id: Uuid::new_v4().to_string(),
            deadline: OnceLock::new(),
            clock,
            timeout: settings.timeout,
            function_arn: settings.arn(),
            event,
            delivered: OnceLock::new(),
            dead_end: OnceLock::new(),
            over: watch::Sender::new(false),
        }
    }

    /// Its time begins, unless it has.
    pub(crate) fn begin(&self) {
        self.deadline();
    }

    /// In milliseconds since the Unix epoch.
    pub(crate) fn deadline(&self) -> u128 {
        *self.deadline.get_or_init(|| (self.clock.unix() + self.timeout).as_millis())
    }

    /// Waits until nothing more comes of it.
    pub(crate) async fn over(&self) {
        // It fails if the sender is gone, which is `self`.
        let _ = self.over.subscribe().wait_for(|is_over| *is_over).await;
    }
}
