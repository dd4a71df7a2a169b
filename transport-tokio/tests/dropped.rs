//! A runtime or a worker that is dropped with an invocation in flight: the service hears an error
//! instead of nothing.

mod support;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_service::Running;
use lambda_proto_tokio::{ContentType, Error, Failure, Invocation, Responder, Runtime, Sent};

use support::{Event, Gate, MOMENT, PATIENCE, Service, block_on, is_open};

const LINE: &str = "invocation id-1: failed: Runtime.NoResponse: the function ended with the \
                    invocation in flight";

/// Awaits the future until the gate is open, and drops it.
async fn drop_at<F: Future>(gate: &Gate, future: F) {
    let (mut future, mut opened) = (pin!(future), pin!(is_open(gate)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(_) => panic!("the future has ended"),
        Poll::Pending => opened.as_mut().poll(context),
    })
    .await;
}

/// Runs a handler until the gate is open, and drops the future of the run.
fn run_until<F>(service: &Service, gate: &Gate, runtime: Runtime, handler: F) -> Running<Error>
where
    F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    F: Send + 'static,
{
    let gate = gate.clone();
    service.run_loop(runtime.stop_handle(), async move || {
        drop_at(&gate, runtime.run(handler)).await;
        Ok(())
    })
}

/// The report of a dropped slot, which comes on a connection of its own.
#[track_caller]
fn expect_report(service: &Service, id: &str) {
    let mut connection = service.connection();
    let request = connection.request();
    request.assert_error(id, "Runtime.NoResponse");
    let message = &request.json()["errorMessage"];
    assert_eq!(message, "the function ended with the invocation in flight");
    connection.take_answer();
}

#[test]
fn a_run_that_is_dropped_reports_the_invocation_of_its_handler() {
    let (service, gate) = (Service::start(), Gate::default());
    let begins = gate.clone();
    let run = run_until(&service, &gate, service.runtime(), async move |_, _| {
        begins.open();
        pending().await
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    expect_report(&service, "id-1");
    connection.expect_end();
    run.expect_end();
    assert_eq!(service.lines().all(), [LINE]);
}

#[test]
fn a_run_that_is_dropped_with_the_invocation_id_of_an_attempt_reports_that_attempt() {
    let (service, gate) = (Service::start(), Gate::default());
    let begins = gate.clone();
    let run = run_until(&service, &gate, service.runtime(), async move |_, _| {
        begins.open();
        pending().await
    });
    let mut connection = service.connection();
    let event = Event::new("id-1", "").header("Lambda-Runtime-Invocation-Id", "attempt-1");
    connection.invoke(event);
    let mut report = service.connection();
    let request = report.request();
    assert_eq!(request.header("Lambda-Runtime-Invocation-Id"), Some("attempt-1"));
    report.take_answer();
    run.expect_end();
}

#[test]
fn every_slot_of_a_run_that_is_dropped_reports_its_invocation() {
    let (service, gate) = (Service::start(), Gate::default());
    let (all_begin, begun) = (gate.clone(), Cell::new(0));
    let runtime = service.runtime().slots(3);
    let run = run_until(&service, &gate, runtime, async move |_, _| {
        begun.set(begun.get() + 1);
        if begun.get() == 3 {
            all_begin.open();
        }
        pending().await
    });
    let mut connections = service.open_slots(3);
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.send(Event::new(&format!("id-{slot}"), "").bytes());
    }
    let mut reported: Vec<_> = (0..3)
        .map(|_| {
            let mut connection = service.connection();
            let request = connection.request();
            connection.take_answer();
            request.path
        })
        .collect();
    reported.sort();
    let path = |id| format!("/2018-06-01/runtime/invocation/id-{id}/error");
    assert_eq!(reported, [path(0), path(1), path(2)]);
    run.expect_end();
}

#[test]
fn a_run_that_is_dropped_while_it_waits_reports_nothing() {
    let (service, gate) = (Service::start(), Gate::default());
    let run = run_until(&service, &gate, service.runtime(), async |_, responder| {
        Ok(responder.send("").await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    gate.open();
    connection.expect_end();
    run.expect_end();
    service.expect_no_connection();
    assert_eq!(service.lines().all(), [""; 0]);
}

#[test]
fn a_run_that_is_dropped_after_the_answer_reports_nothing() {
    let (service, gate) = (Service::start(), Gate::default());
    let answered = gate.clone();
    let run = run_until(&service, &gate, service.runtime(), async move |_, responder| {
        responder.send("").await;
        answered.open();
        pending().await
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_end();
    run.expect_end();
    service.expect_no_connection();
}

#[test]
fn a_run_that_is_dropped_after_it_has_sent_the_answer_and_before_the_reply_reports_nothing() {
    for is_pipelined in [false, true] {
        let (service, gate) = (Service::start(), Gate::default());
        let run = run_until(&service, &gate, service.runtime(), async move |_, responder| {
            Ok(match is_pipelined {
                false => responder.send("").await,
                true => responder.send_and_next("").await,
            })
        });
        let mut connection = service.connection();
        connection.invoke(Event::new("id-1", ""));
        connection.request().assert_response("id-1");
        gate.open();
        run.expect_end();
        service.expect_no_connection();
        assert_eq!(service.lines().all(), [""; 0]);
    }
}

#[test]
fn a_run_that_is_dropped_in_the_middle_of_its_answer_closes_the_connection_and_logs_that() {
    let (service, gate) = (Service::start(), Gate::default());
    let run = run_until(&service, &gate, service.runtime(), async |_, responder| {
        // More than the buffers of two sockets hold.
        Ok(responder.send(vec![b'x'; 64 << 20]).await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    gate.open();
    run.expect_end();
    service.expect_no_connection();
    let lines = service.lines().all();
    assert!(lines.len() == 1 && lines[0].starts_with("invocation id-1: "), "{lines:?}");
    assert!(lines[0].contains("unknown"), "{lines:?}");
}

#[test]
fn a_refusal_that_has_arrived_when_a_run_is_dropped_is_logged() {
    let (service, gate) = (Service::start(), Gate::default());
    let (refused, is_refused) = (gate.clone(), Gate::default());
    let waits = is_refused.clone();
    let run = run_until(&service, &gate, service.runtime(), async move |_, responder| {
        let mut answer = pin!(responder.send("answer"));
        poll_fn(|context| {
            // Writes the answer, and blocks the task until the reply is there.
            assert!(answer.as_mut().poll(context).is_pending());
            waits.wait();
            Poll::Ready(())
        })
        .await;
        // In which tokio sees that the reply is there.
        tokio::time::sleep(Duration::from_millis(1)).await;
        refused.open();
        pending().await
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.refuse(413, "RequestEntityTooLarge", "no");
    is_refused.open();
    run.expect_end();
    let lines = service.lines().all();
    assert!(lines.iter().any(|line| line.contains("was answered with 413")), "{lines:?}");
}

#[test]
fn a_run_that_is_dropped_in_the_middle_of_a_stream_ends_the_stream_with_the_error() {
    let (service, gate) = (Service::start(), Gate::default());
    let written = gate.clone();
    let run = run_until(&service, &gate, service.runtime(), async move |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(b"half").await?;
        written.open();
        pending().await
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let request = connection.request();
    assert_eq!(request.chunks, [b"half"]);
    assert_eq!(request.trailer("Lambda-Runtime-Function-Error-Type"), Some("Runtime.NoResponse"));
    run.expect_end();
    service.expect_no_connection();
    assert_eq!(service.lines().all(), [LINE]);
}

#[test]
fn a_run_that_is_dropped_before_the_first_piece_of_a_stream_reports_an_error() {
    let (service, gate) = (Service::start(), Gate::default());
    let begun = gate.clone();
    let run = run_until(&service, &gate, service.runtime(), async move |_, responder| {
        let _stream = responder.stream(ContentType::TEXT);
        begun.open();
        pending().await
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    expect_report(&service, "id-1");
    run.expect_end();
}

#[test]
fn a_service_that_does_not_reply_delays_the_drop_of_all_slots_once() {
    let (service, gate) = (Service::start(), Gate::default());
    let (all_begin, begun) = (gate.clone(), Cell::new(0));
    let runtime = service.runtime().slots(8);
    let run = run_until(&service, &gate, runtime, async move |_, _| {
        begun.set(begun.get() + 1);
        if begun.get() == 8 {
            all_begin.open();
        }
        pending().await
    });
    let mut connections = service.open_slots(8);
    let began = Instant::now();
    for connection in &mut connections {
        connection.send(Event::new("id-1", "").bytes());
    }
    run.expect_end();
    let lines = service.lines().all();
    let failed = lines.iter().filter(|line| *line == LINE).count();
    let silent = lines.iter().filter(|line| line.contains("could not be reported: ")).count();
    assert_eq!((failed, silent), (8, 8), "{lines:?}");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_worker_that_is_dropped_reports_its_invocation() {
    let service = Service::start();
    let mut worker = service.runtime().into_worker();
    let thread = thread::spawn(move || {
        block_on(async move { assert!(worker.next().await.unwrap().is_some()) });
    });
    service.connection().invoke(Event::new("id-1", ""));
    expect_report(&service, "id-1");
    thread.join().unwrap();
    assert_eq!(service.lines().all(), [LINE]);
}

#[test]
fn a_worker_that_is_dropped_where_no_tokio_runs_reports_its_invocation() {
    let service = Service::start();
    let mut worker = service.runtime().into_worker();
    let thread = thread::spawn(move || {
        block_on(async { assert!(worker.next().await.unwrap().is_some()) });
        drop(worker);
    });
    service.connection().invoke(Event::new("id-1", ""));
    expect_report(&service, "id-1");
    thread.join().unwrap();
}

#[test]
fn a_worker_that_is_dropped_where_no_tokio_runs_leaves_its_stream_without_a_panic() {
    let service = Service::start();
    let mut worker = service.runtime().into_worker();
    let thread = thread::spawn(move || {
        block_on(async {
            assert!(worker.next().await.unwrap().is_some());
            assert!(worker.stream(ContentType::TEXT));
            worker.write(b"half").await.unwrap();
        });
        drop(worker);
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    assert_eq!(connection.chunk().as_deref(), Some(&b"half"[..]));
    thread.join().unwrap();
}

#[test]
fn an_event_that_is_arriving_when_its_worker_is_dropped_is_reported() {
    let (service, has_arrived) = (Service::start(), Gate::default());
    let mut worker = service.runtime().into_worker();
    let arrives = has_arrived.clone();
    let thread = thread::spawn(move || {
        block_on(async move {
            drop_at(&arrives, worker.next()).await;
            // What is in the socket is read in the first turn.
            let rest = tokio::time::timeout(MOMENT, worker.next()).await;
            assert!(rest.is_err(), "a part is missing");
        });
    });
    let mut connection = service.connection();
    connection.expect_next();
    let event = Event::new("id-1", "whole").bytes();
    connection.send(&event[..event.len() - 2]);
    has_arrived.open();
    expect_report(&service, "id-1");
    thread.join().unwrap();
}

#[test]
fn an_answer_that_was_dropped_before_its_first_byte_is_reported_with_its_worker() {
    let service = Service::start();
    let mut worker = service.runtime().into_worker();
    let thread = thread::spawn(move || {
        block_on(async move {
            let (_, responder) = worker.next().await.unwrap().expect("an invocation");
            drop(responder.send("never polled"));
        });
    });
    service.connection().invoke(Event::new("id-1", ""));
    expect_report(&service, "id-1");
    thread.join().unwrap();
}

#[test]
fn a_panic_that_drops_a_worker_is_reported_as_a_panic() {
    let service = Service::start();
    let mut worker = service.runtime().into_worker();
    let thread = thread::spawn(move || {
        let panicking = AssertUnwindSafe(|| {
            block_on(async move {
                let _in_flight = worker.next().await;
                tokio::task::yield_now().await;
                panic!("the loop of the test panics");
            });
        });
        assert!(catch_unwind(panicking).is_err());
    });
    service.connection().invoke(Event::new("id-1", ""));
    let mut connection = service.connection();
    connection.request().assert_error("id-1", "Function.Panic");
    connection.take_answer();
    thread.join().unwrap();
}

#[test]
fn a_spawned_task_that_is_aborted_reports_its_invocation() {
    let service = Service::start();
    let mut worker = service.runtime().into_worker();
    let (begun, begins) = (Gate::default(), Gate::default());
    let (is_begun, waits) = (begun.clone(), begins.clone());
    let thread = thread::spawn(move || {
        let mut tokio = tokio::runtime::Builder::new_multi_thread();
        let tokio = tokio.worker_threads(1).enable_all().build().expect("tokio starts");
        let task = tokio.spawn(async move {
            let _in_flight = worker.next().await;
            is_begun.open();
            pending::<()>().await;
        });
        waits.wait();
        task.abort();
        assert!(tokio.block_on(task).unwrap_err().is_cancelled());
    });
    service.connection().invoke(Event::new("id-1", ""));
    begun.wait();
    begins.open();
    expect_report(&service, "id-1");
    thread.join().unwrap();
}

#[test]
fn a_worker_whose_session_is_over_reports_nothing_when_it_is_dropped() {
    let service = Service::start();
    let mut worker = service.runtime().give_up_after(Duration::from_millis(1)).into_worker();
    let (is_gone, gone) = (Gate::default(), Gate::default());
    let (waits, begins) = (is_gone.clone(), gone.clone());
    let lines = service.lines().clone();
    let thread = thread::spawn(move || {
        block_on(async move {
            let (_, responder) = worker.next().await.unwrap().expect("an invocation");
            begins.open();
            is_open(&waits).await;
            responder.send("too late").await;
            assert!(worker.next().await.is_err());
        });
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    gone.wait();
    connection.close();
    drop(service);
    is_gone.open();
    thread.join().unwrap();
    let lines = lines.all();
    assert!(!lines.iter().any(|line| line.contains("could not be reported")), "{lines:?}");
}
