use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::event::Event;
use crate::settings::Settings;
use crate::trace;

/// An event, and what is known about its invocation before an environment is free.
#[derive(Debug)]
pub(crate) struct InvokeRequest {
    pub(crate) request_id: String,
    /// The ARN that the caller invoked; that of the function, if the caller did not say.
    pub(crate) function_arn: Option<String>,
    pub(crate) event: Event,
}

impl From<Event> for InvokeRequest {
    fn from(event: Event) -> Self {
        Self { request_id: Uuid::new_v4().to_string(), function_arn: None, event }
    }
}

/// One invocation of the function: its event, its ids, and its deadline.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// Unique to this attempt.
    pub(crate) attempt_id: String,
    /// In milliseconds since the Unix epoch; set when the time of the invocation begins.
    deadline: OnceLock<u128>,
    clock: Clock,
    timeout: Duration,
    pub(crate) function_arn: String,
    pub(crate) event: Event,
    /// Whether the caller gets the tail of the log.
    pub(crate) has_tail: bool,
    /// When the runtime first got it.
    pub(crate) delivered: OnceLock<Instant>,
    /// The type of the error after which its runtime cannot continue.
    pub(crate) dead_end: OnceLock<String>,
    /// Whether the invocation is over.
    pub(crate) over: watch::Sender<bool>,
}

impl Invocation {
    pub(crate) fn new(request: InvokeRequest, settings: &Settings, clock: Clock) -> Self {
        let InvokeRequest { request_id, function_arn, mut event } = request;
        event.trace_id.get_or_insert_with(|| trace::generate(clock.unix()));
        // The lines of several invocations at once would be mixed.
        let has_tail = event.log_tail && settings.concurrency.is_none();
        Self {
            request_id,
            attempt_id: Uuid::new_v4().to_string(),
            deadline: OnceLock::new(),
            clock,
            timeout: settings.timeout,
            function_arn: function_arn.unwrap_or_else(|| settings.arn()),
            event,
            has_tail,
            delivered: OnceLock::new(),
            dead_end: OnceLock::new(),
            over: watch::Sender::new(false),
        }
    }

    /// Begins the time of the invocation, unless it has begun.
    pub(crate) fn begin(&self) {
        self.deadline();
    }

    /// In milliseconds since the Unix epoch.
    pub(crate) fn deadline(&self) -> u128 {
        *self.deadline.get_or_init(|| (self.clock.unix() + self.timeout).as_millis())
    }

    /// Waits until the invocation is over.
    pub(crate) async fn over(&self) {
        // Cannot fail: the sender is a field of `self`.
        let _ = self.over.subscribe().wait_for(|is_over| *is_over).await;
    }
}
