//! Once it is warm, a slot whose handlers own their events allocates nothing for an invocation, so
//! it copies none.
//!
//! Only allocations on the runtime's own thread count; the service runs on another thread.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

#[path = "parallel/support.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};

use futures_util::stream;
use lambda_proto_service::{Event, PATIENCE, Running, Service};
use lambda_proto_tokio::parallel::{Invocation, Responder, Sent};
use lambda_proto_tokio::{ContentType, Error, Failure, Runtime};
use support::runtime;
use tokio::io::AsyncWriteExt as _;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    /// The allocations of this thread since counting began.
    static COUNT: Cell<Option<usize>> = const { Cell::new(None) };
}

fn count() {
    // While a thread ends, its counter is gone.
    let _ = COUNT.try_with(|count| count.set(count.get().map(|so_far| so_far + 1)));
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

const WARM_UP: usize = 5;
const COUNTED: usize = 20;

/// Counts from the end of the warm-up to the last invocation, whose handler sends the count.
struct Counter {
    invocations: AtomicUsize,
    result: Sender<usize>,
}

impl Counter {
    fn invoked(&self) {
        match self.invocations.fetch_add(1, SeqCst) + 1 {
            WARM_UP => COUNT.set(Some(0)),
            last if last == WARM_UP + COUNTED => {
                let count = COUNT.take().expect("the warm-up is over");
                self.result.send(count).expect("the test waits");
            }
            _ => {}
        }
    }
}

/// Serves this event to a handler on one thread, and counts the allocations.
fn count_allocations<F, A>(event: &Event, handler: F) -> usize
where
    F: Fn(Invocation, Responder) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Sent, Failure>> + Send + 'static,
{
    count_allocations_of(event, async move |runtime, counter| {
        let handler = move |invocation: Invocation, responder| {
            counter.invoked();
            handler(invocation, responder)
        };
        runtime.run_parallel(handler).await
    })
}

/// Serves this event to a run on one thread, and counts the allocations.
fn count_allocations_of(
    event: &Event,
    run: impl AsyncFnOnce(Runtime, Counter) -> Result<(), Error> + Send + 'static,
) -> usize {
    let service = Service::start();
    let (result, count) = channel();
    let runtime = runtime(&service).log(|_| {});
    let stop = runtime.stop_handle();
    let run = move || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(run(runtime, Counter { invocations: AtomicUsize::new(0), result }))
    };
    let run = Running::new(service.lines(), move || stop.stop(), run);
    let mut connection = service.connection();
    connection.expect_next();
    for _ in 0..WARM_UP + COUNTED {
        connection.send(event.bytes());
        let request = connection.request();
        assert!(request.path.ends_with("/response"), "{request:?}");
        connection.take_answer();
        connection.expect_next();
    }
    let count = count.recv_timeout(PATIENCE).expect("all invocations are served");
    run.stop();
    count
}

fn event(length: usize) -> Event {
    Event::new("id-1", vec![b'x'; length])
}

#[test]
fn the_counter_counts() {
    let count =
        count_allocations(&event(1), async |invocation: Invocation, responder: Responder| {
            Ok(responder.send(invocation.body().to_vec()).await)
        });
    assert_eq!(count, COUNTED);
}

#[test]
fn a_buffered_answer_allocates_nothing_for_events_of_any_size() {
    for length in [0, 128, 6_000, 1_000_000] {
        let handler = async |invocation: Invocation, responder: Responder| {
            Ok(responder.send(invocation.body()).await)
        };
        assert_eq!(count_allocations(&event(length), handler), 0, "{length} bytes");
    }
}

#[test]
fn a_pipelined_answer_allocates_nothing() {
    let handler = async |invocation: Invocation, responder: Responder| {
        Ok(responder.send_and_next(invocation.body()).await)
    };
    assert_eq!(count_allocations(&event(6_000), handler), 0);
}

#[test]
fn an_event_that_is_held_until_the_next_one_comes_costs_no_further_memory() {
    let last = std::sync::Mutex::new(None);
    let count = count_allocations(&event(100_000), move |invocation, responder| {
        // Each event is dropped while the next one is in flight.
        *last.lock().unwrap() = Some(invocation);
        async move { Ok(responder.send("").await) }
    });
    assert_eq!(count, 0);
}

#[cfg(feature = "json")]
#[test]
fn json_that_borrows_from_its_event_allocates_nothing() {
    let event = Event::new("id-1", r#"{"name":"Ada"}"#);
    let handler = async |invocation: Invocation, responder: Responder| {
        #[derive(serde::Deserialize)]
        struct Named<'e> {
            name: &'e str,
        }
        let Named { name } = invocation.json()?;
        responder.json(name).await
    };
    assert_eq!(count_allocations(&event, handler), 0);
}

#[cfg(feature = "tower")]
#[test]
fn a_service_whose_clone_is_free_allocates_nothing() {
    use std::sync::Arc;

    use lambda_proto_tokio::tower::service_fn;

    let count = count_allocations_of(&event(6_000), async |runtime, counter| {
        let counter = Arc::new(counter);
        let service = service_fn(move |invocation: Invocation| {
            counter.invoked();
            async move {
                tokio::task::yield_now().await;
                assert_eq!(invocation.body().len(), 6_000);
                Ok("answer")
            }
        });
        runtime.run_service(service).await
    });
    assert_eq!(count, 0);
}

#[test]
fn pieces_of_each_kind_allocate_nothing() {
    let handler = async |invocation: Invocation, responder: Responder| {
        let mut out = responder.stream(ContentType::TEXT);
        out.write_all(invocation.body()).await?;
        for piece in invocation.body().chunks(10_000) {
            assert_eq!(out.write(piece).await?, piece.len());
        }
        out.flush().await?;
        let pieces = invocation.body().chunks(10_000);
        out.send_all(stream::iter(pieces.map(Ok::<_, Failure>))).await?;
        Ok(out.finish().await)
    };
    assert_eq!(count_allocations(&event(1_000_000), handler), 0);
}
