//! A listener, and clients that are slow, idle or too many.

use std::sync::mpsc::{Receiver, Sender, channel};

use lambda_proto_extension::collector::{Collector, OwnLogs, TelemetryOptions};
use lambda_proto_extension::subscription::TelemetryTypes;
use lambda_proto_host::Log;

use super::*;

const SHORT: Duration = Duration::from_millis(200);
const HEAD: &str = "POST / HTTP/1.1\r\nHost: s\r\n";

/// A listener whose requests may take this time, and whose handler sleeps for longer.
fn listening_for(request_time: Duration) -> (Arc<Shared>, Listening) {
    let handler: Handler = Box::new(move |_| {
        thread::sleep(request_time + SHORT);
        Ok(())
    });
    listening_with(request_time, handler)
}

fn listening_with(request_time: Duration, handler: Handler) -> (Arc<Shared>, Listening) {
    let options = TelemetryOptions::new(TelemetryTypes::FUNCTION);
    let state = State {
        collector: Collector::new(&options, OwnLogs::Extension),
        handler: Some(handler),
        peers: Peers::new(2),
        has_ended: false,
    };
    let shared = Arc::new(Shared::new(state, request_time, Log::to(|_| {})));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let listening = Listening::start(socket, &shared).unwrap();
    (shared, listening)
}

fn listening() -> (Arc<Shared>, Listening) {
    listening_for(SHORT)
}

fn client(listening: &Listening) -> TcpStream {
    let client = TcpStream::connect(listening.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client
}

/// What the listener replies until it closes the connection.
fn reply(mut client: &TcpStream) -> Vec<u8> {
    let mut reply = Vec::new();
    let _it_may_be_reset = client.read_to_end(&mut reply);
    reply
}

#[test]
fn a_client_that_sends_a_byte_from_time_to_time_is_cut_off() {
    let (shared, listening) = listening();
    for start in ["x: ", "Content-Length: 9999\r\n\r\n["] {
        let mut client = client(&listening);
        let begun = Instant::now();
        client.write_all(format!("{HEAD}{start}").as_bytes()).unwrap();
        // Some bytes may still be taken by the system.
        while client.write_all(b" ").is_ok() {
            thread::sleep(SHORT / 10);
            assert!(begun.elapsed() < Duration::from_secs(30), "it is never cut off");
        }
        assert!(begun.elapsed() >= SHORT);
    }
    assert_eq!(shared.lock().collector.losses().broken_batches, 1);
}

#[test]
fn a_client_that_sends_nothing_more_is_cut_off() {
    let (_shared, listening) = listening();
    let mut client = client(&listening);
    client.write_all(b"POST / HT").unwrap();
    assert_eq!(reply(&client), b"");
}

#[test]
fn the_time_of_the_handler_is_not_that_of_the_request() {
    // Long enough for a busy machine to read what has arrived.
    let limit = Duration::from_secs(2);
    let (_shared, listening) = listening_for(limit);
    let mut client = client(&listening);
    let record = r#"{"type":"function","record":"a"}"#;
    let batch = format!("[{record},{record}]");
    // The handler is called between the reads.
    let (first, last) = batch.split_at(record.len() + 2);
    let length = batch.len();
    let head = format!("{HEAD}Connection: close\r\nContent-Length: {length}\r\n\r\n");
    let begun = Instant::now();
    client.write_all((head + first).as_bytes()).unwrap();
    // Nobody reads while it is called.
    client.write_all(last.as_bytes()).unwrap();
    let reply = reply(&client);
    assert!(reply.starts_with(b"HTTP/1.1 200 "), "{}", reply.escape_ascii());
    assert!(begun.elapsed() >= limit);
}

/// A handler that tells of each call, and returns when it is told to.
fn held_handler() -> (Handler, Receiver<()>, Sender<()>) {
    let (tell, called) = channel();
    let (release, released) = channel();
    let handler: Handler = Box::new(move |_| {
        tell.send(()).unwrap();
        let _the_test_may_have_ended = released.recv();
        Ok(())
    });
    (handler, called, release)
}

fn batch(records: usize) -> Vec<u8> {
    let body = format!("[{}]", vec![r#"{"type":"function","record":"a"}"#; records].join(","));
    let head = format!("{HEAD}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

/// Waits until the places are as told.
fn wait_until(shared: &Shared, is_so: impl Fn(&[Option<Peer>]) -> bool) {
    let begun = Instant::now();
    while !is_so(&shared.lock().peers.places) {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never so");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_with_a_batch_in_the_handler_or_waiting_for_it_give_way_to_no_other() {
    let (handler, called, release) = held_handler();
    let (shared, listening) = listening_with(Duration::from_secs(30), handler);
    let mut clients = [client(&listening), client(&listening)];
    clients.iter_mut().for_each(|client| client.write_all(&batch(1)).unwrap());
    called.recv().unwrap();
    let is_busy = |peer: &Option<Peer>| peer.as_ref().is_some_and(|peer| peer.idle_since.is_none());
    wait_until(&shared, |places| places.iter().all(is_busy));
    // Long enough for an idle one.
    thread::sleep(MAX_IDLE_TIME);
    let third = client(&listening);
    assert!(reply(&third).starts_with(b"HTTP/1.1 503 "));
    drop(release);
    for client in &clients {
        assert!(reply(client).starts_with(b"HTTP/1.1 200 "));
    }
    called.recv().unwrap();
    assert!(called.try_recv().is_err(), "a batch is handled twice");
}

#[test]
fn no_record_is_handled_after_the_end() {
    let (handler, called, release) = held_handler();
    let (shared, listening) = listening_with(Duration::from_secs(30), handler);
    let mut client = client(&listening);
    client.write_all(&batch(3)).unwrap();
    called.recv().unwrap();
    drop(listening);
    drop(release);
    wait_until(&shared, |places| places.iter().all(Option::is_none));
    assert!(called.try_recv().is_err());
}

#[test]
fn an_idle_connection_is_kept_for_longer_than_a_request_may_take() {
    let (_shared, listening) = listening();
    let mut client = client(&listening);
    thread::sleep(3 * SHORT);
    let head = format!("{HEAD}Connection: close\r\nContent-Length: 2\r\n\r\n[]");
    client.write_all(head.as_bytes()).unwrap();
    assert!(reply(&client).starts_with(b"HTTP/1.1 200 "));
}
