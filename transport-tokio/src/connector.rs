//! What a driver needs from this crate: how to connect, when to stop, where warnings go.

use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use lambda_proto::api::Endpoint;
use lambda_proto::async_driver::{Connector, DriverError};
use lambda_proto::client::Warning;
use lambda_proto::machine::Machine;
use lambda_proto_host::{Attempts, Dialer, Error, InFlight, MAX_ATTEMPT, Reach};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

use crate::socket::Socket;
use crate::stop::StopHandle;

pub(crate) struct SlotConnector {
    pub(crate) dialer: Dialer,
    pub(crate) stop: StopHandle,
    pub(crate) in_flight: InFlight,
    /// The attempts of a future that was dropped while it connected, for the next one.
    dialing: Option<Dialing>,
    /// Set when the slot is dropped: it neither connects nor asks for an invocation.
    pub(crate) is_dropped: bool,
}

/// A slot that connects.
struct Dialing {
    attempts: Attempts,
    /// The attempt that has begun.
    attempt: Option<Attempt>,
}

/// The pause before an attempt, and the attempt. Returns when it began, too.
type Attempt = Pin<Box<dyn Future<Output = (Instant, io::Result<TcpStream>)> + Send>>;

/// Why a slot has no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    Unreachable(Error),
    Stopped,
}

impl SlotConnector {
    pub(crate) fn new(dialer: Dialer, stop: StopHandle, in_flight: InFlight) -> Self {
        Self { dialer, stop, in_flight, dialing: None, is_dropped: false }
    }
}

impl Connector for SlotConnector {
    type Connection = Socket;
    type Error = NoConnection;

    async fn connect(&mut self, losses: u32) -> Result<Socket, NoConnection> {
        let Self { dialer, stop, dialing, is_dropped, .. } = self;
        if *is_dropped {
            return Err(NoConnection::Stopped);
        }
        let Dialing { attempts, attempt } = dialing
            .get_or_insert_with(|| Dialing { attempts: dialer.begin(losses), attempt: None });
        let result = loop {
            let (tried, result) = attempt
                .get_or_insert_with(|| {
                    let settings = dialer.settings();
                    Box::pin(attempt_after(
                        dialer.pause(attempts),
                        settings.endpoint.clone(),
                        settings.patience,
                        stop.clone(),
                    ))
                })
                .await;
            *attempt = None;
            match result {
                Ok(stream) => {
                    dialer.connected(attempts);
                    break Ok(Socket(stream));
                }
                Err(_) if stop.is_stopping() => break Err(NoConnection::Stopped),
                Err(reason) => {
                    if let Err(error) = dialer.failed(attempts, tried, reason) {
                        break Err(NoConnection::Unreachable(error));
                    }
                }
            }
        };
        *dialing = None;
        result
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        self.dialer.settings().log.warning(warning);
    }

    fn stepped(&mut self, machine: &Machine) {
        self.in_flight.note(machine);
    }

    fn is_stopping(&self) -> bool {
        self.is_dropped || self.stop.is_stopping()
    }
}

async fn attempt_after(
    pause: Duration,
    endpoint: Endpoint,
    patience: Duration,
    stop: StopHandle,
) -> (Instant, io::Result<TcpStream>) {
    // A stop ends the pause, not the attempt: there may be an answer to send.
    if !pause.is_zero() {
        let stopped = std::pin::pin!(stop.stopped());
        select(std::pin::pin!(sleep(pause)), stopped).await;
    }
    (Instant::now(), dial(&endpoint, stop.reach(), patience).await)
}

/// Connects to the first address of the endpoint that accepts a connection, as
/// [`lambda_proto_host::connect`] does.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    reach: &Reach,
    patience: Duration,
) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in lookup_host((endpoint.host(), endpoint.port())).await? {
        let at_most = reach.left(patience).clamp(Duration::from_millis(1), MAX_ATTEMPT);
        match timeout(at_most, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Waits for a future, or until the runtime is stopped; `None` in the latter case.
pub(crate) async fn unless_stopped<F: Future>(stop: &StopHandle, future: F) -> Option<F::Output> {
    match select(std::pin::pin!(future), std::pin::pin!(stop.stopped())).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// The error that a driver ends with; `None` if it was stopped.
pub(crate) fn error_of(error: DriverError<NoConnection>) -> Option<Error> {
    Some(match error {
        DriverError::Connect(NoConnection::Stopped) => return None,
        DriverError::Connect(NoConnection::Unreachable(error)) => error,
        DriverError::Ended(end) => return Error::from_end(end),
    })
}
