use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lambda_proto::api::{ContentType, ErrorReport};
use lambda_proto::async_driver::{Driver, DriverError};
use lambda_proto::client::{HeldEvent, Receipt, StreamOver, VecStorage};
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_HEAD, MAX_REQUEST_HEAD, MAX_XRAY_CAUSE};
use lambda_proto::machine::{Machine, Phase};
#[cfg(any(feature = "log", feature = "tracing"))]
use lambda_proto_host::current;
use lambda_proto_host::lifecycle::NoLifecycle;
use lambda_proto_host::{
    Dialer, Error, ErrorTypes, Failure, InFlight, Level, Log, NO_RESPONSE, Response, Settings,
    Tasks, settle_panics, unwinding,
};

use crate::catching::Catching;
use crate::connector::{NoConnection, SlotConnector, error_of, unless_stopped};
use crate::dropped;
use crate::handler::{Invocation, Responder, Sent};
use crate::memory::{Memory, Spare};
use crate::scratch::Scratch;
use crate::stop::StopHandle;

/// One connection and its memory. It takes invocations one by one.
///
/// [`Runtime::run`](crate::Runtime::run) is a loop around a worker; programs with their own loop,
/// such as language runtimes, use it directly.
///
/// ```no_run
/// # use lambda_proto_tokio::{Error, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let mut worker = Runtime::from_env()?.into_worker();
/// while let Some((invocation, responder)) = worker.next().await? {
///     responder.send(invocation.body()).await;
/// }
/// # Ok(())
/// # }
/// ```
///
/// A worker of a runtime with a [lifecycle](crate::Runtime::lifecycle) is a
/// `Worker<InLifecycle>`, and gives each invocation its context.
///
/// A program that cannot keep the responder answers through the worker itself, with
/// [`send`](Self::send), [`stream`](Self::stream) and [`fail`](Self::fail).
///
/// With the features `log` and `tracing`, handlers of a run have a current request id. A program
/// that pulls sets none, since its tasks may share a thread, or move between threads: it wraps its
/// work in a `tracing` span with a field `request_id`.
///
/// # Cancellation
///
/// The future of [`next`](Self::next) may be dropped; the next call continues. What the dropped
/// future of an answer leaves is in the table of
/// [`lambda_proto::async_driver`](lambda_proto::async_driver#cancellation).
///
/// Dropping a worker reports an invocation that is in flight as failed. A drop cannot await, so it
/// reports on a connection of its own, and blocks until the service has replied, for a second at
/// most. A stream that has begun is ended with the error on its own connection instead, if the
/// socket has room for that.
pub struct Worker<L = NoLifecycle> {
    pub(crate) core: Core,
    /// Declared after the core, so that it ends later.
    pub(crate) lifecycle: L,
}

/// The part of a worker that is the same with and without a lifecycle.
pub(crate) struct Core {
    driver: Driver<SlotConnector, Memory>,
    stop: StopHandle,
    log: Log,
    /// Where the memory of an event goes that was taken out of the driver.
    spare: Arc<Spare>,
    scratch: Scratch,
    error_types: ErrorTypes,
    /// Whether the worker is polled where the request id that it sets concerns only itself.
    #[cfg(any(feature = "log", feature = "tracing"))]
    sets_current: bool,
    /// The session is over, and the error has been returned.
    has_ended: bool,
    /// Present only if a program pulls from several workers.
    others: Option<Others>,
}

/// The other workers that a program pulls from.
struct Others {
    stop: StopHandle,
    log: Log,
}

impl Others {
    /// Stops them, since the service would still count on the worker that is lost.
    fn end(&self, why: fmt::Arguments<'_>) {
        self.log.error(format_args!("a slot has ended: {why}"));
        self.stop.stop();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let unwinding = unwinding();
        if !self.has_ended {
            dropped::report(&mut self.driver, unwinding.clone());
        }
        if let Some(failure) = unwinding
            && let Some(others) = &self.others
        {
            others.end(format_args!("{failure}"));
        }
        // The process may end after this.
        self.log.flush();
    }
}

impl Worker {
    pub(crate) fn new(settings: &Settings, stop: &StopHandle, in_flight: InFlight) -> Self {
        let endpoint = settings.endpoint.clone();
        let machine = Machine::with_concurrency(endpoint, settings.concurrency());
        let dialer = Dialer::new(settings.clone(), stop.reach().clone());
        let connector = SlotConnector::new(dialer, stop.clone(), in_flight);
        let spare = Arc::new(Spare::new(settings.max_event.saturating_add(MAX_HEAD)));
        let most = MAX_REQUEST_HEAD + MAX_XRAY_CAUSE + MAX_ERROR_BODY;
        let requests = Memory::new(VecStorage::new(2 * MAX_REQUEST_HEAD, most));
        let driver = Driver::new(machine, connector, Memory::of(&spare), requests);
        let core = Core {
            driver: driver.with_max_event(settings.max_event),
            stop: stop.clone(),
            log: settings.log.clone(),
            spare,
            scratch: Scratch::default(),
            error_types: settings.error_types.clone(),
            #[cfg(any(feature = "log", feature = "tracing"))]
            sets_current: false,
            has_ended: false,
            others: None,
        };
        Self { core, lifecycle: NoLifecycle }
    }

    /// Makes this worker one of several that a program pulls from.
    pub(crate) fn among_others(mut self) -> Self {
        let (stop, log) = (self.core.stop.clone(), self.core.log.clone());
        self.core.others = Some(Others { stop, log });
        self
    }

    /// Waits for the next invocation, however long that takes; `None` once the runtime is
    /// [stopped](crate::StopHandle).
    ///
    /// If the last responder was dropped unused, its invocation is reported as failed first. Panics
    /// are not caught here; dropping the worker reports an invocation that they leave in flight.
    ///
    /// # Errors
    ///
    /// An [`Error`] when the session cannot continue; the process should end with a non-zero code.
    pub async fn next(&mut self) -> Result<Option<(Invocation<'_>, Responder<'_>)>, Error> {
        self.core.next(None).await
    }

    /// Returns the responder of the last [`next`](Self::next) again; `None` if no invocation waits
    /// for an answer, or if its stream has begun.
    pub fn responder(&mut self) -> Option<Responder<'_>> {
        self.core.responder(None)
    }

    /// Calls `handler` for every invocation until the runtime is stopped.
    ///
    /// It borrows the worker, because a future that owned it would have room for it twice.
    pub(crate) async fn run<F>(&mut self, handler: &F) -> Result<(), Error>
    where
        F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    {
        self.catching(async |worker, is_handling| {
            while let Some((invocation, responder)) = worker.next().await? {
                is_handling.set(true);
                let result = handler(invocation, responder).await.map(drop);
                is_handling.set(false);
                worker.handled(result).await;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn fail_init(mut self, failure: &Failure) -> Result<(), Error> {
        or_stopped(self.core.driver.fail_init(&failure.as_error_report()).await)
    }

    /// Waits for the restore of a snapshot; `None` if the runtime is stopped before it.
    pub(crate) async fn restore_next(&mut self) -> Result<Option<Receipt>, Error> {
        let Core { driver, stop, .. } = &mut self.core;
        or_stopped(match unless_stopped(stop, driver.restore_next()).await {
            Some(restored) => restored,
            None => return Ok(None),
        })
    }

    pub(crate) async fn fail_restore(mut self, failure: &Failure) -> Result<(), Error> {
        or_stopped(self.core.driver.fail_restore(&failure.as_error_report()).await)
    }
}

impl<L> Worker<L> {
    /// Awaits `serve`. If it panics while its flag says that it runs the handler, the invocation in
    /// flight fails, and `serve` is called again.
    pub(crate) async fn catching<S>(&mut self, serve: S) -> Result<(), Error>
    where
        S: AsyncFn(&mut Self, &Cell<bool>) -> Result<(), Error>,
    {
        let is_handling = Cell::new(false);
        #[cfg(any(feature = "log", feature = "tracing"))]
        {
            self.core.sets_current = true;
        }
        loop {
            let served = Catching::new(pin!(serve(self, &is_handling))).await;
            match served {
                Ok(ended) => return ended,
                Err(failure) if is_handling.replace(false) => self.fail(failure).await,
                // A bug in this crate.
                Err(failure) => {
                    let what = format_args!("a slot panicked");
                    self.core.log.failure(Level::Error, "", what, &failure);
                    return Err(Error::Panicked { message: failure.message().to_owned() });
                }
            }
        }
    }

    /// Handles the result of the handler: reports a failure.
    pub(crate) async fn handled(&mut self, result: Result<(), Failure>) {
        settle_panics();
        if let Err(failure) = result {
            self.fail(failure).await;
        }
    }

    /// The invocation of the last `next`, until it is answered.
    pub fn invocation(&self) -> Option<Invocation<'_>> {
        self.core.driver.invocation().map(Invocation)
    }

    /// Sends the response to the invocation of the last `next`; `None` if there is none to answer.
    pub async fn send<'r>(&mut self, response: impl Into<Response<'r>>) -> Option<Receipt> {
        Some(self.core.responder(None)?.send(response).await.receipt())
    }

    /// Begins to stream the response to the invocation of the last `next`; `false` if there is none
    /// to answer.
    pub fn stream(&mut self, content_type: ContentType<'_>) -> bool {
        self.core.responder(None).is_some_and(|responder| {
            // The driver keeps the stream open when this is dropped.
            let _stream = responder.stream(content_type);
            true
        })
    }

    /// Sends a piece of the stream, and waits until the connection has taken it.
    ///
    /// # Errors
    ///
    /// [`StreamOver`] if no stream has begun, the service has ended it, or the connection was lost.
    /// Further pieces fail, too.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.core.write(piece).await
    }

    /// Ends the stream, and waits until the service has taken it; `None` if there is none.
    pub async fn finish(&mut self) -> Option<Receipt> {
        self.core.finish(false).await
    }

    /// Fails the invocation of the last `next`, at the end of its stream if one has begun. If the
    /// invocation was answered already, the failure is only logged.
    pub async fn fail(&mut self, failure: impl Into<Failure>) {
        self.core.fail(&failure.into()).await;
    }
}

impl Core {
    pub(crate) async fn next<'w>(
        &'w mut self,
        tasks: Option<&'w Tasks>,
    ) -> Result<Option<(Invocation<'w>, Responder<'w>)>, Error> {
        Ok(if self.wait().await? { self.in_flight(tasks) } else { None })
    }

    /// The invocation that was waited for, and its responder.
    pub(crate) fn in_flight<'w>(
        &'w mut self,
        tasks: Option<&'w Tasks>,
    ) -> Option<(Invocation<'w>, Responder<'w>)> {
        #[cfg(any(feature = "log", feature = "tracing"))]
        let sets_current = self.sets_current;
        let Self { driver, scratch, error_types, .. } = self;
        let (invocation, inner) = driver.in_flight()?;
        let invocation = Invocation(invocation);
        #[cfg(any(feature = "log", feature = "tracing"))]
        if sets_current {
            current::set(invocation.request_id());
        }
        Some((invocation, Responder { inner, scratch, tasks, error_types }))
    }

    /// Waits for an invocation; `false` if the runtime is stopped first.
    pub(crate) async fn wait(&mut self) -> Result<bool, Error> {
        #[cfg(any(feature = "log", feature = "tracing"))]
        if self.sets_current {
            current::set("");
        }
        // A stream may have been dropped after its last piece was taken.
        let _is_over = self.flush().await;
        let Self { driver, stop, others, has_ended, .. } = self;
        let waited = match unless_stopped(stop, driver.wait()).await {
            Some(waited) => waited,
            // Returns immediately, unless an event is arriving.
            None => driver.wait().await,
        };
        let waited = or_stopped(waited);
        *has_ended = waited.is_err();
        waited.inspect_err(|error| {
            if let Some(others) = others {
                others.end(format_args!("{error}"));
            }
        })
    }

    /// Reports an invocation in flight as failed.
    pub(crate) async fn fail_unanswered(&mut self) {
        if self.driver.machine().phase() == Phase::Invoking {
            let message = "the function ended with the invocation in flight";
            self.driver.fail_in_flight(&ErrorReport::new(NO_RESPONSE, message)).await;
        }
    }

    pub(crate) fn responder<'w>(&'w mut self, tasks: Option<&'w Tasks>) -> Option<Responder<'w>> {
        let Self { driver, scratch, error_types, .. } = self;
        Some(Responder { inner: driver.responder()?, scratch, tasks, error_types })
    }

    /// Takes the event of the invocation in flight out of the driver.
    pub(crate) fn take_event(&mut self) -> Option<HeldEvent<Memory>> {
        self.driver.take_event(Memory::of(&self.spare))
    }

    /// Sends a piece of the stream that a responder has begun.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.flush().await?;
        self.driver.stream().ok_or(StreamOver)?.write(piece).await
    }

    /// Sends what is left of the last piece that was taken.
    pub(crate) async fn flush(&mut self) -> Result<(), StreamOver> {
        self.scratch.flush(&mut self.driver).await
    }

    /// Ends the stream; `None` if there is none.
    pub(crate) async fn finish(&mut self, is_pipelined: bool) -> Option<Receipt> {
        let _is_over = self.flush().await;
        let stream = self.driver.stream()?;
        let sent = match is_pipelined {
            true => stream.finish_and_next().await,
            false => stream.finish().await,
        };
        Some(sent.receipt())
    }

    /// Ends the stream with a failure; `None` if there is none.
    pub(crate) async fn fail_stream(&mut self, failure: &Failure) -> Option<Receipt> {
        let _is_over = self.flush().await;
        let Self { driver, error_types, .. } = self;
        Some(driver.stream()?.fail(&error_types.report(failure)).await.receipt())
    }

    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.scratch.poll_write(context, &mut self.driver, parts)
    }

    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.scratch.poll_flush(context, &mut self.driver)
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Logs a failure of the function that is not reported.
    #[cfg(feature = "http")]
    pub(crate) fn log_failure(
        &self,
        level: Level,
        request_id: &str,
        what: fmt::Arguments<'_>,
        failure: Failure,
    ) {
        let failure = self.error_types.named(failure);
        self.log.failure(level, request_id, what, &failure);
    }

    /// Fails the invocation in flight, at the end of its stream if one has begun.
    pub(crate) async fn fail(&mut self, failure: &Failure) {
        let _is_over = self.flush().await;
        self.driver.fail_in_flight(&self.error_types.report(failure)).await;
    }
}

/// The result of a driver; the default if it was stopped.
fn or_stopped<T: Default>(result: Result<T, DriverError<NoConnection>>) -> Result<T, Error> {
    result.or_else(|error| error_of(error).map_or(Ok(T::default()), Err))
}
