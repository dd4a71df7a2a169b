use embedded_io::Read as _;

use super::{Connection, Connector, DriverError};
use crate::client::{End, Exchange, Receipt, Step, Storage, Warning};
use crate::machine::{CommandError, Phase};

/// The I/O of a driver: the connector, its connection, and an error to return later.
pub(super) struct Io<C: Connector> {
    pub(super) connector: C,
    /// The error that ends the driver, until it can be returned.
    pub(super) error: Option<DriverError<C::Error>>,
    connection: Option<C::Connection>,
    /// Whether the connector ended the stream although an invocation arrived on it.
    pub(super) is_cut: bool,
}

impl<C: Connector> Io<C> {
    pub(super) fn new(connector: C) -> Self {
        Self { connector, error: None, connection: None, is_cut: false }
    }

    /// Connects, writes and reads as the client asks; returns the first other step.
    pub(super) fn pump<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
    ) -> Result<Step, DriverError<C::Error>> {
        loop {
            // The client may have given up the connection in this step. Close it before another one
            // is made, or the service would count two.
            let step = exchange.step(|warning| self.connector.warn(warning));
            if !exchange.is_connected() {
                self.connection = None;
                self.is_cut = false;
            }
            self.connector.stepped(exchange.machine());
            match step {
                Step::Connect { losses } => {
                    self.connection =
                        Some(self.connector.connect(losses).map_err(DriverError::Connect)?);
                    exchange.connected();
                    // The connector may have stopped while it connected.
                    if exchange.machine().phase() == Phase::Ready && self.connector.is_stopping() {
                        return Ok(self.close(exchange));
                    }
                }
                Step::Write => self.write(exchange, body),
                Step::Read => {
                    let is_waiting = exchange.is_waiting();
                    // Between `begin_wait` and `end_wait` another thread may end the stream. If an
                    // event has arrived nevertheless, its connection is gone, and it is answered on
                    // a new one.
                    if is_waiting && !self.connector.begin_wait() {
                        return Ok(self.close(exchange));
                    }
                    self.read(exchange);
                    if is_waiting && !self.connector.end_wait() {
                        self.is_cut = true;
                    }
                }
                step => return Ok(step),
            }
        }
    }

    fn write<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>, body: &[u8]) {
        let Some(connection) = &mut self.connection else { return exchange.lost() };
        match connection.write_parts(exchange.unsent(body)) {
            Ok(length @ 1..) => exchange.sent(length),
            Err(error) if is_interrupted(&error) => {}
            _ => exchange.write_failed(),
        }
    }

    fn read<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) {
        let Some(connection) = &mut self.connection else { return exchange.lost() };
        let Some(room) = exchange.room() else { return };
        match connection.read(room) {
            Ok(length) => exchange.received(length),
            Err(error) if is_interrupted(&error) => {}
            Err(_) => exchange.lost(),
        }
    }

    fn close<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) -> Step {
        self.connection = None;
        exchange.shut_down();
        Step::End(End::Done)
    }

    /// Sends an answer and waits for its receipt.
    pub(super) fn answer<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
        encode: impl FnOnce(&mut Exchange<'_, S>, &mut C) -> Result<(), CommandError>,
    ) -> Receipt {
        // An earlier call in the same handler may have ended the driver.
        if self.error.is_some() || exchange.end().is_some() {
            return self.abandon(exchange);
        }
        if let Err(error) = encode(exchange, &mut self.connector) {
            self.error = Some(error.into());
            return self.abandon(exchange);
        }
        match self.pump(exchange, body) {
            Ok(Step::Settled(receipt)) => receipt,
            Ok(_) => Receipt::FateUnknown,
            Err(error) => {
                self.error = Some(error);
                self.abandon(exchange)
            }
        }
    }

    /// Gives up an answer because the driver ends before it is sent.
    fn abandon<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) -> Receipt {
        exchange.abandon(self.tell())
    }

    /// Sends a part of a stream; `false` if the stream is over.
    pub(super) fn send_part<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        piece: &[u8],
    ) -> bool {
        match self.pump(exchange, piece) {
            Ok(step) => step == Step::Answer,
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }

    /// Returns a function that passes warnings to the connector.
    pub(super) fn tell(&mut self) -> impl FnMut(&Warning<'_>) {
        |warning| self.connector.warn(warning)
    }
}

fn is_interrupted(error: &impl embedded_io::Error) -> bool {
    error.kind() == embedded_io::ErrorKind::Interrupted
}
