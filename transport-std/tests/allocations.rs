//! Once it is warm, the runtime allocates nothing for an invocation.
//!
//! Only allocations on the runtime's own thread count; the service runs on another thread.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_proto_std::{
    Context, Error, Failure, Invocation, Lifecycle, Responder, Response, Runtime, Sent,
};

use support::{Event, Service};

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

const WARM_UP: usize = 5;

/// Counts on the thread of a handler, from the end of the warm-up to the last invocation.
struct Meter {
    invocations: usize,
    counted: usize,
    result: Sender<Count>,
}

impl Meter {
    fn invoked(&mut self) {
        self.invocations += 1;
        if self.invocations == WARM_UP {
            COUNT.set(Some(Count::default()));
        }
        if self.invocations == WARM_UP + self.counted {
            let count = COUNT.take().expect("the warm-up is over");
            self.result.send(count).expect("the test waits");
        }
    }
}

/// Serves events in turn to a handler, and counts the allocations of their invocations.
fn count_allocations<F>(events: &[Event], counted: usize, mut handler: F) -> Count
where
    F: for<'i> FnMut(Invocation<'i>, Responder<'i>) -> Result<Sent<'i>, Failure> + Send + 'static,
{
    count_in(events, counted, move |runtime, mut meter| {
        runtime.run_mut(move |invocation, responder| {
            meter.invoked();
            handler(invocation, responder)
        })
    })
}

/// The same for a runtime with a lifecycle. It has hooks, but none that runs for each invocation.
fn count_with_lifecycle<F>(events: &[Event], counted: usize, handler: F) -> Count
where
    F: for<'i> Fn(Invocation<'i>, Responder<'i>, Context) -> Result<Sent<'i>, Failure>,
    F: Send + Sync + 'static,
{
    count_in(events, counted, move |runtime, meter| {
        let meter = Mutex::new(meter);
        let lifecycle = Lifecycle::new()
            .on_init("number", |init| init.put(17_u32))
            .signals(false)
            .on_shutdown("end", |_| Ok(()));
        runtime.lifecycle(lifecycle).run(move |invocation, responder, context| {
            meter.lock().expect("nobody panics").invoked();
            handler(invocation, responder, context)
        })
    })
}

fn count_in(
    events: &[Event],
    counted: usize,
    run: impl FnOnce(Runtime, Meter) -> Result<(), Error> + Send + 'static,
) -> Count {
    let service = Service::start();
    // The program's log function is not counted; the runtime's calls of it are.
    let runtime = service.runtime().log(|_| {});
    let (result, count) = channel();
    let meter = Meter { invocations: 0, counted, result };
    let stop = runtime.stop_handle();
    let run = service.run_loop(stop, move || run(runtime, meter));
    let mut connection = service.connection();
    for event in events.iter().cycle().take(WARM_UP + counted) {
        connection.invoke(event.clone());
        connection.request();
        connection.take_answer();
    }
    connection.expect_next();
    run.stop();
    count.recv_timeout(support::PATIENCE).expect("a count")
}

fn echo<'i>(invocation: Invocation<'i>, responder: Responder<'i>) -> Result<Sent<'i>, Failure> {
    let body = Response::new(invocation.body());
    Ok(responder.send(body.content_type(invocation.content_type())))
}

fn echo_and_next<'i>(
    invocation: Invocation<'i>,
    responder: Responder<'i>,
) -> Result<Sent<'i>, Failure> {
    let body = Response::new(invocation.body());
    Ok(responder.send_and_next(body.content_type(invocation.content_type())))
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

#[track_caller]
fn assert_allocates_nothing(size: usize, chunk: Option<usize>) {
    let event = match chunk {
        None => event(size),
        Some(chunk) => event(size).chunked(chunk),
    };
    let counted = 50;
    let sequential = count_allocations(std::slice::from_ref(&event), counted, echo);
    assert_eq!(sequential, Count::default(), "sequential");
    let pipelined = count_allocations(&[event], counted, echo_and_next);
    assert_eq!(pipelined, Count::default(), "pipelined");
}

#[test]
fn the_meter_sees_an_allocation() {
    let count = count_allocations(&[event(1)], 10, |invocation, responder| {
        Ok(responder.send(std::hint::black_box(invocation.body().to_vec())))
    });
    assert_eq!(count, Count { allocations: 10, bytes: 0 });
}

#[test]
fn an_echo_of_128_bytes_allocates_nothing() {
    assert_allocates_nothing(128, None);
}

#[test]
fn an_echo_of_6_kb_allocates_nothing() {
    assert_allocates_nothing(6_000, None);
}

#[test]
fn an_echo_of_1_mb_allocates_nothing() {
    assert_allocates_nothing(1_000_000, None);
}

#[test]
fn an_echo_of_128_bytes_in_a_chunk_allocates_nothing() {
    assert_allocates_nothing(128, Some(128));
}

#[test]
fn an_echo_of_6_kb_in_a_chunk_allocates_nothing() {
    assert_allocates_nothing(6_000, Some(6_000));
}

#[test]
fn an_echo_of_1_mb_in_a_chunk_allocates_nothing() {
    assert_allocates_nothing(1_000_000, Some(1_000_000));
}

#[test]
fn an_echo_of_1_mb_in_many_chunks_allocates_nothing() {
    assert_allocates_nothing(1_000_000, Some(4_000));
}

#[test]
fn an_error_report_of_ordinary_size_allocates_nothing() {
    let count = count_allocations(&[event(128)], 50, |_, _| {
        Err(Failure::new("Function.NoSuchTable", "there is no table \"users\"")
            .stack_trace("users::load\nusers::handler\nmain"))
    });
    assert_eq!(count, Count::default());
}

#[cfg(feature = "json")]
#[test]
fn json_that_is_written_allocates_nothing() {
    let count = count_allocations(&[event(128)], 50, |_, responder| responder.json([1, 2, 3]));
    assert_eq!(count, Count::default());
}

#[test]
fn a_stream_allocates_nothing() {
    use std::io::Write;
    let count = count_allocations(&[event(128)], 50, |_, responder| {
        let mut stream = responder.stream(lambda_proto_std::ContentType::TEXT);
        stream.write_all(&[b'x'; 10_000])?;
        stream.write_all(b"end")?;
        Ok(stream.finish())
    });
    assert_eq!(count, Count::default());
}

/// An event with a deadline that is less than a day away, so that it counts as known.
fn event_with_deadline(size: usize) -> Event {
    let at = SystemTime::now() + Duration::from_secs(3600);
    let at = at.duration_since(UNIX_EPOCH).expect("the clock is right").as_millis();
    Event::new("id-1", vec![b'x'; size]).header("Lambda-Runtime-Deadline-Ms", at.to_string())
}

/// Reads everything that the context offers, without registering work.
fn ask(context: &Context) {
    let cancellation = context.cancellation();
    assert!(context.deadline().is_some());
    std::hint::black_box((cancellation.is_cancelled(), cancellation.remaining()));
    std::hint::black_box((context.remaining(), context.deadline(), context.idle_gap()));
    assert_eq!(context.get(), Some(&17_u32));
    std::hint::black_box(context.environment().function_name());
}

#[test]
fn a_context_and_its_cancellation_allocate_nothing() {
    for size in [128, 6_000] {
        let sequential = count_with_lifecycle(
            &[event_with_deadline(size)],
            50,
            |invocation, responder, context| {
                ask(&context);
                echo(invocation, responder)
            },
        );
        assert_eq!(sequential, Count::default(), "sequential");
        let pipelined = count_with_lifecycle(
            &[event_with_deadline(size)],
            50,
            |invocation, responder, context| {
                ask(&context);
                echo_and_next(invocation, responder)
            },
        );
        assert_eq!(pipelined, Count::default(), "pipelined");
    }
}

#[test]
fn work_that_ends_before_its_boundary_allocates_nothing() {
    let count =
        count_with_lifecycle(&[event_with_deadline(128)], 50, |invocation, responder, context| {
            let task = context.begin_work(&invocation, "the books");
            let sent = echo(invocation, responder)?;
            drop(task);
            Ok(sent)
        });
    assert_eq!(count, Count::default());
}

#[test]
fn memory_is_steady_over_ten_thousand_invocations_of_every_size() {
    let events: Vec<_> = [6_000, 0, 1, 100, 2_048, 5_999].map(event).into();
    let mut chunked: Vec<_> = events.iter().map(|event| event.clone().chunked(1_000)).collect();
    chunked.extend(events);
    let count = count_allocations(&chunked, 10_000, echo);
    assert_eq!(count, Count::default());
}
