//! The thread that writes a streamed response, so that JavaScript runs while the connection is slow.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Instant;

use lambda_proto_host::lifecycle::Cancellation;
use lambda_proto_std::{InLifecycle, StreamOver, Worker};

/// The bytes that may wait for the connection. Above, [`Writer::write`] blocks, so that a function
/// that ignores what `write` returns has bounded memory, too.
const ROOM: usize = 1024 * 1024;

/// What a piece needs beside its bytes.
const OVERHEAD: usize = 64;

/// Where a stream goes.
pub(crate) trait Sink: Send + 'static {
    /// Writes a piece; blocks until the connection has taken it.
    ///
    /// # Errors
    ///
    /// If the stream is over.
    fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver>;

    /// Ends the stream; blocks until the service has taken it.
    fn finish(&mut self);
}

impl Sink for Worker<InLifecycle> {
    fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        Self::write(self, piece)
    }

    fn finish(&mut self) {
        // The log has what went wrong.
        let _receipt = Self::finish(self);
    }
}

/// Why a piece was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotWritten {
    #[error("there is no invocation to answer")]
    NoStream,
    #[error(transparent)]
    Over(#[from] StreamOver),
    #[error(
        "the time of the invocation is over, and the connection has not taken what was written before"
    )]
    Late,
}

/// What has happened since the last look.
#[derive(Debug)]
pub(crate) struct News<S> {
    /// How many pieces have been written.
    pub(crate) written: u32,
    /// Whether the stream is over, so that further pieces are lost.
    pub(crate) is_over: bool,
    /// The sink if the stream has been ended.
    pub(crate) ended: Option<S>,
}

/// The thread, which starts with the first stream, and the stream that it writes.
pub(crate) struct Writer<S> {
    shared: Arc<Shared<S>>,
    has_started: Cell<bool>,
}

struct Shared<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S> {
    /// `None` without a stream, and while the thread uses it.
    sink: Option<S>,
    /// Whether the thread uses the sink.
    is_busy: bool,
    queue: VecDeque<Vec<u8>>,
    /// The memory of the pieces that have not been written.
    size: usize,
    /// How many pieces have been written since the last look.
    written: u32,
    is_over: bool,
    /// Whether the last look has seen that.
    is_over_known: bool,
    must_finish: bool,
    has_finished: bool,
    has_panicked: bool,
}

/// What the thread does next.
enum Task {
    Write(Vec<u8>),
    Finish,
}

impl<S: Sink> Writer<S> {
    pub(crate) fn new() -> Self {
        let shared = Shared { state: Mutex::new(State::new(None)), changed: Condvar::new() };
        Self { shared: Arc::new(shared), has_started: Cell::new(false) }
    }

    /// Starts the thread unless it runs.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) fn start(&self) -> io::Result<()> {
        if !self.has_started.get() {
            let shared = self.shared.clone();
            let builder = thread::Builder::new().name("lambda-stream".to_owned());
            builder.spawn(move || shared.run())?;
            self.has_started.set(true);
        }
        Ok(())
    }

    /// Begins a stream. The thread must have been started, and have no other stream.
    pub(crate) fn begin(&self, sink: S) {
        *self.shared.lock() = State::new(Some(sink));
    }

    /// Hands over a piece. Blocks while too much waits for the connection, but not longer than until
    /// this moment.
    ///
    /// # Errors
    ///
    /// If there is no stream, if it is over, or if the moment has passed before there was room.
    pub(crate) fn write(&self, piece: Vec<u8>, until: Option<Instant>) -> Result<(), NotWritten> {
        let has_room = |state: &State<S>| !state.has_stream() || state.is_over || state.size < ROOM;
        let mut state = self.shared.wait(self.shared.lock(), until, has_room);
        if !state.has_stream() || state.must_finish {
            return Err(NotWritten::NoStream);
        }
        if state.is_over {
            return Err(StreamOver.into());
        }
        if state.size >= ROOM {
            return Err(NotWritten::Late);
        }
        state.size += piece.len() + OVERHEAD;
        state.queue.push_back(piece);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Ends the stream after what is left of it.
    pub(crate) fn finish(&self) {
        self.shared.lock().must_finish = true;
        self.shared.changed.notify_all();
    }

    /// Whether there is news, or will be.
    pub(crate) fn is_at_work(&self) -> bool {
        let state = self.shared.lock();
        state.has_news() || state.is_writing()
    }

    /// What has happened since the last call; `None` if nothing has.
    pub(crate) fn take_news(&self) -> Option<News<S>> {
        let mut state = self.shared.lock();
        if !state.has_news() {
            return None;
        }
        let written = std::mem::take(&mut state.written);
        let is_over = state.is_over;
        state.is_over_known = is_over;
        let ended = if state.has_finished { state.sink.take() } else { None };
        Some(News { written, is_over, ended })
    }

    /// Waits for news until this moment, or until the cancellation fires.
    pub(crate) fn wait(&self, until: Option<Instant>, cancellation: Option<&Cancellation>) {
        let waker = Waker::from(self.shared.clone());
        let mut fired = pin!(async {
            if let Some(cancellation) = cancellation {
                cancellation.fired().await;
            }
        });
        // Only so that it wakes the wait; whether it has fired is asked there.
        let _ = fired.as_mut().poll(&mut Context::from_waker(&waker));
        let _state = self.shared.wait(self.shared.lock(), until, |state| {
            let is_cancelled = cancellation.is_some_and(Cancellation::is_cancelled);
            state.has_news() || !state.is_writing() || is_cancelled
        });
    }

    /// Takes the sink back once all pieces have been written, and the end if the stream was ended,
    /// but waits no longer than until this moment. `None` if there is no stream or no time.
    pub(crate) fn call_back(&self, until: Option<Instant>) -> Option<S> {
        let mut state = self.shared.wait(self.shared.lock(), until, |state| !state.is_writing());
        if state.is_writing() {
            return None;
        }
        // Without the news, which is of no use any more.
        std::mem::replace(&mut *state, State::new(None)).sink
    }
}

impl<S: Sink> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // The state is consistent at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something holds, but not longer than until this moment.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<S>>,
        until: Option<Instant>,
        holds: impl Fn(&State<S>) -> bool,
    ) -> MutexGuard<'a, State<S>> {
        loop {
            assert!(!state.has_panicked, "the thread that writes streams has panicked");
            if holds(&state) {
                return state;
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return state,
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The thread.
    fn run(&self) {
        let _told = Told(self);
        let mut state = self.lock();
        loop {
            let Some((mut sink, task)) = state.next() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let result = match &task {
                Task::Write(piece) => sink.write(piece),
                Task::Finish => {
                    sink.finish();
                    Ok(())
                }
            };
            state = self.lock();
            state.has_done(sink, &task, result);
            self.changed.notify_all();
        }
    }
}

impl<S: Sink> Wake for Shared<S> {
    fn wake(self: Arc<Self>) {
        // Nobody is between a check and a wait then.
        drop(self.lock());
        self.changed.notify_all();
    }
}

/// Tells those who wait if the thread panics.
struct Told<'a, S: Sink>(&'a Shared<S>);

impl<S: Sink> Drop for Told<'_, S> {
    fn drop(&mut self) {
        self.0.lock().has_panicked = true;
        self.0.changed.notify_all();
    }
}

impl<S> State<S> {
    fn new(sink: Option<S>) -> Self {
        Self {
            sink,
            is_busy: false,
            queue: VecDeque::new(),
            size: 0,
            written: 0,
            is_over: false,
            is_over_known: false,
            must_finish: false,
            has_finished: false,
            has_panicked: false,
        }
    }

    fn has_stream(&self) -> bool {
        self.sink.is_some() || self.is_busy
    }

    /// Whether the thread writes, or is about to.
    fn is_writing(&self) -> bool {
        let is_ending = self.must_finish && !self.has_finished;
        self.is_busy || (self.sink.is_some() && (!self.queue.is_empty() || is_ending))
    }

    fn has_news(&self) -> bool {
        let has_ended = self.has_finished && self.sink.is_some();
        self.written > 0 || (self.is_over && !self.is_over_known) || has_ended
    }

    /// What the thread does next, if anything.
    fn next(&mut self) -> Option<(S, Task)> {
        let has_end = self.must_finish && !self.has_finished;
        if self.sink.is_none() || (self.queue.is_empty() && !has_end) {
            return None;
        }
        let task = self.queue.pop_front().map_or(Task::Finish, Task::Write);
        self.is_busy = true;
        Some((self.sink.take()?, task))
    }

    fn has_done(&mut self, sink: S, task: &Task, result: Result<(), StreamOver>) {
        self.sink = Some(sink);
        self.is_busy = false;
        match (task, result) {
            (Task::Finish, _) => self.has_finished = true,
            (Task::Write(piece), Ok(())) => {
                self.size -= piece.len() + OVERHEAD;
                self.written += 1;
            }
            (Task::Write(_), Err(StreamOver)) => {
                self.is_over = true;
                self.size = 0;
                self.queue.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests;
