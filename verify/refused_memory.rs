//! A runtime whose thread gets no large blocks of memory. A test of each transport includes this
//! file, names its crate `transport`, and has a `serve` that answers with what the handler returns.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use lambda_proto_service::{Event, Running, Service};

use crate::serve;
use crate::transport::{Endpoint, Error, Runtime};

struct Refusing;

#[global_allocator]
static REFUSING: Refusing = Refusing;

thread_local! {
    /// The largest block that this thread gets.
    static MOST: Cell<Option<&'static AtomicUsize>> = const { Cell::new(None) };
}

fn is_refused(size: usize) -> bool {
    // While a thread ends, its limit is gone.
    let most = MOST.try_with(Cell::get).ok().flatten();
    most.is_some_and(|most| size > most.load(Relaxed))
}

// SAFETY: the system's allocator does everything; an allocator may return null.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_refused(layout.size()) { null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_refused(layout.size()) { null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_refused(size) { null_mut() } else { unsafe { System.realloc(pointer, layout, size) } }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The largest block at the beginning.
const FEW: usize = 100_000;
/// The size of events and responses that do not fit into one block.
pub(crate) const MANY: usize = 1_000_000;
static LARGE: [u8; MANY] = [b'y'; MANY];

/// Runs an echo on a thread that gets blocks of this size at most. The response to an empty event
/// is a large borrowed one.
pub(crate) fn echo(service: &Service, most: &'static AtomicUsize) -> Running<Error> {
    let lines = service.lines().clone();
    let endpoint = Endpoint::parse(&service.address()).expect("the test's address is one");
    let runtime = Runtime::new(endpoint).log(move |line| lines.push(line.to_string()));
    let stop = runtime.stop_handle();
    let run = move || {
        MOST.set(Some(most));
        serve(runtime, |event| if event.is_empty() { &LARGE } else { event })
    };
    Running::new(service.lines(), move || stop.stop(), run)
}

pub(crate) fn limit() -> &'static AtomicUsize {
    Box::leak(Box::new(AtomicUsize::new(FEW)))
}

#[test]
fn an_event_for_which_there_is_no_memory_fails_its_invocation_and_not_the_process() {
    for chunk in [None, Some(4_000), Some(MANY)] {
        let service = Service::start();
        let most = limit();
        let run = echo(&service, most);
        let mut connection = service.connection();
        let large = Event::new("id-1", vec![b'x'; MANY]);
        let large = chunk.map_or(large.clone(), |chunk| large.chunked(chunk));
        connection.invoke(large.clone());
        let request = connection.request();
        request.assert_error("id-1", "Runtime.EventTooLarge");
        let message = "the event does not fit the memory for events";
        assert_eq!(request.json()["errorMessage"], message);
        connection.take_answer();
        connection.invoke(Event::new("id-2", "small"));
        let request = connection.request();
        request.assert_response("id-2");
        assert_eq!(request.body, b"small");
        connection.take_answer();
        // When memory is available again, it is used.
        most.store(usize::MAX, Relaxed);
        connection.invoke(large);
        let request = connection.request();
        request.assert_response("id-1");
        assert_eq!(request.body.len(), MANY);
        connection.take_answer();
        connection.expect_next();
        service.expect_no_connection();
        assert_eq!(run.stop(), ["invocation id-1: the event does not fit the buffer"]);
    }
}
