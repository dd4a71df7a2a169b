//! What a driver cannot know: how this program connects, when it stops, whom it tells.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambda_proto::Endpoint;
use lambda_proto::driver::{Host, Notice};

use crate::error::NoConnection;
use crate::link::Socket;
use crate::log::Log;
use crate::stop::{Slot, StopHandle};

pub(crate) struct SlotHost {
    pub(crate) endpoint: Endpoint,
    pub(crate) patience: Duration,
    pub(crate) stop: StopHandle,
    pub(crate) slot: Arc<Slot>,
    pub(crate) log: Log,
}

impl Host for SlotHost {
    type Link = Socket;
    type Error = NoConnection;

    fn connect(&mut self, losses: u32) -> Result<Socket, NoConnection> {
        // The old connection is gone; the stop handle's copy of it must not keep it open.
        self.slot.set_socket(None);
        let began = Instant::now();
        // The first loss is an ordinary one, of a connection that went stale.
        let mut pauses = losses.saturating_sub(1);
        if losses == 3 {
            self.log.line(format_args!(
                "the Runtime API at {} hangs up without an invocation; asking again, less and less often",
                self.endpoint.authority()
            ));
        }
        loop {
            if pauses > 0 {
                let left = self.patience.saturating_sub(began.elapsed());
                self.stop.pause(back_off(pauses).min(left));
            }
            let patience = self.patience.saturating_sub(began.elapsed());
            let reason = match self.try_connect(patience) {
                Ok(socket) => {
                    if self.stop.note_reachable(true) {
                        let waited = began.elapsed().as_secs_f64();
                        self.log.line(format_args!(
                            "connected to the Runtime API at {} after {waited:.1} s",
                            self.endpoint.authority()
                        ));
                    }
                    return Ok(socket);
                }
                Err(reason) => reason,
            };
            if self.stop.is_stopping() {
                return Err(NoConnection::Stopped);
            }
            let waited = began.elapsed();
            let address = self.endpoint.authority();
            if waited >= self.patience {
                let address = address.to_owned();
                return Err(NoConnection::Unreachable { address, waited, reason });
            }
            if self.stop.note_reachable(false) {
                self.log.line(format_args!(
                    "no connection to the Runtime API at {address}: {reason}; trying again for {:?}",
                    self.patience
                ));
            }
            pauses = pauses.saturating_add(1);
        }
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        self.log.line(format_args!("{notice}"));
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    fn begin_wait(&mut self) -> bool {
        let is_waiting = self.stop.begin_wait(&self.slot);
        if !is_waiting {
            self.slot.set_socket(None);
        }
        is_waiting
    }

    fn end_wait(&mut self) -> bool {
        self.slot.end_wait()
    }
}

impl SlotHost {
    fn try_connect(&self, patience: Duration) -> io::Result<Socket> {
        let stream = connect(&self.endpoint, patience)?;
        self.slot.set_socket(Some(stream.try_clone()?));
        Ok(Socket(stream))
    }
}

impl Drop for SlotHost {
    fn drop(&mut self) {
        self.stop.remove(&self.slot);
    }
}

/// Connects to the first address of the endpoint that answers.
pub(crate) fn connect(endpoint: &Endpoint, patience: Duration) -> io::Result<TcpStream> {
    // No address may use up the patience that the others need, nor keep a stop waiting; a timeout of
    // zero is refused by the standard library.
    let patience = patience.clamp(Duration::from_millis(1), Duration::from_secs(2));
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (endpoint.host(), endpoint.port()).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// 50 ms, doubling to 3.2 s, of which a random half is left out so that slots do not call in step.
fn back_off(pauses: u32) -> Duration {
    let whole = Duration::from_millis(50) * (1 << (pauses - 1).min(6));
    // The keys of a new `RandomState` are random, and so is what it makes of nothing.
    let random = RandomState::new().hash_one(()) as u32;
    whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_within_bounds_and_varies() {
        for pauses in 1..40 {
            let whole = Duration::from_millis(50 << (pauses - 1).min(6));
            let drawn: Vec<_> = (0..16).map(|_| back_off(pauses)).collect();
            assert!(drawn.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{drawn:?}");
            assert!(drawn.iter().any(|pause| *pause != drawn[0]), "{drawn:?}");
        }
    }
}
