//! Streams as `AsyncWrite`, borrowed and owned, with a service that reads slowly.

#[path = "parallel/support.rs"]
mod support;

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use futures_util::future::BoxFuture;
use lambda_proto_service::{Connection, Event, Gate, Running, Service};
use lambda_proto_tokio::parallel::Responder;
use lambda_proto_tokio::{ContentType, Error, Failure, Worker};
use support::{poll_once, run_parallel, runtime};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const SAD: &str = "Function.Sad";

/// More than the buffers of a connection hold.
const LARGE: usize = 12_000_000;

type Out<'o> = dyn AsyncWrite + Unpin + Send + 'o;

/// What a handler writes; an error makes it fail.
type Writes =
    Arc<dyn for<'o> Fn(&'o mut Out<'o>) -> BoxFuture<'o, Result<(), Failure>> + Send + Sync>;

fn writes(
    write: impl for<'o> Fn(&'o mut Out<'o>) -> BoxFuture<'o, Result<(), Failure>>
    + Send
    + Sync
    + 'static,
) -> Writes {
    Arc::new(write)
}

/// Runs a handler that streams what this writes, with borrowed types and with owned ones.
fn with_both(writes: &Writes, serve: impl Fn(&Service, Running<Error>)) {
    let service = Service::start();
    let borrowed = runtime(&service);
    let stop = borrowed.stop_handle();
    let write = writes.clone();
    let run = move || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(borrowed.run(async |_, responder| {
            let mut out = responder.stream(ContentType::TEXT);
            write(&mut out).await?;
            Ok(out.finish().await)
        }))
    };
    serve(&service, Running::new(service.lines(), move || stop.stop(), run));

    let service = Service::start();
    let write = writes.clone();
    let run = run_parallel(&service, 1, move |_, responder: Responder| {
        let write = write.clone();
        async move {
            let mut out = responder.stream(ContentType::TEXT);
            write(&mut out).await?;
            Ok(out.finish().await)
        }
    });
    serve(&service, run);
}

/// Bytes of which each four are different from the next four.
fn numbered(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length.next_multiple_of(4)];
    for (number, four) in (0_u32..).zip(bytes.chunks_exact_mut(4)) {
        four.copy_from_slice(&number.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn invoke(service: &Service) -> Connection {
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection
}

#[test]
fn each_write_is_a_chunk_and_one_above_64_kib_is_several() {
    let writes = writes(|out| {
        Box::pin(async move {
            out.write_all(b"one").await?;
            out.write_all(b"").await?;
            let parts = ["t", "", "wo"].map(|part| IoSlice::new(part.as_bytes()));
            assert_eq!(out.write_vectored(&parts).await?, 3);
            out.write_all(&numbered(100_000)).await?;
            let half = numbered(50_000);
            let parts = [IoSlice::new(&half), IoSlice::new(&half)];
            assert_eq!(out.write_vectored(&parts).await?, 65_536);
            // Neither ends the stream.
            out.shutdown().await?;
            out.flush().await?;
            Ok(out.write_all(b"end").await?)
        })
    });
    with_both(&writes, |service, run| {
        let mut connection = invoke(service);
        let request = connection.request();
        let lengths: Vec<_> = request.chunks.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 3, 65_536, 100_000 - 65_536, 65_536, 3]);
        assert_eq!(request.chunks[..2], [b"one", b"two"]);
        assert!(request.body[6..][..100_000] == numbered(100_000));
        assert!(request.body[100_006..][50_000..][..15_536] == numbered(15_536));
        assert!(request.body.ends_with(b"end"));
        assert!(request.trailers.is_empty());
        connection.take_answer();
        connection.expect_next();
        assert_eq!(run.stop(), [""; 0]);
    });
}

#[test]
fn pieces_arrive_whole_when_the_service_reads_slowly_and_calls_are_cancelled() {
    let waits = Gate::default();
    let waited = waits.clone();
    let writes = writes(move |out| {
        let waited = waited.clone();
        Box::pin(async move {
            let bytes = numbered(LARGE);
            let (mut at, mut cancelled) = (0, 0);
            while at < LARGE {
                let end = LARGE.min(at + 70_001);
                match poll_once(out.write(&bytes[at..end])).await {
                    Some(taken) => at += taken?,
                    // Dropped: the piece was not taken, and the one before is on its way.
                    None => {
                        cancelled += 1;
                        waited.open();
                        assert!(poll_once(out.flush()).await.is_none());
                        at += out.write(&bytes[at..end]).await?;
                    }
                }
            }
            assert!(cancelled > 0);
            Ok(())
        })
    });
    with_both(&writes, |service, run| {
        let mut connection = invoke(service);
        // Nothing is read before the runtime has had to wait.
        waits.wait();
        let request = connection.request();
        assert!(request.body == numbered(LARGE), "{request:?}");
        assert!(request.trailers.is_empty());
        connection.take_answer();
        connection.expect_next();
        assert_eq!(run.stop(), [""; 0]);
    });
}

#[test]
fn a_flush_waits_until_the_connection_has_taken_everything() {
    let is_full = Gate::default();
    let filled = is_full.clone();
    let writes = writes(move |out| {
        let filled = filled.clone();
        Box::pin(async move {
            fill(out).await?;
            assert!(poll_once(out.flush()).await.is_none());
            filled.open();
            out.flush().await?;
            assert!(poll_once(out.flush()).await.is_some());
            Ok(())
        })
    });
    with_both(&writes, |service, run| {
        let mut connection = invoke(service);
        is_full.wait();
        let request = connection.request();
        assert!(request.body == numbered(request.body.len()), "{request:?}");
        connection.take_answer();
        connection.expect_next();
        assert_eq!(run.stop(), [""; 0]);
    });
}

/// Writes until the last piece that was taken has to wait, so that it is not sent yet.
async fn fill(out: &mut Out<'_>) -> std::io::Result<usize> {
    let bytes = numbered(LARGE);
    let mut at = 0;
    while let Some(taken) = poll_once(out.write(&bytes[at..][..65_536])).await {
        at += taken?;
    }
    Ok(at)
}

#[test]
fn a_piece_that_was_taken_is_sent_before_the_error_of_the_handler() {
    let (is_full, taken) = (Gate::default(), Arc::new(std::sync::Mutex::new(0)));
    let (filled, length) = (is_full.clone(), taken.clone());
    let writes = writes(move |out| {
        let (filled, length) = (filled.clone(), length.clone());
        Box::pin(async move {
            *length.lock().unwrap() = fill(out).await?;
            filled.open();
            Err(Failure::new(SAD, "no luck"))
        })
    });
    with_both(&writes, |service, run| {
        let mut connection = invoke(service);
        is_full.wait();
        let request = connection.request();
        assert_eq!(request.body.len(), *taken.lock().unwrap());
        assert!(request.body == numbered(request.body.len()));
        assert_eq!(request.trailer_error()["errorType"], SAD);
        connection.take_answer();
        connection.expect_next();
        assert_eq!(run.stop(), ["invocation id-1: failed: Function.Sad: no luck"]);
    });
}

#[test]
fn a_reader_is_copied() {
    let writes = writes(|out| {
        Box::pin(async move {
            let mut reader = tokio::io::repeat(b'x').take(1_000_000);
            assert_eq!(tokio::io::copy(&mut reader, out).await?, 1_000_000);
            Ok(())
        })
    });
    with_both(&writes, |service, run| {
        let mut connection = invoke(service);
        let request = connection.request();
        assert!(request.body == [b'x'; 1_000_000], "{request:?}");
        connection.take_answer();
        connection.expect_next();
        assert_eq!(run.stop(), [""; 0]);
    });
}

#[test]
fn writes_fail_once_the_connection_is_lost_and_the_next_invocation_comes_on_another() {
    let writes = writes(|out| {
        Box::pin(async move {
            let error = loop {
                if let Err(error) = out.write_all(&[b'x'; 100_000]).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert_eq!(out.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            Ok(out.flush().await?)
        })
    });
    with_both(&writes, |service, run| {
        let mut connection = invoke(service);
        connection.head();
        connection.chunk();
        connection.close();
        service.connection().expect_next();
        let lines = run.stop();
        assert!(lines.iter().any(|line| line.contains("id-1")), "{lines:?}");
    });
}

#[test]
fn nothing_of_an_unsent_piece_gets_into_the_next_invocation() {
    let has_failed = Arc::new(AtomicBool::new(false));
    let writes = writes(move |out| {
        let is_first = !has_failed.fetch_xor(true, SeqCst);
        Box::pin(async move {
            if is_first {
                fill(out).await?;
                return Err(Failure::new(SAD, "no luck"));
            }
            Ok(out.write_all(b"the second").await?)
        })
    });
    with_both(&writes, |service, run| {
        let mut connection = invoke(service);
        connection.head();
        connection.chunk();
        connection.close();
        let mut connection = service.connection();
        connection.invoke(Event::new("id-2", ""));
        let request = connection.request();
        request.assert_response("id-2");
        assert_eq!(request.body, b"the second");
        connection.take_answer();
        connection.expect_next();
        run.stop();
    });
}

/// Runs a loop around a worker.
fn pull(
    service: &Service,
    run: impl AsyncFnOnce(Worker) -> Result<(), Error> + Send + 'static,
) -> Running<Error> {
    let runtime = runtime(service);
    let stop = runtime.stop_handle();
    let run = move || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(run(runtime.into_worker()))
    };
    Running::new(service.lines(), move || stop.stop(), run)
}

#[test]
fn a_worker_goes_on_with_the_stream_after_the_piece_that_was_taken() {
    let service = Service::start();
    let is_full = Gate::default();
    let filled = is_full.clone();
    let run = pull(&service, async move |mut worker| {
        while let Some((_, responder)) = worker.next().await? {
            fill(&mut responder.stream(ContentType::TEXT)).await.expect("it is taken");
            filled.open();
            worker.write(b"at the end").await.expect("it is taken");
            assert!(worker.finish().await.is_some());
        }
        Ok(())
    });
    let mut connection = invoke(&service);
    is_full.wait();
    let request = connection.request();
    let (taken, rest) = request.body.split_at(request.body.len() - b"at the end".len());
    assert!(taken == numbered(taken.len()));
    assert_eq!(rest, b"at the end");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_worker_sends_the_piece_that_was_taken_before_it_reports_that_the_stream_was_dropped() {
    let service = Service::start();
    let is_full = Gate::default();
    let filled = is_full.clone();
    let run = pull(&service, async move |mut worker| {
        while let Some((_, responder)) = worker.next().await? {
            fill(&mut responder.stream(ContentType::TEXT)).await.expect("it is taken");
            filled.open();
        }
        Ok(())
    });
    let mut connection = invoke(&service);
    is_full.wait();
    let request = connection.request();
    assert!(request.body == numbered(request.body.len()));
    assert_eq!(request.body.len() % 65_536, 0);
    assert_eq!(request.trailer_error()["errorType"], "Runtime.NoResponse");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}
