//! One execution environment: its Runtime API, its process, and its invocations.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

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
    /// Held while a process is being started, or the last words of one are heard.
    starting: tokio::sync::Mutex<()>,
    is_stopped: watch::Sender<bool>,
}

/// How an invocation came to its end.
enum End {
    /// The runtime has asked for the next one, or will not come back.
    Over,
    /// There is no runtime, for this reason.
    NoStart(String),
    Exit(ExitStatus),
    Timeout,
    Stopped,
}

/// Where the runtime is.
enum Running {
    Here(Arc<Process>),
    /// Somebody else starts it.
    Elsewhere,
    Not,
}

impl Environment {
    /// Opens the Runtime API on a free port of loopback; the runtime starts with the first invocation.
    pub(crate) async fn new(settings: Arc<Settings>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(match settings.concurrency {
            None => Desk::on_demand(settings.program.is_none()),
            Some(_) => Desk::managed(),
        });
        let is_stopped = watch::Sender::new(false);
        let closing = is_stopped.subscribe();
        tokio::spawn(runtime_api::serve(listener, Arc::clone(&desk), closing));
        let (process, starting) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Ok(Self { settings, address, desk, process, starting, is_stopped })
    }

    /// Where the Runtime API is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs one invocation until the runtime has asked for the next one, or its time is up.
    ///
    /// The caller is answered as soon as there is an answer.
    pub(crate) async fn invoke(&self, invocation: Arc<Invocation>, caller: Caller) {
        let log = &self.settings.log;
        let id = invocation.request_id.as_str();
        log.start(id).await;
        let began = Instant::now();
        let starting = self.starting.lock().await;
        let running = self.running();
        let is_cold = matches!(running, Running::Not);
        let started = match running {
            Running::Elsewhere => {
                self.desk.hand_over(Arc::clone(&invocation), caller);
                Ok(None)
            }
            Running::Here(process) => {
                self.desk.hand_over(Arc::clone(&invocation), caller);
                Ok(Some(process))
            }
            Running::Not => {
                // What is left of an earlier one must not be taken for the new one.
                self.end_runtime().await;
                self.desk.hand_over_anew(Arc::clone(&invocation), caller);
                self.start().map(Some)
            }
        };
        drop(starting);
        let mut is_stopped = self.is_stopped.subscribe();
        let end = match &started {
            Err(_) if *is_stopped.borrow() => End::Stopped,
            Err(error) => End::NoStart(error.to_string()),
            Ok(process) => tokio::select! {
                biased;
                () = invocation.over() => End::Over,
                _ = is_stopped.wait_for(|is_stopped| *is_stopped) => End::Stopped,
                status = exited(process.as_deref()) => End::Exit(status),
                () = sleep_until((began + self.settings.timeout).into()) => End::Timeout,
            },
        };
        let memory = started.iter().flatten().find_map(|process| process.peak_memory());
        let delivered = invocation.delivered.get().copied().filter(|_| is_cold);
        let status = match end {
            End::Over => invocation.dead_end.get().cloned().map_or(Status::Success, Status::Error),
            End::NoStart(reason) => self.fail(id, "Runtime.InvalidEntrypoint", &reason),
            End::Exit(status) => {
                self.hear_last_words(started.iter().flatten().next()).await;
                self.fail(id, "Runtime.ExitError", &describe_exit(status))
            }
            End::Timeout => {
                let seconds = self.settings.timeout.as_secs_f64();
                let reason = format!("Task timed out after {seconds:.2} seconds");
                log.line(format_args!("RequestId: {id} {reason}"));
                if self.settings.concurrency.is_none() {
                    self.end_runtime().await;
                }
                let failure = FunctionFailure::new(id, FailureKind::Timeout, reason);
                self.desk.give_up(failure.with_type("Sandbox.Timedout"));
                Status::Timeout
            }
            End::Stopped => {
                // The caller sees that nobody is left to answer.
                self.desk.start_anew();
                Status::Success
            }
        };
        if let Some(process) = started.iter().flatten().next()
            && self.desk.is_terminal()
        {
            // It has said that it cannot start: it may say more before it ends.
            let _ = timeout(Duration::from_millis(300), process.wait()).await;
        }
        if self.settings.program.is_none() && self.desk.is_terminal() {
            // Whoever starts the runtime may start it again.
            self.desk.start_anew();
        }
        log.end(&self.report(&invocation, began, delivered, memory, status));
    }

    fn running(&self) -> Running {
        if self.settings.program.is_none() {
            return Running::Elsewhere;
        }
        match &*self.lock() {
            Some(process) if process.exit_status().is_none() && !self.desk.is_terminal() => {
                Running::Here(Arc::clone(process))
            }
            _ => Running::Not,
        }
    }

    fn start(&self) -> io::Result<Arc<Process>> {
        let Some(program) = &self.settings.program else {
            return Err(io::Error::other("the runtime is started elsewhere"));
        };
        let mut process = self.lock();
        if *self.is_stopped.borrow() {
            return Err(io::Error::other("the lab has been stopped"));
        }
        let mut command = self.settings.command(program, self.address);
        let started = Process::start(&mut command).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
        })?;
        Ok(Arc::clone(process.insert(Arc::new(started))))
    }

    async fn end_runtime(&self) {
        let process = self.lock().take();
        if let Some(process) = process {
            process.kill();
            process.wait().await;
            self.heard().await;
        }
    }

    /// As [`heard`](Self::heard), unless another process has been started meanwhile.
    async fn hear_last_words(&self, process: Option<&Arc<Process>>) {
        let _starting = self.starting.lock().await;
        let is_current =
            |current: &Arc<Process>| process.is_some_and(|it| Arc::ptr_eq(it, current));
        if self.lock().as_ref().is_some_and(is_current) {
            self.heard().await;
        }
    }

    /// Waits until everything has been heard that a process said before it ended.
    ///
    /// Not for ever, for its address is known to others too.
    async fn heard(&self) {
        let _ = timeout(Duration::from_millis(100), self.desk.hear_last_words()).await;
    }

    /// Kills the runtime, now, and starts none again.
    pub(crate) fn stop(&self) {
        let process = {
            let mut process = self.lock();
            self.is_stopped.send_replace(true);
            process.take()
        };
        if let Some(process) = process {
            process.kill();
            // Killed processes end at once.
            pollster::block_on(process.wait());
        }
    }

    /// Tells the caller a failure of the process, unless there is an answer.
    fn fail(&self, id: &str, error_type: &str, reason: &str) -> Status {
        let reason = format!("RequestId: {id} Error: {reason}");
        self.settings.log.line(format_args!("{reason}\n{error_type}"));
        let failure = FunctionFailure::of_service(id, FailureKind::Exit, error_type, &reason);
        self.desk.give_up(failure);
        Status::Error(error_type.to_owned())
    }

    fn report<'a>(
        &self,
        invocation: &'a Invocation,
        began: Instant,
        delivered: Option<Instant>,
        memory_used: Option<u64>,
        status: Status,
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

async fn exited(process: Option<&Process>) -> ExitStatus {
    match process {
        Some(process) => process.wait().await,
        None => std::future::pending().await,
    }
}
