//! What JavaScript shares with the runtime around it: the log, the worker, timers and open work.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::process;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto::lifecycle::TimeLimit;
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::policy::{FreezePoint, TaskToken};
use lambda_proto_host::report_in_flight;
use lambda_proto_std::{
    ContentType, Failure, HttpPrelude, InLifecycle, Level, Log, Record, Worker,
};

use crate::hooks::Hooks;
use crate::owners::{Owner, Owners};
use crate::settings::{Output, Settings};
use crate::timers::{Timer, Timers};
use crate::watchdog::TimeBox;
use crate::work::{LOGGER, Work};
use crate::writer::{News, NotWritten, Writer};

/// How long a process that ends waits for the service.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state of one slot outside of JavaScript.
pub(crate) struct Host {
    pub(crate) log: Log,
    output: Output,
    pub(crate) owners: Rc<Owners>,
    pub(crate) time: Rc<TimeBox>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) work: RefCell<Work>,
    /// `None` during init, and while a stream is open.
    pub(crate) worker: RefCell<Option<Worker<InLifecycle>>>,
    /// The current invocation, or the last one.
    pub(crate) invocation: RefCell<Rc<Owner>>,
    /// The deadline of that invocation.
    pub(crate) limit: Cell<Option<TimeLimit>>,
    pub(crate) stream: Cell<StreamState>,
    /// Has the worker while the stream is open.
    pub(crate) writer: Writer<Worker<InLifecycle>>,
    /// The open promises that `waitUntil` was given, by their numbers.
    awaited: RefCell<HashMap<u32, Awaited>>,
    /// Takes the result of init.
    started: Sender<Result<Hooks, Failure>>,
    /// Takes the result of the hooks that run now.
    pub(crate) hooks_done: RefCell<Option<Sender<Result<(), Failure>>>>,
    /// Whether init is over.
    has_started: Cell<bool>,
}

/// A promise that `waitUntil` was given.
struct Awaited {
    token: TaskToken,
    /// Whether a freeze point has left it behind.
    is_left_behind: bool,
}

/// The stream of the current invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StreamState {
    /// It has not begun.
    #[default]
    None,
    /// It has begun, and was not ended.
    Open,
    /// It was ended.
    Ended,
}

/// What a streamed response begins with.
pub(crate) enum StreamForm {
    /// Bytes of this content type.
    Bytes(String),
    /// An HTTP response, for function URLs and API Gateway.
    Http { status: u16, headers: Vec<(String, String)>, cookies: Vec<String> },
}

/// A timer that JavaScript sets.
pub(crate) struct NewTimer<'a> {
    pub(crate) id: u32,
    pub(crate) delay: Duration,
    pub(crate) is_interval: bool,
    pub(crate) description: &'a str,
}

impl Host {
    pub(crate) fn new(
        settings: &Settings,
        log: Log,
        started: Sender<Result<Hooks, Failure>>,
    ) -> Self {
        Self {
            work: RefCell::new(Work::new(settings.policy, log.clone())),
            log,
            output: settings.output,
            owners: Rc::new(Owners::new()),
            time: Rc::default(),
            timers: RefCell::default(),
            worker: RefCell::default(),
            invocation: RefCell::default(),
            limit: Cell::default(),
            stream: Cell::default(),
            writer: Writer::new(),
            awaited: RefCell::default(),
            started,
            hooks_done: RefCell::default(),
            has_started: Cell::default(),
        }
    }

    /// Calls `work` with the worker; `None` during init, and while a stream is open.
    pub(crate) fn with_worker<T>(
        &self,
        work: impl FnOnce(&mut Worker<InLifecycle>) -> T,
    ) -> Option<T> {
        self.worker.try_borrow_mut().ok()?.as_mut().map(work)
    }

    /// Tells the result of init.
    pub(crate) fn has_started(&self, result: Result<Hooks, Failure>) {
        self.has_started.set(true);
        // If nobody waits for it, the process ends.
        let _ = self.started.send(result);
    }

    /// The time left until the deadline of the current invocation; `None` if it is unknown.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.limit.get()?.remaining(clock::now())
    }

    /// What the console has printed, without the end of the line.
    pub(crate) fn print(&self, level: Level, text: &str) {
        match self.output {
            Output::Log => self.record(level, text),
            Output::Raw => {
                let mut out = std::io::stdout().lock();
                // Nobody reads it, which is no failure of the function.
                let _ = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush());
            }
        }
    }

    /// Writes a record of the function to the log, of the invocation that the code belongs to.
    fn record(&self, level: Level, text: &str) {
        let owner = self.owners.current();
        self.log.write(&Record::new(level, format_args!("{text}")).request_id(&owner.request_id));
    }

    /// Logs an error that no code handles, under the invocation that it belongs to.
    pub(crate) fn unhandled(&self, owner: &Owner, what: &str, failure: &Failure) {
        self.log.failure(Level::Error, &owner.request_id, format_args!("{what}"), failure);
    }

    /// Writes a warning of the runtime to the log.
    pub(crate) fn warn(&self, text: &str) {
        let owner = self.owners.current();
        let line = format_args!("{text}");
        let record = Record::new(Level::Warn, line).logger(LOGGER);
        self.log.write(&record.request_id(&owner.request_id));
    }

    /// Sets a timer.
    pub(crate) fn set_timer(&self, new: &NewTimer<'_>) {
        let owner = self.owners.current();
        let token = Some(self.work.borrow_mut().begin(&owner, new.description));
        let timer = Timer {
            id: new.id,
            owner,
            every: new.is_interval.then_some(new.delay),
            token,
            is_left_behind: false,
        };
        self.timers.borrow_mut().set(timer, Instant::now() + new.delay);
    }

    /// Clears a timer.
    pub(crate) fn clear_timer(&self, id: u32) {
        let removed = self.timers.borrow_mut().remove(id);
        if let Some(token) = removed.and_then(|timer| timer.token) {
            self.work.borrow_mut().end(token);
        }
    }

    /// Takes a timer out of what is waited for and reported.
    pub(crate) fn unreference_timer(&self, id: u32) {
        let token = self.timers.borrow_mut().get_mut(id).and_then(|timer| timer.token.take());
        if let Some(token) = token {
            self.work.borrow_mut().end(token);
        }
    }

    /// Reverses [`unreference_timer`](Self::unreference_timer).
    pub(crate) fn reference_timer(&self, id: u32, description: &str) {
        let mut timers = self.timers.borrow_mut();
        let Some(timer) = timers.get_mut(id).filter(|timer| timer.token.is_none()) else { return };
        timer.token = Some(self.work.borrow_mut().begin(&timer.owner, description));
        timer.is_left_behind = false;
    }

    /// Begins the work of a promise that was given to `waitUntil`, under this number.
    pub(crate) fn begin_awaited(&self, id: u32, description: &str) {
        let owner = self.owners.current();
        let token = self.work.borrow_mut().begin(&owner, description);
        self.awaited.borrow_mut().insert(id, Awaited { token, is_left_behind: false });
    }

    /// Ends it.
    pub(crate) fn end_awaited(&self, id: u32) {
        let removed = self.awaited.borrow_mut().remove(&id);
        if let Some(awaited) = removed {
            self.work.borrow_mut().end(awaited.token);
        }
    }

    /// Whether a freeze point has to wait for a promise.
    pub(crate) fn has_awaited(&self) -> bool {
        self.awaited.borrow().values().any(|awaited| !awaited.is_left_behind)
    }

    /// Leaves all open work behind, and reports it as the policy says. Returns whether the policy
    /// treats it as an error.
    pub(crate) fn leave_behind(&self, freeze_point: FreezePoint) -> bool {
        self.timers.borrow_mut().leave_behind();
        for awaited in self.awaited.borrow_mut().values_mut() {
            awaited.is_left_behind = true;
        }
        let invocation = self.invocation.borrow().clone();
        self.work.borrow_mut().leave_behind(freeze_point, &invocation.request_id)
    }

    /// Begins to stream the response to the current invocation.
    ///
    /// # Errors
    ///
    /// If there is nothing to answer, or if the form of the stream is invalid.
    pub(crate) fn stream(&self, form: &StreamForm) -> Result<(), String> {
        self.writer.start().map_err(|error| format!("the stream cannot begin: {error}"))?;
        let begun = self.with_worker(|worker| match form {
            StreamForm::Bytes(content_type) => {
                let content_type = ContentType::from_bytes(content_type.as_bytes())
                    .map_err(|error| error.to_string())?;
                Ok(worker.stream(content_type))
            }
            StreamForm::Http { status, headers, cookies } => {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
                let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
                let prelude = HttpPrelude::new(*status, &headers, &cookies)
                    .map_err(|error| error.to_string())?;
                Ok(worker.responder().is_some_and(|responder| {
                    // The worker keeps the stream open when this is dropped.
                    let _stream = responder.stream_http(&prelude);
                    true
                }))
            }
        });
        match begun.unwrap_or(Ok(false)) {
            Ok(true) => {
                self.stream.set(StreamState::Open);
                if let Some(worker) = self.worker.take() {
                    self.writer.begin(worker);
                }
                Ok(())
            }
            Ok(false) => Err("there is no invocation to answer".to_owned()),
            Err(reason) => Err(reason),
        }
    }

    /// Sends a piece of the stream. Blocks while too much waits for the connection, until the time
    /// of the code is over.
    ///
    /// # Errors
    ///
    /// If the stream is over, or the time.
    pub(crate) fn write(&self, piece: Vec<u8>) -> Result<(), NotWritten> {
        self.writer.write(piece, self.time.until())
    }

    /// Ends the stream after what is left of it.
    pub(crate) fn finish(&self) {
        if self.stream.get() == StreamState::Open {
            self.stream.set(StreamState::Ended);
            self.writer.finish();
        }
    }

    /// Whether the stream is ended, and the service has its end.
    pub(crate) fn is_streamed(&self) -> bool {
        self.stream.get() == StreamState::Ended && !self.writer.is_at_work()
    }

    /// What has become of the stream since the last call.
    pub(crate) fn stream_news(&self) -> Option<News<()>> {
        let News { written, is_over, ended } = self.writer.take_news()?;
        let ended = ended.map(|worker| drop(self.worker.replace(Some(worker))));
        Some(News { written, is_over, ended })
    }

    /// Waits until the connection has taken what is left of the stream, but not longer than until
    /// this moment, and takes the worker back.
    pub(crate) fn leave_stream(&self, until: Option<Instant>) {
        if let Some(worker) = self.writer.call_back(until) {
            self.worker.replace(Some(worker));
        }
    }

    /// `process.exit`: reports what is in flight and ends the process.
    pub(crate) fn exit(&self, code: i32) -> ! {
        let message = format!("the function called process.exit({code})");
        self.end(&Failure::new("Function.Exit", message), code)
    }

    /// Reports what is in flight as failed, and ends the process with this code.
    pub(crate) fn end(&self, failure: &Failure, code: i32) -> ! {
        if !self.has_started.get() {
            // The main thread reports the failed init and ends the process.
            self.has_started(Err(failure.clone()));
            loop {
                thread::park();
            }
        }
        if let Some(done) = self.hooks_done.take() {
            // Likewise: it waits for the hooks.
            let _ = done.send(Err(failure.clone()));
            loop {
                thread::park();
            }
        }
        self.leave_stream(Some(Instant::now() + PATIENCE));
        self.with_worker(|worker| worker.fail(failure));
        // The invocations of other slots.
        report_in_flight(failure.as_error_report(), Instant::now() + PATIENCE);
        self.log.flush();
        process::exit(code);
    }
}
