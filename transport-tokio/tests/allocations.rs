//! Once it is warm, an invocation with a borrowed event allocates nothing: neither this crate nor
//! tokio.
//!
//! Only allocations on the thread of the tokio runtime count; the service runs on another thread.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_proto_service::{Event, PATIENCE, Running, Service};
use lambda_proto_tokio::{
    ContentType, Context, Endpoint, Error, Failure, Invocation, Lifecycle, Responder, Response,
    Runtime, Sent,
};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// The allocations of one thread since counting began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    allocations: usize,
    /// Bytes allocated minus bytes freed.
    bytes: isize,
}

thread_local! {
    static COUNT: Cell<Option<Count>> = const { Cell::new(None) };
}

fn count(allocations: usize, bytes: isize) {
    // While a thread ends, its counter is gone.
    let _ = COUNT.try_with(|count| {
        if let Some(mut so_far) = count.get() {
            so_far.allocations += allocations;
            so_far.bytes += bytes;
            count.set(Some(so_far));
        }
    });
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Invocations of each slot before the count begins.
const WARM_UP: usize = 5;

/// Counts on the thread of the handlers, from the end of the warm-up to the last invocation.
struct Meter {
    invocations: Cell<usize>,
    warm_up: usize,
    counted: usize,
    result: Sender<Count>,
}

impl Meter {
    fn invoked(&self) {
        let invocations = self.invocations.get() + 1;
        self.invocations.set(invocations);
        if invocations == self.warm_up {
            COUNT.set(Some(Count::default()));
        }
        if invocations == self.warm_up + self.counted {
            let count = COUNT.take().expect("the warm-up is over");
            self.result.send(count).expect("the test waits");
        }
    }
}

/// Serves rounds of one event for each slot, and counts the allocations after the warm-up.
fn count_in<R>(slots: usize, events: &[Event], rounds: usize, run: R) -> Count
where
    R: AsyncFnOnce(Runtime, Meter) -> Result<(), Error> + Send + 'static,
{
    let service = Service::start();
    let endpoint = Endpoint::parse(&service.address()).expect("the service's address is one");
    // The program's log function is not counted; the runtime's calls of it are.
    let runtime = Runtime::new(endpoint).slots(slots).log(|_| {});
    let (result, count) = channel();
    let stop = runtime.stop_handle();
    let on_thread = move || {
        let (warm_up, counted) = (WARM_UP * slots, rounds * slots);
        let meter = Meter { invocations: Cell::new(0), warm_up, counted, result };
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        tokio.expect("a tokio runtime").block_on(run(runtime, meter))
    };
    let running = Running::new(service.lines(), move || stop.stop(), on_thread);
    let mut connections: Vec<_> = (0..slots).map(|_| service.connection()).collect();
    for event in events.iter().cycle().take(WARM_UP + rounds) {
        for connection in &mut connections {
            connection.invoke(event.clone());
        }
        for connection in &mut connections {
            connection.request();
            connection.take_answer();
        }
    }
    for connection in &mut connections {
        connection.expect_next();
    }
    running.stop();
    count.recv_timeout(PATIENCE).expect("a count")
}

fn count_allocations<F>(slots: usize, events: &[Event], rounds: usize, handler: F) -> Count
where
    F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    F: Send + 'static,
{
    count_in(slots, events, rounds, async move |runtime, meter| {
        runtime
            .run(async |invocation, responder| {
                meter.invoked();
                handler(invocation, responder).await
            })
            .await
    })
}

async fn echo<'i>(
    invocation: Invocation<'i>,
    responder: Responder<'i>,
) -> Result<Sent<'i>, Failure> {
    let body = Response::new(invocation.body());
    Ok(responder.send(body.content_type(invocation.content_type())).await)
}

async fn echo_and_next<'i>(
    invocation: Invocation<'i>,
    responder: Responder<'i>,
) -> Result<Sent<'i>, Failure> {
    let body = Response::new(invocation.body());
    Ok(responder.send_and_next(body.content_type(invocation.content_type())).await)
}

/// An event as AWS sends it.
fn event(size: usize) -> Event {
    Event::new("8476a536-e9f4-11e8-9739-2dfe598c3fcd", vec![b'x'; size])
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Deadline-Ms", "1795252820229")
        .header("Lambda-Runtime-Invocation-Id", "b8476a53-e9f4-11e8-9739-2dfe598c3fcd")
        .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:f")
        .header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1")
}

/// With one slot, and with eight in one task.
#[track_caller]
fn assert_allocates_nothing<F>(events: &[Event], rounds: usize, handler: F)
where
    F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure>,
    F: Send + Copy + 'static,
{
    for slots in [1, 8] {
        let count = count_allocations(slots, events, rounds, handler);
        assert_eq!(count, Count::default(), "{slots} slots");
    }
}

#[track_caller]
fn assert_echo_allocates_nothing(events: &[Event], rounds: usize) {
    assert_allocates_nothing(events, rounds, echo);
    assert_allocates_nothing(events, rounds, echo_and_next);
}

#[test]
fn the_meter_sees_an_allocation() {
    for slots in [1, 8] {
        let count = count_allocations(slots, &[event(1)], 10, async |invocation, responder| {
            Ok(responder.send(std::hint::black_box(invocation.body().to_vec())).await)
        });
        assert_eq!(count.allocations, 10 * slots);
    }
}

#[test]
fn an_echo_of_128_bytes_allocates_nothing() {
    assert_echo_allocates_nothing(&[event(128)], 50);
}

#[test]
fn an_echo_of_6_kb_allocates_nothing() {
    assert_echo_allocates_nothing(&[event(6_000)], 50);
}

#[test]
fn an_echo_of_1_mb_allocates_nothing() {
    assert_echo_allocates_nothing(&[event(1_000_000)], 10);
}

#[test]
fn an_echo_in_chunks_allocates_nothing() {
    assert_echo_allocates_nothing(&[event(128).chunked(128)], 50);
    assert_echo_allocates_nothing(&[event(6_000).chunked(1_000)], 50);
    assert_echo_allocates_nothing(&[event(1_000_000).chunked(4_000)], 10);
}

#[test]
fn an_error_report_of_ordinary_size_allocates_nothing() {
    assert_allocates_nothing(&[event(128)], 50, async |_, _| {
        Err(Failure::new("Function.NoSuchTable", "there is no table \"users\"")
            .stack_trace("users::load\nusers::handler\nmain"))
    });
}

#[cfg(feature = "json")]
#[test]
fn json_that_is_written_allocates_nothing() {
    assert_allocates_nothing(&[event(128)], 50, async |_, responder| {
        responder.json([1, 2, 3]).await
    });
}

#[test]
fn a_stream_allocates_nothing() {
    assert_allocates_nothing(&[event(128)], 50, async |_, responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.write_all(&[b'x'; 10_000]).await?;
        stream.write_all(b"end").await?;
        Ok(stream.finish().await)
    });
}

#[test]
fn an_invocation_that_a_program_pulls_allocates_nothing() {
    let count = count_in(1, &[event(128)], 50, async |runtime, meter| {
        let mut worker = runtime.into_worker();
        while let Some((invocation, responder)) = worker.next().await? {
            meter.invoked();
            responder.send(invocation.body()).await;
        }
        Ok(())
    });
    assert_eq!(count, Count::default());
}

/// The same with a lifecycle. It has hooks, but none that runs for each invocation.
fn count_with_lifecycle<F>(slots: usize, handler: F) -> Count
where
    F: for<'i> AsyncFn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
    F: Send + 'static,
{
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    let deadline = (now + Duration::from_secs(60 * 60)).as_millis().to_string();
    let event = Event::new("id-1", "x").header("Lambda-Runtime-Deadline-Ms", deadline);
    count_in(slots, &[event], 50, async move |runtime, meter| {
        let lifecycle = Lifecycle::new().signals(false).on_init("number", async |init| {
            init.put(17_u32);
        });
        let run = runtime.lifecycle(lifecycle).run(async |invocation, responder, context| {
            meter.invoked();
            handler(invocation, responder, context).await
        });
        run.await
    })
}

#[test]
fn an_invocation_with_a_lifecycle_allocates_nothing() {
    for slots in [1, 8] {
        let count = count_with_lifecycle(slots, async |invocation, responder, context| {
            assert_eq!(context.get(), Some(&17_u32));
            assert!(context.remaining().is_some() && !context.cancellation().is_cancelled());
            let work = context.begin_work(&invocation, "the books");
            let sent = responder.send(invocation.body()).await;
            drop(work);
            Ok(sent)
        });
        assert_eq!(count, Count::default(), "{slots} slots");
    }
}

#[test]
fn a_handler_that_awaits_its_cancellation_beside_its_work_allocates_nothing() {
    for slots in [1, 8] {
        let count = count_with_lifecycle(slots, async |invocation, responder, context| {
            tokio::select! {
                biased;
                () = context.cancelled() => unreachable!("it is not due"),
                () = tokio::task::yield_now() => Ok(responder.send(invocation.body()).await),
            }
        });
        assert_eq!(count, Count::default(), "{slots} slots");
    }
}

#[test]
fn memory_is_steady_over_thousands_of_invocations_of_every_size() {
    let events: Vec<_> = [6_000, 0, 1, 100, 2_048, 5_999].map(event).into();
    let mut all: Vec<_> = events.iter().map(|event| event.clone().chunked(1_000)).collect();
    all.extend(events);
    for (slots, rounds) in [(1, 4_000), (8, 500)] {
        let count = count_allocations(slots, &all, rounds, echo);
        assert_eq!(count, Count::default(), "{slots} slots");
    }
}
