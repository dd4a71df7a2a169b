//! A TCP proxy that counts connections.
//!
//! It stands apart from `lambda-proto-service` because it is no service: it forwards bytes to AWS's
//! emulator.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::{Error, Result};

/// A proxy between a runtime and the service that counts how many times the runtime connects.
///
/// Its thread accepts connections until the test program ends.
#[derive(Debug)]
pub(crate) struct CountingProxy {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl CountingProxy {
    /// A proxy to this port of 127.0.0.1.
    pub(crate) fn start(to: u16) -> Result<Self> {
        let cannot = |error| Error::new(format!("cannot listen on 127.0.0.1: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?;
        let port = listener.local_addr().map_err(cannot)?.port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for near in listener.incoming().filter_map(io::Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) {
                    join(near, far);
                }
            }
        });
        Ok(Self { port, connections })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn join(near: TcpStream, far: TcpStream) {
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
    let _best_effort = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    thread::spawn(move || copy(near, far));
    thread::spawn(move || copy(far_too, near_too));
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _either_end = io::copy(&mut from, &mut to);
    let _has_ended = to.shutdown(Shutdown::Write);
}
