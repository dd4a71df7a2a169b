//! What Lua functions share with the runtime around them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::process;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{Context, Task, report_in_flight};
use lambda_proto_std::{
    ContentType, Failure, HttpPrelude, InLifecycle, Level, Log, Record, Worker,
};

use mlua::{Function, Value};

use crate::hooks::Hooks;
use crate::interrupt;

/// How long a process that ends waits for the service.
const PATIENCE: Duration = Duration::from_secs(2);

/// A line that is longer is logged as several records.
const MAX_LINE: usize = 64 * 1024;

/// The state of one slot outside of Lua.
pub(crate) struct Host {
    pub(crate) log: Log,
    /// The current invocation; empty before the first one.
    pub(crate) request_id: RefCell<String>,
    pub(crate) trace_id: RefCell<Option<String>>,
    /// `None` during init.
    pub(crate) worker: RefCell<Option<Worker<InLifecycle>>>,
    /// The failure of the current call of Lua code.
    pub(crate) failure: RefCell<Option<Failure>>,
    /// The latest error of a coroutine, and the calls that led to it.
    pub(crate) coroutine: RefCell<Option<(Value, String)>>,
    /// Takes the result of init.
    started: Sender<Result<Hooks, Failure>>,
    /// Takes the result of the hooks that run now.
    pub(crate) hooks_done: RefCell<Option<Sender<Result<(), Failure>>>>,
    /// Whether init is over.
    has_started: Cell<bool>,
    /// The number of the current invocation, as Lua has numbers.
    pub(crate) invocation: Cell<f64>,
    /// The current invocation; `None` before the first one.
    pub(crate) context: RefCell<Option<Context>>,
    /// The work after the response to the current invocation, in its order.
    pub(crate) work: RefCell<VecDeque<Work>>,
    /// Whether the current invocation has begun to stream its response.
    pub(crate) is_streaming: Cell<bool>,
    /// The output of a script, if it is the response.
    script_output: RefCell<Option<Vec<u8>>>,
    /// The code that a script has called `os.exit` with.
    script_exit: Cell<Option<i32>>,
    /// Output without the end of its line.
    line: RefCell<Vec<u8>>,
}

/// Work after the response.
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) function: Function,
    /// The runtime asks for the next event when it has ended.
    pub(crate) task: Task,
}

/// What a streamed response begins with.
pub(crate) enum StreamForm {
    /// Bytes of this content type.
    Bytes(Vec<u8>),
    /// An HTTP response, for function URLs and API Gateway.
    Http { status: u16, headers: Vec<(String, String)>, cookies: Vec<String> },
}

impl Host {
    pub(crate) fn new(log: Log, started: Sender<Result<Hooks, Failure>>) -> Self {
        Self {
            log,
            request_id: RefCell::default(),
            trace_id: RefCell::default(),
            worker: RefCell::default(),
            failure: RefCell::default(),
            coroutine: RefCell::default(),
            started,
            hooks_done: RefCell::default(),
            has_started: Cell::default(),
            invocation: Cell::default(),
            context: RefCell::default(),
            work: RefCell::default(),
            is_streaming: Cell::default(),
            script_output: RefCell::default(),
            script_exit: Cell::default(),
            line: RefCell::default(),
        }
    }

    /// Calls `work` with the worker; `None` if there is none, or if it is in use: finalizers of Lua
    /// run at any time.
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

    /// Begins to stream the response to the current invocation.
    ///
    /// # Errors
    ///
    /// If there is nothing to answer, or if the form of the stream is invalid.
    pub(crate) fn stream(&self, form: &StreamForm) -> Result<(), String> {
        let begun = self.with_worker(|worker| match form {
            StreamForm::Bytes(content_type) => {
                let content_type =
                    ContentType::from_bytes(content_type).map_err(|error| error.to_string())?;
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
                self.is_streaming.set(true);
                Ok(())
            }
            Ok(false) => Err("there is no invocation to answer".to_owned()),
            Err(reason) => Err(reason),
        }
    }

    /// The milliseconds that are left of the invocation with this number; `None` if its deadline is
    /// unknown, 0 if it is over.
    pub(crate) fn remaining_ms(&self, invocation: f64) -> Option<f64> {
        let context = self.context.try_borrow().ok()?;
        match context.as_ref().filter(|_| invocation == self.invocation.get()) {
            Some(context) => {
                context.time_limit().remaining(clock::now()).map(|left| left.as_millis() as f64)
            }
            None => Some(0.0),
        }
    }

    /// Whether the invocation with this number is cancelled or over.
    pub(crate) fn is_cancelled(&self, invocation: f64) -> bool {
        let context = self.context.try_borrow();
        let current = context.as_ref().ok().and_then(|context| context.as_ref());
        current
            .filter(|_| invocation == self.invocation.get())
            .is_none_or(|context| context.cancellation().is_cancelled())
    }

    /// Registers work that runs after the response to the invocation with this number.
    ///
    /// # Errors
    ///
    /// If the invocation is answered or over.
    pub(crate) fn begin_work(
        &self,
        invocation: f64,
        name: String,
        function: Function,
    ) -> Result<(), &'static str> {
        const OVER: &str = "the invocation is answered: register work before its response";
        if invocation != self.invocation.get() {
            return Err(OVER);
        }
        let context = self.context.try_borrow().map_err(|_| OVER)?;
        let context = context.as_ref().ok_or(OVER)?;
        let begun = self.with_worker(|worker| {
            worker.invocation().map(|head| context.begin_work(&head, name_of_work(&name)))
        });
        let task = begun.flatten().ok_or(OVER)?;
        self.work.borrow_mut().push_back(Work { name, function, task });
        Ok(())
    }

    /// Takes output of a script: logs its lines, or adds it to the response.
    pub(crate) fn emit(&self, bytes: &[u8]) {
        if let Some(output) = &mut *self.script_output.borrow_mut() {
            // Nothing is printed after the end of a script.
            if self.script_exit.get().is_none() {
                output.extend_from_slice(bytes);
            }
            return;
        }
        let mut line = self.line.borrow_mut();
        for mut piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            while line.len() + piece.strip_suffix(b"\n").unwrap_or(piece).len() > MAX_LINE {
                let (head, rest) = piece.split_at(boundary(piece, MAX_LINE - line.len()));
                line.extend_from_slice(head);
                self.put_line(&mut line);
                piece = rest;
            }
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                self.put_line(&mut line);
            }
        }
    }

    /// Logs output whose line has no end yet.
    pub(crate) fn end_line(&self) {
        let mut line = self.line.borrow_mut();
        if !line.is_empty() {
            self.put_line(&mut line);
        }
    }

    fn put_line(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        self.record(Level::Info, text.strip_suffix('\n').unwrap_or(&text));
        line.clear();
    }

    /// Writes a record of the function to the log.
    pub(crate) fn record(&self, level: Level, text: &str) {
        // A finalizer may log while the runtime changes the id.
        let id = self.request_id.try_borrow();
        let id = id.as_ref().map_or("", |id| id.as_str());
        self.log.write(&Record::new(level, format_args!("{text}")).request_id(id));
    }

    /// Begins to collect output as the response.
    pub(crate) fn begin_script(&self) {
        *self.script_output.borrow_mut() = Some(vec![]);
        self.script_exit.set(None);
    }

    /// The output of the script, and the code with which it has called `os.exit`.
    pub(crate) fn end_script(&self) -> (Vec<u8>, Option<i32>) {
        (self.script_output.take().unwrap_or_default(), self.script_exit.take())
    }

    /// `os.exit`: reports what is in flight and ends the process. Returns only within a script that
    /// is run for each event, which ends, and its process does not.
    pub(crate) fn exit(&self, code: i32) {
        if self.script_output.borrow().is_some() {
            // Code that catches the error may call it again.
            if self.script_exit.get().is_none() {
                self.script_exit.set(Some(code));
            }
            interrupt::stop();
            return;
        }
        self.end_line();
        let failure = Failure::new("Function.Exit", format!("the function called os.exit({code})"));
        if !self.has_started.get() {
            // The main thread reports the failed init and ends the process.
            self.has_started(Err(failure));
            loop {
                thread::park();
            }
        }
        if let Some(done) = self.hooks_done.take() {
            // Likewise: it waits for the hooks.
            let _ = done.send(Err(failure));
            loop {
                thread::park();
            }
        }
        self.with_worker(|worker| worker.fail(&failure));
        // The invocations of other slots.
        report_in_flight(failure.as_error_report(), Instant::now() + PATIENCE);
        self.log.flush();
        process::exit(code);
    }
}

/// A name for the ledger, which keeps it until the process ends. The first 64 names of the process
/// are kept; work of other names has none there.
fn name_of_work(name: &str) -> &'static str {
    const MOST: usize = 64;
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(vec![]);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    if names.len() == MOST || name.len() > 128 {
        return "";
    }
    let kept: &'static str = Box::leak(name.into());
    names.push(kept);
    kept
}

/// The last place up to `most` that is not within a character of UTF-8.
fn boundary(bytes: &[u8], most: usize) -> usize {
    let is_within = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (most.saturating_sub(3)..=most).rev().find(|&at| !is_within(at)).unwrap_or(most)
}
