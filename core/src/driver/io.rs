use embedded_io::Read as _;

use super::{Connection, Connector, DriverError};
use crate::client::{Exchange, Receipt, Step, Storage, Warning};
use crate::flow::{Flow, Host, has_read, wrote};
use crate::machine::Machine;

/// The kind of the driver that blocks.
pub(super) struct Blocking;

/// The I/O of a driver.
pub(super) type Io<C> = Flow<Blocking, C, <C as Connector>::Connection, <C as Connector>::Error>;

impl<C: Connector> Host<Blocking> for C {
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
    pub(super) fn pump<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
    ) -> Result<Step, DriverError<C::Error>> {
        loop {
            match self.take_step(exchange) {
                Step::Connect { losses } => {
                    let connection =
                        self.connector.connect(losses).map_err(DriverError::Connect)?;
                    if let Some(step) = self.connected(exchange, connection) {
                        return Ok(step);
                    }
                }
                Step::Write => match &mut self.connection {
                    Some(connection) => {
                        let result = connection.write_parts(exchange.unsent(body));
                        wrote(exchange, result);
                    }
                    None => exchange.lost(),
                },
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

    fn read<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) {
        let Some(connection) = &mut self.connection else { return exchange.lost() };
        let Some(room) = exchange.room() else { return };
        let result = connection.read(room);
        has_read(exchange, result);
    }

    /// Sends what has begun, and waits for the receipt.
    pub(super) fn settle<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
        begun: Result<(), Receipt>,
    ) -> Receipt {
        if let Err(receipt) = begun {
            return receipt;
        }
        let result = self.pump(exchange, body);
        self.receipt(exchange, result)
    }
}
