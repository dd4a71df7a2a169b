//! Cancellations: what fires them, which threads they wake, and what they cost.

#[path = "../../verify/allocations.rs"]
mod allocations;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use allocations::allocations;
use lambda_proto_host::lifecycle::{Cancellation, Shutdown, clock};
use proptest::prelude::*;

/// Longer than any test takes, unless something is broken.
const LONG: Duration = Duration::from_secs(60);
/// Far below [`LONG`], but enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);

fn never() -> Cancellation {
    Cancellation::at(None, &Shutdown::new())
}

#[test]
fn without_a_moment_it_fires_only_when_cancelled() {
    let cancellation = never();
    assert!(!cancellation.is_cancelled());
    assert_eq!(cancellation.remaining(), None);
    cancellation.cancel();
    assert!(cancellation.is_cancelled());
    assert_eq!(cancellation.remaining(), Some(Duration::ZERO));
}

#[test]
fn it_fires_when_its_moment_has_come_and_not_before() {
    let shutdown = Shutdown::new();
    let due = Cancellation::at(Some(Instant::now()), &shutdown);
    assert!(due.is_cancelled() && due.wait(Duration::ZERO));
    assert_eq!(due.remaining(), Some(Duration::ZERO));

    let to_come = Cancellation::at(Some(Instant::now() + LONG), &shutdown);
    assert!(!to_come.is_cancelled());
    let left = to_come.remaining().unwrap();
    assert!(left <= LONG && left > LONG - SOON, "{left:?}");
    to_come.cancel();
    assert_eq!(to_come.remaining(), Some(Duration::ZERO));
}

#[test]
fn a_clone_fires_when_the_original_does_and_vice_versa() {
    for cancels_clone in [false, true] {
        let first = never();
        let clone = first.clone();
        let later = clone.clone();
        if cancels_clone {
            clone.cancel();
        } else {
            first.cancel();
        }
        assert!(first.is_cancelled() && clone.is_cancelled() && later.is_cancelled());
        assert!(first.clone().is_cancelled(), "a clone made later has fired");
    }
}

#[test]
fn cancelling_one_leaves_others_of_the_same_shutdown_alone() {
    let shutdown = Shutdown::new();
    let (one, other) = (Cancellation::at(None, &shutdown), Cancellation::at(None, &shutdown));
    one.cancel();
    assert!(one.is_cancelled() && !other.is_cancelled() && !shutdown.is_begun());
}

#[test]
fn a_shutdown_fires_all_of_its_cancellations_including_later_ones() {
    let shutdown = Shutdown::new();
    let before = Cancellation::at(None, &shutdown);
    let clone = before.clone();
    assert!(!shutdown.is_begun());
    shutdown.clone().begin();
    let behind = Cancellation::at(Some(Instant::now() + LONG), &shutdown);
    assert!(shutdown.is_begun());
    for cancellation in [before, clone, behind] {
        assert!(cancellation.is_cancelled() && cancellation.wait(LONG));
    }
    assert!(!never().is_cancelled(), "it belongs to another shutdown");
}

#[test]
fn the_waker_is_called_once_when_the_shutdown_begins_or_immediately_if_it_has_begun() {
    let shutdown = Shutdown::new();
    let (tell, called) = mpsc::channel();
    let waker = |name| {
        let (tell, shutdown) = (tell.clone(), shutdown.clone());
        move || {
            // It may use the shutdown, since it is called without the lock.
            assert!(Cancellation::at(None, &shutdown).wait(LONG));
            tell.send(name).unwrap();
        }
    };
    shutdown.set_waker(waker("replaced"));
    shutdown.set_waker(waker("before"));
    Cancellation::at(None, &shutdown).cancel();
    assert!(called.try_recv().is_err(), "only one cancellation was cancelled, not the shutdown");
    shutdown.begin();
    shutdown.begin();
    assert_eq!(called.try_iter().collect::<Vec<_>>(), ["before"]);
    shutdown.set_waker(waker("behind"));
    shutdown.begin();
    assert_eq!(called.try_iter().collect::<Vec<_>>(), ["behind"]);
}

#[test]
fn a_waker_that_is_set_while_the_shutdown_begins_is_called_once() {
    for _ in 0..1_000 {
        let shutdown = Shutdown::new();
        let (tell, called) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| shutdown.begin());
            shutdown.set_waker(move || tell.send(()).unwrap());
        });
        assert_eq!(called.try_iter().count(), 1);
    }
}

#[test]
fn waiting_times_out_and_returns_false() {
    let start = Instant::now();
    let cancellation = Cancellation::at(Some(start + LONG), &Shutdown::new());
    for most in [Duration::ZERO, Duration::from_millis(5)] {
        let start = Instant::now();
        assert!(!cancellation.wait(most));
        assert!(start.elapsed() >= most);
    }
    assert!(start.elapsed() < SOON);
}

#[test]
fn waiting_ends_at_the_moment_and_returns_true() {
    for most in [LONG, Duration::MAX] {
        let at = Instant::now() + Duration::from_millis(5);
        assert!(Cancellation::at(Some(at), &Shutdown::new()).wait(most));
        assert!(at <= Instant::now() && at.elapsed() < SOON);
    }
}

/// Starts several waiting threads, and calls `wake` once they are about to wait.
fn wakes(cancellation: &Cancellation, wake: impl FnOnce()) {
    let (tell, told) = mpsc::channel();
    // With and without a timeout: both kinds of waiting.
    let times = [LONG, Duration::MAX, LONG, Duration::MAX];
    for most in times {
        let (tell, cancellation) = (tell.clone(), cancellation.clone());
        thread::spawn(move || {
            tell.send(None).unwrap();
            let _nobody_is_there_if_it_failed = tell.send(Some(cancellation.wait(most)));
        });
    }
    for _ in times {
        assert_eq!(told.recv_timeout(SOON), Ok(None), "nothing has fired");
    }
    wake();
    for _ in times {
        assert_eq!(told.recv_timeout(SOON), Ok(Some(true)), "all are woken");
    }
}

#[test]
fn waiting_threads_are_woken_immediately_by_a_cancel_and_by_a_shutdown() {
    // Repeated, so that it happens before, while and after the threads begin to wait.
    for _ in 0..100 {
        let cancellation = never();
        wakes(&cancellation, || cancellation.cancel());
        let shutdown = Shutdown::new();
        wakes(&Cancellation::at(None, &shutdown), || shutdown.begin());
    }
}

#[test]
fn a_thread_keeps_waiting_when_another_cancellation_is_cancelled() {
    let shutdown = Shutdown::new();
    let (mine, other) = (Cancellation::at(None, &shutdown), Cancellation::at(None, &shutdown));
    let (waits, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            waits.send(()).unwrap();
            mine.wait(Duration::from_millis(20))
        });
        waiting.recv_timeout(LONG).unwrap();
        other.cancel();
        assert!(!sleeper.join().unwrap());
    });
}

/// A waker that unparks this thread.
fn unparks() -> Waker {
    struct Unparks(thread::Thread);
    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    Arc::new(Unparks(thread::current())).into()
}

/// Awaits a future on this thread, which parks until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let (waker, mut future) = (unparks(), pin!(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn waiting_tasks_are_woken_by_a_cancel_and_by_a_shutdown() {
    // Repeated, so that it happens before, while and after the tasks begin to wait.
    for round in 0..1_000 {
        let shutdown = Shutdown::new();
        let cancellation = Cancellation::at(None, &shutdown);
        let (tell, told) = mpsc::channel();
        for _ in 0..2 {
            let (tell, clone) = (tell.clone(), cancellation.clone());
            thread::spawn(move || {
                block_on(clone.fired());
                tell.send(()).unwrap();
            });
        }
        if round % 2 == 0 {
            cancellation.cancel();
        } else {
            shutdown.begin();
        }
        for _ in 0..2 {
            assert_eq!(told.recv_timeout(SOON), Ok(()));
        }
    }
}

#[test]
fn a_task_keeps_waiting_when_another_cancellation_is_cancelled() {
    let shutdown = Shutdown::new();
    let (mine, other) = (Cancellation::at(None, &shutdown), Cancellation::at(None, &shutdown));
    let mut fired = pin!(mine.fired());
    let mut poll = || fired.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll(), Poll::Pending);
    other.cancel();
    assert_eq!(poll(), Poll::Pending);
    mine.cancel();
    assert_eq!(poll(), Poll::Ready(()));
}

#[test]
fn a_task_is_woken_by_the_waker_of_its_last_poll() {
    let shutdown = Shutdown::new();
    let cancellation = Cancellation::at(None, &shutdown);
    let mut fired = pin!(cancellation.fired());
    let first = Arc::new(Woken::default());
    let second = Arc::new(Woken::default());
    for woken in [&first, &second] {
        let waker = woken.clone().into();
        assert_eq!(fired.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    }
    shutdown.begin();
    assert_eq!((first.count(), second.count()), (0, 1));
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Woken {
    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_task_that_no_longer_waits_is_forgotten() {
    let shutdown = Shutdown::new();
    let cancellation = Cancellation::at(None, &shutdown);
    let woken = Arc::new(Woken::default());
    let waker = woken.clone().into();
    for _ in 0..10 {
        let mut fired = pin!(cancellation.fired());
        assert_eq!(fired.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&woken), 1, "no waker is kept");
    shutdown.begin();
    assert_eq!(woken.count(), 0);
}

#[test]
fn a_cancellation_allocates_nothing_until_it_is_cloned() {
    let shutdown = Shutdown::new();
    let made = allocations(|| {
        for _ in 0..100 {
            let cancellation = Cancellation::at(Some(Instant::now() + LONG), &shutdown);
            assert!(!cancellation.is_cancelled() && cancellation.remaining().is_some());
            assert!(!cancellation.wait(Duration::ZERO));
        }
    });
    assert_eq!(made, 0);
    let cancellation = Cancellation::at(None, &shutdown);
    let cloned = allocations(|| drop(cancellation.clone()));
    assert!(cloned > 0, "the counter sees allocations");
}

#[test]
fn readings_share_one_origin_and_have_the_wall_clock_time() {
    let before = clock::now();
    let elsewhere = thread::spawn(clock::now).join().unwrap();
    let behind = clock::now();
    assert!(before.monotonic <= elsewhere.monotonic && elsewhere.monotonic <= behind.monotonic);
    assert!(behind.monotonic - before.monotonic < SOON);
    // Between the years 2020 and 2200.
    assert!((1_577_836_800..7_258_118_400).contains(&behind.wall.as_secs()));
}

#[test]
fn a_moment_before_the_first_reading_still_has_a_time() {
    let earlier = Instant::now().checked_sub(Duration::from_secs(60 * 60));
    let (Some(earlier), now) = (earlier, clock::now()) else { return };
    let passed = now.monotonic - clock::monotonic(earlier);
    assert!(passed >= Duration::from_secs(60 * 60), "{passed:?}");
}

proptest! {
    #[test]
    fn a_moment_and_its_monotonic_time_are_the_same(nanos in 0u64..1 << 60) {
        let time = Duration::from_nanos(nanos);
        let moment = clock::instant(time).unwrap();
        prop_assert_eq!(clock::monotonic(moment), time);
        prop_assert_eq!(clock::instant(clock::monotonic(moment)), Some(moment));
    }

    #[test]
    fn no_duration_makes_waiting_or_its_conversion_panic(secs: u64, nanos in 0u32..1_000_000_000) {
        let time = Duration::new(secs, nanos);
        let cancellation = Cancellation::at(clock::instant(time), &Shutdown::new());
        cancellation.cancel();
        prop_assert!(cancellation.wait(time));
    }
}
