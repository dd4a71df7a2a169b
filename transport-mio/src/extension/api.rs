//! The connection to the Extensions API, without waiting.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use lambda_proto_extension::Reply;
use lambda_proto_host::MAX_ATTEMPT;
use lambda_proto_host::extension::{Error, Lost, Session};
use mio::net::TcpStream;
use mio::{Events, Poll, Registry, Token, event};

use crate::socket::{Io, Socket};

pub(super) struct Api {
    pub(super) session: Session,
    /// Never empty.
    addresses: Vec<SocketAddr>,
    at: usize,
    registry: Registry,
    token: Token,
    socket: Option<Socket>,
    exchange: Exchange,
    /// When the exchange must be over, if it must.
    until: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Exchange {
    None,
    /// A connection is made for it. `tried` addresses have failed.
    Connecting {
        tried: usize,
        until: Instant,
    },
    Connected,
}

impl Api {
    /// Resolves the address of the service, which may block if it is a name.
    pub(super) fn new(session: Session, registry: Registry, token: Token) -> io::Result<Self> {
        let endpoint = &session.settings().endpoint;
        let addresses: Vec<_> = (endpoint.host(), endpoint.port()).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        let (socket, exchange, until) = (None, Exchange::None, None);
        Ok(Self { session, addresses, at: 0, registry, token, socket, exchange, until })
    }

    /// Begins a request, which must be over at `until`.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        until: Option<Instant>,
        command: impl FnOnce(&mut Session) -> Result<(), Error>,
    ) -> Result<(), Error> {
        command(&mut self.session)?;
        self.until = until;
        self.exchange = match self.socket {
            Some(_) => Exchange::Connected,
            None => Exchange::Connecting { tried: 0, until: now + MAX_ATTEMPT },
        };
        Ok(())
    }

    /// Makes a request and waits for its reply.
    pub(super) fn wait_for(
        &mut self,
        patience: Duration,
        command: impl FnOnce(&mut Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        self.wait_until(Instant::now() + patience, command)
    }

    /// The same until a moment.
    pub(super) fn wait_until(
        &mut self,
        until: Instant,
        command: impl FnOnce(&mut Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(4);
        self.move_to(poll.registry().try_clone()?, self.token)?;
        self.begin(Instant::now(), Some(until), command)?;
        loop {
            let now = Instant::now();
            if let Some((_, result)) = self.drive(now) {
                return result;
            }
            let timeout = self.next_timeout().map(|at| at.saturating_duration_since(now));
            match poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
            events.iter().for_each(|event| self.note(event));
        }
    }

    /// Moves the connection to another loop.
    pub(super) fn move_to(&mut self, registry: Registry, token: Token) -> io::Result<()> {
        let former = std::mem::replace(&mut self.registry, registry);
        self.token = token;
        let Some(socket) = self.socket.take() else { return Ok(()) };
        self.socket = Some(socket.move_to(&former, &self.registry, token)?);
        Ok(())
    }

    /// Notes an event of the poll.
    pub(super) fn note(&mut self, event: &event::Event) {
        if let Some(socket) = &mut self.socket {
            socket.note(event);
        }
    }

    /// When to drive an exchange at the latest.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self.exchange {
            Exchange::None => None,
            Exchange::Connecting { until, .. } => {
                Some(self.until.map_or(until, |it| it.min(until)))
            }
            Exchange::Connected => self.until,
        }
    }

    /// Goes on with an exchange. Returns its result once it is over, and whether it had a
    /// connection.
    pub(super) fn drive(&mut self, now: Instant) -> Option<(bool, Result<Reply, Lost>)> {
        let result = self.try_drive(now)?;
        let had_connection = matches!(self.exchange, Exchange::Connected);
        self.exchange = Exchange::None;
        if result.is_err() || self.session.must_reconnect() {
            self.session.disconnected();
            self.close();
        }
        Some((had_connection, result))
    }

    fn try_drive(&mut self, now: Instant) -> Option<Result<Reply, Lost>> {
        loop {
            if matches!(self.exchange, Exchange::None) {
                return None;
            }
            if self.until.is_some_and(|until| now >= until) {
                return Some(lost(io::ErrorKind::TimedOut));
            }
            if let Exchange::Connecting { tried, until } = self.exchange {
                let error = match self.connect(now >= until) {
                    Ok(true) => {
                        self.exchange = Exchange::Connected;
                        continue;
                    }
                    Ok(false) => return None,
                    Err(error) => error,
                };
                self.close();
                self.at = (self.at + 1) % self.addresses.len();
                if tried + 1 >= self.addresses.len() {
                    return Some(Err(error.into()));
                }
                self.exchange = Exchange::Connecting { tried: tried + 1, until: now + MAX_ATTEMPT };
                continue;
            }
            let Some(socket) = &mut self.socket else {
                return Some(lost(io::ErrorKind::NotConnected));
            };
            if !self.session.unsent().is_empty() {
                if !socket.is_writable() {
                    return None;
                }
                match socket.write([self.session.unsent(), &[], &[]]) {
                    Io::Done(length) => self.session.sent(length),
                    Io::Blocked => return None,
                    Io::Failed => return Some(lost(io::ErrorKind::BrokenPipe)),
                }
                continue;
            }
            if !socket.is_readable() {
                return None;
            }
            let received = match socket.read(self.session.room()) {
                Io::Done(0) => {
                    let reply = self.session.end_of_stream();
                    return Some(reply.map_or_else(|| lost(io::ErrorKind::UnexpectedEof), Ok));
                }
                Io::Done(length) => self.session.received(length),
                Io::Blocked => return None,
                Io::Failed => return Some(lost(io::ErrorKind::ConnectionReset)),
            };
            match received {
                Ok(Some(reply)) => return Some(Ok(reply)),
                Ok(None) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    /// Begins to connect, or looks whether that is done.
    fn connect(&mut self, is_late: bool) -> io::Result<bool> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None => {
                let stream = TcpStream::connect(self.addresses[self.at])?;
                self.socket.insert(Socket::register(stream, &self.registry, self.token)?)
            }
        };
        let is_connected = socket.is_connected()?;
        if !is_connected && is_late {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(is_connected)
    }

    fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.close(&self.registry);
        }
    }
}

fn lost(kind: io::ErrorKind) -> Result<Reply, Lost> {
    Err(io::Error::from(kind).into())
}

impl Drop for Api {
    fn drop(&mut self) {
        self.close();
    }
}
