//! Connections: sockets, and pipes in memory that behave like them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A stream of bytes in both directions. Dropping it closes it; dropping it with unread bytes
/// resets it, as with a socket.
pub trait Duplex: Read + Write + Send {
    /// Bounds how long reads and writes block; after that they fail with [`ErrorKind::WouldBlock`].
    fn set_timeouts(&mut self, read: Duration, write: Duration);

    /// Waits for bytes and reads them without removing them.
    ///
    /// # Errors
    ///
    /// The errors of reading.
    fn peek(&self, room: &mut [u8]) -> io::Result<usize>;
}

impl Duplex for TcpStream {
    fn set_timeouts(&mut self, read: Duration, write: Duration) {
        self.set_read_timeout(Some(read)).unwrap();
        self.set_write_timeout(Some(write)).unwrap();
    }

    fn peek(&self, room: &mut [u8]) -> io::Result<usize> {
        self.peek(room)
    }
}

/// Bytes that a pipe holds in each direction; a writer of more waits until some have been read.
pub const CAPACITY: usize = 64 * 1024;

/// One end of a connection in memory.
pub struct Pipe {
    incoming: Arc<Way>,
    outgoing: Arc<Way>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

/// One direction of a connection.
#[derive(Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// What a read finds after the bytes.
    end: Option<End>,
    has_no_reader: bool,
}

#[derive(Clone, Copy)]
enum End {
    Closed,
    Reset,
}

impl Pipe {
    /// Both ends of a new connection.
    pub fn pair() -> (Self, Self) {
        let (one, other) = (Arc::<Way>::default(), Arc::<Way>::default());
        let end = |incoming: &Arc<Way>, outgoing: &Arc<Way>| Self {
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            read_timeout: None,
            write_timeout: None,
        };
        (end(&one, &other), end(&other, &one))
    }

    /// A handle that ends the reads of this end from another thread.
    pub fn read_end(&self) -> ReadEnd {
        ReadEnd(self.incoming.clone())
    }

    /// Waits until there are bytes to read or the stream has ended, and returns the state.
    fn readable(&self) -> io::Result<MutexGuard<'_, State>> {
        let is_silent = |state: &State| state.bytes.is_empty() && state.end.is_none();
        let state = self.incoming.wait_while(self.read_timeout, is_silent)?;
        match state.end {
            Some(End::Reset) if state.bytes.is_empty() => Err(ErrorKind::ConnectionReset.into()),
            _ => Ok(state),
        }
    }
}

/// Ends the reads of a [`Pipe`] from another thread, as shutting a socket down for reading does.
#[derive(Clone)]
pub struct ReadEnd(Arc<Way>);

impl ReadEnd {
    /// Ends the reads.
    pub fn end(&self) {
        self.0.change(|state| state.end = Some(End::Closed));
    }
}

impl Way {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait_while(
        &self,
        timeout: Option<Duration>,
        condition: impl Fn(&State) -> bool,
    ) -> io::Result<MutexGuard<'_, State>> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.state.lock().unwrap();
        while condition(&state) {
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap(),
                Some(Duration::ZERO) => return Err(ErrorKind::WouldBlock.into()),
                Some(left) => self.changed.wait_timeout(state, left).unwrap().0,
            };
        }
        Ok(state)
    }
}

impl Duplex for Pipe {
    fn set_timeouts(&mut self, read: Duration, write: Duration) {
        (self.read_timeout, self.write_timeout) = (Some(read), Some(write));
    }

    fn peek(&self, room: &mut [u8]) -> io::Result<usize> {
        let state = self.readable()?;
        let length = room.len().min(state.bytes.len());
        for (place, byte) in room.iter_mut().zip(&state.bytes) {
            *place = *byte;
        }
        Ok(length)
    }
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.readable()?.bytes.read(room)?;
        self.incoming.changed.notify_all();
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Takes as much as there is room for, in one step.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let is_full = |state: &State| state.bytes.len() >= CAPACITY && !state.has_no_reader;
        let mut state = self.outgoing.wait_while(self.write_timeout, is_full)?;
        if state.has_no_reader {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let before = state.bytes.len();
        for part in parts {
            let room = CAPACITY - state.bytes.len();
            state.bytes.extend(&part[..part.len().min(room)]);
        }
        let taken = state.bytes.len() - before;
        drop(state);
        self.outgoing.changed.notify_all();
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut end = End::Closed;
        self.incoming.change(|state| {
            if !state.bytes.is_empty() {
                end = End::Reset;
            }
            state.bytes.clear();
            state.has_no_reader = true;
        });
        self.outgoing.change(|state| state.end = Some(end));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_gets_all_bytes_and_then_the_end() {
        let (mut one, mut other) = Pipe::pair();
        one.write_all(b"hello").unwrap();
        drop(one);
        let mut text = String::new();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert_eq!(other.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_writer_waits_while_the_other_end_does_not_read() {
        let (mut one, mut other) = Pipe::pair();
        one.set_timeouts(Duration::from_millis(20), Duration::from_millis(20));
        assert_eq!(one.write(&vec![b'x'; 2 * CAPACITY]).unwrap(), CAPACITY);
        assert_eq!(one.write(b"more").unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        one.set_timeouts(Duration::from_secs(10), Duration::from_secs(10));
        let writer = thread::spawn(move || one.write(b"more").unwrap());
        assert_eq!(other.read(&mut [0; 100]).unwrap(), 100);
        assert_eq!(writer.join().unwrap(), 4);
    }

    #[test]
    fn dropping_an_end_with_unread_bytes_resets_the_connection_after_its_written_bytes() {
        let (mut one, mut other) = Pipe::pair();
        one.write_all(b"unread").unwrap();
        other.write_all(b"x").unwrap();
        assert_eq!(other.peek(&mut [0; 9]).unwrap(), 6);
        drop(other);
        assert_eq!(one.read(&mut [0; 9]).unwrap(), 1);
        assert_eq!(one.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn another_thread_ends_reads_but_not_writes() {
        let (mut one, mut other) = Pipe::pair();
        let end = one.read_end();
        let reader = thread::spawn(move || {
            assert_eq!(one.read(&mut [0]).unwrap(), 0);
            one.write_all(b"still").unwrap();
        });
        end.end();
        reader.join().unwrap();
        assert_eq!(other.read(&mut [0; 9]).unwrap(), 5);
    }
}
