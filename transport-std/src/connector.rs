//! What a driver needs from this crate: how to connect, when to stop, where warnings go.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambda_proto::client::Warning;
use lambda_proto::driver::{Connector, DriverError};
use lambda_proto::machine::Machine;
use lambda_proto_host::{Error, InFlight, Settings, backoff, connect};

use crate::socket::Socket;
use crate::stop::{StopHandle, Waiter};

pub(crate) struct SlotConnector {
    pub(crate) settings: Settings,
    pub(crate) stop: StopHandle,
    pub(crate) waiter: Arc<Waiter>,
    pub(crate) in_flight: InFlight,
    /// Whether this slot is counted among those with a connection.
    pub(crate) is_connected: bool,
    /// Whether the log has reported that this slot has no connection.
    pub(crate) has_told: bool,
}

/// Why a slot has no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    Unreachable(Error),
    Stopped,
}

impl Connector for SlotConnector {
    type Connection = Socket;
    type Error = NoConnection;

    fn connect(&mut self, losses: u32) -> Result<Socket, NoConnection> {
        self.disconnected();
        let began = Instant::now();
        // The first loss is normal: the connection went stale.
        let mut failed = losses.saturating_sub(1);
        self.settings.log_losses(losses);
        loop {
            let patience = self.settings.patience;
            self.stop.pause(backoff(failed).min(self.stop.left(patience)));
            let tried = Instant::now();
            let reason = match self.try_connect(self.stop.left(patience)) {
                Ok(socket) => {
                    self.is_connected = true;
                    self.stop.connected();
                    if self.end_told() {
                        self.settings.log_reachable(began.elapsed());
                    }
                    return Ok(socket);
                }
                Err(reason) => reason,
            };
            let is_news = self.stop.failed_to_connect(tried);
            self.has_told |= is_news;
            if self.stop.is_stopping() {
                return Err(NoConnection::Stopped);
            }
            // While another slot has a connection, this one keeps trying: the service counts on
            // every slot.
            if let Some(waited) = self.stop.outage().filter(|waited| *waited >= patience) {
                return Err(NoConnection::Unreachable(self.settings.unreachable(waited, reason)));
            }
            if is_news {
                self.settings.log_unreachable(&reason);
            }
            failed = failed.saturating_add(1);
        }
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        self.settings.log.warning(warning);
    }

    fn stepped(&mut self, machine: &Machine) {
        self.in_flight.note(machine);
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    fn begin_wait(&mut self) -> bool {
        let is_waiting = self.stop.begin_wait(&self.waiter);
        if !is_waiting {
            self.waiter.set_socket(None);
        }
        is_waiting
    }

    fn end_wait(&mut self) -> bool {
        self.waiter.end_wait()
    }
}

impl SlotConnector {
    /// Notes that the connection is gone, if there was one.
    fn disconnected(&mut self) {
        // The stop handle's clone must not keep it open.
        self.waiter.set_socket(None);
        if std::mem::take(&mut self.is_connected) {
            self.stop.disconnected();
        }
    }

    /// Notes that the outage of this slot is over; `false` if the log has not reported it.
    fn end_told(&mut self) -> bool {
        let has_told = std::mem::take(&mut self.has_told);
        if has_told {
            self.stop.end_told();
        }
        has_told
    }

    fn try_connect(&self, patience: Duration) -> io::Result<Socket> {
        let stream = connect(&self.settings.endpoint, patience)?;
        self.waiter.set_socket(Some(stream.try_clone()?));
        Ok(Socket(stream))
    }
}

impl Drop for SlotConnector {
    fn drop(&mut self) {
        self.disconnected();
        self.end_told();
        self.stop.remove(&self.waiter);
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
