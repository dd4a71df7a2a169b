//! The addresses to connect to, and when to try again.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use lambda_proto::api::Endpoint;
use lambda_proto_host::backoff;
use mio::net::TcpStream;

/// What all slots know about the service: while it is unreachable, one of them tries to connect and
/// the others wait for the result.
#[derive(Debug)]
pub(crate) struct Dialer {
    /// Never empty.
    addresses: Vec<SocketAddr>,
    at: usize,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    reason: io::Error,
    /// The slot that tries to reach the service.
    scout: usize,
    /// Addresses tried since the last pause.
    tried: usize,
    /// Pauses so far.
    failed: u32,
    is_told: bool,
}

/// What follows a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// Another address may be tried immediately.
    TryNow,
    Pause(Duration),
    /// Another slot tries to reach the service.
    Wait,
}

impl Dialer {
    /// Resolves the address, which may block if it is a name.
    pub(crate) fn new(endpoint: &Endpoint) -> io::Result<Self> {
        let addresses: Vec<_> = (endpoint.host(), endpoint.port()).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(Self { addresses, at: 0, outage: None })
    }

    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.addresses[self.at])
    }

    /// Whether this slot has to wait for the result of another one.
    pub(crate) fn is_left_to_another(&self, slot: usize) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.scout != slot)
    }

    /// Notes that the service was reached; returns the length of the outage, if that was logged.
    pub(crate) fn reached(&mut self, now: Instant) -> Option<Duration> {
        let outage = self.outage.take()?;
        outage.is_told.then(|| now.saturating_duration_since(outage.since))
    }

    /// Notes that an attempt that began at `began` has failed; `left` is the patience left.
    pub(crate) fn failed(
        &mut self,
        slot: usize,
        began: Instant,
        left: Duration,
        reason: io::Error,
    ) -> AfterFailure {
        if self.is_left_to_another(slot) {
            return AfterFailure::Wait;
        }
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: began,
            reason: io::ErrorKind::NotConnected.into(),
            scout: slot,
            tried: 0,
            failed: 0,
            is_told: false,
        });
        outage.reason = reason;
        outage.tried += 1;
        self.at = (self.at + 1) % self.addresses.len();
        if outage.tried < self.addresses.len() {
            return AfterFailure::TryNow;
        }
        outage.tried = 0;
        outage.failed = outage.failed.saturating_add(1);
        AfterFailure::Pause(backoff(outage.failed).min(left))
    }

    /// Whether the service is unreachable.
    pub(crate) fn is_down(&self) -> bool {
        self.outage.is_some()
    }

    /// Ends this slot's search for the service; `true` if it did search, so that another slot must.
    pub(crate) fn stops_looking(&mut self, slot: usize) -> bool {
        self.outage.take_if(|outage| outage.scout == slot).is_some()
    }

    /// The reason for the outage, if it has not been logged yet.
    pub(crate) fn take_news(&mut self) -> Option<&io::Error> {
        let outage = self.outage.as_mut()?;
        (!std::mem::replace(&mut outage.is_told, true)).then_some(&outage.reason)
    }

    /// Ends the search; returns the reason for the last failure.
    pub(crate) fn give_up(&mut self) -> Option<io::Error> {
        self.outage.take().map(|outage| outage.reason)
    }
}
