//! How much memory a stream takes; the only test of its process, whose whole memory it measures.

mod support;

use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use lambda_proto_mio::{ContentType, Event, Receipt};
use lambda_proto_service::{Event as Incoming, Service};
use support::{Host, runtime};

/// A line of `/proc/self/status`, in KiB.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_stream_of_200_megabytes_to_a_slow_reader_takes_no_memory() {
    const PIECE: usize = 100_000;
    let service = Service::start();
    let host = Host::start(runtime(service.place(), 2));
    let mut connection = service.open_slots(2).remove(0);
    let mut highest = None;
    for megabytes in [20, 200] {
        let pieces = megabytes * 1_000_000 / PIECE;
        connection.send(Incoming::new("id-1", "").bytes());
        let mut stream = host.invocation().1.stream(ContentType::OCTET_STREAM);
        let writer = thread::spawn(move || {
            let piece = vec![b'x'; PIECE];
            (0..pieces).for_each(|_| stream.write_all(&piece).unwrap());
            stream.finish();
        });
        connection.head();
        let (mut read, mut chunks) = (0, 0_u32);
        while let Some(chunk) = connection.chunk() {
            read += chunk.len();
            chunks += 1;
            if chunks.is_multiple_of(50) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        connection.trailers();
        assert_eq!(read, pieces * PIECE);
        connection.take_answer();
        loop {
            match host.event() {
                Event::Writable { .. } => {}
                Event::Settled { receipt: Receipt::Known(_), .. } => break,
                other => panic!("{other:?}"),
            }
        }
        connection.expect_next();
        writer.join().unwrap();
        let now = status("VmHWM:");
        let before = *highest.get_or_insert(now);
        assert!(now - before < 4 * 1024, "from {before} KiB to {now} KiB");
    }
}
