use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto::client;

/// The timeout of one attempt to connect, so that one address does not use up the time for the
/// others.
pub const MAX_ATTEMPT: Duration = Duration::from_secs(2);

/// Connects to the first address of the endpoint that accepts a connection. Blocks for up to
/// `patience` per address, and no longer than [`MAX_ATTEMPT`].
///
/// # Errors
///
/// The error of the name lookup, or of the last address.
pub fn connect(endpoint: &Endpoint, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // The standard library refuses a timeout of zero.
    let patience = patience.clamp(Duration::from_millis(1), MAX_ATTEMPT);
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

/// The pause after `failed` failed attempts in a row: [`client::backoff`] with a random number.
pub fn backoff(failed: u32) -> Duration {
    // Each new `RandomState` has random keys, so its hash of `()` is random too.
    client::backoff(failed, RandomState::new().hash_one(()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_bounds_and_vary() {
        for failed in 1..40 {
            let whole = Duration::from_millis(50 << (failed - 1).min(6));
            let drawn: Vec<_> = (0..16).map(|_| backoff(failed)).collect();
            assert!(drawn.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{drawn:?}");
            assert!(drawn.iter().any(|pause| *pause != drawn[0]), "{drawn:?}");
        }
    }
}
