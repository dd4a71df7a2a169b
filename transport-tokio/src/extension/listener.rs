//! The listener for telemetry, and the connections that it serves in its task.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use lambda_proto_extension::collector::{Collector, Intake, Step, Telemetry};
use lambda_proto_extension::limits::{MAX_IDLE_TIME, MAX_REQUEST_TIME, MAX_TELEMETRY_CONNECTIONS};
use lambda_proto_extension::telemetry::BUSY;
use lambda_proto_host::Failure;
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::telemetry::{ConnectionMemory, MemoryPool};
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{MutexGuard, Notify};
use tokio::task::coop::consume_budget;
use tokio::time::{sleep, timeout};

use super::collecting::{Collecting, handle};
use crate::socket::{read, write};

/// How long a connection is read after its last reply.
const LINGER: Duration = Duration::from_secs(1);

/// The pause after a connection that could not be accepted, as without descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The most connections, with those that are refused. Further ones are closed without a reply.
const MAX_SOCKETS: usize = 2 * MAX_TELEMETRY_CONNECTIONS;

/// Serves all connections of a listener, until it is dropped.
pub(super) async fn serve<H>(listener: &TcpListener, shared: &Collecting<H>) -> Infallible
where
    H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
{
    let (memory, peers) = (MemoryPool::default(), Peers::default());
    let mut connections = FuturesUnordered::new();
    loop {
        let mut accepting = pin!(accept(listener, shared));
        let stream = poll_fn(|context| {
            while let Poll::Ready(Some(())) = connections.poll_next_unpin(context) {}
            accepting.as_mut().poll(context)
        })
        .await;
        if connections.len() < MAX_SOCKETS {
            let admitted = peers.admit().map(|peer| (peer, memory.memory()));
            connections.push(connection(stream, admitted, &peers, shared));
        } else {
            shared.with(Collector::connection_refused);
        }
    }
}

async fn accept<H>(listener: &TcpListener, shared: &Collecting<H>) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                shared.warn(format_args!("no connection for telemetry accepted: {error}"));
                sleep(PAUSE).await;
            }
        }
    }
}

/// The connections that are served.
#[derive(Default)]
struct Peers(RefCell<Vec<Rc<Peer>>>);

/// A connection that is served.
struct Peer {
    idle_since: Cell<Option<Instant>>,
    /// Another connection takes its place.
    evicted: Notify,
}

impl Peers {
    /// Admits a connection, in the place of one that is idle if there is no other.
    fn admit(&self) -> Option<Rc<Peer>> {
        let mut peers = self.0.borrow_mut();
        if peers.len() >= MAX_TELEMETRY_CONNECTIONS {
            let place = longest_idle(&peers)?;
            peers.swap_remove(place).evicted.notify_one();
        }
        let idle_since = Cell::new(Some(Instant::now()));
        let peer = Rc::new(Peer { idle_since, evicted: Notify::new() });
        peers.push(peer.clone());
        Some(peer)
    }

    fn remove(&self, peer: &Rc<Peer>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, peer));
    }
}

fn longest_idle(peers: &[Rc<Peer>]) -> Option<usize> {
    let idle = peers.iter().enumerate().filter_map(|(place, peer)| {
        let since = peer.idle_since.get()?;
        (since.elapsed() >= MAX_IDLE_TIME).then_some((since, place))
    });
    idle.min().map(|(_, place)| place)
}

/// Serves a connection until its end, or refuses it.
async fn connection<H>(
    mut stream: TcpStream,
    admitted: Option<(Rc<Peer>, ConnectionMemory)>,
    peers: &Peers,
    shared: &Collecting<H>,
) where
    H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
{
    let _without_it_replies_are_late = stream.set_nodelay(true);
    match admitted {
        Some((peer, memory)) => {
            intake(&stream, &peer, memory, shared).await;
            peers.remove(&peer);
        }
        None => {
            shared.with(Collector::connection_refused);
            let _the_client_may_be_gone = timeout(LINGER, write(&stream, BUSY)).await;
        }
    }
    let _the_client_may_go_on = timeout(LINGER, linger(&mut stream)).await;
}

/// Reads what still arrives on a connection that gets nothing more: bytes that arrive at a closed
/// connection reset it, and a reply that was not read yet is lost (RFC 9112 section 9.6).
async fn linger(stream: &mut TcpStream) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context)).await?;
    let mut unwanted = [0; 512];
    while read(stream, &mut unwanted).await? > 0 {}
    Ok(())
}

/// Takes the batches of a connection, until it has to be closed.
async fn intake<H>(
    stream: &TcpStream,
    peer: &Peer,
    memory: ConnectionMemory,
    shared: &Collecting<H>,
) where
    H: for<'t> AsyncFnMut(Telemetry<'t>) -> Result<(), Failure>,
{
    let mut intake = Intake::new(memory);
    // The handler, from the first record of a read to the last.
    let mut held: Option<Held<'_, H>> = None;
    // When the request has to be over, if one has begun.
    let mut until: Option<Instant> = None;
    loop {
        match shared.with(|collector| intake.step(collector)) {
            Step::Hand(telemetry) => {
                // A batch may have many records, and a handler that awaits nothing.
                consume_budget().await;
                let Held { handler, .. } = match &mut held {
                    Some(held) => held,
                    None => {
                        let since = Instant::now();
                        held.insert(Held { handler: shared.handler.lock().await, since })
                    }
                };
                let result = handle(&mut **handler, telemetry).await;
                shared.with(|collector| intake.handled(collector, result.is_ok()));
                shared.changed.notify_one();
                if let Err(failure) = result {
                    shared.warn(format_args!("the telemetry handler failed: {failure}"));
                }
            }
            Step::Warn(warning) => shared.warn(format_args!("{warning}")),
            Step::Pass => consume_budget().await,
            Step::Read => {
                give_back(shared, &mut held, &mut until);
                let now = Instant::now();
                let is_idle = intake.is_idle();
                peer.idle_since.set(is_idle.then_some(now));
                until = if is_idle {
                    None
                } else {
                    until.or_else(|| now.checked_add(MAX_REQUEST_TIME))
                };
                match receive(stream, peer, intake.room(), until).await {
                    Ok(0) => intake.end_of_stream(),
                    Ok(length) => intake.received(length, clock::now()),
                    Err(_) => intake.lost(),
                }
                peer.idle_since.set(None);
            }
            Step::Write => {
                give_back(shared, &mut held, &mut until);
                match timeout(MAX_REQUEST_TIME, write(stream, intake.unsent())).await {
                    Ok(Ok(length)) => intake.sent(length),
                    Ok(Err(_)) | Err(_) => intake.lost(),
                }
            }
            Step::Close => {
                give_back(shared, &mut held, &mut until);
                return;
            }
        }
    }
}

/// The handler, and since when its connection has waited for it.
struct Held<'h, H> {
    handler: MutexGuard<'h, H>,
    since: Instant,
}

/// Gives the handler back before I/O, and wakes the events. Its time is not that of the client.
fn give_back<H>(
    shared: &Collecting<H>,
    held: &mut Option<Held<'_, H>>,
    until: &mut Option<Instant>,
) {
    if let Some(Held { since, .. }) = held.take() {
        *until = until.and_then(|until| until.checked_add(since.elapsed()));
    }
    shared.changed.notify_one();
}

/// Reads from a connection: from one that is idle until another takes its place, during a request
/// until it has taken too long.
async fn receive(
    stream: &TcpStream,
    peer: &Peer,
    room: &mut [u8],
    until: Option<Instant>,
) -> io::Result<usize> {
    let Some(until) = until else {
        return match select(pin!(read(stream, room)), pin!(peer.evicted.notified())).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        };
    };
    match until.saturating_duration_since(Instant::now()) {
        // A client that always has something to read must not go on forever.
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => timeout(left, read(stream, room)).await?,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lambda_proto_extension::collector::{OwnLogs, TelemetryOptions};
    use lambda_proto_extension::subscription::TelemetryTypes;
    use lambda_proto_host::Log;
    use tokio::task::yield_now;

    use super::*;

    /// One end of a connection, and the other.
    async fn connected() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    fn peer() -> Peer {
        Peer { idle_since: Cell::new(None), evicted: Notify::new() }
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_more_is_cut_off_when_its_request_has_taken_too_long() {
        let (stream, _client) = connected().await;
        let until = Instant::now() + Duration::from_millis(50);
        let error = receive(&stream, &peer(), &mut [0; 8], Some(until)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(Instant::now() >= until);
    }

    #[tokio::test]
    async fn a_client_that_always_has_something_to_read_is_cut_off_too() {
        let (stream, mut client) = connected().await;
        client.write_all(b"more").unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        assert_eq!(receive(&stream, &peer(), &mut [0; 2], Some(until)).await.unwrap(), 2);
        let error = receive(&stream, &peer(), &mut [0; 2], Some(Instant::now())).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_idle_client_is_cut_off_only_when_its_place_is_needed() {
        let (stream, _client) = connected().await;
        let peer = peer();
        let mut room = [0; 8];
        let waiting = receive(&stream, &peer, &mut room, None);
        assert!(timeout(Duration::from_millis(50), waiting).await.is_err());
        peer.evicted.notify_one();
        let error = receive(&stream, &peer, &mut [0; 8], None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
    #[tokio::test]
    async fn a_client_with_many_records_does_not_hold_the_task() {
        const RECORDS: usize = 1000;
        let (stream, mut client) = connected().await;
        let body = vec![r#"{"type":"function","record":"a"}"#; RECORDS].join(",");
        let length = body.len() + 2;
        let head = format!("POST / HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(format!("{head}[{body}]").as_bytes()).unwrap();
        let handled = Cell::new(0);
        let handler = async |_: Telemetry<'_>| {
            handled.set(handled.get() + 1);
            Ok(())
        };
        let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
        let collector = Collector::new(&options, OwnLogs::Extension);
        let shared = Collecting::new(collector, handler, Log::to(|_| {}));
        let (peer, memory) = (peer(), MemoryPool::default().memory());
        let mut taking = pin!(intake(&stream, &peer, memory, &shared));
        let mut most = 0;
        while handled.get() < RECORDS {
            let before = handled.get();
            poll_fn(|context| {
                assert!(taking.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            most = most.max(handled.get() - before);
            yield_now().await;
        }
        assert!(most < RECORDS / 2, "{most} records in one turn");
    }

    #[tokio::test]
    async fn a_client_that_sends_much_does_not_hold_the_task() {
        let (mut stream, mut client) = connected().await;
        // More reads than a turn of a task may have operations (tokio: `task::coop`), all of which
        // find something. It fits into the buffers of the sockets.
        client.write_all(&[b'x'; 160 * 512]).unwrap();
        drop(client);
        stream.readable().await.unwrap();
        yield_now().await;
        let mut lingering = pin!(linger(&mut stream));
        let mut turns = 1;
        while poll_fn(|context| Poll::Ready(lingering.as_mut().poll(context).is_pending())).await {
            turns += 1;
            yield_now().await;
        }
        assert!(turns > 1, "all of it was read in one turn");
    }
}
