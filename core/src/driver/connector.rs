use crate::client::Warning;
use crate::machine::Machine;

/// A connection to the Runtime API.
///
/// Implement it for a stream; leave the implementation empty if the stream has no vectored write.
pub trait Connection: embedded_io::Read + embedded_io::Write {
    /// Writes some of the three parts, in order, and returns the total number of bytes written.
    ///
    /// Override it with a vectored write where there is one: head, body and a pipelined `next` then
    /// leave together without being copied. Parts may be empty, but not all three.
    ///
    /// # Errors
    ///
    /// The error of the stream.
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, Self::Error> {
        match parts.into_iter().find(|part| !part.is_empty()) {
            Some(part) => self.write(part),
            None => Ok(0),
        }
    }
}

/// The part of a driver that connects, decides when to stop, and receives warnings.
///
/// A closure `FnMut(u32) -> Result<impl Connection, E>` is a connector that never stops and ignores
/// warnings.
pub trait Connector {
    /// The connection.
    type Connection: Connection;
    /// The error of a connector that gives up.
    type Error;

    /// Connects, waiting as long as it sees fit.
    ///
    /// `losses` is [`Machine::losses`](crate::machine::Machine::losses): 0 for the first
    /// connection, 1 after an ordinary loss, more when the service keeps closing new connections.
    /// From 2 on, wait before connecting, longer each time, or this becomes a busy loop.
    ///
    /// # Errors
    ///
    /// An error if the connector gives up. The driver ends with it.
    fn connect(&mut self, losses: u32) -> Result<Self::Connection, Self::Error>;

    /// Receives a warning, which does not end the driver.
    fn warn(&mut self, _warning: &Warning<'_>) {}

    /// Called after the driver has taken a [step](crate::client::Step) and before it acts on it.
    ///
    /// A connector learns here what is in flight, from the [phase](Machine::phase). An answer is
    /// encoded before the step that writes its first byte, so no answer is sent before the
    /// connector has seen [`Phase::Reporting`](crate::machine::Phase::Reporting), or a
    /// [stream](Machine::is_streaming).
    fn stepped(&mut self, _machine: &Machine) {}

    /// Whether the driver must not ask for another invocation.
    fn is_stopping(&self) -> bool {
        false
    }

    /// Called before the driver blocks until an invocation or a restore arrives; `false` stops the
    /// driver.
    ///
    /// From here to [`end_wait`](Self::end_wait) nothing is in flight that could be lost, so
    /// another thread may end the stream to stop the driver.
    fn begin_wait(&mut self) -> bool {
        !self.is_stopping()
    }

    /// Called when the driver no longer blocks. Returns `false` if another thread has ended the
    /// stream: an invocation that arrived nevertheless is then answered on a new connection.
    fn end_wait(&mut self) -> bool {
        true
    }
}

impl<F, L, E> Connector for F
where
    F: FnMut(u32) -> Result<L, E>,
    L: Connection,
{
    type Connection = L;
    type Error = E;

    fn connect(&mut self, losses: u32) -> Result<L, E> {
        self(losses)
    }
}
