//! What a driver needs from this crate: how to connect, when to stop, where warnings go.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambda_proto::client::Warning;
use lambda_proto::driver::{Connector, DriverError};
use lambda_proto::machine::Machine;
use lambda_proto_host::{Dialer, Error, InFlight, connect};

use crate::socket::Socket;
use crate::stop::{StopHandle, Waiter};

pub(crate) struct SlotConnector {
    pub(crate) dialer: Dialer,
    pub(crate) stop: StopHandle,
    pub(crate) waiter: Arc<Waiter>,
    pub(crate) in_flight: InFlight,
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
        // The stop handle's clone must not keep the old connection open.
        self.waiter.set_socket(None);
        let mut attempts = self.dialer.begin(losses);
        loop {
            self.stop.pause(self.dialer.pause(&attempts));
            let tried = Instant::now();
            match self.try_connect(self.dialer.patience()) {
                Ok(socket) => {
                    self.dialer.connected(&attempts);
                    return Ok(socket);
                }
                Err(_) if self.stop.is_stopping() => return Err(NoConnection::Stopped),
                Err(reason) => {
                    let failed = self.dialer.failed(&mut attempts, tried, reason);
                    failed.map_err(NoConnection::Unreachable)?;
                }
            }
        }
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        self.dialer.settings().log.warning(warning);
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
    fn try_connect(&self, patience: Duration) -> io::Result<Socket> {
        let stream = connect(&self.dialer.settings().endpoint, patience)?;
        self.waiter.set_socket(Some(stream.try_clone()?));
        Socket::new(stream)
    }
}

impl Drop for SlotConnector {
    fn drop(&mut self) {
        // The stop handle's clone must not keep the connection open.
        self.waiter.set_socket(None);
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
