use crate::Machine;
use crate::slot::Notice;

/// A connection to the Runtime API.
///
/// Implement it for a stream, empty where [`embedded_io::Write`] is all that the stream can do.
pub trait Link: embedded_io::Read + embedded_io::Write {
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
/// A closure `FnMut(u32) -> Result<impl Link, E>` is a host that never stops and tells nobody.
pub trait Host {
    /// The connection.
    type Link: Link;
    /// Why there is none, in the end.
    type Error;

    /// Connects, waiting as long as it sees fit.
    ///
    /// `losses` is [`Machine::losses`](crate::Machine::losses): 0 for the first connection, 1 after an
    /// ordinary loss, more when the service accepts and hangs up. From 2 on, wait before connecting,
    /// longer each time, or this becomes a busy loop.
    ///
    /// # Errors
    ///
    /// When it gives up. The driver ends with it.
    fn connect(&mut self, losses: u32) -> Result<Self::Link, Self::Error>;

    /// Tells of something that does not end the driver but that somebody should know.
    fn notice(&mut self, _notice: &Notice<'_>) {}

    /// The driver has taken a [step](crate::slot::Step) and is about to act on it.
    ///
    /// This is where a host learns what is in flight, from the [phase](Machine::phase). An answer is
    /// encoded before the step after which its first byte is written, so no answer leaves before the host
    /// has seen [`Phase::Reporting`](crate::Phase::Reporting), or a [stream](Machine::is_streaming).
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

impl<F, L, E> Host for F
where
    F: FnMut(u32) -> Result<L, E>,
    L: Link,
{
    type Link = L;
    type Error = E;

    fn connect(&mut self, losses: u32) -> Result<L, E> {
        self(losses)
    }
}
