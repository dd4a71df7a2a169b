//! The own methods of a response stream: pieces without a copy, and whole streams of them.

#[path = "parallel/support.rs"]
mod support;

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use lambda_proto_service::{Event, PATIENCE, Running, Service};
use lambda_proto_tokio::parallel::{Invocation, Responder};
use lambda_proto_tokio::{ContentType, Error, Failure};
use support::{poll_once, run_parallel, runtime};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// More than the buffers of a connection hold.
const LARGE: usize = 12_000_000;

/// Runs the same handler with borrowed types and with owned ones. `$out` is the stream of the
/// response, and `$event` the event.
macro_rules! with_both {
    (|$out:ident, $event:pat_param| $handle:block, $serve:expr) => {{
        let serve: &dyn Fn(&Service, Running<Error>) = &$serve;
        let service = Service::start();
        let borrowed = runtime(&service);
        let stop = borrowed.stop_handle();
        let run = move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(borrowed.run(async |invocation, responder| {
                let $event = invocation.body();
                let mut $out = responder.stream(ContentType::TEXT);
                $handle
            }))
        };
        serve(&service, Running::new(service.lines(), move || stop.stop(), run));

        let service = Service::start();
        let run =
            run_parallel(&service, 1, |invocation: Invocation, responder: Responder| async move {
                let $event = invocation.body();
                let mut $out = responder.stream(ContentType::TEXT);
                $handle
            });
        serve(&service, run);
    }};
}

#[derive(Debug)]
struct NoRow(u32);

impl fmt::Display for NoRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no row {}", self.0)
    }
}

impl std::error::Error for NoRow {}

#[test]
fn each_item_of_a_stream_is_a_piece() {
    with_both!(
        |out, _| {
            out.send_all(stream::iter(["one", "two"].map(io::Result::Ok))).await?;
            // Owned items that come one by one.
            let later = stream::unfold(0, async |count| {
                tokio::task::yield_now().await;
                let item = Ok::<_, Failure>(format!("item {count}").into_bytes());
                (count < 3).then_some((item, count + 1))
            });
            out.send_all(later).await?;
            Ok(out.finish().await)
        },
        |service: &Service, run: Running<Error>| {
            let mut connection = service.connection();
            connection.invoke(Event::new("id-1", ""));
            let request = connection.request();
            assert_eq!(request.chunks.concat(), b"onetwoitem 0item 1item 2");
            assert_eq!(request.chunks.len(), 5);
            connection.take_answer();
            connection.expect_next();
            assert_eq!(run.stop(), [""; 0]);
        }
    );
}

#[test]
fn a_stream_that_fails_in_the_middle_fails_the_response_after_its_data() {
    with_both!(
        |out, _| {
            let rows = stream::iter([Ok("one"), Err(NoRow(2)), Ok("three")]);
            let failure = out.send_all(rows).await.unwrap_err();
            assert!(matches!(failure.downcast_ref(), Some(NoRow(2))), "{failure}");
            // A failure with a type of its own keeps that.
            let named = stream::iter([Err::<&str, _>(Failure::new("Function.Named", "by itself"))]);
            let named = out.send_all(named).await.unwrap_err();
            assert_eq!(named.to_string(), "Function.Named: by itself");
            Err(failure)
        },
        |service: &Service, run: Running<Error>| {
            let mut connection = service.connection();
            connection.invoke(Event::new("id-1", ""));
            let request = connection.request();
            assert_eq!(request.chunks, [b"one"]);
            assert_eq!(request.trailer_error()["errorMessage"], "there is no row 2");
            connection.take_answer();
            connection.expect_next();
            run.stop();
        }
    );
}

#[test]
fn a_stream_stops_with_an_io_error_once_the_connection_is_lost() {
    with_both!(
        |out, _| {
            let endless = stream::repeat_with(|| vec![b'x'; 100_000]).map(Ok::<_, Failure>);
            let failure = out.send_all(endless).await.unwrap_err();
            let error: &io::Error = failure.downcast_ref().expect("the error of a write");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            Err(failure)
        },
        |service: &Service, run: Running<Error>| {
            let mut connection = service.connection();
            connection.invoke(Event::new("id-1", ""));
            connection.head();
            connection.chunk();
            connection.close();
            service.connection().expect_next();
            run.stop();
        }
    );
}

#[test]
fn a_piece_of_any_length_is_one_chunk_also_after_one_that_was_copied() {
    with_both!(
        |out, _| {
            assert_eq!(out.write(b"copied").await?, 6);
            out.write_all(&vec![b'x'; LARGE]).await?;
            assert_eq!(out.write(b"again").await?, 5);
            Ok(out.finish().await)
        },
        |service: &Service, run: Running<Error>| {
            let mut connection = service.connection();
            connection.invoke(Event::new("id-1", ""));
            let request = connection.request();
            let lengths: Vec<_> = request.chunks.iter().map(Vec::len).collect();
            assert_eq!(lengths, [6, LARGE, 5]);
            connection.take_answer();
            connection.expect_next();
            assert_eq!(run.stop(), [""; 0]);
        }
    );
}

/// Writes until the connection takes no more, and returns how many bytes were taken.
async fn fill(out: &mut (impl AsyncWrite + Unpin)) -> io::Result<usize> {
    let mut taken = 0;
    while let Some(length) = poll_once(out.write(&[b'x'; 65_536])).await {
        taken += length?;
    }
    Ok(taken)
}

#[test]
fn a_copied_piece_that_waits_is_sent_before_anything_else() {
    static FILLED: AtomicUsize = AtomicUsize::new(0);
    with_both!(
        |out, event| {
            let taken = fill(&mut out).await?;
            // The service reads from now on.
            FILLED.store(taken, SeqCst);
            match event {
                b"write_all" => {
                    out.write_all(b"the end").await?;
                    Ok(out.finish().await)
                }
                b"finish" => Ok(out.finish().await),
                b"finish_and_next" => Ok(out.finish_and_next().await),
                b"fail" => Ok(out.fail(NoRow(2)).await),
                _ => Err(NoRow(3).into()),
            }
        },
        |service: &Service, run: Running<Error>| {
            let mut connection = service.connection();
            for event in ["write_all", "finish", "finish_and_next", "fail", "return"] {
                connection.invoke(Event::new("id-1", event));
                let began = Instant::now();
                while FILLED.load(SeqCst) == 0 {
                    assert!(began.elapsed() < PATIENCE, "the connection has not filled up");
                    std::thread::yield_now();
                }
                let request = connection.request();
                let (taken, rest) = request.body.split_at(FILLED.swap(0, SeqCst));
                assert!(taken.iter().all(|byte| *byte == b'x'));
                let end = if event == "write_all" { &b"the end"[..] } else { b"" };
                assert_eq!(rest, end, "{event}");
                let error = match event {
                    "fail" => "there is no row 2",
                    "return" => "there is no row 3",
                    _ => {
                        assert!(request.trailers.is_empty(), "{event}");
                        connection.take_answer();
                        continue;
                    }
                };
                assert_eq!(request.trailer_error()["errorMessage"], error);
                connection.take_answer();
            }
            connection.expect_next();
            run.stop();
        }
    );
}

#[test]
fn a_piece_that_is_dropped_in_its_middle_costs_the_connection_and_not_the_next_invocation() {
    with_both!(
        |out, _| {
            assert!(poll_once(out.write_all(&vec![b'x'; LARGE])).await.is_none());
            let error = out.write_all(b"more").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            Err(error.into())
        },
        |service: &Service, run: Running<Error>| {
            let mut connection = service.connection();
            connection.invoke(Event::new("id-1", ""));
            service.connection().expect_next();
            let lines = run.stop();
            assert!(lines.iter().any(|line| line.contains("id-1")), "{lines:?}");
        }
    );
}
