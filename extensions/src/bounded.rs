//! A connection for one short exchange under a deadline.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use std::vec::Vec;

use lambda_proto::api::Endpoint;

/// A connection whose operations all end by one deadline.
///
/// Only the lookup of a host name may take longer; Lambda gives addresses.
pub(crate) struct Bounded {
    stream: TcpStream,
    until: Instant,
    input: Vec<u8>,
}

impl Bounded {
    /// Connects to the first address of the endpoint that accepts a connection.
    pub(crate) fn connect(endpoint: &Endpoint, until: Instant) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (endpoint.host(), endpoint.port()).to_socket_addrs()? {
            // The standard library refuses a timeout of zero.
            let left =
                until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self { stream, until, input: Vec::new() });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => bytes = &bytes[length..],
                Err(error) => is_to_be_tried_again(error)?,
            }
        }
        Ok(())
    }

    /// Passes received bytes to `take` until it returns a value; `None` at the end of the stream.
    /// Bytes that `take` leaves are presented again with more after them.
    pub(crate) fn receive<T, E: From<io::Error>>(
        &mut self,
        mut take: impl FnMut(&mut &[u8]) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        loop {
            let mut rest = &self.input[..];
            let taken = take(&mut rest)?;
            let consumed = self.input.len() - rest.len();
            self.input.drain(..consumed);
            if taken.is_some() || !self.read()? {
                return Ok(taken);
            }
        }
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Waits for bytes and reads them; `false` at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(&mut piece) {
                Ok(length) => {
                    self.input.extend_from_slice(&piece[..length]);
                    return Ok(length > 0);
                }
                Err(error) => is_to_be_tried_again(error)?,
            }
        }
    }

    fn left(&self) -> io::Result<Duration> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// Retries after a handled signal or a timeout: the deadline decides whether there is time left.
fn is_to_be_tried_again(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(()),
        _ => Err(error),
    }
}

/// Appends a piece to a document, up to `most` bytes in total.
pub(crate) fn keep(document: &mut Vec<u8>, piece: &[u8], most: usize) {
    let room = most.saturating_sub(document.len());
    document.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// The error for a reply that was cut off.
pub(crate) fn cut_off() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection was closed before the reply was complete",
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::string::{String, ToString};
    use std::{thread, vec};

    use super::*;

    fn connected(patience: Duration) -> (Bounded, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let connection = Bounded::connect(&endpoint, Instant::now() + patience).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    fn nothing_is_enough(connection: &mut Bounded) -> io::Result<Option<()>> {
        connection.receive(|input| {
            *input = &[];
            Ok(None)
        })
    }

    const SHORT: Duration = Duration::from_millis(40);

    #[test]
    fn receiving_from_a_silent_peer_times_out_at_the_deadline() {
        let begun = Instant::now();
        let (mut connection, _peer) = connected(SHORT);
        let error = nothing_is_enough(&mut connection).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_peer_that_never_stops_sending_does_not_extend_the_deadline() {
        let (mut connection, mut peer) = connected(SHORT);
        let talker = thread::spawn(move || while peer.write_all(b"x").is_ok() {});
        let error = nothing_is_enough(&mut connection).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(connection);
        talker.join().unwrap();
    }

    #[test]
    fn sending_to_a_peer_that_does_not_read_times_out_at_the_deadline() {
        let (mut connection, _peer) = connected(SHORT);
        let error = connection.send(&vec![0; 64 * 1024 * 1024]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn bytes_that_are_left_are_presented_again_with_more_after_them() {
        let (mut connection, mut peer) = connected(Duration::from_secs(10));
        peer.write_all(b"ab").unwrap();
        let mut seen = Vec::new();
        let taken = connection.receive::<_, io::Error>(|input| {
            seen.push(String::from_utf8(input.to_vec()).unwrap());
            match &input[..] {
                b"ab" => {
                    *input = &input[1..];
                    peer.write_all(b"c")?;
                    Ok(None)
                }
                b"bc" => Ok(Some("both")),
                _ => Ok(None),
            }
        });
        assert_eq!(taken.unwrap(), Some("both"));
        assert_eq!((seen.first(), seen.last()), (Some(&"".into()), Some(&"bc".into())));
    }

    #[test]
    fn the_end_of_the_stream_is_not_an_error() {
        let (mut connection, peer) = connected(Duration::from_secs(10));
        drop(peer);
        assert_eq!(nothing_is_enough(&mut connection).unwrap(), None);
    }
}
