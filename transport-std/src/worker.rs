use lambda_proto::api::ErrorReport;
use lambda_proto::client::{Receipt, VecStorage};
use lambda_proto::driver::{self, Driver, DriverError};
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_HEAD, MAX_REQUEST_HEAD, MAX_XRAY_CAUSE};
use lambda_proto::machine::{Machine, Phase};
#[cfg(any(feature = "log", feature = "tracing"))]
use lambda_proto_host::current;
use lambda_proto_host::{
    Error, ErrorTypes, Failure, InFlight, NO_RESPONSE, PANIC, Response, Settings, catch,
};

use crate::connector::{NoConnection, SlotConnector, error_of};
use crate::handler::{Invocation, Responder, Sent};
use crate::stop::StopHandle;

/// One connection and its memory, which takes invocations one by one.
///
/// [`Runtime::run`](crate::Runtime::run) is a loop around it; programs with a loop of their own,
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
pub struct Worker {
    driver: Driver<SlotConnector, VecStorage>,
    scratch: Vec<u8>,
    error_types: ErrorTypes,
}

/// Reports an invocation that is still in flight as failed.
impl Drop for Worker {
    fn drop(&mut self) {
        if self.driver.machine().phase() == Phase::Invoking {
            let (error_type, message) = if std::thread::panicking() {
                (PANIC, "the program panicked with the invocation in flight")
            } else {
                (NO_RESPONSE, "the function ended with the invocation in flight")
            };
            self.driver.fail_in_flight(&ErrorReport::new(error_type, message));
        }
        // The process may end now.
        self.driver.connector().settings.log.flush();
    }
}

/// Enough for a small event with its head.
const FIRST_EVENT: usize = 16 * 1024;

impl Worker {
    pub(crate) fn new(settings: &Settings, stop: &StopHandle, in_flight: InFlight) -> Self {
        let endpoint = settings.endpoint.clone();
        let machine = Machine::with_concurrency(endpoint, settings.concurrency());
        let connector = SlotConnector {
            settings: settings.clone(),
            stop: stop.clone(),
            waiter: stop.new_waiter(),
            in_flight,
            is_connected: false,
        };
        let events = VecStorage::new(FIRST_EVENT, settings.max_event.saturating_add(MAX_HEAD));
        let most = MAX_REQUEST_HEAD + MAX_XRAY_CAUSE + MAX_ERROR_BODY;
        let requests = VecStorage::new(2 * MAX_REQUEST_HEAD, most);
        let driver = Driver::new(machine, connector, events, requests);
        Self {
            driver: driver.with_max_event(settings.max_event),
            scratch: Vec::new(),
            error_types: settings.error_types.clone(),
        }
    }

    /// Waits for the next invocation, however long that takes; `None` once the runtime is
    /// [stopped](crate::StopHandle).
    ///
    /// If the last responder was dropped unused, its invocation is reported as failed first. Panics
    /// are not caught here; dropping the worker reports an invocation that they leave in flight.
    ///
    /// # Errors
    ///
    /// An [`Error`] when the session cannot go on; the process should end with a non-zero code.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the worker")]
    pub fn next(&mut self) -> Result<Option<(Invocation<'_>, Responder<'_>)>, Error> {
        #[cfg(any(feature = "log", feature = "tracing"))]
        current::set("");
        let next = unless_stopped(self.driver.next())?;
        Ok(next.map(|(invocation, inner)| {
            let invocation = Invocation(invocation);
            #[cfg(any(feature = "log", feature = "tracing"))]
            current::set(invocation.request_id());
            let Self { scratch, error_types, .. } = self;
            (invocation, Responder { inner, scratch, tasks: None, error_types })
        }))
    }

    /// Sends the response to the invocation of the last [`next`](Self::next), for programs that
    /// cannot keep its [`Responder`] until then; `None` if there is none to answer.
    ///
    /// Such are languages whose scripts ask for events and answer them with separate functions:
    ///
    /// ```no_run
    /// # use lambda_proto_std::{Error, Runtime, Worker};
    /// /// What a script sees.
    /// struct Lambda(Worker);
    ///
    /// impl Lambda {
    ///     fn next(&mut self) -> Result<Option<String>, Error> {
    ///         let next = self.0.next()?;
    ///         Ok(next.map(|(invocation, _)| String::from_utf8_lossy(invocation.body()).into_owned()))
    ///     }
    ///
    ///     fn answer(&mut self, answer: &str) -> bool {
    ///         self.0.send(answer).is_some()
    ///     }
    /// }
    /// ```
    pub fn send<'r>(&mut self, response: impl Into<Response<'r>>) -> Option<Receipt> {
        let (body, content_type) = response.into().into_parts();
        self.driver.send_in_flight(driver::Response::new(&body).content_type(content_type))
    }

    /// Fails the invocation of the last [`next`](Self::next), when its responder is used up, as by
    /// [`Responder::json`] with a value that cannot be written. If it was answered, that is logged.
    pub fn fail(&mut self, failure: impl Into<Failure>) {
        self.driver.fail_in_flight(&self.error_types.report(&failure.into()));
    }

    /// Calls `handler` for every invocation until the runtime is stopped.
    pub(crate) fn run<F>(mut self, mut handler: F) -> Result<(), Error>
    where
        F: for<'i> FnMut(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    {
        while let Some((invocation, responder)) = self.next()? {
            let result = catch(|| handler(invocation, responder).map(drop));
            if let Err(failure) = result {
                self.fail(failure);
            }
        }
        Ok(())
    }

    pub(crate) fn fail_init(mut self, failure: &Failure) -> Result<(), Error> {
        unless_stopped(self.driver.fail_init(&failure.as_error_report()))
    }

    /// Waits for the restore of a snapshot; `None` if the runtime is stopped before it.
    pub(crate) fn restore_next(&mut self) -> Result<Option<Receipt>, Error> {
        unless_stopped(self.driver.restore_next())
    }

    pub(crate) fn fail_restore(mut self, failure: &Failure) -> Result<(), Error> {
        unless_stopped(self.driver.fail_restore(&failure.as_error_report()))
    }
}

/// The result of a driver; the default if it was stopped.
fn unless_stopped<T: Default>(result: Result<T, DriverError<NoConnection>>) -> Result<T, Error> {
    result.or_else(|error| error_of(error).map_or(Ok(T::default()), Err))
}
