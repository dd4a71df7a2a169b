//! What workers are about, for those who end the process over their heads: a panic in a program that aborts
//! on panics, or a signal whose time is over. Both report what is in hand.
//!
//! In programs that unwind, and that have no [lifecycle](crate::lifecycle), none of this does anything.

use std::io::{Read, Write};
#[cfg(panic = "abort")]
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lambda_proto::api::{InvocationIds, Request};
use lambda_proto::{Endpoint, ErrorReport, InvocationHead};

use crate::connect;
#[cfg(panic = "abort")]
use crate::failure::{PANIC, panic_message};

/// How long a dying process waits for the service, altogether.
#[cfg(panic = "abort")]
const PATIENCE: Duration = Duration::from_secs(2);

/// Every worker: the end of the process ends them all.
static WORKERS: Mutex<Vec<Weak<Worker>>> = Mutex::new(Vec::new());

struct Worker {
    endpoint: Endpoint,
    doing: Mutex<Doing>,
}

/// What has begun and is not answered.
#[expect(clippy::large_enum_variant, reason = "one for each worker, never moved")]
enum Doing {
    Nothing,
    Start,
    Invocation(InvocationIds),
    /// The answer is on its way, or the handler does something behind it.
    Answer,
    /// It has been reported over the worker's head.
    Reported,
}

/// What a worker is about.
pub struct InHand(Option<Arc<Worker>>);

impl InHand {
    /// A worker that is about nothing; only programs that abort on panics keep book of it.
    pub fn new(endpoint: &Endpoint) -> Self {
        if !cfg!(panic = "abort") {
            return Self(None);
        }
        #[cfg(panic = "abort")]
        install();
        Self::tracked(endpoint)
    }

    /// A worker that is about nothing, and of which [`report_in_hand`] knows.
    pub fn tracked(endpoint: &Endpoint) -> Self {
        let worker =
            Arc::new(Worker { endpoint: endpoint.clone(), doing: Mutex::new(Doing::Nothing) });
        let mut workers = lock(&WORKERS);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(&worker));
        drop(workers);
        Self(Some(worker))
    }

    /// The function starts.
    pub fn starts(&self) {
        self.set(|| Doing::Start);
    }

    /// The invocation is in hand.
    pub fn begins(&self, invocation: &InvocationHead<'_>) {
        self.set(|| InvocationIds::of(invocation).map_or(Doing::Nothing, Doing::Invocation));
    }

    /// It is about to be answered: what is in hand is not to be reported any more.
    pub fn is_answered(&self) {
        self.set(|| Doing::Answer);
    }

    /// Nothing is in hand any more.
    pub fn is_over(&self) {
        self.set(|| Doing::Nothing);
    }

    fn set(&self, doing: impl FnOnce() -> Doing) {
        if let Some(worker) = &self.0 {
            *lock(&worker.doing) = doing();
        }
    }
}

/// Nothing panics while one of these is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reports whatever any worker has in hand, each on a connection of its own, until the given moment; returns
/// for how many that was tried.
///
/// Only for the end of the process: a worker that answers later is refused by the service.
pub fn report_in_hand(report: ErrorReport<'_>, until: Instant) -> usize {
    let workers: Vec<_> = lock(&WORKERS).iter().filter_map(Weak::upgrade).collect();
    let mut reported = 0;
    for worker in workers {
        // Held while posting, so that its worker cannot begin to answer meanwhile.
        let mut doing = lock(&worker.doing);
        let request = match &*doing {
            Doing::Nothing | Doing::Answer | Doing::Reported => continue,
            Doing::Start => Request::InitError { report },
            Doing::Invocation(ids) => Request::Error { ids, report },
        };
        post(&worker.endpoint, request, until);
        *doing = Doing::Reported;
        reported += 1;
    }
    reported
}

/// Whether any worker is about to answer.
pub(crate) fn is_answering() -> bool {
    is_any(|doing| matches!(doing, Doing::Answer))
}

/// Whether any worker has an invocation in hand, or is about to answer one.
pub(crate) fn is_anything_in_hand() -> bool {
    is_any(|doing| matches!(doing, Doing::Invocation(_) | Doing::Answer))
}

fn is_any(is: impl Fn(&Doing) -> bool) -> bool {
    let workers: Vec<_> = lock(&WORKERS).iter().filter_map(Weak::upgrade).collect();
    workers.iter().any(|worker| is(&lock(&worker.doing)))
}

/// Posts on a connection of its own: the worker's may be in any state.
fn post(endpoint: &Endpoint, request: Request<'_>, until: Instant) {
    let mut bytes = vec![0; 1024];
    let length = request.encode(endpoint, &mut bytes).or_else(|too_small| {
        bytes.resize(too_small.needed, 0);
        request.encode(endpoint, &mut bytes)
    });
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let (Ok(length), Ok(mut stream)) = (length, connect(endpoint, left())) else {
        return;
    };
    // The process must not end before the service has read the report, which its reply shows.
    let _best_effort = stream
        .set_write_timeout(Some(left()))
        .and_then(|()| stream.write_all(&bytes[..length]))
        .and_then(|()| stream.set_read_timeout(Some(left())))
        .and_then(|()| stream.read(&mut [0; 512]));
}

/// Has panics reported, once for the process.
#[cfg(panic = "abort")]
fn install() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            report_panic(info);
        }));
    });
}

#[cfg(panic = "abort")]
fn report_panic(info: &PanicHookInfo<'_>) {
    let message = match info.payload_as_str() {
        Some(message) => message.to_owned(),
        None => panic_message(&()),
    };
    let place = info.location().map(|place| format!("{place}")).unwrap_or_default();
    let report = ErrorReport::new(PANIC, &message).stack_trace(&place);
    report_in_hand(report, Instant::now() + PATIENCE);
}
