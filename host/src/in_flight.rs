//! Registry of in-flight invocations, for the code that terminates the process: the panic hook of a
//! program that aborts on panics, or the signal thread when its shutdown window ends. Both report
//! the invocations that are still in flight. A worker that is dropped reports its own.
//!
//! In programs that unwind and have no [lifecycle](crate::lifecycle), nothing is registered.

use std::io::{self, Read, Write};
#[cfg(panic = "abort")]
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lambda_proto::api::{Endpoint, ErrorReport, InvocationIds, Request};
use lambda_proto::machine::{Machine, Phase};

use crate::connect;
#[cfg(panic = "abort")]
use crate::failure::{PANIC, panic_message};

/// How long an aborting process waits for the service in total.
#[cfg(panic = "abort")]
const PATIENCE: Duration = Duration::from_secs(2);

/// The workers whose entries exist.
static WORKERS: Mutex<Vec<Weak<Worker>>> = Mutex::new(Vec::new());

struct Worker {
    endpoint: Endpoint,
    doing: Mutex<Doing>,
}

struct Doing {
    stage: Stage,
    /// The invocation noted last.
    ids: InvocationIds,
}

/// What a worker has in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Nothing,
    Start,
    Invocation,
    /// The answer is being sent, or has been sent while the handler still runs.
    Answer,
    /// The code that terminates the process has reported it.
    Reported,
}

/// The registry entry of one worker: what it has in flight, according to its machine.
pub struct InFlight(Option<Entry>);

struct Entry {
    worker: Arc<Worker>,
    /// The stage noted last, for a comparison without the lock; never [`Stage::Reported`].
    noted: Stage,
}

impl InFlight {
    /// An entry with nothing in flight, which is tracked only in programs that abort on panics.
    pub fn new(endpoint: &Endpoint) -> Self {
        if !cfg!(panic = "abort") {
            return Self(None);
        }
        #[cfg(panic = "abort")]
        install();
        Self::tracked(endpoint)
    }

    /// An entry with nothing in flight, which is tracked in every program, for
    /// [`report_in_flight`].
    pub fn tracked(endpoint: &Endpoint) -> Self {
        let doing = Doing { stage: Stage::Nothing, ids: InvocationIds::default() };
        let worker = Arc::new(Worker { endpoint: endpoint.clone(), doing: Mutex::new(doing) });
        let mut workers = lock(&WORKERS);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(&worker));
        drop(workers);
        Self(Some(Entry { worker, noted: Stage::Nothing }))
    }

    /// Notes what the worker has in flight. Call it after each step of the machine, before the
    /// transport does what the step asks for.
    ///
    /// It blocks while [`report_in_flight`] reports this invocation, so that its answer is not sent
    /// at the same time.
    #[inline]
    pub fn note(&mut self, machine: &Machine) {
        if let Some(entry) = &mut self.0 {
            entry.note(machine);
        }
    }

    /// Reports an invocation of this worker on a new connection, until the given moment, for a
    /// worker that is dropped and can no longer use its own connection. Blocks until the service
    /// has replied. Does nothing if [`report_in_flight`] has reported the invocation.
    ///
    /// # Errors
    ///
    /// If there was no reply until then.
    pub fn report_dropped(
        &mut self,
        endpoint: &Endpoint,
        ids: &InvocationIds,
        report: ErrorReport<'_>,
        until: Instant,
    ) -> io::Result<()> {
        let mut doing = self.0.as_ref().map(|entry| lock(&entry.worker.doing));
        if let Some(doing) = &mut doing {
            if doing.stage == Stage::Reported {
                return Ok(());
            }
            doing.stage = Stage::Reported;
        }
        post(endpoint, Request::Error { ids, report }, until)
    }

    /// Notes that init begins, which the machine does not know.
    pub(crate) fn starts(&mut self) {
        if let Some(entry) = &mut self.0 {
            entry.set(Stage::Start, None);
        }
    }

    /// Notes that init is over.
    pub(crate) fn has_started(&mut self) {
        if let Some(entry) = &mut self.0 {
            entry.set(Stage::Nothing, None);
        }
    }
}

impl Entry {
    #[inline(never)]
    fn note(&mut self, machine: &Machine) {
        let stage = match machine.phase() {
            Phase::Invoking if !machine.is_streaming() => Stage::Invocation,
            Phase::Invoking | Phase::Reporting => Stage::Answer,
            // A handler may still run after its answer.
            Phase::Ready if !machine.is_asked() => return,
            Phase::Init | Phase::Ready | Phase::ShuttingDown => Stage::Nothing,
        };
        // There is an answer between two invocations, so an unchanged stage means the same
        // invocation. If that was reported, it stays reported.
        if stage != self.noted {
            self.set(stage, machine.invocation().filter(|_| stage == Stage::Invocation));
        }
    }

    fn set(&mut self, stage: Stage, ids: Option<&InvocationIds>) {
        let mut doing = lock(&self.worker.doing);
        doing.stage = stage;
        if let Some(ids) = ids {
            doing.ids.clone_from(ids);
        }
        self.noted = stage;
    }
}

/// Nothing panics while one of these locks is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reports what each worker has in flight, each on a new connection, until the given moment.
/// Returns how many reports it tried to send.
///
/// Call it only when the process ends: the service refuses later answers of these workers.
pub fn report_in_flight(report: ErrorReport<'_>, until: Instant) -> usize {
    let workers: Vec<_> = lock(&WORKERS).iter().filter_map(Weak::upgrade).collect();
    let mut reported = 0;
    for worker in workers {
        // Locked while posting, so that the worker cannot begin to answer.
        let mut doing = lock(&worker.doing);
        let request = match doing.stage {
            Stage::Nothing | Stage::Answer | Stage::Reported => continue,
            Stage::Start => Request::InitError { report },
            Stage::Invocation => Request::Error { ids: &doing.ids, report },
        };
        let _best_effort = post(&worker.endpoint, request, until);
        doing.stage = Stage::Reported;
        reported += 1;
    }
    reported
}

/// Whether any worker is answering.
#[cfg(unix)]
pub(crate) fn is_answering() -> bool {
    is_any(|stage| stage == Stage::Answer)
}

/// Whether any worker has an invocation in flight, or is answering one.
#[cfg(unix)]
pub(crate) fn is_anything_in_flight() -> bool {
    is_any(|stage| matches!(stage, Stage::Invocation | Stage::Answer))
}

/// Whether there is anything that [`report_in_flight`] would report.
#[cfg(unix)]
pub(crate) fn is_anything_to_report() -> bool {
    is_any(|stage| matches!(stage, Stage::Start | Stage::Invocation))
}

#[cfg(unix)]
fn is_any(is: impl Fn(Stage) -> bool) -> bool {
    let workers: Vec<_> = lock(&WORKERS).iter().filter_map(Weak::upgrade).collect();
    workers.iter().any(|worker| is(lock(&worker.doing).stage))
}

/// Posts on a new connection, since the worker's connection may be in any state.
fn post(endpoint: &Endpoint, request: Request<'_>, until: Instant) -> io::Result<()> {
    let mut bytes = vec![0; 1024];
    let length = request.encode(endpoint, &mut bytes).or_else(|too_small| {
        bytes.resize(too_small.needed, 0);
        request.encode(endpoint, &mut bytes)
    });
    let length = length.map_err(|_| io::ErrorKind::OutOfMemory)?;
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = connect(endpoint, left())?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(&bytes[..length])?;
    // The reply shows that the service has read the report; the process must not end before that.
    stream.set_read_timeout(Some(left()))?;
    match stream.read(&mut [0; 512])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

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
    let message = panic_message(info.payload());
    let place = info.location().map(|place| format!("{place}")).unwrap_or_default();
    let report = ErrorReport::new(PANIC, &message).stack_trace(&place);
    report_in_flight(report, Instant::now() + PATIENCE);
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &[u8] = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\n\
        Content-Length: 2\r\n\r\nhi";
    const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

    /// The registry is shared by the whole process, so one test runs at a time.
    static ALONE: Mutex<()> = Mutex::new(());

    /// A worker that notes its steps.
    struct Noted {
        _alone: MutexGuard<'static, ()>,
        machine: Machine,
        in_flight: InFlight,
    }

    impl Noted {
        fn new() -> Self {
            // Nothing listens on the discard port.
            let endpoint = Endpoint::parse("127.0.0.1:9").unwrap();
            Self {
                _alone: lock(&ALONE),
                in_flight: InFlight::tracked(&endpoint),
                machine: Machine::new(endpoint),
            }
        }

        fn says(&mut self, command: impl FnOnce(&mut Machine, &mut [u8]) -> usize) -> Stage {
            let length = command(&mut self.machine, &mut [0; 1024]);
            self.in_flight.note(&self.machine);
            let stage = self.stage();
            self.machine.sent(length);
            stage
        }

        fn hears(&mut self, mut bytes: &[u8]) -> Stage {
            while self.machine.receive(&mut bytes).unwrap().is_some() {}
            self.in_flight.note(&self.machine);
            self.stage()
        }

        fn stage(&self) -> Stage {
            lock(&self.in_flight.0.as_ref().unwrap().worker.doing).stage
        }

        fn is_invoked(&mut self) {
            assert!(self.says(|machine, out| machine.next(out).unwrap()) == Stage::Nothing);
            assert!(self.hears(EVENT) == Stage::Invocation);
        }
    }

    #[test]
    fn an_entry_follows_its_machine_and_answers_until_the_handler_asks_again() {
        let mut worker = Noted::new();
        worker.is_invoked();
        let respond =
            |machine: &mut Machine, out: &mut [u8]| machine.respond(None, 0, out).unwrap();
        assert!(worker.says(respond) == Stage::Answer);
        assert!(worker.hears(ACCEPTED) == Stage::Answer);
        worker.is_invoked();
        let stream = |machine: &mut Machine, out: &mut [u8]| {
            machine.stream(lambda_proto::api::ContentType::TEXT, out).unwrap()
        };
        assert!(worker.says(stream) == Stage::Answer);
        worker.machine.shut_down();
        assert!(worker.hears(b"") == Stage::Nothing);
    }

    #[test]
    fn an_invocation_is_reported_once_and_only_while_it_is_in_flight() {
        const REPORT: ErrorReport<'static> = ErrorReport::new("Test.Error", "the end");
        let report = |worker: &Noted| {
            let reported = report_in_flight(REPORT, Instant::now());
            (reported, worker.stage())
        };
        let mut worker = Noted::new();
        assert!(report(&worker) == (0, Stage::Nothing));
        worker.is_invoked();
        assert!(report(&worker) == (1, Stage::Reported));
        // Its handler continues, and it stays reported until there is an answer.
        assert!(worker.hears(b"") == Stage::Reported);
        assert!(report(&worker) == (0, Stage::Reported));
        let fail = |machine: &mut Machine, out: &mut [u8]| machine.fail(&REPORT, out).unwrap();
        assert!(worker.says(fail) == Stage::Answer);
        assert!(report(&worker) == (0, Stage::Answer));
    }
}
