//! An allocator that counts the allocations of the threads that ask for it.
#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering::SeqCst};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// The allocations of several threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) allocations: usize,
    /// Bytes allocated minus bytes freed.
    pub(crate) bytes: isize,
}

/// Counts for the threads that have [entered](Self::enter), while it runs.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    is_running: AtomicBool,
    allocations: AtomicUsize,
    bytes: AtomicIsize,
}

thread_local! {
    static COUNTER: Cell<Option<&'static Counter>> = const { Cell::new(None) };
}

impl Counter {
    /// A new counter; it is never freed, since threads may count at any time.
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Counts the allocations of this thread from now on.
    pub(crate) fn enter(&'static self) {
        COUNTER.set(Some(self));
    }

    pub(crate) fn start(&self) {
        self.is_running.store(true, SeqCst);
    }

    pub(crate) fn stop(&self) -> Count {
        self.is_running.store(false, SeqCst);
        Count { allocations: self.allocations.load(SeqCst), bytes: self.bytes.load(SeqCst) }
    }
}

fn count(allocations: usize, bytes: isize) {
    // While a thread ends, its counter is gone.
    if let Ok(Some(counter)) = COUNTER.try_with(Cell::get)
        && counter.is_running.load(SeqCst)
    {
        counter.allocations.fetch_add(allocations, SeqCst);
        counter.bytes.fetch_add(bytes, SeqCst);
    }
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
