use embedded_io_async::Read as _;

use super::{Connection, Connector, DriverError};
use crate::client::{Exchange, Receipt, Step, Storage, StreamOver, Warning};
use crate::flow::{Flow, Host, has_read, wrote};
use crate::machine::Machine;

/// The kind of the driver that awaits.
pub(super) struct Async;

/// The I/O of a driver.
pub(super) type Io<C> = Flow<Async, C, <C as Connector>::Connection, <C as Connector>::Error>;

impl<C: Connector> Host<Async> for C {
    fn warn(&mut self, warning: &Warning<'_>) {
        Connector::warn(self, warning);
    }

    fn stepped(&mut self, machine: &Machine) {
        Connector::stepped(self, machine);
    }

    fn is_stopping(&self) -> bool {
        Connector::is_stopping(self)
    }
}

impl<C: Connector> Io<C> {
    /// Connects, writes and reads as the client asks; returns the first other step.
    ///
    /// Dropping this future loses nothing: all that is known is in the client, and the result of
    /// each wait is recorded in the same poll in which it ends.
    pub(super) async fn pump<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
    ) -> Result<Step, DriverError<C::Error>> {
        loop {
            match self.take_step(exchange) {
                Step::Connect { losses } => {
                    let connection =
                        self.connector.connect(losses).await.map_err(DriverError::Connect)?;
                    if let Some(step) = self.connected(exchange, connection) {
                        return Ok(step);
                    }
                }
                Step::Write => match &mut self.connection {
                    Some(connection) => {
                        let result = connection.write_parts(exchange.unsent(body)).await;
                        wrote(exchange, result);
                    }
                    None => exchange.lost(),
                },
                Step::Read => {
                    if exchange.is_waiting() && self.connector.is_stopping() {
                        return Ok(self.close(exchange));
                    }
                    match (&mut self.connection, exchange.room()) {
                        (Some(connection), Some(room)) => {
                            let result = connection.read(room).await;
                            has_read(exchange, result);
                        }
                        // The next step says why there is no room.
                        (Some(_), None) => {}
                        (None, _) => exchange.lost(),
                    }
                }
                step => return Ok(step),
            }
        }
    }

    /// Sends what has begun, and waits for the receipt.
    pub(super) async fn settle<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
        begun: Result<(), Receipt>,
    ) -> Receipt {
        if let Err(receipt) = begun {
            return receipt;
        }
        let result = self.pump(exchange, body).await;
        self.receipt(exchange, result)
    }

    /// Takes back what a dropped future has begun.
    pub(super) fn withdraw<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) {
        self.piece = None;
        exchange.withdraw();
    }

    /// Takes back what a dropped future has begun in a stream, and waits until the stream can
    /// continue.
    pub(super) async fn resume<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
    ) -> Result<(), StreamOver> {
        self.withdraw(exchange);
        if self.error.is_some() || !exchange.is_streaming() {
            return Err(StreamOver);
        }
        let result = self.pump(exchange, &[]).await;
        self.continues(result)
    }
}
