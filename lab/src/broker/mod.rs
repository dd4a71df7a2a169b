//! Matches the calls of a runtime with the invocations of callers, and keeps the state of both.

mod extensions;
mod in_flight;
mod managed;
mod on_demand;
mod progress;
mod start;
mod visits;

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

use crate::answer::{Answered, ErrorType, FailureKind, FunctionFailure, UNKNOWN};
use crate::invocation::Invocation;
use crate::machine::Call;
use crate::presence::is_closed;
use crate::refusal::{ExtensionRefusal, Refusal};
use crate::telemetry::{Phase, Telemetry};

use extensions::Extensions;
use in_flight::{InFlight, Stage};
use managed::Managed;
use on_demand::OnDemand;
use progress::Progress;
use start::Start;
use visits::Visits;

pub(crate) use extensions::{Events, ExtensionEvent, Failing, Kind, Peer, Shutdown};
pub(crate) use start::Started;
pub(crate) use visits::Visit;

/// One environment's runtime as the service sees it, and the invocations that it has in flight.
///
/// The Runtime API reports what the runtime calls; the environment reports exits and timeouts. Each
/// can wait for what the other reports.
#[derive(Debug)]
pub(crate) struct Broker {
    rules: Mutex<Box<dyn Rules>>,
    telemetry: Arc<Telemetry>,
    /// Wakes the open `next`s of the runtime.
    asked: Notify,
    /// Wakes tasks that wait for any other change.
    changes: Notify,
    /// How often all connections have been cut.
    cuts: watch::Sender<u64>,
    visits: Visits,
}

/// Which calls a runtime may make when, and which events it gets.
trait Rules: Debug + Send {
    /// The current start of the runtime.
    fn start(&mut self) -> &mut Start;

    /// The invocations in flight, by request id.
    fn in_flight(&mut self) -> &mut HashMap<String, InFlight>;

    /// Adds an invocation for the runtime.
    fn hand_over(&mut self, in_flight: InFlight);

    /// Prepares for a new runtime; requests of an earlier one are void.
    fn start_anew(&mut self);

    /// Prepares for a new runtime, as the current one has ended. Invocations that it has not got
    /// wait for the new one; returns the others.
    fn replace(&mut self) -> Vec<InFlight>;

    /// Delivers an invocation that was only waiting for an extension.
    fn deliver(&mut self) {}

    /// The runtime calls `next`.
    fn ask(&mut self) -> Result<(), Refusal>;

    /// Wakes the open `next`s that may get the invocation that has been handed over.
    fn wake(&self, asked: &Notify);

    /// Whether an open `next` would get an event now.
    fn has_event(&mut self) -> bool;

    /// The event for an open `next`, if there is one.
    fn take(&mut self) -> Option<Arc<Invocation>>;

    /// A `next` has returned, or its connection was closed.
    fn leave(&mut self) {}

    /// The runtime is about to answer.
    fn begin(
        &mut self,
        post: Post,
        request_id: &str,
        attempt_id: Option<&[u8]>,
    ) -> Result<(), Refusal>;

    /// The runtime has answered, and may ask for the next invocation.
    fn finish(&mut self, request_id: &str);

    /// The runtime cannot start. Returns the ids of the invocations that it was started for.
    fn start_error(&mut self, call: Call) -> Result<Vec<String>, Refusal>;

    /// This invocation is over because the runtime cannot continue.
    fn end(&mut self, request_id: &str);

    /// This invocation is over, whatever the runtime still sends.
    fn give_up(&mut self, request_id: &str) -> Option<InFlight>;

    /// The largest report of an error, in bytes.
    fn max_error(&self) -> usize;
}

/// The channel on which a caller waits for its answer.
pub(crate) type Caller = oneshot::Sender<Result<Answered, FunctionFailure>>;

/// What a runtime posts for an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Post {
    Response,
    Error,
}

/// How long a process may outlive its connections and still count as the reason why they ended.
const EXIT: Duration = Duration::from_millis(500);

impl Broker {
    /// For one invocation at a time. An external runtime may connect at any time. `extensions` are
    /// the names of the external ones.
    pub(crate) fn on_demand(
        is_external: bool,
        extensions: Vec<String>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let progress = Progress::new(Arc::clone(&telemetry));
        let start = Start::new(Extensions::new(extensions.into()), progress);
        Self::new(Box::new(OnDemand::new(is_external, start)), telemetry)
    }

    /// For managed instances: as many invocations as there are open `next`s.
    pub(crate) fn managed(extensions: Vec<String>, telemetry: Arc<Telemetry>) -> Self {
        let progress = Progress::new(Arc::clone(&telemetry));
        let start = Start::new(Extensions::new(extensions.into()), progress);
        Self::new(Box::new(Managed::new(start)), telemetry)
    }

    fn new(rules: Box<dyn Rules>, telemetry: Arc<Telemetry>) -> Self {
        Self {
            rules: Mutex::new(rules),
            telemetry,
            asked: Notify::new(),
            changes: Notify::new(),
            cuts: watch::Sender::new(0),
            visits: Visits::new(),
        }
    }

    /// What the extensions are told about the environment.
    pub(crate) fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    // What the environment does.

    /// Prepares for a new runtime; requests of an earlier one are void.
    pub(crate) fn start_anew(&self) {
        self.lock().start_anew();
        self.changed();
    }

    /// Adds an invocation, which the runtime gets with its `next`.
    pub(crate) fn hand_over(&self, invocation: Arc<Invocation>, caller: Caller) {
        let mut rules = self.lock();
        rules.hand_over(InFlight::new(invocation, caller));
        rules.wake(&self.asked);
        self.changes.notify_waiters();
    }

    /// Like [`hand_over`](Self::hand_over), for a runtime that is about to be started.
    ///
    /// Both happen under one lock, so no call of that runtime can come before its invocation.
    pub(crate) fn hand_over_anew(&self, invocation: Arc<Invocation>, caller: Caller) {
        let mut rules = self.lock();
        rules.start_anew();
        rules.hand_over(InFlight::new(invocation, caller));
        self.changed();
    }

    /// Sends the caller a failure, unless it has an answer. The invocation continues for the
    /// runtime.
    pub(crate) fn tell(&self, failure: FunctionFailure) {
        if let Some(in_flight) = self.lock().in_flight().get_mut(&failure.request_id) {
            in_flight.fail(failure);
        }
    }

    /// Ends the invocation. Its caller gets the failure, unless it has an answer.
    pub(crate) fn give_up(&self, failure: FunctionFailure) {
        let in_flight = self.lock().give_up(&failure.request_id);
        self.changed();
        if let Some(mut in_flight) = in_flight {
            in_flight.fail(failure);
        }
    }

    /// Prepares for a new runtime, as the current one has ended by itself. Invocations that it had
    /// got fail.
    pub(crate) fn replace(&self) {
        let ended = self.lock().replace();
        self.changed();
        for mut in_flight in ended {
            let error_type = "Runtime.ExitError";
            // Fails if an earlier call ended the invocation; the first reason counts.
            let _ = in_flight.invocation.dead_end.set(ErrorType::of_service(error_type));
            let id = &in_flight.invocation.request_id;
            let reason =
                format!("RequestId: {id} Error: Runtime exited without providing a reason");
            let kind = FailureKind::Exit;
            in_flight.fail(FunctionFailure::of_service(id, kind, error_type, &reason));
        }
    }

    // What the runtime does.

    /// `next`: waits for an invocation. A connection that has been closed gets none.
    pub(crate) async fn next(
        &self,
        is_there: impl Fn() -> bool,
    ) -> Result<Arc<Invocation>, Refusal> {
        let start = {
            let mut rules = self.lock();
            rules.ask()?;
            rules.start().number
        };
        let _asking = Asking(self);
        self.changes.notify_waiters();
        loop {
            let mut woken = pin!(self.asked.notified());
            // Registered before the check below, so that no change after it is missed.
            woken.as_mut().enable();
            {
                let mut rules = self.lock();
                if !rules.start().is_current(start) {
                    return Err(Refusal::Internal);
                }
                if rules.has_event() && !is_there() {
                    rules.wake(&self.asked);
                    return Err(Refusal::Internal);
                }
                if let Some(event) = rules.take() {
                    self.changes.notify_waiters();
                    return Ok(event);
                }
            }
            woken.await;
        }
    }

    /// What an extension that registers with this name is.
    pub(crate) fn kind_of_extension(&self, name: &str) -> Kind {
        self.lock().start().extensions.kind_of(name)
    }

    /// `register`: an internal extension, or one of the external ones that have been started.
    pub(crate) fn register(&self, name: &str, events: Events) -> Result<Uuid, ExtensionRefusal> {
        let id = {
            let mut rules = self.lock();
            let Start { extensions, progress, .. } = rules.start();
            progress.begin_init(Phase::Init);
            extensions.register(name, events)?
        };
        self.changed();
        Ok(id)
    }

    /// `event/next`: waits for an event for this extension. A connection that has been closed gets
    /// none.
    pub(crate) async fn extension_next(
        &self,
        id: Uuid,
        peer: Peer,
    ) -> Result<ExtensionEvent, ExtensionRefusal> {
        let is_there = || peer.as_ref().is_none_or(|peer| !is_closed(peer));
        let (start, number) = {
            let mut rules = self.lock();
            if rules.start().has_ended_for(id) {
                return Err(ExtensionRefusal::Internal);
            }
            let number = rules.start().extensions.ask(id, peer.clone())?;
            rules.start().look();
            // An invocation may have waited for this extension only.
            rules.deliver();
            (rules.start().number, number)
        };
        self.changed();
        let _asking = ExtensionAsking { broker: self, id, start, number };
        self.until(|rules| {
            let now = rules.start();
            let is_lost = now.extensions.has_event(id) && !is_there();
            if is_lost || !now.is_current_for(id, start) {
                return Some(Err(ExtensionRefusal::Internal));
            }
            now.extensions.take(id).map(Ok)
        })
        .await
    }

    /// Whether an extension of this name is registered.
    pub(crate) fn is_registered(&self, name: &str) -> bool {
        self.lock().start().extensions.has_name(name)
    }

    /// Whether this is the id of an external extension.
    fn is_external(&self, id: Uuid) -> bool {
        self.lock().start().extensions.is_external(id)
    }

    /// `init/error` or `exit/error` of an extension.
    pub(crate) fn fail_extension(
        &self,
        id: Uuid,
        failing: Failing,
        error_type: &str,
    ) -> Result<(), ExtensionRefusal> {
        self.lock().start().extensions.fail(id, failing, error_type)
    }

    /// `response` or `error`: the runtime is about to answer.
    pub(crate) fn begin(
        &self,
        post: Post,
        request_id: &str,
        attempt_id: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let mut rules = self.lock();
        rules.begin(post, request_id, attempt_id)?;
        if let Some(in_flight) = rules.in_flight().get(request_id) {
            // Fails for an error in the middle of a response, which has begun.
            let _ = in_flight.invocation.answering.set(Instant::now());
        }
        Ok(())
    }

    /// The invocation with this id, while it is in flight.
    pub(crate) fn invocation(&self, request_id: &str) -> Option<Arc<Invocation>> {
        self.lock().in_flight().get(request_id).map(|in_flight| Arc::clone(&in_flight.invocation))
    }

    /// Called when a connection breaks: waits a moment for the process to end. If it ends, the
    /// environment, which waits for the end of this visit, gives the caller the exit as the reason.
    pub(crate) async fn await_reason(&self, request_id: &str, visit: Visit) {
        drop(visit);
        if let Some(invocation) = self.invocation(request_id) {
            let _ = timeout(EXIT, invocation.over()).await;
        }
    }

    /// Gives the caller the runtime's answer.
    pub(crate) fn answer(&self, request_id: &str, answer: Result<Answered, FunctionFailure>) {
        let mut rules = self.lock();
        let Some(in_flight) = rules.in_flight().get_mut(request_id) else { return };
        match answer {
            Ok(answer) => in_flight.tell(Ok(answer)),
            Err(failure) => {
                in_flight.invocation.reports(&failure);
                in_flight.fail(failure);
            }
        }
    }

    /// Gives the caller the beginning of a streamed answer. The returned channel reports if the
    /// invocation fails before the stream ends.
    pub(crate) fn stream(&self, answer: Answered) -> oneshot::Receiver<FunctionFailure> {
        let (failed, has_failed) = oneshot::channel();
        if let Some(in_flight) = self.lock().in_flight().get_mut(&answer.request_id) {
            in_flight.stream = Some(failed);
            in_flight.tell(Ok(answer));
        }
        has_failed
    }

    /// The runtime has answered, and may ask for the next invocation.
    pub(crate) fn finish(&self, request_id: &str) {
        let mut rules = self.lock();
        if let Some(in_flight) = rules.in_flight().get(request_id) {
            // Fails only if an error was reported in the middle of a response.
            let _ = in_flight.invocation.answered.set(Instant::now());
        }
        rules.finish(request_id);
    }

    /// The runtime made a call after which it cannot continue until it is started again.
    pub(crate) fn end(&self, failure: FunctionFailure) {
        let mut rules = self.lock();
        let id = failure.request_id.clone();
        let Some(in_flight) = rules.in_flight().get_mut(&id) else { return };
        let unknown = || ErrorType { name: UNKNOWN.into(), origin: failure.origin };
        let error_type = failure.typed().unwrap_or_else(unknown);
        // Fails if an earlier call ended the invocation; the first reason counts.
        let _ = in_flight.invocation.dead_end.set(error_type);
        in_flight.fail(failure);
        in_flight.end();
        rules.end(&id);
    }

    /// The largest report of an error, in bytes.
    pub(crate) fn max_error(&self) -> usize {
        self.lock().max_error()
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Rules>> {
        self.rules.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// An open `next` of the runtime.
struct Asking<'d>(&'d Broker);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock().leave();
    }
}

/// An open `event/next` of an extension.
struct ExtensionAsking<'d> {
    broker: &'d Broker,
    id: Uuid,
    start: u64,
    /// Of the call.
    number: u64,
}

impl Drop for ExtensionAsking<'_> {
    fn drop(&mut self) {
        let mut rules = self.broker.lock();
        if rules.start().number == self.start {
            rules.start().extensions.leave(self.id, self.number);
        }
    }
}
