//! The examples that drive a client through its public API echo an event from the memory that it
//! arrived in: once warmed up, they allocate nothing for an invocation, however large its event is.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

#[allow(dead_code, reason = "the test does not call its main")]
#[path = "../examples/tokio_driver.rs"]
mod tokio_driver;

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the test does not call its main")]
#[path = "../examples/io_uring_driver.rs"]
mod io_uring_driver;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use lambda_proto::api::Endpoint;
use lambda_proto_service::{Connection, Event, MOMENT, Service};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// The number of allocations of the counted threads.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local!(static IS_COUNTED: Cell<bool> = const { Cell::new(false) });

fn count() {
    if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is passed to the system's allocator; counting does not allocate.
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

const SIZES: [usize; 3] = [128, 6_000, 1_000_000];

/// The number of invocations after which no buffer grows any further.
const WARM_UP: usize = 20;

const COUNTED: usize = 50;

/// Invokes once, and checks that the event comes back.
fn echo(connection: &mut Connection, size: usize) {
    let body = vec![b'x'; size];
    connection.invoke(Event::new("8476a536-e9f4-11e8-9739-2dfe598c3fcd", body.clone()));
    let answer = connection.request();
    assert!(answer.body == body, "not the event of {size} bytes");
    connection.take_answer();
}

/// The tests run one at a time, because they share the counter.
static TURN: Mutex<()> = Mutex::new(());

/// The number of allocations of the program for invocations of each size; `None` if it ends before
/// the first invocation.
fn allocations(
    run: impl FnOnce(Endpoint) -> String + Send + 'static,
) -> Option<[usize; SIZES.len()]> {
    let _turn = TURN.lock();
    let service = Service::start();
    let endpoint = Endpoint::parse(service.place().address()).expect("an address");
    let program = thread::spawn(move || {
        IS_COUNTED.set(true);
        let end = run(endpoint);
        IS_COUNTED.set(false);
        end
    });
    let mut connection = loop {
        if let Some(connection) = service.connection_within(MOMENT) {
            break connection;
        }
        if program.is_finished() {
            eprintln!("not run: {}", program.join().expect("it has not panicked"));
            return None;
        }
    };
    let counts = SIZES.map(|size| {
        (0..WARM_UP).for_each(|_| echo(&mut connection, size));
        let before = ALLOCATIONS.load(Relaxed);
        (0..COUNTED).for_each(|_| echo(&mut connection, size));
        ALLOCATIONS.load(Relaxed) - before
    });
    connection.expect_next();
    connection.answer(500, "", "");
    program.join().expect("it ends by an error");
    Some(counts)
}

#[test]
fn tokio_driver_allocates_nothing_for_an_echo() {
    let counts = allocations(|endpoint| match tokio_driver::run_at(endpoint, 1) {
        Ok(()) => "it ended".to_owned(),
        Err(error) => error.to_string(),
    });
    assert_eq!(counts, Some([0; 3]));
}

#[cfg(target_os = "linux")]
#[test]
fn io_uring_driver_allocates_nothing_for_an_echo() {
    let counts = allocations(|endpoint| {
        use io_uring_driver::linux::{ring_for, serve};
        match ring_for(1) {
            Ok(ring) => {
                let Err(error) = serve(ring, &endpoint, 1);
                error.to_string()
            }
            Err(refused) => refused,
        }
    });
    // A container may forbid io_uring.
    assert!(counts.is_none_or(|counts| counts == [0; 3]), "{counts:?}");
}

#[test]
fn the_counter_counts_an_allocation() {
    let _turn = TURN.lock();
    thread::spawn(|| {
        IS_COUNTED.set(true);
        let before = ALLOCATIONS.load(Relaxed);
        drop(std::hint::black_box(Box::new(1)));
        assert!(ALLOCATIONS.load(Relaxed) > before);
    })
    .join()
    .expect("it is counted");
}
