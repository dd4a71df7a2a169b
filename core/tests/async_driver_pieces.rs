//! Pieces of a stream that a poll function sends: it drops each future that is pending, and the next
//! one continues.

#[path = "loops/awaiting.rs"]
#[allow(dead_code, reason = "the scripts of the drivers use the rest")]
mod loops;
mod memory;

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use lambda_proto::api::{ContentType, ErrorReport};
use lambda_proto::async_driver::{Driver, Sent, Stream};
use lambda_proto::client::{Receipt, StreamOver};
use lambda_proto::machine::Machine;
use memory::{ACCEPTED, Memory, Script, endpoint, event};

const REPORT: ErrorReport<'static> = ErrorReport::new("Function.Broken", "it broke");

/// Two of one length after each other, and an empty one.
const PIECES: [&str; 5] = ["first", "other", "", "the third", "four"];

/// How the futures of pieces are polled.
#[derive(Clone, Copy, Debug)]
enum Drops {
    /// `write` is polled until it is ready.
    Never,
    /// Each future of `write_on` is polled once.
    Always,
    /// The future of `write_on` that is pending after this number of waits is dropped.
    At(usize),
}

/// What the embedder and the service have seen.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    results: Vec<Result<(), StreamOver>>,
    receipt: Receipt,
    written: Vec<String>,
    warnings: Vec<String>,
    losses: Vec<u32>,
}

/// Polls a future until it is ready, but no more than this number of times.
fn poll_up_to<F: Future>(future: F, most: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..most {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

fn poll<F: Future>(future: F) -> F::Output {
    poll_up_to(future, usize::MAX).expect("it is ready before that")
}

/// Sends a piece with `write_on`, and calls `drops` at each wait.
async fn write_on(
    stream: &mut Stream<'_, Script, Memory>,
    piece: &[u8],
    mut drops: impl FnMut() -> bool,
) -> Result<(), StreamOver> {
    loop {
        let mut future = pin!(stream.write_on(piece));
        let result = poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if drops() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(result) = result.await {
            return result;
        }
    }
}

/// Runs a handler on the first invocation of a script, and then the driver to the end of it.
fn stream<T>(
    script: Script,
    handle: impl AsyncFnOnce(Stream<'_, Script, Memory>) -> (T, Receipt),
) -> (T, Run) {
    drive(script, async |driver| {
        let (_, responder) = driver.next().await.unwrap().unwrap();
        handle(responder.stream(ContentType::TEXT)).await
    })
}

/// The same for a handler that takes the invocation itself.
fn drive<T>(
    script: Script,
    handle: impl AsyncFnOnce(&mut Driver<Script, Memory>) -> (T, Receipt),
) -> (T, Run) {
    let seen = script.seen.clone();
    let memory = || Memory::new(4096, 4096);
    let mut driver = Driver::new(Machine::new(endpoint()), script, memory(), memory());
    poll(async {
        let (value, receipt) = handle(&mut driver).await;
        let (written, losses) = {
            let seen = seen.borrow();
            let all = 0..seen.written.len();
            (all.map(|connection| seen.text(connection)).collect(), seen.losses.clone())
        };
        // What is left to warn of.
        driver.next().await.map(drop).expect_err("the script is over");
        let warnings = seen.borrow().warnings.clone();
        (value, Run { results: Vec::new(), receipt, written, warnings, losses })
    })
}

/// Streams all pieces. Returns the number of waits too.
fn pieces(script: Script, how: Drops) -> (usize, Run) {
    let ((waits, results), run) = stream(script, async |mut stream| {
        let mut waits = 0;
        let mut results = Vec::new();
        for piece in PIECES {
            let piece = piece.as_bytes();
            results.push(match how {
                Drops::Never => stream.write(piece).await,
                _ => {
                    let drops = || {
                        waits += 1;
                        match how {
                            Drops::At(at) => waits == at + 1,
                            _ => true,
                        }
                    };
                    write_on(&mut stream, piece, drops).await
                }
            });
        }
        ((waits, results), stream.finish().await.receipt())
    });
    (waits, Run { results, ..run })
}

/// A service whose connections take this number of bytes in one write.
fn service(takes: usize, connections: &[&[&[u8]]]) -> Script {
    let mut script = Script::new(connections);
    (0..connections.len()).for_each(|number| script.connection(number).takes = takes);
    script
}

/// Checks that it makes no difference where futures of `write_on` are dropped. Returns what was
/// seen, and the number of places.
fn the_same_wherever_it_is_dropped(script: impl Fn() -> Script) -> (Run, usize) {
    let (_, undisturbed) = pieces(script(), Drops::Never);
    let (places, run) = pieces(script(), Drops::Always);
    assert_eq!(run, undisturbed);
    for at in 0..places {
        let (_, run) = pieces(script(), Drops::At(at));
        assert_eq!(run, undisturbed, "dropped at wait {at}");
    }
    (undisturbed, places)
}

#[test]
fn the_bytes_are_the_same_wherever_a_piece_is_dropped_and_continued() {
    let event = event("a", b"1");
    for takes in [usize::MAX, 7, 1] {
        let script = || service(takes, &[&[&event, ACCEPTED]]);
        let (run, places) = the_same_wherever_it_is_dropped(script);
        assert_eq!(run.results, [Ok(()); PIECES.len()]);
        assert!(matches!(run.receipt, Receipt::Known(outcome) if outcome.is_accepted()));
        let chunks = "\r\n\r\n5\r\nfirst\r\n5\r\nother\r\n9\r\nthe third\r\n4\r\nfour\r\n0\r\n\r\n";
        assert!(run.written[0].ends_with(chunks), "{}", run.written[0]);
        // Each write waits once. The empty piece is not written.
        assert!(places >= PIECES.len(), "{places}");
        assert!(takes > 1 || places > chunks.len() - "\r\n0\r\n\r\n".len(), "{places}");
    }
}

#[test]
fn a_lost_connection_is_the_same_wherever_a_piece_is_dropped_and_continued() {
    let event = event("a", b"1");
    let script = || service(7, &[&[&event, ACCEPTED]]);
    let all = pieces(script(), Drops::Never).1.written[0].len();
    let asked = pieces(script(), Drops::Never).1.written[0].find("POST").expect("an answer");
    let mut over = 0;
    for breaks_after in asked..all {
        let script = || {
            let mut script = service(7, &[&[&event], &[ACCEPTED]]);
            script.connection(0).breaks_after = breaks_after;
            script
        };
        let (run, places) = the_same_wherever_it_is_dropped(script);
        // Without a byte of the stream, it begins on a new connection.
        let is_over = run.results.contains(&Err(StreamOver));
        let is_at_the_end = breaks_after >= all - "\r\n0\r\n\r\n".len();
        assert_eq!(is_over, run.losses.len() == 1 && !is_at_the_end, "{run:?}");
        assert!(places > 0);
        over += usize::from(is_over);
    }
    assert!(over > 0);
}

/// The methods that send a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Write,
    WriteOn,
}

use Method::{Write, WriteOn};

/// What follows a piece that was dropped.
#[derive(Clone, Copy, Debug)]
enum Then {
    Piece(Method, &'static str),
    Finish,
    Fail,
}

/// Drops pieces: the last one after this number of polls, the others after one. Then goes on.
/// Returns whether the last one was sent.
fn drop_and_then(
    script: Script,
    before: &[&str],
    dropped: &[Method],
    polls: usize,
    then: Then,
) -> (bool, Run) {
    let ((is_sent, results), run) = stream(script, async |mut stream| {
        for piece in before {
            stream.write(piece.as_bytes()).await.expect("the service takes it");
        }
        let mut is_sent = false;
        for (at, method) in dropped.iter().enumerate() {
            let polls = if at + 1 == dropped.len() { polls } else { 1 };
            is_sent = match method {
                Write => poll_up_to(stream.write(b"piece"), polls).is_some(),
                WriteOn => poll_up_to(stream.write_on(b"piece"), polls).is_some(),
            };
        }
        let mut results = Vec::new();
        match then {
            Then::Piece(Write, piece) => results.push(stream.write(piece.as_bytes()).await),
            Then::Piece(WriteOn, piece) => {
                results.push(write_on(&mut stream, piece.as_bytes(), || true).await);
            }
            Then::Finish | Then::Fail => {}
        }
        let sent: Sent<'_> = match then {
            Then::Fail => stream.fail(&REPORT).await,
            _ => stream.finish().await,
        };
        ((is_sent, results), sent.receipt())
    });
    (is_sent, Run { results, ..run })
}

#[test]
fn another_call_after_a_dropped_piece_takes_it_back_as_after_write() {
    const SAME: &str = "again";
    const OTHER: &str = "other piece";
    let cases: [(&[Method], Then); 7] = [
        (&[WriteOn], Then::Piece(Write, SAME)),
        (&[Write], Then::Piece(WriteOn, SAME)),
        (&[WriteOn, Write], Then::Piece(WriteOn, SAME)),
        (&[WriteOn], Then::Piece(Write, OTHER)),
        (&[WriteOn], Then::Piece(WriteOn, OTHER)),
        (&[WriteOn], Then::Finish),
        (&[WriteOn], Then::Fail),
    ];
    let event = event("a", b"1");
    for (dropped, then) in cases {
        let as_written = match then {
            Then::Piece(_, piece) => Then::Piece(Write, piece),
            then => then,
        };
        let (mut taken_back, mut given_up) = (0, 0);
        for before in [&[][..], &["before"]] {
            for takes in [usize::MAX, 7, 1] {
                for polls in 1.. {
                    let script = || service(takes, &[&[&event, ACCEPTED], &[ACCEPTED]]);
                    let (is_sent, run) = drop_and_then(script(), before, dropped, polls, then);
                    if is_sent {
                        break;
                    }
                    let writes = &[Write; 2][..dropped.len()];
                    let (_, expected) = drop_and_then(script(), before, writes, polls, as_written);
                    assert_eq!(run, expected, "{dropped:?} after {polls} polls, then {then:?}");
                    let is_over = run.receipt == Receipt::FateUnknown;
                    assert_eq!(run.warnings.iter().any(|it| it.contains("is unknown")), is_over);
                    (taken_back, given_up) =
                        (taken_back + usize::from(!is_over), given_up + usize::from(is_over));
                }
            }
        }
        assert!(taken_back > 0 && given_up > 0, "{dropped:?}: {taken_back}, {given_up}");
    }
}

#[test]
fn the_driver_continues_a_piece_whose_stream_was_dropped() {
    let event = event("a", b"1");
    for takes in [usize::MAX, 7, 1] {
        let script = || service(takes, &[&[&event, ACCEPTED]]);
        let (_, undisturbed) = pieces(script(), Drops::Never);
        let ((), run) = drive(script(), async |driver| {
            let (_, responder) = driver.next().await.unwrap().unwrap();
            let mut stream = responder.stream(ContentType::TEXT);
            let is_sent = poll_up_to(stream.write_on(PIECES[0].as_bytes()), 1).is_some();
            assert!(!is_sent, "the connection waits at its first write");
            for piece in PIECES {
                while poll_up_to(driver.write_on(piece.as_bytes()), 1).is_none() {}
            }
            ((), driver.stream().expect("it is open").finish().await.receipt())
        });
        assert_eq!(run, Run { results: Vec::new(), ..undisturbed });
    }
}

#[test]
fn the_driver_does_not_continue_a_piece_that_was_taken_back() {
    let event = event("a", b"1");
    let mut taken_back = 0;
    for polls in 1.. {
        let script = || service(7, &[&[&event, ACCEPTED], &[ACCEPTED]]);
        let (is_sent, run) = drive(script(), async |driver| {
            let (_, responder) = driver.next().await.unwrap().unwrap();
            let _stream = responder.stream(ContentType::TEXT);
            let is_sent = poll_up_to(driver.write_on(b"piece"), polls).is_some();
            let _takes_it_back = driver.stream().is_some();
            let _is_over = driver.write_on(b"again").await.is_err();
            let end = driver.stream().map(Stream::finish);
            (
                is_sent,
                match end {
                    Some(end) => end.await.receipt(),
                    None => Receipt::FateUnknown,
                },
            )
        });
        if is_sent {
            break;
        }
        let then = Then::Piece(Write, "again");
        let (_, mut expected) = drop_and_then(script(), &[], &[Write], polls, then);
        expected.results.clear();
        assert_eq!(run, expected, "after {polls} polls");
        taken_back += usize::from(run.written[0].contains("again"));
    }
    assert!(taken_back > 0);
}

#[test]
fn the_driver_sends_no_piece_without_a_stream() {
    let event = event("a", b"1");
    drive(service(7, &[&[&event, ACCEPTED]]), async |driver| {
        driver.next().await.map(drop).unwrap();
        assert_eq!(driver.write_on(b"piece").await, Err(StreamOver));
        let receipt = driver.responder().expect("it is unanswered").send("").await.receipt();
        assert_eq!(driver.write_on(b"piece").await, Err(StreamOver));
        ((), receipt)
    });
}
