//! How the lab notices that a runtime which it has not started has ended.
//!
//! Such a runtime has no process that the lab could wait for, only connections. One that closes
//! says little: many runtimes open a connection for every request, and have none while they work.
//! But no program closes a connection on which its call is waiting, unless it ends. So the runtime
//! has ended when
//!
//! - a connection was closed while `next` or `event/next` waited on it,
//! - that call has not been made again, and no other connection waits for the same, and
//! - no connection is open on which the runtime has made a request.
//!
//! It has also ended if a registration is refused although no other connection is open, and the
//! name is that of a registered extension: no process registers a name twice, but the same program
//! does when it is started again.
//!
//! Then extensions and phase begin again, as after a reset on Lambda. An invocation that the
//! runtime had got fails with `Runtime.ExitError`; one that it had not got waits for the next
//! runtime.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use crate::broker::Broker;
use crate::log::Log;

/// The connections of the runtime of one environment.
#[derive(Debug)]
pub(crate) struct Connections {
    broker: Arc<Broker>,
    log: Log,
    state: Mutex<State>,
    /// Wakes tasks that wait for a connection to end.
    ended: Notify,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Presence {
    number: u64,
    peer: Arc<TcpStream>,
    all: Arc<Connections>,
}

/// Who waits on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    Runtime,
    Extension(Uuid),
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Open>,
    /// How many connections there have been.
    count: u64,
    /// Who waited on a connection that was closed, and has not asked again; and in which start.
    lost: Vec<(u64, Waiter)>,
}

#[derive(Debug)]
struct Open {
    peer: Arc<TcpStream>,
    /// The start of the runtime in which the last request was made on it.
    start: Option<u64>,
    waiter: Option<Waiter>,
}

/// How long a closed connection may take to end, as requests on it may still have to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Connections {
    pub(crate) fn new(broker: Arc<Broker>, log: Log) -> Arc<Self> {
        let (state, ended) = (Mutex::default(), Notify::new());
        Arc::new(Self { broker, log, state, ended })
    }

    /// Adds a connection, until the [`Presence`] is dropped. `None` if it cannot be watched, as the
    /// lab is out of file descriptors.
    pub(crate) fn add(self: &Arc<Self>, stream: &TcpStream) -> Option<Presence> {
        // Hyper has the stream itself, and does not look at it while a call waits.
        let peer = rustix::io::fcntl_dupfd_cloexec(stream, 0).ok()?;
        let peer = std::net::TcpStream::from(peer);
        let peer = Arc::new(TcpStream::from_std(peer).ok()?);
        let mut state = self.lock();
        state.count += 1;
        let number = state.count;
        state.open.insert(number, Open { peer: Arc::clone(&peer), start: None, waiter: None });
        drop(state);
        Some(Presence { number, peer, all: Arc::clone(self) })
    }

    fn remove(&self, number: u64) {
        let mut state = self.lock();
        state.open.remove(&number);
        let start = self.broker.start_number();
        let has_lost = state.lost.iter().any(|(of, _)| *of == start);
        if has_lost && !state.open.values().any(|open| open.start == Some(start)) {
            self.replace(&state, "its connections are closed");
        }
        drop(state);
        self.ended.notify_waiters();
    }

    /// Begins another start of the runtime. Under the lock, so that no connection can be taken for
    /// one of the start that ends.
    fn replace(&self, _state: &State, why: &str) {
        self.broker.replace();
        self.log.lines(&[&format_args!("lambda-lab: the runtime has ended: {why}")]);
    }

    /// Waits until every closed connection of this start has ended, except for one.
    async fn settled(&self, start: u64, except: u64) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Registered before the check below, so that no end after it is missed.
            ended.as_mut().enable();
            let is_ending = |(number, open): (&u64, &Open)| {
                *number != except && open.start == Some(start) && is_closed(&*open.peer)
            };
            if !self.lock().open.iter().any(is_ending) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Presence {
    /// A request has come on this connection. Returns when it may be handled.
    ///
    /// The first one may be that of a new runtime, so everything that an earlier one sent is read
    /// before.
    pub(crate) async fn begin(&self) {
        let start = self.all.broker.start_number();
        if self.start() == Some(start) {
            return;
        }
        let _ = timeout(LAST_WORDS, self.all.settled(start, self.number)).await;
        self.belong(&mut self.all.lock());
    }

    /// The reply to a call that waits, or `None` if the connection is closed before.
    pub(crate) async fn wait<T>(&self, waiter: Waiter, call: impl Future<Output = T>) -> Option<T> {
        self.all.lock().lost.retain(|(_, lost)| *lost != waiter);
        self.set_waiter(Some(waiter));
        let reply = tokio::select! {
            biased;
            reply = call => Some(reply),
            () = self.closed() => None,
        };
        self.set_waiter(None);
        if is_closed(&*self.peer) {
            self.lose(waiter);
        }
        reply
    }

    /// Whether the registration of an extension of this name, which was refused, is that of a new
    /// runtime, and may be tried again.
    pub(crate) fn replaces(&self, name: &str) -> bool {
        let mut state = self.all.lock();
        let before = state.open.get(&self.number).and_then(|open| open.start);
        if before == Some(self.all.broker.start_number()) {
            let mut others = state.open.iter().filter(|(number, _)| **number != self.number);
            let is_alone = !others.any(|(_, open)| open.start == before && !is_closed(&*open.peer));
            if !is_alone || !self.all.broker.is_registered(name) {
                return false;
            }
            self.all.replace(&state, "another one registers its extension");
        }
        self.belong(&mut state);
        true
    }

    /// Waits until the peer has closed the connection.
    async fn closed(&self) {
        while let Ok(ready) = self.peer.ready(Interest::READABLE).await {
            if ready.is_read_closed() || is_closed(&*self.peer) {
                return;
            }
            // Forgets that there is something to read, and so waits for a change.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.peer.try_io(Interest::READABLE, nothing);
        }
        // Only while the lab is being dropped.
        pending::<()>().await;
    }

    fn lose(&self, waiter: Waiter) {
        let mut state = self.all.lock();
        let Some(start) = state.open.get(&self.number).and_then(|open| open.start) else { return };
        let waits_elsewhere = state
            .open
            .values()
            .any(|open| open.start == Some(start) && open.waiter == Some(waiter));
        if !waits_elsewhere {
            state.lost.retain(|(of, _)| *of == start);
            state.lost.push((start, waiter));
        }
    }

    fn start(&self) -> Option<u64> {
        self.all.lock().open.get(&self.number)?.start
    }

    /// The current runtime makes requests on this connection.
    fn belong(&self, state: &mut State) {
        if let Some(open) = state.open.get_mut(&self.number) {
            open.start = Some(self.all.broker.start_number());
        }
    }

    fn set_waiter(&self, waiter: Option<Waiter>) {
        if let Some(open) = self.all.lock().open.get_mut(&self.number) {
            open.waiter = waiter;
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.all.remove(self.number);
    }
}

/// Whether the peer has closed the connection, as far as is known, and everything that it sent has
/// been read.
pub(crate) fn is_closed(stream: impl AsFd) -> bool {
    let mut byte = [0];
    match recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((read, _)) => read == 0,
        Err(error) => error != Errno::AGAIN && error != Errno::INTR,
    }
}
