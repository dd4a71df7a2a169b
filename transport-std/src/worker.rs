use std::cell::Cell;
use std::fmt;

use lambda_proto::api::{ContentType, ErrorReport};
use lambda_proto::client::{Receipt, StreamOver, VecStorage};
use lambda_proto::driver::{Driver, DriverError};
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_HEAD, MAX_REQUEST_HEAD, MAX_XRAY_CAUSE};
use lambda_proto::machine::{Machine, Phase};
#[cfg(any(feature = "log", feature = "tracing"))]
use lambda_proto_host::current;
use lambda_proto_host::lifecycle::NoLifecycle;
use lambda_proto_host::{
    Dialer, Error, ErrorTypes, Failure, InFlight, Level, Log, NO_RESPONSE, Response, Settings,
    Tasks, catch, settle_panics, unwinding,
};

use crate::connector::{NoConnection, SlotConnector, error_of};
use crate::handler::{Invocation, Responder, Sent};
use crate::stop::StopHandle;

/// One connection and its memory. It takes invocations one by one.
///
/// [`Runtime::run`](crate::Runtime::run) is a loop around a worker; programs with their own loop,
/// such as language runtimes, use it directly.
///
/// ```no_run
/// use lambda_proto_std::Runtime;
///
/// let mut worker = Runtime::from_env()?.into_worker();
/// while let Some((invocation, responder)) = worker.next()? {
///     responder.send(invocation.body());
/// }
/// # Ok::<(), lambda_proto_std::Error>(())
/// ```
///
/// A worker of a runtime with a [lifecycle](crate::Runtime::lifecycle) is a
/// `Worker<InLifecycle>`, and gives each invocation its context.
///
/// A program that cannot keep the responder answers through the worker itself. An example is an
/// interpreter whose scripts ask for events and answer them by calling separate functions. The
/// program can keep these functions as `'static` closures around a shared worker:
///
/// ```no_run
/// use std::cell::RefCell;
/// use std::rc::Rc;
///
/// use lambda_proto_std::{ContentType, Runtime};
///
/// let worker = Rc::new(RefCell::new(Runtime::from_env()?.into_worker()));
/// let on = worker.clone();
/// let stream = move |content_type: &str| -> Result<bool, Box<dyn std::error::Error>> {
///     Ok(on.borrow_mut().stream(ContentType::new(content_type)?))
/// };
/// let on = worker.clone();
/// let write = move |text: &str| on.borrow_mut().write(text.as_bytes());
/// let on = worker.clone();
/// let finish = move || on.borrow_mut().finish().is_some();
///
/// while worker.borrow_mut().next()?.is_some() {
///     // Here a script would call these.
///     stream("text/plain")?;
///     write("one")?;
///     finish();
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping a worker reports an invocation that is in flight as failed.
pub struct Worker<L = NoLifecycle> {
    pub(crate) core: Core,
    /// Declared after the core, so that it ends later.
    pub(crate) lifecycle: L,
}

/// The part of a worker that is the same with and without a lifecycle.
pub(crate) struct Core {
    driver: Driver<SlotConnector, VecStorage>,
    scratch: Vec<u8>,
    error_types: ErrorTypes,
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
        if self.driver.machine().phase() == Phase::Invoking {
            let message = "the function ended with the invocation in flight";
            let failure = unwinding.as_ref().map_or_else(
                || ErrorReport::new(NO_RESPONSE, message),
                |failure| failure.as_error_report(),
            );
            self.driver.fail_in_flight(&failure);
        }
        if let Some(failure) = &unwinding
            && let Some(others) = &self.others
        {
            others.end(format_args!("{failure}"));
        }
        // The process may end after this.
        self.driver.connector().dialer.settings().log.flush();
    }
}

/// Enough for a small event with its head.
const FIRST_EVENT: usize = 16 * 1024;

impl Worker {
    pub(crate) fn new(settings: &Settings, stop: &StopHandle, in_flight: InFlight) -> Self {
        let endpoint = settings.endpoint.clone();
        let machine = Machine::with_concurrency(endpoint, settings.concurrency());
        let connector = SlotConnector {
            dialer: Dialer::new(settings.clone(), stop.reach().clone()),
            stop: stop.clone(),
            waiter: stop.new_waiter(),
            in_flight,
        };
        let events = VecStorage::new(FIRST_EVENT, settings.max_event.saturating_add(MAX_HEAD));
        let most = MAX_REQUEST_HEAD + MAX_XRAY_CAUSE + MAX_ERROR_BODY;
        let requests = VecStorage::new(2 * MAX_REQUEST_HEAD, most);
        let driver = Driver::new(machine, connector, events, requests);
        let core = Core {
            driver: driver.with_max_event(settings.max_event),
            scratch: Vec::new(),
            error_types: settings.error_types.clone(),
            others: None,
        };
        Self { core, lifecycle: NoLifecycle }
    }

    /// Makes this worker one of several that a program pulls from.
    pub(crate) fn among_others(mut self) -> Self {
        let connector = self.core.driver.connector();
        let (stop, log) = (connector.stop.clone(), connector.dialer.settings().log.clone());
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
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the worker")]
    pub fn next(&mut self) -> Result<Option<(Invocation<'_>, Responder<'_>)>, Error> {
        self.core.next(None)
    }

    /// Returns the responder of the last [`next`](Self::next) again; `None` if no invocation waits
    /// for an answer, or if its stream has begun.
    pub fn responder(&mut self) -> Option<Responder<'_>> {
        self.core.responder(None)
    }

    /// Calls `handler` for every invocation until the runtime is stopped.
    pub(crate) fn run<F>(mut self, mut handler: F) -> Result<(), Error>
    where
        F: for<'i> FnMut(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    {
        self.catching(|worker, is_handling| {
            while let Some((invocation, responder)) = worker.next()? {
                is_handling.set(true);
                let result = handler(invocation, responder).map(drop);
                is_handling.set(false);
                worker.handled(result);
            }
            Ok(())
        })
    }

    pub(crate) fn fail_init(mut self, failure: &Failure) -> Result<(), Error> {
        unless_stopped(self.core.driver.fail_init(&failure.as_error_report()))
    }

    /// Waits for the restore of a snapshot; `None` if the runtime is stopped before it.
    pub(crate) fn restore_next(&mut self) -> Result<Option<Receipt>, Error> {
        unless_stopped(self.core.driver.restore_next())
    }

    pub(crate) fn fail_restore(mut self, failure: &Failure) -> Result<(), Error> {
        unless_stopped(self.core.driver.fail_restore(&failure.as_error_report()))
    }
}

impl<L> Worker<L> {
    /// Calls `serve` until it returns. If `serve` panics while its flag says that it runs the
    /// handler, the invocation in flight fails, and `serve` is called again.
    ///
    /// Catching panics around each call of the handler would cost about a hundred instructions
    /// more.
    pub(crate) fn catching(
        &mut self,
        mut serve: impl FnMut(&mut Self, &Cell<bool>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let is_handling = Cell::new(false);
        loop {
            match catch(|| Ok(serve(self, &is_handling))) {
                Ok(ended) => return ended,
                Err(failure) if is_handling.replace(false) => self.fail(failure),
                // A bug in this crate.
                Err(failure) => {
                    let log = self.core.driver.connector().dialer.settings().log.clone();
                    log.failure(Level::Error, "", format_args!("a slot panicked"), &failure);
                    return Err(Error::Panicked { message: failure.message().to_owned() });
                }
            }
        }
    }

    /// Handles the result of the handler: reports a failure.
    pub(crate) fn handled(&mut self, result: Result<(), Failure>) {
        settle_panics();
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    /// The invocation of the last `next`, until it is answered.
    pub fn invocation(&self) -> Option<Invocation<'_>> {
        self.core.driver.invocation().map(Invocation)
    }

    /// Sends the response to the invocation of the last `next`; `None` if there is none to answer.
    pub fn send<'r>(&mut self, response: impl Into<Response<'r>>) -> Option<Receipt> {
        Some(self.core.responder(None)?.send(response).receipt())
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

    /// Sends a piece of the stream; blocks until the connection has taken it.
    ///
    /// # Errors
    ///
    /// [`StreamOver`] if no stream has begun, the service has ended it, or the connection was lost.
    /// Further pieces fail, too.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.core.driver.stream().ok_or(StreamOver)?.write(piece)
    }

    /// Ends the stream, and returns when the service has taken it; `None` if there is none.
    pub fn finish(&mut self) -> Option<Receipt> {
        Some(self.core.driver.stream()?.finish().receipt())
    }

    /// Fails the invocation of the last `next`, at the end of its stream if one has begun. If the
    /// invocation was answered already, the failure is only logged.
    pub fn fail(&mut self, failure: impl Into<Failure>) {
        self.core.driver.fail_in_flight(&self.core.error_types.report(&failure.into()));
    }
}

impl Core {
    pub(crate) fn next<'w>(
        &'w mut self,
        tasks: Option<&'w Tasks>,
    ) -> Result<Option<(Invocation<'w>, Responder<'w>)>, Error> {
        #[cfg(any(feature = "log", feature = "tracing"))]
        current::set("");
        let Self { driver, scratch, error_types, others } = self;
        let next = match unless_stopped(driver.next()) {
            Ok(next) => next,
            Err(error) => {
                if let Some(others) = others {
                    others.end(format_args!("{error}"));
                }
                return Err(error);
            }
        };
        Ok(next.map(|(invocation, inner)| {
            let invocation = Invocation(invocation);
            #[cfg(any(feature = "log", feature = "tracing"))]
            current::set(invocation.request_id());
            (invocation, Responder { inner, scratch, tasks, error_types })
        }))
    }

    pub(crate) fn responder<'w>(&'w mut self, tasks: Option<&'w Tasks>) -> Option<Responder<'w>> {
        let Self { driver, scratch, error_types, .. } = self;
        Some(Responder { inner: driver.responder()?, scratch, tasks, error_types })
    }
}

/// The result of a driver; the default if it was stopped.
fn unless_stopped<T: Default>(result: Result<T, DriverError<NoConnection>>) -> Result<T, Error> {
    result.or_else(|error| error_of(error).map_or(Ok(T::default()), Err))
}
