//! Streamed responses in a loop.

mod support;

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{
    ContentType, Event, Failure, HttpPrelude, Receipt, ResponseStream, StreamOver,
};
use lambda_proto_service::{
    Connection, Event as Incoming, Gate, MOMENT, PATIENCE, Request, Service,
};
use support::{Host, Turner, run, runtime};

const BYTES: ContentType<'_> = ContentType::OCTET_STREAM;

/// Bytes without repetition, so that the test notices lost or swapped pieces.
fn content(length: usize, seed: usize) -> Vec<u8> {
    (0..length.div_ceil(8)).flat_map(|at| (at * 8 + seed).to_le_bytes()).take(length).collect()
}

/// One slot with an invocation in flight, in its own loop.
fn one_in_flight() -> (Service, Host, Connection, ResponseStream) {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 1));
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let stream = host.invocation().1.stream(BYTES);
    (service, host, connection, stream)
}

/// Takes the receipt of the answer; skips events about room.
#[track_caller]
fn fate(host: &Host) -> Receipt {
    loop {
        match host.event() {
            Event::Writable { .. } => {}
            Event::Settled { receipt, .. } => return receipt,
            other => panic!("{other:?}"),
        }
    }
}

/// Reads a streamed answer, with occasional pauses.
fn read_slowly(connection: &mut Connection, every: usize, pause: Duration) -> Request {
    let mut request = connection.head();
    let mut read = 0;
    while let Some(chunk) = connection.chunk() {
        if read / every < (read + chunk.len()) / every {
            thread::sleep(pause);
        }
        read += chunk.len();
        request.body.extend(&chunk);
        request.chunks.push(chunk);
    }
    request.trailers = connection.trailers();
    request
}

#[test]
fn every_write_is_a_chunk_of_its_own() {
    let (_service, host, mut connection, mut stream) = one_in_flight();
    let key = stream.key();
    for piece in ["one", "two", "three"] {
        assert_eq!(stream.try_write(piece.as_bytes()), Ok(piece.len()));
        if piece == "one" {
            connection.head().assert_response("id-1");
        }
        assert_eq!(connection.chunk().unwrap(), piece.as_bytes());
    }
    assert_eq!(stream.try_write(b""), Ok(0));
    stream.finish();
    assert_eq!(connection.chunk(), None);
    assert!(connection.trailers().is_empty());
    host.expect_nothing();
    connection.take_answer();
    assert_eq!(host.status(key), 202);
    connection.expect_next();
    host.stop();
}

#[test]
fn megabytes_to_a_slow_reader_arrive_whole_and_in_order_and_block_nothing() {
    let whole = content(8_000_000, 1);
    let service = Service::start();
    let full = Gate::default();
    let is_told = full.clone();
    let mut turner = Turner::new(runtime(service.place(), 1));
    let player = thread::spawn(move || {
        let mut connection = service.connection();
        connection.invoke(Incoming::new("id-1", ""));
        full.wait();
        let request = read_slowly(&mut connection, 100_000, Duration::from_millis(5));
        connection.take_answer();
        connection.expect_next();
        (service, request)
    });
    let mut stream = Some(turner.invocation().1.stream(BYTES));
    let (mut written, mut is_full) = (0, false);
    loop {
        if let Some(open) = &mut stream
            && !is_full
        {
            let piece = &whole[written..whole.len().min(written + 30_000)];
            let began = Instant::now();
            let length = open.try_write(piece).unwrap();
            assert!(began.elapsed() < PATIENCE / 2, "a write never blocks");
            is_full = length < piece.len();
            written += length;
            // More than the socket takes while the service does not read.
            if is_full {
                is_told.open();
            }
            if written == whole.len() {
                stream.take().unwrap().finish();
            }
        }
        match turner.slots.next_event(Instant::now()) {
            Some(Event::Writable { .. }) => is_full = false,
            Some(Event::Settled { receipt: Receipt::Known(_), .. }) => break,
            Some(other) => panic!("{other:?}"),
            None if is_full || stream.is_none() => drop(turner.turn(PATIENCE)),
            None => {}
        }
    }
    turner.idle(MOMENT);
    let (_service, request) = player.join().unwrap();
    assert!(request.body == whole);
}

#[test]
fn a_full_stream_reports_room_exactly_once() {
    let (_service, host, mut connection, mut stream) = one_in_flight();
    let key = stream.key();
    let piece = vec![b'x'; 50_000];
    let mut written = 0;
    // Until both the queue and the socket are full; the socket may take a little more at times.
    loop {
        match stream.try_write(&piece).unwrap() {
            0 if host.event_within(3 * MOMENT).is_none() => break,
            length => written += length,
        }
    }
    assert_eq!(stream.try_write(&piece), Ok(0));
    host.expect_nothing();
    let reader = thread::spawn(move || {
        let request = read_slowly(&mut connection, usize::MAX, Duration::ZERO);
        connection.take_answer();
        (connection, request)
    });
    assert!(matches!(host.event(), Event::Writable { key: of } if of == key));
    host.expect_nothing();
    let more = stream.try_write(b"more").unwrap();
    assert_eq!(more, 4);
    stream.finish();
    assert_eq!(host.status(key), 202);
    assert_eq!(reader.join().unwrap().1.body.len(), written + more);
}

#[test]
fn a_write_on_the_thread_of_the_loop_fails_instead_of_waiting() {
    let service = Service::start();
    let (sender, tried) = channel();
    let run = run(service.place(), 1, move |_, responder| {
        let mut stream = responder.stream(BYTES);
        let mut written = 0;
        let error = loop {
            match stream.write(&[b'x'; 10_000]) {
                Ok(length) => written += length,
                Err(error) => break error,
            }
        };
        sender.send((written, error)).unwrap();
        Ok(stream.finish())
    });
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let (written, error) = tried.recv_timeout(PATIENCE).expect("it hangs");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(error.to_string().contains("use `try_write`"), "{error}");
    assert_eq!(connection.request().body.len(), written);
    connection.take_answer();
    run.stop();
}

#[test]
fn a_write_on_another_thread_waits_for_a_slow_reader() {
    let (_service, host, mut connection, stream) = one_in_flight();
    let whole = content(3_000_000, 3);
    let expected = whole.clone();
    let writer = thread::spawn(move || {
        let mut stream = stream;
        for piece in whole.chunks(7_001) {
            stream.write_all(piece).unwrap();
        }
        stream.flush().unwrap();
        stream.finish();
    });
    let request = read_slowly(&mut connection, 100_000, Duration::from_millis(5));
    assert!(request.body == expected);
    connection.take_answer();
    // There was no event about room, since the writer waited for it itself.
    assert!(matches!(host.answered().1, Receipt::Known(_)));
    writer.join().unwrap();
}

#[test]
fn thousands_of_tiny_pieces_stay_in_order() {
    let (_service, host, mut connection, stream) = one_in_flight();
    let writer = thread::spawn(move || {
        let mut stream = stream;
        (0..20_000_u32).for_each(|number| stream.write_all(&number.to_le_bytes()).unwrap());
        stream.finish_and_next();
    });
    let request = read_slowly(&mut connection, 1000, Duration::from_millis(1));
    let expected: Vec<_> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    assert!(request.body == expected);
    assert!(request.chunks.iter().all(|chunk| chunk.len() <= 4), "no two in one chunk");
    connection.expect_next();
    assert_eq!(host.answered().1, Receipt::Pipelined);
    writer.join().unwrap();
}

#[test]
fn a_service_that_refuses_in_mid_stream_ends_it_for_the_writer() {
    let (_service, host, mut connection, mut stream) = one_in_flight();
    let key = stream.key();
    stream.try_write(b"begun").unwrap();
    connection.head();
    connection.chunk();
    connection.refuse(413, "RequestEntityTooLarge", "enough");
    assert_eq!(host.status(key), 413);
    assert_eq!(stream.try_write(b"more"), Err(StreamOver));
    stream.finish();
    host.expect_nothing();
    host.stop();
}

/// Streams without end from a thread, until it blocks; returns what its writes end with.
fn blocked_writer(stream: ResponseStream) -> thread::JoinHandle<std::io::Error> {
    let (sender, written) = channel();
    let writer = thread::spawn(move || {
        let mut stream = stream;
        loop {
            match stream.write_all(&[b'x'; 5000]) {
                Ok(()) => drop(sender.send(())),
                Err(error) => return error,
            }
        }
    });
    while written.recv_timeout(Duration::from_millis(200)).is_ok() {}
    assert!(!writer.is_finished());
    writer
}

#[track_caller]
fn assert_broken(writer: thread::JoinHandle<std::io::Error>) {
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(writer.join().unwrap()));
    let error = ended.recv_timeout(PATIENCE).expect("the writer is not woken");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(error.get_ref().is_some_and(|inner| inner.is::<StreamOver>()));
}

#[test]
fn a_service_that_refuses_in_mid_stream_wakes_a_blocked_writer() {
    let (_service, host, mut connection, stream) = one_in_flight();
    let writer = blocked_writer(stream);
    connection.refuse(413, "RequestEntityTooLarge", "enough");
    let Receipt::Known(outcome) = fate(&host) else { panic!("the outcome is known") };
    assert_eq!(outcome.status(), 413);
    assert_broken(writer);
    host.stop();
}

#[test]
fn a_connection_that_is_lost_in_mid_stream_wakes_a_blocked_writer() {
    let (service, host, connection, stream) = one_in_flight();
    let writer = blocked_writer(stream);
    connection.close();
    assert_eq!(fate(&host), Receipt::FateUnknown);
    assert_broken(writer);
    service.connection().expect_next();
    host.expect_nothing();
    host.stop();
}

#[test]
fn an_invalid_reply_in_mid_stream_wakes_a_blocked_writer_and_its_slot_starts_over() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connections = service.open_slots(2);
    connections[0].send(Incoming::new("id-1", "").bytes());
    let stream = host.invocation().1.stream(BYTES);
    let key = stream.key();
    let writer = blocked_writer(stream);
    connections[0].send("this is not HTTP\r\n\r\n");
    assert_eq!(fate(&host), Receipt::FateUnknown);
    assert_broken(writer);
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-2", ""));
    let (_, responder) = host.invocation();
    assert_eq!(responder.key().slot(), key.slot());
    assert_ne!(responder.key(), key);
    responder.send("");
    connection.request().assert_response("id-2");
}

#[test]
fn a_connection_that_is_lost_in_mid_stream_ends_it_for_the_writer() {
    let (service, host, mut connection, mut stream) = one_in_flight();
    let key = stream.key();
    stream.try_write(b"begun").unwrap();
    connection.head();
    connection.chunk();
    connection.close();
    assert_eq!(host.answered(), (key, Receipt::FateUnknown));
    assert_eq!(stream.try_write(b"more"), Err(StreamOver));
    // The old stream ends without effect on the invocation that is in the slot now.
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-2", ""));
    let (_, responder) = host.invocation();
    stream.fail(Failure::new("Too.Late", ""));
    connection.expect_silence();
    let mut other = responder.stream(BYTES);
    other.try_write(b"mine").unwrap();
    other.finish();
    assert_eq!(connection.request().body, b"mine");
    connection.take_answer();
    assert!(matches!(fate(&host), Receipt::Known(_)));
    host.stop();
}

#[test]
fn a_stream_that_is_dropped_ends_with_error_trailers() {
    let (_service, host, mut connection, mut stream) = one_in_flight();
    stream.try_write(b"begun").unwrap();
    thread::spawn(move || drop(stream)).join().unwrap();
    let request = connection.request();
    assert_eq!(request.body, b"begun");
    assert_eq!(request.trailer_error()["errorType"], "Runtime.NoResponse");
    connection.take_answer();
    assert!(matches!(fate(&host), Receipt::Known(_)));
    connection.expect_next();
    host.stop();
}

#[test]
fn a_stream_that_is_dropped_or_fails_before_its_first_piece_is_an_error() {
    for fails in [false, true] {
        let (_service, host, mut connection, mut stream) = one_in_flight();
        let key = stream.key();
        assert_eq!(stream.try_write(b""), Ok(0));
        let error_type = if fails {
            stream.fail(Failure::new("Function.Sad", "no luck"));
            "Function.Sad"
        } else {
            thread::spawn(move || drop(stream)).join().unwrap();
            "Runtime.NoResponse"
        };
        connection.request().assert_error("id-1", error_type);
        connection.take_answer();
        assert_eq!(host.status(key), 202);
        connection.expect_next();
        host.stop();
    }
}

#[test]
fn a_stream_that_fails_ends_with_error_trailers_after_everything_that_was_written() {
    let (_service, host, mut connection, stream) = one_in_flight();
    let whole = content(1_000_000, 9);
    let expected = whole.clone();
    let writer = thread::spawn(move || {
        let mut stream = stream;
        stream.write_all(&whole).unwrap();
        stream.fail(Failure::new("Function.Sad", "no luck"));
    });
    let request = connection.request();
    assert!(request.body == expected);
    assert_eq!(request.trailer_error()["errorType"], "Function.Sad");
    assert_eq!(request.trailer_error()["errorMessage"], "no luck");
    writer.join().unwrap();
    connection.take_answer();
    assert!(matches!(fate(&host), Receipt::Known(_)));
}

#[test]
fn an_http_response_begins_with_its_prelude_in_two_chunks() {
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 1));
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let headers = [("X-Long", "y".repeat(5000))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let prelude = HttpPrelude::new(207, &headers, &[]).unwrap();
    let mut stream = host.invocation().1.stream_http(&prelude);
    stream.try_write(b"body").unwrap();
    stream.finish();
    let request = connection.request();
    assert_eq!(request.chunks.len(), 3);
    let json: serde_json::Value = serde_json::from_slice(&request.chunks[0]).unwrap();
    assert_eq!(json["statusCode"], 207);
    assert_eq!(json["headers"]["X-Long"].as_str().unwrap().len(), 5000);
    assert_eq!(request.chunks[1], [0; HttpPrelude::END_LEN]);
    assert_eq!(request.chunks[2], b"body");
}

#[test]
fn streams_in_several_slots_do_not_mix() {
    const SLOTS: usize = 6;
    let service = Service::start();
    let host = Host::start(runtime(service.place(), SLOTS));
    let connections = service.open_slots(SLOTS);
    let gate = Gate::default();
    let readers: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(number, mut connection)| {
            let gate = gate.clone();
            thread::spawn(move || {
                connection.send(Incoming::new(&format!("id-{number}"), number.to_string()).bytes());
                gate.wait();
                let every = 50_000 + 30_000 * number;
                let request = read_slowly(&mut connection, every, Duration::from_millis(2));
                request.assert_response(&format!("id-{number}"));
                assert!(request.body == content(1_000_000, number), "stream {number}");
                connection.take_answer();
                connection.expect_next();
                connection
            })
        })
        .collect();
    let mut keys = HashMap::new();
    let mut writers = Vec::new();
    for (invocation, responder) in host.invocations(SLOTS) {
        let number: usize = std::str::from_utf8(invocation.body()).unwrap().parse().unwrap();
        keys.insert(responder.key(), number);
        let mut stream = responder.stream(BYTES);
        writers.push(thread::spawn(move || {
            let whole = content(1_000_000, number);
            whole.chunks(9_999 + number).for_each(|piece| stream.write_all(piece).unwrap());
            stream.finish();
        }));
    }
    gate.open();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let kept: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    while !keys.is_empty() {
        if let Event::Settled { key, receipt } = host.event() {
            assert!(matches!(receipt, Receipt::Known(_)));
            keys.remove(&key).expect("each once");
        }
    }
    drop(kept);
    host.stop();
}
