//! Matches the calls of a runtime with the invocations of callers, and keeps the state of both.

mod extensions;
mod managed;
mod on_demand;
mod start;

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

use crate::answer::{Answered, FunctionFailure, UNKNOWN};
use crate::invocation::Invocation;
use crate::machine::Call;
use crate::refusal::{ExtensionRefusal, Refusal};

use managed::Managed;
use on_demand::OnDemand;
use start::Start;

pub(crate) use extensions::Failing;
pub(crate) use start::Started;

/// One environment's runtime as the service sees it, and the invocations that it has in flight.
///
/// The Runtime API changes it by what the runtime says, the environment by what happens to the
/// process and to time; each sees what the other did.
#[derive(Debug)]
pub(crate) struct Broker {
    rules: Mutex<Box<dyn Rules>>,
    /// Wakes those who have asked for an event.
    asked: Notify,
    /// Wakes those who wait for anything else.
    changes: Notify,
    /// How often all connections have been cut.
    cuts: watch::Sender<u64>,
    /// How many connections are open, and how much that they brought is still being read.
    visits: watch::Sender<usize>,
}

/// What a runtime may say when, and what it is given.
trait Rules: Debug + Send {
    /// The start of the runtime.
    fn start(&mut self) -> &mut Start;

    /// What is in flight, by the id.
    fn in_flight(&mut self) -> &mut HashMap<String, InFlight>;

    /// An invocation is there for the runtime.
    fn hand_over(&mut self, in_flight: InFlight);

    /// A new runtime may start; what an earlier one had asked for is void.
    fn start_anew(&mut self);

    /// An invocation that waited for something else than the runtime may wait no more.
    fn deliver(&mut self) {}

    /// `next` is asked.
    fn ask(&mut self) -> Result<(), Refusal>;

    /// Wakes who may get the event that has been handed over.
    fn wake(&self, asked: &Notify);

    /// Whether one who has asked would get something now.
    fn has_event(&mut self) -> bool;

    /// The event for one who has asked, if there is one.
    fn take(&mut self) -> Option<Arc<Invocation>>;

    /// One who has asked got an event, or has gone.
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

    /// The runtime cannot start. Gives the ids of the invocations that it was started for.
    fn start_error(&mut self, call: Call) -> Result<Vec<String>, Refusal>;

    /// Nothing more comes of this invocation, as the runtime has no way on.
    fn end(&mut self, request_id: &str);

    /// Nothing more comes of this invocation, whatever the runtime says.
    fn give_up(&mut self, request_id: &str) -> Option<InFlight>;

    /// The largest report of an error, in bytes.
    fn max_error(&self) -> usize;
}

/// Where the one who invoked waits.
pub(crate) type Caller = oneshot::Sender<Result<Answered, FunctionFailure>>;

/// What a runtime posts for an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Post {
    Response,
    Error,
}

/// An invocation on its way through a runtime.
#[derive(Debug)]
struct InFlight {
    invocation: Arc<Invocation>,
    /// Until there is an answer.
    caller: Option<Caller>,
    /// While the answer is streamed: how the stream learns that it has failed.
    stream: Option<oneshot::Sender<FunctionFailure>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The runtime has not got it yet.
    Waiting,
    Running,
    Answering,
    /// Nothing more comes of it, though its id is still the current one.
    Over,
}

/// Something of a runtime that has not been heard to its end.
#[derive(Debug)]
pub(crate) struct Visit(Arc<Broker>);

/// How long after its connections a process ends, at most, that ends with them.
const EXIT: Duration = Duration::from_millis(500);

impl Broker {
    /// For one invocation at a time; a runtime that somebody else starts may come at any time.
    pub(crate) fn on_demand(is_external: bool) -> Self {
        Self::new(Box::new(OnDemand::new(is_external)))
    }

    /// For as many invocations as there are open requests for one.
    pub(crate) fn managed() -> Self {
        Self::new(Box::new(Managed::new()))
    }

    fn new(rules: Box<dyn Rules>) -> Self {
        Self {
            rules: Mutex::new(rules),
            asked: Notify::new(),
            changes: Notify::new(),
            cuts: watch::Sender::new(0),
            visits: watch::Sender::new(0),
        }
    }

    // What the environment does.

    /// A new runtime may start; what an earlier one had asked for is void.
    pub(crate) fn start_anew(&self) {
        self.lock().start_anew();
        self.changed();
    }

    /// Gives the runtime an invocation, which it gets with its `next`.
    pub(crate) fn hand_over(&self, invocation: Arc<Invocation>, caller: Caller) {
        let mut rules = self.lock();
        rules.hand_over(InFlight::new(invocation, caller));
        rules.wake(&self.asked);
        self.changes.notify_waiters();
    }

    /// As [`hand_over`](Self::hand_over), to a runtime that is going to be started for it.
    ///
    /// In one step, so that nothing which that runtime says can come before its invocation.
    pub(crate) fn hand_over_anew(&self, invocation: Arc<Invocation>, caller: Caller) {
        let mut rules = self.lock();
        rules.start_anew();
        rules.hand_over(InFlight::new(invocation, caller));
        self.changed();
    }

    /// Tells the caller a failure, unless there is an answer. The invocation goes on for the runtime.
    pub(crate) fn tell(&self, failure: FunctionFailure) {
        if let Some(in_flight) = self.lock().in_flight().get_mut(&failure.request_id) {
            in_flight.fail(failure);
        }
    }

    /// Ends the invocation; its caller is told the failure, unless there is an answer.
    pub(crate) fn give_up(&self, failure: FunctionFailure) {
        let in_flight = self.lock().give_up(&failure.request_id);
        self.changed();
        if let Some(mut in_flight) = in_flight {
            in_flight.fail(failure);
        }
    }

    // What the runtime does.

    /// `next`: waits for an invocation. One who has gone meanwhile gets none.
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
            // From here on: what comes behind the look must not be missed.
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

    /// `register`: a new extension.
    pub(crate) fn register(
        &self,
        name: &str,
        has_invocations: bool,
    ) -> Result<Uuid, ExtensionRefusal> {
        self.lock().start().extensions.register(name, has_invocations)
    }

    /// `event/next`: waits for what this extension wants to know. One who has gone meanwhile gets
    /// nothing.
    pub(crate) async fn extension_next(
        &self,
        id: Uuid,
        is_there: impl Fn() -> bool,
    ) -> Result<Arc<Invocation>, ExtensionRefusal> {
        let start = {
            let mut rules = self.lock();
            if rules.start().has_ended() {
                return Err(ExtensionRefusal::Internal);
            }
            rules.start().extensions.ask(id)?;
            // It may be the last that an invocation waited for.
            rules.deliver();
            rules.start().number
        };
        self.changed();
        let _asking = ExtensionAsking { broker: self, id, start };
        self.until(|rules| {
            let now = rules.start();
            let is_lost = now.extensions.has_event(id) && !is_there();
            if is_lost || !now.is_current(start) {
                return Some(Err(ExtensionRefusal::Internal));
            }
            now.extensions.take(id).map(Ok)
        })
        .await
    }

    /// `init/error` or `exit/error` of an extension.
    pub(crate) fn fail_extension(
        &self,
        id: Uuid,
        failing: Failing,
    ) -> Result<(), ExtensionRefusal> {
        self.lock().start().extensions.fail(id, failing)
    }

    /// Something that a runtime says is going to be read.
    pub(crate) fn visit(self: &Arc<Self>) -> Visit {
        self.visits.send_modify(|visits| *visits += 1);
        Visit(Arc::clone(self))
    }

    /// `response` or `error`: the runtime is about to answer.
    pub(crate) fn begin(
        &self,
        post: Post,
        request_id: &str,
        attempt_id: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        self.lock().begin(post, request_id, attempt_id)
    }

    /// The invocation of this id, while it is the runtime's.
    pub(crate) fn invocation(&self, request_id: &str) -> Option<Arc<Invocation>> {
        self.lock().in_flight().get(request_id).map(|in_flight| Arc::clone(&in_flight.invocation))
    }

    /// Waits for the end of a process whose connection has ended: if that is the reason, the caller is told
    /// so by the environment, which has been waiting for the end of the visit.
    pub(crate) async fn await_reason(&self, request_id: &str, visit: Visit) {
        drop(visit);
        if let Some(invocation) = self.invocation(request_id) {
            let _ = timeout(EXIT, invocation.over()).await;
        }
    }

    /// Gives the caller what the runtime answered.
    pub(crate) fn answer(&self, request_id: &str, answer: Result<Answered, FunctionFailure>) {
        let mut rules = self.lock();
        let Some(in_flight) = rules.in_flight().get_mut(request_id) else { return };
        match answer {
            Ok(answer) => in_flight.tell(Ok(answer)),
            Err(failure) => in_flight.fail(failure),
        }
    }

    /// Gives the caller an answer that is going to be streamed; what this returns tells when the
    /// invocation fails before its end.
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
        self.lock().finish(request_id);
    }

    /// The runtime has answered in a way that leaves it without a way on, until it is started again.
    pub(crate) fn end(&self, failure: FunctionFailure) {
        let mut rules = self.lock();
        let id = failure.request_id.clone();
        let Some(in_flight) = rules.in_flight().get_mut(&id) else { return };
        let error_type = failure.error_type().unwrap_or_else(|| UNKNOWN.into());
        // It fails if it has ended before, which then is the reason.
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

impl InFlight {
    fn new(invocation: Arc<Invocation>, caller: Caller) -> Self {
        Self { invocation, caller: Some(caller), stream: None, stage: Stage::Waiting }
    }

    /// The event for the runtime.
    fn deliver(&mut self) -> Arc<Invocation> {
        self.stage = Stage::Running;
        self.invocation.begin();
        let _is_the_first_time = self.invocation.delivered.set(std::time::Instant::now());
        Arc::clone(&self.invocation)
    }

    /// Nothing more comes of it, though its id may still be the current one.
    fn end(&mut self) {
        self.stage = Stage::Over;
        self.invocation.over.send_replace(true);
    }

    fn is_other_attempt(&self, attempt_id: Option<&[u8]>) -> bool {
        attempt_id.is_some_and(|it| it != self.invocation.attempt_id.as_bytes())
    }

    /// Tells the caller, unless that has been done.
    fn tell(&mut self, answer: Result<Answered, FunctionFailure>) {
        if let Some(caller) = self.caller.take() {
            // It may have hung up.
            let _ = caller.send(answer);
        }
    }

    /// Tells the caller, or the stream on its way there.
    fn fail(&mut self, failure: FunctionFailure) {
        match self.stream.take() {
            Some(stream) => {
                // It may have ended.
                let _ = stream.send(failure);
            }
            None => self.tell(Err(failure)),
        }
    }
}

/// One who has asked for an event, until it is there.
struct Asking<'d>(&'d Broker);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock().leave();
    }
}

/// An extension that has asked for an event, until it is there.
struct ExtensionAsking<'d> {
    broker: &'d Broker,
    id: Uuid,
    start: u64,
}

impl Drop for ExtensionAsking<'_> {
    fn drop(&mut self) {
        let mut rules = self.broker.lock();
        if rules.start().number == self.start {
            rules.start().extensions.leave(self.id);
        }
    }
}

/// Ends what is not in flight any more.
impl Drop for InFlight {
    fn drop(&mut self) {
        self.end();
    }
}

impl Visit {
    pub(crate) fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.0)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.visits.send_modify(|visits| *visits -= 1);
    }
}
