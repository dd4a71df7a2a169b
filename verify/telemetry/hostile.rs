//! Clients of the listener that are not Lambda.

use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::transport::telemetry::BUSY;

use super::support::{Client, LONG, Run, function, options, request, takes_all};

/// As many as the listener serves.
const CONNECTIONS: usize = 64;

#[test]
fn requests_that_are_no_batch_are_refused_and_the_next_batch_arrives() {
    let run = Run::start(options(), takes_all());
    for (bytes, status) in [
        (&b"GET / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n"[..], 405),
        (b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"", 0),
    ] {
        let mut client = run.client();
        client.send(bytes);
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.status(), status, "{}", bytes.escape_ascii());
    }
    let mut client = run.client();
    client.send(b"POST / HTTP/1.1\r\n");
    // A client that sends a head without an end is cut off when the head is too large.
    let line = b"x: y\r\n".repeat(1_000);
    while std::io::Write::write_all(&mut client.0, &line).is_ok() {}
    assert_eq!(run.post(&[function("a")]), 200);
    run.expect(&function("a"));
}

#[test]
fn connections_beyond_the_limit_are_refused_and_counted() {
    let mut run = Run::start(options(), takes_all());
    let head = b"POST / HTTP/1.1\r\n";
    let mut slow: Vec<_> = (0..CONNECTIONS).map(|_| run.client()).collect();
    slow.iter_mut().for_each(|client| client.send(head));
    let mut refused = 0;
    // Until the last of them has been read from, its place counts as idle.
    while refused < 3 {
        let mut client = run.client();
        client.send(&request(&[function("a")]));
        match client.status() {
            503 => refused += 1,
            other => assert_eq!(other, 200),
        }
        let mut more = run.client();
        more.send(head);
        slow.push(more);
    }
    // One that ends makes place.
    slow.clear();
    while run.post(&[function("b")]) != 200 {
        thread::yield_now();
    }
    run.shut_down_unheard(LONG);
    let lines = run.service.lines().clone();
    run.end().unwrap();
    lines.wait_for("connections refused: ");
    assert!(!lines.all().iter().any(|line| line.contains("connections refused: 0")));
    assert!(BUSY.starts_with(b"HTTP/1.1 503 "));
}

#[test]
fn idle_connections_give_way_once_there_are_too_many() {
    let run = Run::start(options(), takes_all());
    let idle: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = run.client();
            assert_eq!(client.post(&[]), 200);
            client
        })
        .collect();
    // They are idle for long enough after a second.
    let mut posts = 0;
    while run.post(&[function("a")]) != 200 {
        posts += 1;
        assert!(posts < 1_000, "no connection has given way");
        thread::sleep(Duration::from_millis(50));
    }
    let ended = |client: &Client| {
        client.0.set_nonblocking(true).unwrap();
        matches!(client.0.peek(&mut [0]), Ok(0))
    };
    assert!(idle.iter().filter(|client| ended(client)).count() >= 1);
}

#[test]
fn a_hostile_client_cannot_fill_the_log() {
    let run = Run::start(options(), takes_all());
    for _ in 0..100 {
        let mut client = run.client();
        client.send(b"BREW / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
        assert_eq!(client.status(), 405);
    }
    let lines = run.service.lines().all();
    assert_eq!(lines.len(), 16, "{lines:?}");
}

#[test]
fn a_client_that_sends_garbage_for_ever_needs_little_memory() {
    let run = Run::start(options(), takes_all());
    let mut client = run.client();
    client.send(b"POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n");
    // 3 MiB of one record, more than the memory of a connection can grow to.
    let chunk = [&b"10000\r\n"[..], &b"x".repeat(0x10000), b"\r\n"].concat();
    client.send(b"1\r\n[\r\n");
    (0..48).for_each(|_| client.send(&chunk));
    client.send(b"1\r\n]\r\n0\r\n\r\n");
    assert_eq!(client.status(), 200);
    run.expect("a telemetry record cannot be read: its 3145728 bytes do not fit the memory");
}

#[test]
fn a_record_for_which_other_clients_leave_no_memory_comes_again() {
    let run = Run::start(options(), takes_all());
    let posts = |number: usize| {
        let record = function(&format!("{number} {}", "x".repeat(300_000)));
        let status = run.post(std::slice::from_ref(&record));
        if status == 200 {
            run.expect(&record);
        }
        status
    };
    // Four records without an end take all that connections share. A batch that is posted while
    // they are still read may take a part of it, and one of them is lost then; so each try adds one.
    let hold = || {
        let mut client = run.client();
        client.send(b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 9999999\r\n\r\n[\"");
        client.send(&vec![b'x'; 1_500_000]);
        client
    };
    let mut holders: Vec<_> = (0..4).map(|_| hold()).collect();
    let mut number = 0;
    while posts(number) != 503 {
        number += 1;
        assert!(number < CONNECTIONS / 2, "there is always memory for the record");
        holders.push(hold());
    }
    run.service.lines().wait_for("does not fit the memory that other connections leave");
    drop(holders);
    // A batch that is sent back three times would be told as lost.
    number += 1;
    let last = number + 1_000;
    while posts(number) != 200 {
        number += 1;
        assert!(number < last, "the memory is never given back");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_connection_that_was_refused_holds_no_memory() {
    let run = Run::start(options(), takes_all());
    // Four long records take all that connections share.
    let refused: Vec<_> = (0..4)
        .map(|_| {
            let mut client = run.client();
            client.send(b"POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n");
            let part = vec![b'x'; 1_500_000];
            client.send(format!("{:x}\r\n[\"", part.len() + 2).as_bytes());
            client.send(&part);
            client.send(b"\r\nno length\r\n");
            assert_eq!(client.status(), 400);
            client.0.read_to_end(&mut Vec::new()).unwrap();
            client
        })
        .collect();
    let record = function(&"x".repeat(1_000_000));
    assert_eq!(run.post(std::slice::from_ref(&record)), 200);
    run.expect(&record);
    drop(refused);
}
