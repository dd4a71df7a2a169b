//! One execution environment: its Runtime API, its process, and one invocation at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::answer::{FailureKind, FunctionFailure};
use crate::desk::{Caller, Desk};
use crate::invocation::Invocation;
use crate::log::{Report, Status};
use crate::process::{Process, describe_exit};
use crate::runtime_api;
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct Environment {
    settings: Arc<Settings>,
    address: SocketAddr,
    desk: Arc<Desk>,
    process: Mutex<Option<Arc<Process>>>,
    is_stopped: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// How an invocation came to its end.
enum End {
    /// The runtime has asked for the next one, or will not come back.
    Over,
    Exit(Arc<Process>),
    Timeout,
    Stopped,
}

impl Environment {
    /// Opens the Runtime API on a free port of loopback; the runtime starts with the first invocation.
    pub(crate) async fn new(settings: Arc<Settings>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk::new());
        let is_external = settings.program.is_none();
        let server = tokio::spawn(runtime_api::serve(listener, Arc::clone(&desk), is_external));
        let is_stopped = watch::Sender::new(false);
        Ok(Self { settings, address, desk, process: Mutex::new(None), is_stopped, server })
    }

    /// Where the Runtime API is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs one invocation until the runtime has asked for the next one, or its time is up.
    ///
    /// The caller is answered as soon as there is an answer.
    pub(crate) async fn invoke(&self, invocation: Arc<Invocation>, caller: Caller) {
        let log = self.settings.log;
        let id = invocation.request_id.as_str();
        log.start(id);
        let began = Instant::now();
        let running = self.running();
        let is_cold = running.is_none();
        match &running {
            Some(_) => self.desk.hand_over(Arc::clone(&invocation), caller),
            None => self.desk.hand_over_anew(Arc::clone(&invocation), caller),
        }
        let process = match running.map_or_else(|| self.start(), Ok) {
            Ok(process) => process,
            Err(_) if *self.is_stopped.borrow() => return self.desk.start_anew(),
            Err(error) => {
                let reason = format!("RequestId: {id} Error: {error}");
                self.fail(id, FailureKind::Exit, "Runtime.InvalidEntrypoint", &reason);
                let status = Status::Error("Runtime.InvalidEntrypoint");
                return log.end(&self.report(&invocation, began, None, None, status));
            }
        };
        let mut is_stopped = self.is_stopped.subscribe();
        let end = tokio::select! {
            // What the runtime has said before it ended counts.
            biased;
            () = self.desk.over(id) => End::Over,
            _ = is_stopped.wait_for(|is_stopped| *is_stopped) => End::Stopped,
            process = exited(process.clone()) => End::Exit(process),
            () = sleep_until((began + self.settings.timeout).into()) => End::Timeout,
        };
        let memory = process.as_ref().and_then(|process| process.peak_memory());
        let delivered = self.desk.delivered().filter(|_| is_cold);
        let error_type;
        let status = match end {
            End::Over => Status::Success,
            End::Exit(process) => {
                let status = process.exit_status().unwrap_or_default();
                let reason = format!("RequestId: {id} Error: {}", describe_exit(status));
                error_type = "Runtime.ExitError";
                self.fail(id, FailureKind::Exit, error_type, &reason);
                Status::Error(error_type)
            }
            End::Timeout => {
                let seconds = self.settings.timeout.as_secs_f64();
                let reason = format!("Task timed out after {seconds:.2} seconds");
                log.line(format_args!("RequestId: {id} {reason}"));
                self.end_runtime().await;
                self.desk.give_up(FunctionFailure::new(id, FailureKind::Timeout, reason));
                self.desk.start_anew();
                Status::Timeout
            }
            End::Stopped => {
                // The caller sees that nobody is left to answer.
                return self.desk.start_anew();
            }
        };
        if self.settings.program.is_none() && self.desk.is_terminal() {
            // Whoever starts the runtime may start it again.
            self.desk.start_anew();
        }
        log.end(&self.report(&invocation, began, delivered, memory, status));
    }

    /// The runtime that runs, with its process if that is ours.
    fn running(&self) -> Option<Option<Arc<Process>>> {
        if self.settings.program.is_none() {
            return Some(None);
        }
        let process = self.lock().clone()?;
        let is_running = process.exit_status().is_none() && !self.desk.is_terminal();
        is_running.then_some(Some(process))
    }

    /// Starts the runtime, in place of one that may be left.
    fn start(&self) -> io::Result<Option<Arc<Process>>> {
        let Some(program) = &self.settings.program else { return Ok(None) };
        let mut process = self.lock();
        *process = None;
        if *self.is_stopped.borrow() {
            return Err(io::Error::other("the lab has been stopped"));
        }
        let mut command = self.settings.command(program, self.address);
        let started = Process::start(&mut command).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
        })?;
        Ok(Some(Arc::clone(process.insert(Arc::new(started)))))
    }

    async fn end_runtime(&self) {
        let process = self.lock().take();
        if let Some(process) = process {
            process.kill();
            process.wait().await;
        }
    }

    /// Kills the runtime, now, and starts none again.
    pub(crate) fn stop(&self) {
        let process = {
            let mut process = self.lock();
            self.is_stopped.send_replace(true);
            process.take()
        };
        self.server.abort();
        if let Some(process) = process {
            process.kill();
            // Killed processes end at once.
            pollster::block_on(process.wait());
        }
    }

    fn fail(&self, id: &str, kind: FailureKind, error_type: &str, reason: &str) {
        self.settings.log.line(format_args!("{reason}\n{error_type}"));
        self.desk.give_up(FunctionFailure::of_service(id, kind, error_type, reason));
    }

    fn report<'a>(
        &self,
        invocation: &'a Invocation,
        began: Instant,
        delivered: Option<Instant>,
        memory_used: Option<u64>,
        status: Status<'a>,
    ) -> Report<'a> {
        Report {
            request_id: &invocation.request_id,
            trace_id: invocation.event.trace_id.as_deref(),
            duration: delivered.unwrap_or(began).elapsed(),
            init: delivered.map(|delivered| delivered - began),
            memory: self.settings.memory,
            memory_used,
            status,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn exited(process: Option<Arc<Process>>) -> Arc<Process> {
    match process {
        Some(process) => {
            process.wait().await;
            process
        }
        None => std::future::pending().await,
    }
}
