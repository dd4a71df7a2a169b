use crate::client::Warning;
use crate::machine::Machine;

/// A connection to the Runtime API.
///
/// Implement it for a stream, empty where [`embedded_io::Write`] is all that the stream can do.
pub trait Connection: embedded_io::Read + embedded_io::Write {
    /// Writes some of the three parts, in order, and returns how many bytes of them altogether.
    ///
    /// Override it with a vectored write where there is one: head, body and a pipelined `next` then
    /// go out together without being copied. Parts may be empty, but not all three.
    ///
    /// # Errors
    ///
    /// The stream's own.
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, Self::Error> {
        match parts.into_iter().find(|part| !part.is_empty()) {
            Some(part) => self.write(part),
            None => Ok(0),
        }
    }
}

/// What a driver cannot know: how to connect, when to stop, whom to tell.
///
/// A closure `FnMut(u32) -> Result<impl Connection, E>` is a connector that never stops and tells nobody.
pub trait Connector {
    /// The connection.
    type Connection: Connection;
    /// Why there is none, in the end.
    type Error;

    /// Connects, waiting as long as it sees fit.
    ///
    /// `losses` is [`Machine::losses`](crate::machine::Machine::losses): 0 for the first connection, 1 after an
    /// ordinary loss, more when the service accepts and hangs up. From 2 on, wait before connecting,
    /// longer each time, or this becomes a busy loop.
    ///
    /// # Errors
    ///
    /// When it gives up. The driver ends with it.
    fn connect(&mut self, losses: u32) -> Result<Self::Connection, Self::Error>;

    /// Tells of something that does not end the driver but that somebody should know.
    fn warn(&mut self, _warning: &Warning<'_>) {}

    /// The driver has taken a [step](crate::client::Step) and is about to act on it.
    ///
    /// This is where a connector learns what is in flight, from the [phase](Machine::phase). An answer is
    /// encoded before the step after which its first byte is written, so no answer leaves before the connector
    /// has seen [`Phase::Reporting`](crate::machine::Phase::Reporting), or a [stream](Machine::is_streaming).
    fn stepped(&mut self, _machine: &Machine) {}

    /// Whether no further invocation shall be asked for.
    fn is_stopping(&self) -> bool {
        false
    }

    /// The driver is about to block until an invocation comes; `false` stops it instead.
    ///
    /// From here to [`end_wait`](Self::end_wait) nothing is in hand that could be lost, so this is
    /// when another thread may end the stream in order to stop the driver.
    fn begin_wait(&mut self) -> bool {
        !self.is_stopping()
    }

    /// The driver does not block any more. `false` if another thread has ended the stream meanwhile: an
    /// invocation that came all the same is then answered on a new connection.
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
