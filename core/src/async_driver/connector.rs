use crate::client::Warning;
use crate::machine::Machine;

/// A connection to the Runtime API.
///
/// Implement it for a stream; leave the implementation empty if the stream has no vectored write.
///
/// # Cancellation
///
/// Unlike `embedded_io_async`, which only encourages it, this trait requires that single reads and
/// writes can be cancelled: a future of [`read`](embedded_io_async::Read::read),
/// [`write`](embedded_io_async::Write::write) or [`write_parts`](Self::write_parts) that is dropped
/// before it is ready has taken no byte out of the stream, and passed none on. A stream that does
/// its transfer in the last poll, as sockets do that wait until they are ready, has this property.
/// A stream that hands its buffer to hardware or to a completion queue does not: wrap it in one
/// that keeps the result of an operation for the next call.
///
/// The driver calls neither `flush` nor any provided method of `Read` and `Write`, so bytes that a
/// write has taken must reach the peer without further calls.
#[expect(async_fn_in_trait, reason = "no `Send` of ours: an executor may have one thread")]
pub trait Connection: embedded_io_async::Read + embedded_io_async::Write {
    /// Writes some of the three parts, in order, and returns the total number of bytes written.
    ///
    /// Override it with a vectored write where there is one: head, body and a pipelined `next` then
    /// leave together without being copied. Parts may be empty, but not all three.
    ///
    /// # Errors
    ///
    /// The error of the stream.
    async fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, Self::Error> {
        match parts.into_iter().find(|part| !part.is_empty()) {
            Some(part) => self.write(part).await,
            None => Ok(0),
        }
    }
}

/// The part of a driver that connects, decides when to stop, and receives warnings.
///
/// An async closure `AsyncFnMut(u32) -> Result<impl Connection, E>` is a connector that never stops
/// and ignores warnings.
#[expect(async_fn_in_trait, reason = "no `Send` of ours: an executor may have one thread")]
pub trait Connector {
    /// The connection.
    type Connection: Connection;
    /// The error of a connector that gives up.
    type Error;

    /// Connects, waiting as long as it sees fit. If the future is dropped, the driver calls this
    /// again with the same number. A connector whose futures are dropped at each wait, as
    /// [`write_on`](super::Stream::write_on) allows, keeps the attempt in itself.
    ///
    /// `losses` is [`Machine::losses`](crate::machine::Machine::losses): 0 for the first
    /// connection, 1 after an ordinary loss, more when the service keeps closing new connections.
    /// From 2 on, wait before connecting, longer each time, or this becomes a busy loop.
    ///
    /// # Errors
    ///
    /// An error if the connector gives up. The driver ends with it.
    async fn connect(&mut self, losses: u32) -> Result<Self::Connection, Self::Error>;

    /// Receives a warning, which does not end the driver.
    fn warn(&mut self, _warning: &Warning<'_>) {}

    /// Called after the driver has taken a [step](crate::client::Step) and before it acts on it.
    ///
    /// A connector learns here what is in flight, from the [phase](Machine::phase). An answer is
    /// encoded before the step that writes its first byte, so no answer is sent before the
    /// connector has seen [`Phase::Reporting`](crate::machine::Phase::Reporting), or a
    /// [stream](Machine::is_streaming).
    fn stepped(&mut self, _machine: &Machine) {}

    /// Whether the driver must not ask for another invocation, nor wait for one that it has asked
    /// for.
    ///
    /// The driver looks before each wait, and is not woken when this changes. To stop a wait, drop
    /// the future of [`next`](super::Driver::next), which loses nothing.
    fn is_stopping(&self) -> bool {
        false
    }
}

impl<F, L, E> Connector for F
where
    F: AsyncFnMut(u32) -> Result<L, E>,
    L: Connection,
{
    type Connection = L;
    type Error = E;

    async fn connect(&mut self, losses: u32) -> Result<L, E> {
        self(losses).await
    }
}
