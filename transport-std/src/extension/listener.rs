//! The listener for telemetry: one thread that accepts, and one for each connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lambda_proto::client::Storage;
use lambda_proto_extension::collector::{Intake, Step};
use lambda_proto_extension::limits::MAX_IDLE_TIME;
use lambda_proto_extension::telemetry::BUSY;
use lambda_proto_host::catch;
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::telemetry::MemoryPool;

use super::collecting::{Handler, Shared, State};

/// How long a connection is read after its last reply.
const LINGER: Duration = Duration::from_secs(1);

/// The same for one that is refused, on the thread that accepts the others.
const LINGER_OF_REFUSED: Duration = Duration::from_millis(100);

/// The pause after a connection that could not be accepted, as without descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The thread that accepts connections. Dropping it ends the thread, and all connections.
pub(super) struct Listening {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Listening {
    pub(super) fn start(socket: TcpListener, shared: &Arc<Shared>) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (shared, accepting) = (shared.clone(), shared.clone());
        let accept = move || accept(&socket, &accepting);
        let thread = thread::Builder::new().name("telemetry listener".to_owned()).spawn(accept)?;
        Ok(Self { address, thread: Some(thread), shared })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.has_ended = true;
        state.peers.end();
        drop(state);
        self.shared.notify();
        // One more connection wakes the thread, which then ends.
        let is_seen = TcpStream::connect_timeout(&self.address, LINGER).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| is_seen) {
            let _has_panicked = thread.join();
        }
    }
}

/// The connections that are served.
pub(super) struct Peers {
    places: Vec<Option<Peer>>,
}

struct Peer {
    stream: Arc<TcpStream>,
    idle_since: Option<Instant>,
}

impl Peers {
    pub(super) fn new(limit: usize) -> Self {
        Self { places: (0..limit).map(|_| None).collect() }
    }

    /// Ends all connections.
    pub(super) fn end(&self) {
        self.places.iter().flatten().for_each(Peer::end);
    }

    /// Admits a connection, in the place of one that is idle if there is no other.
    fn admit(&mut self, stream: &Arc<TcpStream>) -> Option<usize> {
        let free = self.places.iter().position(Option::is_none);
        let place = free.or_else(|| self.longest_idle())?;
        let peer = Peer { stream: stream.clone(), idle_since: Some(Instant::now()) };
        if let Some(former) = self.places[place].replace(peer) {
            former.end();
        }
        Some(place)
    }

    fn longest_idle(&self) -> Option<usize> {
        let now = Instant::now();
        let idle = self.places.iter().enumerate().filter_map(|(place, peer)| {
            let since = peer.as_ref()?.idle_since?;
            (now.saturating_duration_since(since) >= MAX_IDLE_TIME).then_some((since, place))
        });
        idle.min().map(|(_, place)| place)
    }

    /// The place of a connection, unless another has taken it.
    fn peer(&mut self, place: usize, stream: &Arc<TcpStream>) -> Option<&mut Option<Peer>> {
        let found = self.places.get_mut(place)?;
        found.as_ref().is_some_and(|peer| Arc::ptr_eq(&peer.stream, stream)).then_some(found)
    }

    fn set_idle(&mut self, place: usize, stream: &Arc<TcpStream>, since: Option<Instant>) {
        if let Some(Some(peer)) = self.peer(place, stream) {
            peer.idle_since = since;
        }
    }

    fn remove(&mut self, place: usize, stream: &Arc<TcpStream>) {
        if let Some(peer) = self.peer(place, stream) {
            *peer = None;
        }
    }
}

impl Peer {
    fn end(&self) {
        let _it_may_have_ended = self.stream.shutdown(Shutdown::Both);
    }
}

/// Accepts connections until the extension ends.
fn accept(socket: &TcpListener, shared: &Arc<Shared>) {
    let memory = MemoryPool::default();
    loop {
        let accepted = socket.accept();
        if shared.lock().has_ended {
            return;
        }
        match accepted {
            Ok((stream, _)) => admit(Arc::new(stream), shared, &memory),
            Err(error) => {
                if shared.lock().collector.may_log(clock::now()) {
                    shared.log.warn(format_args!("no connection for telemetry accepted: {error}"));
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

fn admit(stream: Arc<TcpStream>, shared: &Arc<Shared>, memory: &MemoryPool) {
    let mut state = shared.lock();
    if state.has_ended {
        return;
    }
    let place = state.peers.admit(&stream);
    drop(state);
    let is_served = place.is_some_and(|place| {
        let connection = Connection { stream: stream.clone(), place, shared: shared.clone() };
        let memory = memory.memory();
        let serve = move || connection.serve(memory);
        thread::Builder::new().name("telemetry".to_owned()).spawn(serve).is_ok()
    });
    if is_served {
        return;
    }
    shared.lock().collector.connection_refused();
    let _the_client_may_be_gone = (&*stream).write_all(BUSY);
    linger(&stream, LINGER_OF_REFUSED);
}

/// Reads what still arrives on a connection that gets nothing more: bytes that arrive at a closed
/// connection reset it, and a reply that was not read yet is lost (RFC 9112 section 9.6).
fn linger(stream: &TcpStream, at_most: Duration) {
    let until = Instant::now() + at_most;
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut unwanted = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match (&*stream).read(&mut unwanted) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// A connection that is served, on a thread of its own. Dropping it gives its place back.
struct Connection {
    stream: Arc<TcpStream>,
    place: usize,
    shared: Arc<Shared>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.lock().peers.remove(self.place, &self.stream);
    }
}

/// The time that a request has taken, without that of the handler.
struct Watch {
    begun: Option<Instant>,
}

impl Watch {
    fn is_over(&self, limit: Duration) -> bool {
        self.begun.is_some_and(|begun| begun.elapsed() > limit)
    }

    fn leave_out(&mut self, time: Duration) {
        self.begun = self.begun.map(|begun| begun + time);
    }
}

/// The handler, while a connection has it, and since when it waited for it.
struct Held {
    handler: Handler,
    since: Instant,
}

impl Connection {
    /// Serves the connection until its end.
    fn serve(&self, memory: impl Storage) {
        // An idle connection is only looked at, and kept.
        let _without_it_a_client_can_wait =
            self.stream.set_read_timeout(Some(self.shared.request_time));
        let _without_it_a_client_can_wait =
            self.stream.set_write_timeout(Some(self.shared.request_time));
        let _without_it_replies_are_late = self.stream.set_nodelay(true);
        let mut intake = Intake::new(memory);
        let mut watch = Watch { begun: None };
        let mut held: Option<Held> = None;
        let mut state = self.shared.lock();
        loop {
            // No record is handed out or counted after the summary.
            if state.has_ended {
                return;
            }
            match intake.step(&mut state.collector) {
                Step::Hand(telemetry) => {
                    let mut taken = match held.take() {
                        Some(held) => {
                            drop(state);
                            held
                        }
                        None => {
                            let since = Instant::now();
                            let Some(handler) = self.shared.wait_for_handler(state) else { return };
                            Held { handler, since }
                        }
                    };
                    let result = catch(|| (taken.handler)(telemetry));
                    held = Some(taken);
                    state = self.shared.lock();
                    let is_awaited = intake.handled(&mut state.collector, result.is_ok());
                    if is_awaited {
                        self.shared.notify();
                    }
                    if let Err(failure) = result {
                        let line = format_args!("the telemetry handler failed: {failure}");
                        state = self.warn(state, line);
                    }
                }
                Step::Warn(warning) => state = self.warn(state, format_args!("{warning}")),
                Step::Pass => {}
                Step::Read => {
                    self.give_back(&mut state, &mut held, &mut watch);
                    let is_idle = intake.is_idle();
                    let now = Instant::now();
                    state.peers.set_idle(self.place, &self.stream, is_idle.then_some(now));
                    if is_idle {
                        watch.begun = None;
                    } else {
                        watch.begun.get_or_insert(now);
                    }
                    drop(state);
                    let mut has_arrived = false;
                    match (&*self.stream).read(intake.room()) {
                        Ok(0) => intake.end_of_stream(),
                        Ok(length) => {
                            intake.received(length, clock::now());
                            has_arrived = true;
                        }
                        Err(error) if is_temporary(&error) => {}
                        Err(_) => intake.lost(),
                    }
                    if watch.is_over(self.shared.request_time) {
                        intake.lost();
                    }
                    state = self.shared.lock();
                    if has_arrived {
                        // It is not idle while its batch waits for the handler.
                        state.peers.set_idle(self.place, &self.stream, None);
                    }
                }
                Step::Write => {
                    self.give_back(&mut state, &mut held, &mut watch);
                    drop(state);
                    match (&*self.stream).write(intake.unsent()) {
                        Ok(0) => intake.lost(),
                        Ok(length) => intake.sent(length),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(_) => intake.lost(),
                    }
                    state = self.shared.lock();
                }
                Step::Close => {
                    self.give_back(&mut state, &mut held, &mut watch);
                    drop(state);
                    // Others can use its memory while the client reads the reply.
                    drop(intake);
                    return linger(&self.stream, LINGER);
                }
            }
        }
    }

    /// Gives the handler back before I/O. Wakes those who wait for it, for the end of a batch after its
    /// reply, or for a record that was not handed out.
    fn give_back(
        &self,
        state: &mut MutexGuard<'_, State>,
        held: &mut Option<Held>,
        watch: &mut Watch,
    ) {
        // After the end, the handler is dropped with the connection.
        if let Some(Held { handler, since }) = held.take_if(|_| !state.has_ended) {
            watch.leave_out(since.elapsed());
            state.handler = Some(handler);
        }
        self.shared.notify();
    }

    /// Logs a line without the lock, as a log may call code of the program.
    fn warn<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        line: std::fmt::Arguments<'_>,
    ) -> MutexGuard<'s, State> {
        if !state.collector.may_log(clock::now()) {
            return state;
        }
        drop(state);
        self.shared.log.warn(line);
        self.shared.lock()
    }
}

/// Nothing was transferred after a handled signal or a timeout.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests;
