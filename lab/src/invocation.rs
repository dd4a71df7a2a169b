use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use crate::answer::{ErrorType, FunctionFailure};
use crate::clock::Clock;
use crate::event::Event;
use crate::settings::Settings;
use crate::telemetry::{Outcome, Platform, Request, Telemetry};
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
    /// When the runtime began to answer.
    pub(crate) answering: OnceLock<Instant>,
    /// When it had answered.
    pub(crate) answered: OnceLock<Instant>,
    /// When it asked for the next one, or ended.
    pub(crate) ended: OnceLock<Instant>,
    /// The bytes of the response.
    produced: AtomicU64,
    /// The type of the error that the runtime reported.
    reported: OnceLock<String>,
    /// Telemetry has been told that it starts.
    is_told: OnceLock<()>,
    /// The type of the error after which its runtime cannot continue.
    pub(crate) dead_end: OnceLock<ErrorType>,
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
            answering: OnceLock::new(),
            answered: OnceLock::new(),
            ended: OnceLock::new(),
            produced: AtomicU64::new(0),
            reported: OnceLock::new(),
            is_told: OnceLock::new(),
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

    /// Adds to the bytes of the response.
    pub(crate) fn produces(&self, bytes: usize) {
        self.produced.fetch_add(bytes as u64, Relaxed);
    }

    /// The bytes of the response so far.
    pub(crate) fn produced(&self) -> u64 {
        self.produced.load(Relaxed)
    }

    /// The runtime, or the service for it, answers with this failure. The first one counts.
    pub(crate) fn reports(&self, failure: &FunctionFailure) {
        let error_type = failure.error_type.clone().or_else(|| failure.error_type());
        let _ = self.reported.set(error_type.unwrap_or_default());
    }

    /// What telemetry says of its end, if the runtime could continue in time: a success, unless an
    /// error was reported.
    pub(crate) fn outcome(&self) -> Outcome {
        self.reported.get().map_or_else(Outcome::success, |it| Outcome::reported(it))
    }

    /// Tells telemetry that it starts, unless that has been told.
    pub(crate) fn tell_start(&self, telemetry: &Telemetry) {
        if self.is_told.set(()).is_ok() {
            telemetry.platform(Platform::Start(self.request()));
        }
    }

    /// What telemetry says of it in all events.
    pub(crate) fn request(&self) -> Request {
        Request {
            id: self.request_id.clone(),
            function_arn: self.function_arn.clone(),
            trace_id: self.event.trace_id.clone().unwrap_or_default(),
            tenant_id: self.event.tenant_id.clone().filter(|it| !it.is_empty()),
        }
    }

    /// Waits until the invocation is over.
    pub(crate) async fn over(&self) {
        // Cannot fail: the sender is a field of `self`.
        let _ = self.over.subscribe().wait_for(|is_over| *is_over).await;
    }
}
