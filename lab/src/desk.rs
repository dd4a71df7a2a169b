//! Where a runtime and the service meet: the state of the one, the invocation of the other.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::{oneshot, watch};

use crate::answer::{Answered, FunctionFailure, UNKNOWN};
use crate::invocation::Invocation;
use crate::machine::{Call, State};
use crate::refusal::Refusal;

/// One environment's runtime as the service sees it, and the invocation that it has in hand.
///
/// The Runtime API changes it by what the runtime says, the environment by what happens to the
/// process and to time; each sees what the other did.
#[derive(Debug)]
pub(crate) struct Desk {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
    /// How many connections are open, and how much that they brought is still being read.
    visits: watch::Sender<usize>,
    /// Somebody else starts the runtime, and may do so at any time.
    is_external: bool,
}

/// Something of a runtime that has not been heard to its end.
#[derive(Debug)]
pub(crate) struct Visit(Arc<Desk>);

/// Where the one who invoked waits.
pub(crate) type Caller = oneshot::Sender<Result<Answered, FunctionFailure>>;

#[derive(Debug)]
struct Inner {
    state: State,
    /// One for each start of a runtime: what an earlier one had asked for is void.
    start: u64,
    in_hand: Option<InHand>,
    /// When the runtime got the last invocation.
    delivered: Option<Instant>,
    /// Why the runtime cannot go on, by the type of the error.
    dead_end: Option<String>,
    /// The runtime has ended: what it has said may still be heard, but it is given nothing more.
    has_ended: bool,
}

#[derive(Debug)]
struct InHand {
    invocation: Arc<Invocation>,
    /// Until there is an answer.
    caller: Option<Caller>,
    /// While the answer is streamed: how the stream learns that the invocation was given up.
    stream: Option<oneshot::Sender<FunctionFailure>>,
    /// Nothing more comes of it, though its id is still the current one.
    is_over: bool,
}

impl Desk {
    pub(crate) fn new(is_external: bool) -> Self {
        let inner = Inner {
            state: State::Started,
            start: 0,
            in_hand: None,
            delivered: None,
            dead_end: None,
            has_ended: false,
        };
        let (changed, visits) = (watch::Sender::new(()), watch::Sender::new(0));
        Self { inner: Mutex::new(inner), changed, visits, is_external }
    }

    // What the environment does.

    /// Forgets everything: a new runtime may start.
    pub(crate) fn start_anew(&self) {
        self.change(Inner::start_anew);
    }

    /// Whether the runtime must be started again before it can take an invocation.
    pub(crate) fn is_terminal(&self) -> bool {
        self.lock().state.is_terminal()
    }

    /// Gives the runtime an invocation, which it gets with its `next`.
    pub(crate) fn hand_over(&self, invocation: Arc<Invocation>, caller: Caller) {
        self.change(|inner| inner.take_in_hand(invocation, caller));
    }

    /// As [`hand_over`](Self::hand_over), to a runtime that is going to be started for it.
    ///
    /// In one step, so that nothing which that runtime says can come before its invocation.
    pub(crate) fn hand_over_anew(&self, invocation: Arc<Invocation>, caller: Caller) {
        self.change(|inner| {
            inner.start_anew();
            inner.take_in_hand(invocation, caller);
        });
    }

    /// Waits until nothing more comes of this invocation.
    pub(crate) async fn over(&self, request_id: &str) {
        self.until(|inner| match inner.find(request_id) {
            Some(in_hand) if !in_hand.is_over => None,
            _ => Some(()),
        })
        .await;
    }

    /// Waits until everything has been heard that the runtime said before it ended.
    pub(crate) async fn hear_last_words(&self) {
        self.change(|inner| inner.has_ended = true);
        // It fails if the sender is gone, which is `self`.
        let _ = self.visits.subscribe().wait_for(|visits| *visits == 0).await;
    }

    /// Why the runtime cannot go on, by the type of the error; `None` if it can.
    pub(crate) fn dead_end(&self) -> Option<String> {
        self.lock().dead_end.clone()
    }

    /// When the runtime got the invocation that was handed over last, if it has.
    pub(crate) fn delivered(&self) -> Option<Instant> {
        self.lock().delivered
    }

    /// Ends the invocation, and forgets its runtime; its caller is told the failure, unless there is
    /// an answer.
    pub(crate) fn give_up(&self, failure: FunctionFailure) {
        let in_hand = self.change(|inner| {
            let in_hand = inner.in_hand.take();
            inner.start_anew();
            in_hand
        });
        let Some(in_hand) = in_hand else { return };
        match in_hand.stream {
            Some(stream) => {
                let _ = stream.send(failure);
            }
            None => tell(in_hand.caller, Err(failure)),
        }
    }

    // What the runtime does.

    /// `next`: waits for an invocation. A runtime that has one in hand gets the same again.
    pub(crate) async fn next(&self) -> Result<Arc<Invocation>, Refusal> {
        let start = self.change(|inner| {
            if inner.has_ended {
                return Err(Refusal::Internal);
            }
            let state = inner.state.after(Call::Next)?;
            if inner.state == State::RuntimeResponseSentState {
                inner.in_hand = None;
            }
            inner.state = state;
            inner.deliver();
            Ok::<_, Refusal>(inner.start)
        })?;
        self.until(|inner| match &inner.in_hand {
            _ if inner.start != start || inner.has_ended => Some(Err(Refusal::Internal)),
            Some(in_hand) if inner.state == State::Running => {
                Some(Ok(Arc::clone(&in_hand.invocation)))
            }
            _ => None,
        })
        .await
    }

    /// Something that a runtime says is going to be read.
    pub(crate) fn visit(self: &Arc<Self>) -> Visit {
        self.visits.send_modify(|visits| *visits += 1);
        Visit(Arc::clone(self))
    }

    /// `response` or `error`: the runtime is about to answer.
    ///
    /// The id is checked before the order, and with an error the attempt before the order too.
    pub(crate) fn begin(
        &self,
        call: Call,
        request_id: &str,
        attempt_id: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        self.change(|inner| {
            let in_hand = inner.find(request_id).ok_or(Refusal::InvalidRequestId)?;
            let is_other =
                attempt_id.is_some_and(|it| it != in_hand.invocation.attempt_id.as_bytes());
            if is_other && call == Call::Error {
                return Err(Refusal::OtherAttempt);
            }
            let state = inner.state.after(call)?;
            if is_other {
                return Err(Refusal::OtherAttempt);
            }
            inner.state = state;
            Ok(())
        })
    }

    /// Gives the caller what the runtime answered.
    pub(crate) fn answer(&self, request_id: &str, answer: Result<Answered, FunctionFailure>) {
        let caller = self.change(|inner| inner.find(request_id)?.caller.take());
        tell(caller, answer);
    }

    /// Gives the caller an answer that is going to be streamed; what this returns tells when the
    /// invocation is given up before.
    pub(crate) fn stream(&self, answer: Answered) -> oneshot::Receiver<FunctionFailure> {
        let (given_up, is_given_up) = oneshot::channel();
        let caller = self.change(|inner| {
            let in_hand = inner.find(&answer.request_id)?;
            in_hand.stream = Some(given_up);
            in_hand.caller.take()
        });
        tell(caller, Ok(answer));
        is_given_up
    }

    /// The runtime has answered, and may ask for the next invocation.
    pub(crate) fn finish(&self, request_id: &str) {
        self.change(|inner| {
            if inner.find(request_id).is_some() {
                inner.state = State::RuntimeResponseSentState;
            }
        });
    }

    /// The runtime has answered in a way that leaves it without a way on, until it is started again.
    pub(crate) fn end(&self, failure: FunctionFailure) {
        let caller = self.change(|inner| {
            let in_hand = inner.find(&failure.request_id)?;
            in_hand.is_over = true;
            let caller = in_hand.caller.take();
            inner.dead_end = Some(failure.error_type().unwrap_or_else(|| UNKNOWN.into()));
            caller
        });
        tell(caller, Err(failure));
    }

    /// `init/error`: the runtime cannot start. Gives the id of the invocation that it was started for.
    ///
    /// One that somebody else starts may come again if nobody has invoked yet.
    pub(crate) fn init_error(&self) -> Result<Option<String>, Refusal> {
        self.change(|inner| {
            inner.state = inner.state.after(Call::InitError)?;
            let id = inner.in_hand.as_ref().map(|in_hand| in_hand.invocation.request_id.clone());
            if id.is_none() && self.is_external {
                inner.start_anew();
            }
            Ok(id)
        })
    }

    async fn until<T>(&self, mut find: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(found) = find(&mut self.lock()) {
                return found;
            }
            changed.changed().await.expect("the sender is in `self`");
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    fn start_anew(&mut self) {
        self.state = State::Started;
        self.start += 1;
        self.in_hand = None;
        self.dead_end = None;
        self.has_ended = false;
    }

    fn take_in_hand(&mut self, invocation: Arc<Invocation>, caller: Caller) {
        let caller = Some(caller);
        self.in_hand = Some(InHand { invocation, caller, stream: None, is_over: false });
        self.delivered = None;
        self.deliver();
    }

    fn find(&mut self, request_id: &str) -> Option<&mut InHand> {
        self.in_hand.as_mut().filter(|in_hand| in_hand.invocation.request_id == request_id)
    }

    /// A runtime that asks gets the invocation that is there.
    fn deliver(&mut self) {
        if let (State::Ready, Some(in_hand)) = (self.state, &self.in_hand)
            && !in_hand.is_over
        {
            self.delivered = Some(Instant::now());
            self.state = State::Running;
        }
    }
}

impl Visit {
    pub(crate) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.0)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.visits.send_modify(|visits| *visits -= 1);
    }
}

fn tell(caller: Option<Caller>, answer: Result<Answered, FunctionFailure>) {
    if let Some(caller) = caller {
        // It may have hung up.
        let _ = caller.send(answer);
    }
}
