//! What Lua functions share with the runtime around them.

use std::cell::{Cell, RefCell};
use std::process;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_host::report_in_flight;
use lambda_proto_std::{Failure, InLifecycle, Level, Log, Record, Worker};

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
    /// Takes the result of init.
    started: Sender<Result<(), Failure>>,
    /// The output of a script, if it is the response.
    script_output: RefCell<Option<Vec<u8>>>,
    /// The code that a script has called `os.exit` with.
    script_exit: Cell<Option<i32>>,
    /// Output without the end of its line.
    line: RefCell<Vec<u8>>,
}

impl Host {
    pub(crate) fn new(log: Log, started: Sender<Result<(), Failure>>) -> Self {
        Self {
            log,
            request_id: RefCell::default(),
            trace_id: RefCell::default(),
            worker: RefCell::default(),
            failure: RefCell::default(),
            started,
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
    pub(crate) fn has_started(&self, result: Result<(), Failure>) {
        // If nobody waits for it, the process ends.
        let _ = self.started.send(result);
    }

    /// Takes output of a script: logs its lines, or adds it to the response.
    pub(crate) fn emit(&self, bytes: &[u8]) {
        if let Some(output) = &mut *self.script_output.borrow_mut() {
            output.extend_from_slice(bytes);
            return;
        }
        let mut line = self.line.borrow_mut();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= MAX_LINE {
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
            self.script_exit.set(Some(code));
            return;
        }
        self.end_line();
        let failure = Failure::new("Function.Exit", format!("the function called os.exit({code})"));
        let has_worker = self.with_worker(|worker| worker.fail(&failure)).is_some();
        if !has_worker {
            // The main thread reports the failed init and ends the process.
            self.has_started(Err(failure));
            loop {
                thread::park();
            }
        }
        // The invocations of other slots.
        report_in_flight(failure.as_error_report(), Instant::now() + PATIENCE);
        self.log.flush();
        process::exit(code);
    }
}
