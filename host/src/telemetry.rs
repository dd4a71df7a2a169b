//! What a listener for telemetry needs of an operating system: its address, and bounded memory.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lambda_proto::client::Storage;

use crate::Log;

/// The host that a subscription names.
const SANDBOX: &str = "sandbox.localdomain";

/// How long that name is looked up. Lambda has it in `/etc/hosts`; elsewhere, a resolver without a
/// network may take many seconds.
const LOOKUP: Duration = Duration::from_secs(1);

/// Listens for telemetry: at the address of `sandbox.localdomain`, which subscriptions name, where
/// it resolves to an address of this machine; otherwise, and on Managed Instances, at loopback, to
/// which AWS's emulator of those posts (emulator: `lambda-managed-instances`,
/// `telemetry/internal/client.go`). Port 0 is any that is free. Blocks for about a second at most:
/// a lookup that takes longer is logged, and loopback is used.
///
/// # Errors
///
/// The error of the operating system, such as [`ErrorKind::AddrInUse`], with the address.
pub fn listen(port: u16, is_managed: bool, log: &Log) -> io::Result<TcpListener> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let named = if is_managed { None } else { within(LOOKUP, || resolve(SANDBOX), log) };
    listen_at(named.map(|address| SocketAddr::new(address, port)), loopback, log)
}

fn listen_at(
    named: Option<SocketAddr>,
    loopback: SocketAddr,
    log: &Log,
) -> io::Result<TcpListener> {
    match named.map(TcpListener::bind) {
        // Some resolvers know an address for every name.
        Some(Err(error)) if error.kind() == ErrorKind::AddrNotAvailable => {
            log.warn(format_args!(
                "{SANDBOX} is not an address of this machine; listening for telemetry at {loopback}"
            ));
        }
        Some(result) => return result.map_err(|error| describe(named.unwrap_or(loopback), error)),
        None => {}
    }
    TcpListener::bind(loopback).map_err(|error| describe(loopback, error))
}

fn describe(address: SocketAddr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen for telemetry at {address}: {error}"))
}

/// The address of a name, IPv4 if it has one; `None` if there is no such name.
fn resolve(name: &str) -> Option<IpAddr> {
    let addresses = (name, 0).to_socket_addrs().ok()?;
    let addresses: Vec<_> = addresses.map(|address| address.ip()).collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

/// The result of a lookup of [`SANDBOX`]. One that takes too long goes on in its thread.
fn within(
    patience: Duration,
    look_up: impl FnOnce() -> Option<IpAddr> + Send + 'static,
    log: &Log,
) -> Option<IpAddr> {
    let (tell, told) = channel();
    let lookup = move || {
        let _nobody_waits_any_more = tell.send(look_up());
    };
    let thread = thread::Builder::new().name("telemetry lookup".to_owned());
    let reason: &dyn Display = match thread.spawn(lookup) {
        Ok(_) => match told.recv_timeout(patience) {
            Ok(found) => return found,
            Err(_) => &format_args!("no reply for {} ms", patience.as_millis()),
        },
        Err(error) => &format!("no thread: {error}"),
    };
    log.warn(format_args!(
        "{SANDBOX} could not be looked up: {reason}; listening for telemetry at loopback, which \
         Lambda may not reach"
    ));
    None
}

/// The memory of all connections of one listener: each has [some](Self::FIRST), and those with long
/// records share [more](Self::SHARED). So no client can use more than a known size, and a record of
/// the largest log line fits.
#[derive(Clone, Debug, Default)]
pub struct MemoryPool {
    /// How much of the shared part is in use.
    used: Arc<AtomicUsize>,
}

impl MemoryPool {
    /// The bytes that a connection has.
    pub const FIRST: usize = 64 * 1024;
    /// The bytes that one connection can have: a log line has 256 KiB, and in JSON up to six times
    /// as many.
    pub const MOST: usize = 2 * 1024 * 1024;
    /// The bytes that connections can have together beyond what each has.
    pub const SHARED: usize = 8 * 1024 * 1024;

    /// The memory of a new connection.
    pub fn memory(&self) -> ConnectionMemory {
        let (bytes, used) = (vec![0; Self::FIRST], self.used.clone());
        ConnectionMemory { bytes, used, is_contended: false }
    }
}

/// The memory of a connection, which grows for a record that does not fit, until the end of its
/// request.
#[derive(Debug)]
pub struct ConnectionMemory {
    bytes: Vec<u8>,
    used: Arc<AtomicUsize>,
    is_contended: bool,
}

impl Storage for ConnectionMemory {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn grow(&mut self, length: usize) {
        let length = length.min(MemoryPool::MOST);
        let more = length.saturating_sub(self.bytes.len());
        let take = |used: usize| used.checked_add(more).filter(|&used| used <= MemoryPool::SHARED);
        self.is_contended = more > 0 && self.used.fetch_update(Relaxed, Relaxed, take).is_err();
        if more == 0 || self.is_contended {
            return;
        }
        if self.bytes.try_reserve_exact(more).is_err() {
            self.used.fetch_sub(more, Relaxed);
            // Other users of the memory of the machine may give it back, too.
            self.is_contended = true;
            return;
        }
        self.bytes.resize(length, 0);
    }

    fn release(&mut self) {
        self.shrink(0);
    }

    fn shrink(&mut self, length: usize) {
        self.is_contended = false;
        let length = length.max(MemoryPool::FIRST);
        let more = self.bytes.len().saturating_sub(length);
        if more > 0 {
            self.bytes.truncate(length);
            self.bytes.shrink_to_fit();
            self.used.fetch_sub(more, Relaxed);
        }
    }

    fn is_contended(&self) -> bool {
        self.is_contended
    }
}

impl Drop for ConnectionMemory {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    fn log() -> (Log, Receiver<String>) {
        let (tell, lines) = channel();
        let write = move |record: &crate::Record<'_>| tell.send(record.to_string()).unwrap();
        (Log::to(write), lines)
    }

    fn at(address: [u8; 4]) -> SocketAddr {
        SocketAddr::from((address, 0))
    }

    #[test]
    fn a_listener_has_the_address_of_the_name_that_a_subscription_names() {
        let (log, lines) = log();
        let listener = listen_at(Some(at([127, 0, 0, 1])), at([0, 0, 0, 0]), &log).unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(lines.try_recv().is_err());
    }

    #[test]
    fn a_name_of_another_machine_is_replaced_by_loopback() {
        let (log, lines) = log();
        // An address for documentation (RFC 5737).
        let listener = listen_at(Some(at([192, 0, 2, 7])), at([127, 0, 0, 1]), &log).unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let line = lines.try_recv().unwrap();
        assert!(line.contains("sandbox.localdomain is not an address of this machine"), "{line}");
    }

    #[test]
    fn a_lookup_that_takes_too_long_is_logged() {
        let (log, lines) = log();
        let (end, is_over) = channel::<()>();
        let look_up = move || {
            is_over.recv().unwrap_err();
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        };
        assert_eq!(within(Duration::from_millis(5), look_up, &log), None);
        let line = lines.try_recv().unwrap();
        assert!(line.contains("sandbox.localdomain could not be looked up: no reply "), "{line}");
        drop(end);
    }

    #[test]
    fn a_name_that_does_not_exist_is_no_reason_for_a_line() {
        let (log, lines) = log();
        assert_eq!(within(Duration::from_secs(60), || None, &log), None);
        assert!(lines.try_recv().is_err());
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_with_its_address() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        for named in [None, Some(address)] {
            let error = listen_at(named, address, &log().0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            let start = format!("cannot listen for telemetry at {address}: ");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }

    #[test]
    fn on_managed_instances_a_listener_is_at_loopback() {
        let listener = listen(0, true, &log().0).unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn connections_share_a_bounded_memory_and_give_it_back() {
        let pool = MemoryPool::default();
        let grown = || {
            let mut memory = pool.memory();
            memory.grow(usize::MAX);
            memory
        };
        let all: Vec<_> = (0..MemoryPool::SHARED / MemoryPool::MOST + 2).map(|_| grown()).collect();
        let sizes: Vec<_> = all.iter().map(|memory| memory.bytes().len()).collect();
        let more: usize = sizes.iter().map(|size| size - MemoryPool::FIRST).sum();
        assert!(more <= MemoryPool::SHARED, "{sizes:?}");
        assert_eq!((sizes[0], sizes.last().copied()), (MemoryPool::MOST, Some(MemoryPool::FIRST)));
        assert!(!all[0].is_contended() && all[all.len() - 1].is_contended());
        drop(all);
        assert_eq!(grown().bytes().len(), MemoryPool::MOST);
    }

    #[test]
    fn what_has_arrived_stays_when_memory_is_given_back() {
        let pool = MemoryPool::default();
        let mut memory = pool.memory();
        memory.grow(MemoryPool::MOST);
        let length = MemoryPool::FIRST + 7;
        memory.bytes_mut()[length - 1] = 9;
        memory.shrink(length);
        assert_eq!((memory.bytes().len(), memory.bytes()[length - 1]), (length, 9));
        assert_eq!(pool.used.load(Relaxed), 7);
        memory.shrink(1);
        assert_eq!((memory.bytes().len(), pool.used.load(Relaxed)), (MemoryPool::FIRST, 0));
    }

    #[test]
    fn a_connection_gives_memory_back_between_requests() {
        let pool = MemoryPool::default();
        let mut all: Vec<_> =
            (0..=MemoryPool::SHARED / MemoryPool::MOST).map(|_| pool.memory()).collect();
        all.iter_mut().for_each(|memory| memory.grow(MemoryPool::MOST));
        let mut last = pool.memory();
        last.grow(MemoryPool::MOST);
        assert_eq!((last.bytes().len(), last.is_contended()), (MemoryPool::FIRST, true));
        all.iter_mut().for_each(Storage::release);
        assert!(all.iter().all(|memory| memory.bytes().len() == MemoryPool::FIRST));
        last.grow(MemoryPool::MOST);
        assert_eq!((last.bytes().len(), last.is_contended()), (MemoryPool::MOST, false));
    }
}
