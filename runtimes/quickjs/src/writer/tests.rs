use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lambda_proto_host::lifecycle::Shutdown;

use super::*;

/// A connection that takes a piece when the test says so, and is lost when the test has gone.
struct Slow {
    allowed: Receiver<()>,
    taken: Sender<Vec<u8>>,
}

impl Sink for Slow {
    fn write(&mut self, piece: &[u8]) -> Result<(), StreamOver> {
        self.allowed.recv().map_err(|_| StreamOver)?;
        self.taken.send(piece.to_vec()).map_err(|_| StreamOver)
    }

    fn finish(&mut self) {
        let _taken = self.taken.send(b"the end".to_vec());
    }
}

fn begun() -> (Writer<Slow>, Sender<()>, Receiver<Vec<u8>>) {
    let writer = Writer::new();
    writer.start().unwrap();
    let (allow, allowed) = channel();
    let (taken, takes) = channel();
    writer.begin(Slow { allowed, taken });
    (writer, allow, takes)
}

fn never() -> Cancellation {
    Cancellation::at(None, &Shutdown::new())
}

fn past() -> Option<Instant> {
    Some(Instant::now())
}

#[test]
fn pieces_are_written_in_their_order_and_then_the_end() {
    let (writer, allow, takes) = begun();
    writer.write(b"a".to_vec(), None).unwrap();
    writer.write(b"b".to_vec(), None).unwrap();
    assert!(writer.take_news().is_none() && writer.is_at_work());
    allow.send(()).unwrap();
    writer.wait(None, None);
    let news = writer.take_news().unwrap();
    assert_eq!((news.written, news.is_over, news.ended.is_some()), (1, false, false));
    writer.finish();
    assert_eq!(writer.write(b"c".to_vec(), None), Err(NotWritten::NoStream));
    allow.send(()).unwrap();
    let mut written = 0;
    while written < 1 {
        writer.wait(None, None);
        written += writer.take_news().map_or(0, |news| news.written);
    }
    assert_eq!(written, 1);
    let all: Vec<_> = takes.iter().take(3).collect();
    assert_eq!(all, [&b"a"[..], b"b", b"the end"]);
}

#[test]
fn the_sink_comes_back_with_the_end_and_the_next_stream_is_another_one() {
    let (writer, allow, takes) = begun();
    for _ in 0..3 {
        writer.write(b"a".to_vec(), None).unwrap();
        writer.finish();
        allow.send(()).unwrap();
        let sink = loop {
            writer.wait(None, None);
            if let Some(sink) = writer.take_news().and_then(|news| news.ended) {
                break sink;
            }
        };
        assert!(!writer.is_at_work());
        assert_eq!(writer.write(b"late".to_vec(), None), Err(NotWritten::NoStream));
        writer.begin(sink);
    }
    assert_eq!(takes.try_iter().count(), 6);
}

#[test]
fn a_write_waits_for_room_and_fails_when_its_time_is_over() {
    let (writer, allow, takes) = begun();
    let piece = vec![7; ROOM / 4];
    let mut written = 0;
    while writer.write(piece.clone(), past()).is_ok() {
        written += 1;
        assert!(written <= 4, "more than the room was taken");
    }
    assert_eq!(writer.write(piece.clone(), past()), Err(NotWritten::Late));
    // Pieces without bytes fill the room, too.
    assert_eq!(writer.write(vec![], past()), Err(NotWritten::Late));
    allow.send(()).unwrap();
    writer.write(piece, None).unwrap();
    drop(allow);
    assert!(writer.call_back(None).is_some());
    assert_eq!(takes.iter().count(), 1);
}

#[test]
fn a_sink_that_is_called_back_has_written_everything() {
    let (writer, allow, takes) = begun();
    writer.write(b"a".to_vec(), None).unwrap();
    assert!(writer.call_back(past()).is_none());
    allow.send(()).unwrap();
    assert!(writer.call_back(None).is_some());
    assert_eq!(takes.try_iter().count(), 1);
    // There is none any more.
    assert!(writer.call_back(None).is_none() && !writer.is_at_work());
}

#[test]
fn a_stream_that_is_over_takes_nothing_and_says_so_once() {
    let (writer, allow, _takes) = begun();
    writer.write(b"a".to_vec(), None).unwrap();
    writer.write(b"b".to_vec(), None).unwrap();
    drop(allow);
    writer.wait(None, None);
    let news = writer.take_news().unwrap();
    assert_eq!((news.written, news.is_over), (0, true));
    assert!(writer.take_news().is_none() && !writer.is_at_work());
    assert_eq!(writer.write(b"c".to_vec(), None), Err(NotWritten::Over(StreamOver)));
    writer.finish();
    writer.wait(None, None);
    assert!(writer.take_news().unwrap().ended.is_some());
}

#[test]
fn a_cancellation_ends_the_wait_for_news() {
    let (writer, _allow, _takes) = begun();
    writer.write(b"a".to_vec(), None).unwrap();
    let cancellation = never();
    let cancelling = cancellation.clone();
    let cancel = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        cancelling.cancel();
    });
    writer.wait(None, Some(&cancellation));
    assert!(cancellation.is_cancelled() && writer.take_news().is_none());
    cancel.join().unwrap();
    // This waits for its moment, whatever has fired.
    let moment = Instant::now() + Duration::from_millis(5);
    writer.wait(Some(moment), None);
    assert!(Instant::now() >= moment);
}

#[test]
#[should_panic(expected = "the thread that writes streams has panicked")]
fn a_panic_of_the_thread_does_not_leave_anyone_waiting() {
    struct Broken;
    impl Sink for Broken {
        fn write(&mut self, _: &[u8]) -> Result<(), StreamOver> {
            panic!("broken");
        }
        fn finish(&mut self) {}
    }
    let writer = Writer::new();
    writer.start().unwrap();
    writer.begin(Broken);
    writer.write(b"a".to_vec(), None).unwrap();
    writer.call_back(None);
}
