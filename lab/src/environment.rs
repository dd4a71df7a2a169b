//! One execution environment: its Runtime API, its processes, and its invocations.

mod end;
mod renewal;
mod run;
mod told;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::answer::FunctionFailure;
use crate::broker::{Broker, Caller};
use crate::clock::Clock;
use crate::invocation::Invocation;
use crate::lab::reachable;
use crate::lifecycle::{LaunchError, Lifecycle, Processes, Reason, Running, StartFailure};
use crate::log::{LogStream, Metrics, Report};
use crate::output::Done;
use crate::place::Place;
use crate::process::obstacle;
use crate::runtime_api;
use crate::settings::Settings;
use crate::telemetry::{Phase as InitPhase, Telemetry};
use crate::trace;
use crate::watch::{Look, Watch};
use end::End;
use run::{Phase, Run};

#[derive(Debug)]
pub(crate) struct Environment {
    settings: Arc<Settings>,
    /// Where the Runtime API listens.
    address: SocketAddr,
    broker: Arc<Broker>,
    place: Arc<Place>,
    log: Arc<LogStream>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    life: Arc<Lifecycle>,
    watch: Option<Watch>,
    /// What the files of the current processes were when they were started.
    seen: Mutex<Option<Look>>,
    /// An invocation has failed with its processes, so the next one has to start others.
    has_failed: AtomicBool,
    /// How many invocations the runtime has, or is to get.
    in_flight: watch::Sender<usize>,
    /// Held while processes are being started or ended, or while their last requests are read.
    changing: tokio::sync::Mutex<()>,
}

impl Environment {
    /// Opens the Runtime API at this address. The runtime starts with the first invocation, or in
    /// [`prepare`](Self::prepare).
    ///
    /// # Errors
    ///
    /// An error that says what to do.
    pub(crate) async fn new(
        settings: Arc<Settings>,
        clock: Clock,
        listen: SocketAddr,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let remedy = obstacle::listening(&error);
            let reason = format!("the Runtime API cannot listen on {listen}: {error}{remedy}");
            io::Error::new(error.kind(), reason)
        })?;
        let address = listener.local_addr()?;
        let place = Arc::new(Place::new(&settings, reachable(address))?);
        let log = Arc::new(LogStream::new(&settings.log));
        let telemetry = {
            let log = Arc::clone(&log);
            Arc::new(Telemetry::new(&settings, address.port(), clock.clone(), log))
        };
        let broker = Arc::new({
            let (extensions, telemetry) = (settings.extension_names(), Arc::clone(&telemetry));
            match settings.concurrency {
                None => Broker::on_demand(settings.program.is_none(), extensions, telemetry),
                Some(_) => Broker::managed(extensions, telemetry),
            }
        });
        let life = {
            let (place, broker, log) = (Arc::clone(&place), Arc::clone(&broker), Arc::clone(&log));
            Arc::new(Lifecycle::new(Arc::clone(&settings), clock.clone(), place, broker, log))
        };
        let (served, stopped) = (Arc::clone(&broker), life.is_stopped());
        let serving =
            runtime_api::serve(listener, served, Arc::clone(&settings), clock.clone(), stopped);
        tokio::spawn(serving);
        let watch = Watch::new(&settings);
        let (seen, has_failed) = (Mutex::new(None), AtomicBool::new(false));
        let in_flight = watch::Sender::new(0);
        let changing = tokio::sync::Mutex::new(());
        Ok(Self {
            settings,
            address,
            broker,
            place,
            log,
            clock,
            telemetry,
            life,
            watch,
            seen,
            has_failed,
            in_flight,
            changing,
        })
    }

    /// The address of the Runtime API.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// With SnapStart, takes the snapshot that the first invocation is restored from.
    pub(crate) async fn prepare(&self) {
        if self.settings.snapstart.is_some() {
            let _changing = self.changing.lock().await;
            // An invocation may have started the processes before this task ran.
            if matches!(self.life.running(), Running::Not) {
                self.look().await;
                self.life.prepare_snapshot().await;
            }
        }
    }

    /// Runs one invocation until the runtime, and each extension that got it, has asked for the next
    /// one, or the timeout has passed.
    ///
    /// The caller gets the answer as soon as there is one. Returns the tail of the log, if the
    /// caller has asked for it.
    pub(crate) async fn invoke(
        &self,
        invocation: Arc<Invocation>,
        caller: Caller,
    ) -> Option<Vec<u8>> {
        let id = invocation.request_id.as_str();
        self.log.start(id, invocation.has_tail);
        let mut run = Run {
            processes: None,
            phase: Phase::Invoke,
            since: Instant::now(),
            init: None,
            restore: None,
            has_written: false,
            is_runtime_done: false,
            settled: None,
        };
        let end = match self.hand_over(&invocation, caller, &mut run).await {
            Ok(()) => {
                let end = self.until_the_end(&invocation, &mut run).await;
                self.in_flight.send_modify(|count| *count -= 1);
                end
            }
            Err(failure) => End::NoStart(failure),
        };
        // A shutdown that follows is no part of the invocation.
        let duration = run.since.elapsed();
        if let Some(processes) = &run.processes {
            if matches!(end, End::Over) && self.broker.is_terminal() {
                // What the runtime still writes comes before the end.
                self.life.await_exit(processes).await;
            }
            run.has_written |= self.life.pass_output(processes, Done::All);
        }
        let memory = run.processes.as_ref().and_then(|it| it.peak_memory());
        let metrics = Metrics {
            duration,
            init: run.init,
            restore: run.restore,
            memory: self.settings.memory,
            memory_used: memory,
        };
        let status = self.conclude(end, &invocation, &mut run, &metrics).await;
        if let Some(processes) = &run.processes
            && self.broker.is_terminal()
        {
            let _changing = self.changing.lock().await;
            if self.life.are_current(processes) {
                self.life.end(Reason::Failure).await;
            }
        }
        if self.settings.concurrency.is_none() {
            let has_failed = matches!(self.life.running(), Running::Not);
            self.has_failed.store(has_failed, Ordering::Relaxed);
        }
        if self.settings.program.is_none() && self.broker.is_terminal() {
            // An external runtime may be started again.
            self.broker.start_anew();
        }
        if run.processes.as_ref().is_some_and(|it| it.has_passed(self.settings.memory)) {
            self.log.line(format_args!(
                "lambda-lab: RequestId: {id} used {} MB of {} MB: Lambda would have ended the \
                 function (Runtime.ExitError, signal: killed); the lab does not enforce the memory \
                 size",
                memory.unwrap_or_default(),
                self.settings.memory
            ));
        }
        let tail = self.log.end(&Report {
            request_id: id,
            trace: invocation.event.trace_id.as_deref().and_then(trace::reported),
            metrics,
            status,
        });
        if run.has_written {
            // All callers have their answers, so that a slow reader delays only further output.
            self.life.room_for_output().await;
        }
        tail
    }

    /// Freezes the processes, if the settings ask for it and nothing else changes them. No invocation
    /// may be in flight.
    pub(crate) fn rest(&self) {
        if self.settings.freeze.is_some()
            && let Ok(_changing) = self.changing.try_lock()
        {
            self.life.freeze();
        }
    }

    /// Gives the invocation to the runtime, after starting, thawing or restoring it.
    async fn hand_over(
        &self,
        invocation: &Arc<Invocation>,
        caller: Caller,
        run: &mut Run,
    ) -> Result<(), StartFailure> {
        let _changing = self.changing.lock().await;
        if let Err(failure) = self.renew_if_rebuilt(&invocation.request_id).await {
            if let StartFailure::Failed(failure) = &failure {
                // The caller may have disconnected.
                let _ = caller.send(Err(failure.clone()));
            }
            return Err(failure);
        }
        if self.settings.program.is_none() {
            // The time that the invocation waits for the runtime counts.
            invocation.begin();
        }
        let mut is_snapshot = false;
        if self.settings.snapstart.is_some() {
            let mut snapshot = self.life.take_snapshot();
            if snapshot.is_none() && matches!(self.life.running(), Running::Not) {
                self.life.end(Reason::Failure).await;
                self.life.prepare_snapshot().await;
                snapshot = self.life.take_snapshot();
            }
            match snapshot {
                Some(Err(StartFailure::Failed(failure))) => {
                    let request_id = invocation.request_id.clone();
                    let failure = FunctionFailure { request_id, ..failure };
                    // The caller may have disconnected.
                    let _ = caller.send(Err(failure.clone()));
                    return Err(StartFailure::Failed(failure));
                }
                Some(Err(StartFailure::Stopped)) => return Err(StartFailure::Stopped),
                Some(Ok(())) => is_snapshot = true,
                None => {}
            }
        }
        run.since = Instant::now();
        match self.life.running() {
            Running::Elsewhere => self.broker.hand_over(Arc::clone(invocation), caller),
            Running::Here(processes) if is_snapshot => {
                self.broker.begin_restore();
                self.broker.hand_over(Arc::clone(invocation), caller);
                if self.life.restore(&processes) {
                    run.phase = Phase::Restore;
                }
                run.processes = Some(processes);
            }
            Running::Here(processes) => {
                self.life.thaw(&processes);
                if self.settings.concurrency.is_some() {
                    match self.broker.init_began() {
                        Some(began) => (run.phase, run.since) = (Phase::InitOfAnother, began),
                        // The time that the invocation waits for a slot counts.
                        None => invocation.begin(),
                    }
                }
                self.broker.hand_over(Arc::clone(invocation), caller);
                run.processes = Some(processes);
            }
            Running::Not => {
                // The new processes must not get the blame for what earlier ones have left.
                self.life.end(Reason::Failure).await;
                self.broker.hand_over_anew(Arc::clone(invocation), caller);
                let has_failed = self.has_failed.swap(false, Ordering::Relaxed);
                if has_failed {
                    self.init_within(invocation, run).await?;
                } else {
                    self.broker.begin_init(InitPhase::Init);
                    run.processes = Some(self.start(&invocation.request_id, run).await?);
                    run.phase = Phase::Init;
                }
            }
        }
        self.in_flight.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Starts the processes, and begins the phase of the run. If that fails, the caller gets to know
    /// why; those that have been started are ended with the invocation.
    async fn start(&self, id: &str, run: &mut Run) -> Result<Arc<Processes>, StartFailure> {
        let (began, started) = self.life.start().await;
        run.since = began;
        match started {
            Ok(processes) => {
                self.broker.has_started(began);
                Ok(processes)
            }
            Err(error) => {
                let failure = self.cannot_start(id, &error);
                if let StartFailure::Failed(failure) = &failure {
                    self.broker.tell(failure.clone());
                }
                Err(failure)
            }
        }
    }

    fn cannot_start(&self, id: &str, error: &LaunchError) -> StartFailure {
        match self.life.is_stopping() {
            true => StartFailure::Stopped,
            false => StartFailure::Failed(error.failure(id)),
        }
    }

    /// Ends the processes for good. Until the runtime ends, it may still answer the invocation that
    /// it has in flight.
    pub(crate) async fn stop(&self) {
        self.life.begin_to_stop();
        {
            let _changing = self.changing.lock().await;
            self.life.end(Reason::Spindown).await;
        }
        let place = Arc::clone(&self.place);
        // Fails only if the task panicked, which would be a bug.
        let _ = tokio::task::spawn_blocking(move || place.remove()).await;
        self.life.has_stopped();
    }
}
