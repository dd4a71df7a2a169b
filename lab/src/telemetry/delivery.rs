//! The task that delivers the records of one subscription.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::buffer::{Batch, Buffer, Limits};
use super::event::of_losses;
use super::outlet::Outlet;
use super::pace::Pace;
use crate::clock::Clock;
use crate::log::{LogStream, Plain};

/// The delivery to one subscriber. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Delivery {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// The name of the extension.
    name: String,
    clock: Clock,
    log: Arc<LogStream>,
    buffer: Mutex<Buffer>,
    /// Something waits that did not, or a batch is complete.
    changed: Notify,
    /// How often everything was to be delivered immediately.
    asked: watch::Sender<u64>,
    /// How many of these have been tried.
    tried: watch::Sender<u64>,
    /// Another subscription delivers everything that is left.
    is_replaced: AtomicBool,
}

/// How often a batch is sent before its records are dropped.
const ATTEMPTS: usize = 5;

/// The pause after the first failure, which doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Delivery {
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(super) fn start(
        name: &str,
        outlet: Outlet,
        limits: Limits,
        tells_losses: bool,
        pace: Pace,
        clock: Clock,
        log: Arc<LogStream>,
    ) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            clock,
            log,
            buffer: Mutex::new(Buffer::new(limits, tells_losses)),
            changed: Notify::new(),
            asked: watch::Sender::new(0),
            tried: watch::Sender::new(0),
            is_replaced: AtomicBool::new(false),
        });
        let task = tokio::spawn(Arc::clone(&shared).deliver(outlet, pace));
        Self { shared, task }
    }

    /// Adds a record, or counts it as dropped if there is no room.
    pub(super) fn push(&self, record: Bytes) {
        self.change(|buffer| buffer.push(record, Instant::now()));
    }

    /// Counts records that were dropped before.
    pub(super) fn lose(&self, records: u64, bytes: u64, reason: &str) {
        self.change(|buffer| buffer.lose(records, bytes, reason, Instant::now()));
    }

    /// Delivers everything that waits now, without waiting for more. Returns when that has been
    /// done, or when an attempt to do so has failed.
    pub(super) fn flush(&self) -> impl Future<Output = ()> + use<> {
        self.shared.asked.send_modify(|asked| *asked += 1);
        let number = *self.shared.asked.borrow();
        let mut tried = self.shared.tried.subscribe();
        async move {
            // Fails if the delivery has ended.
            let _ = tried.wait_for(|tried| *tried >= number).await;
        }
    }

    /// Ends, as another subscription of the extension delivers all of it.
    pub(super) fn replace(self) {
        self.shared.is_replaced.store(true, Relaxed);
    }

    fn change(&self, change: impl FnOnce(&mut Buffer)) {
        let mut buffer = self.shared.lock();
        let (was_empty, was_full) = (buffer.due().is_none(), buffer.is_full());
        change(&mut buffer);
        if was_empty || was_full != buffer.is_full() {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Logs what the subscriber did not get: it may not be subscribed to events of the platform, and
/// nothing can be delivered any more.
impl Drop for Shared {
    fn drop(&mut self) {
        if *self.is_replaced.get_mut() {
            return;
        }
        let name = Plain(&self.name);
        let buffer = self.buffer.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let total = buffer.total();
        if total.records > 0 {
            let (records, bytes, reason) = (total.records, total.bytes, Plain(&total.reason));
            self.log.line(format_args!(
                "lambda-lab: {records} records ({bytes} bytes) of telemetry for the extension \
                 {name} were dropped: {reason}"
            ));
        }
        let (records, bytes) = buffer.waiting();
        if records > 0 {
            self.log.line(format_args!(
                "lambda-lab: {records} records ({bytes} bytes) of telemetry for the extension \
                 {name} were not delivered before it ended"
            ));
        }
    }
}

/// The batch that is being delivered. When the delivery ends, it is put back, and so counted.
struct InFlight<'s> {
    shared: &'s Shared,
    batch: Option<Batch>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.shared.lock().put_back(batch);
        }
    }
}

impl Shared {
    /// Delivers batch after batch, in order, each until it is acknowledged or has to be dropped.
    async fn deliver(self: Arc<Self>, mut outlet: Outlet, mut pace: Pace) {
        let mut asked = self.asked.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let batch = Some(self.next(&mut asked).await);
            let mut in_flight = InFlight { shared: &self, batch };
            for attempt in 1.. {
                pace.thawed().await;
                let number = *asked.borrow_and_update();
                let Some(batch) = &mut in_flight.batch else { break };
                let Err(reason) = outlet.send(batch, &mut pace).await else {
                    in_flight.batch = None;
                    pause = FIRST_PAUSE;
                    break;
                };
                self.has_tried(number);
                if attempt == 1 && pause == FIRST_PAUSE {
                    self.log.line(format_args!(
                        "lambda-lab: cannot deliver telemetry to the extension {} at port {}: {}",
                        Plain(&self.name),
                        outlet.port(),
                        Plain(&reason)
                    ));
                }
                if attempt == ATTEMPTS {
                    let reason = format!("could not send events: {reason}");
                    if let Some(batch) = in_flight.batch.take() {
                        self.lock().give_up(batch, &reason, Instant::now());
                    }
                    break;
                }
                tokio::select! {
                    () = pace.sleep(pause) => {}
                    // Fails only if this delivery ends.
                    _ = asked.changed() => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Waits for the next batch: one that is complete, or whose time has come.
    async fn next(&self, asked: &mut watch::Receiver<u64>) -> Batch {
        loop {
            let number = *asked.borrow_and_update();
            let is_asked = *self.tried.borrow() < number;
            let due = {
                let mut buffer = self.lock();
                let (due, now) = (buffer.due(), Instant::now());
                if is_asked || buffer.is_full() || due.is_some_and(|due| due <= now) {
                    let time = self.clock.unix();
                    if let Some(batch) = buffer.take(now, |losses| of_losses(time, losses)) {
                        return batch;
                    }
                }
                due
            };
            if is_asked {
                self.has_tried(number);
            }
            let is_due = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = is_due => {}
                // Fails only if this delivery ends.
                _ = asked.changed() => {}
            }
        }
    }

    fn has_tried(&self, number: u64) {
        self.tried.send_if_modified(|tried| {
            let is_new = *tried < number;
            *tried = number.max(*tried);
            is_new
        });
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::runtime::Runtime;

    use super::*;
    use crate::log::{Log, Metrics, Report, Status};
    use crate::telemetry::subscription::Destination;

    const SECOND: Duration = Duration::from_secs(1);

    /// A delivery with a log, of which there is a tail.
    fn delivery(outlet: Outlet, limits: Limits) -> (Delivery, Arc<LogStream>) {
        let log = Arc::new(LogStream::new(&Log::discarded()));
        log.start("id", true);
        let (is_frozen, clock) = (watch::Sender::new(false), Clock::default());
        let pace = Pace::new(&is_frozen);
        (Delivery::start("ext", outlet, limits, true, pace, clock, Arc::clone(&log)), log)
    }

    /// The log once the delivery has ended: a runtime waits for its tasks to be dropped.
    fn tail(runtime: Runtime, log: &LogStream) -> String {
        drop(runtime);
        let (duration, init, restore) = (Duration::ZERO, None, None);
        let metrics = Metrics { duration, init, restore, memory: 128, memory_used: None };
        let (request_id, trace, status) = ("id", None, Status::Success);
        let tail = log.end(&Report { request_id, trace, metrics, status });
        String::from_utf8(tail.unwrap()).unwrap()
    }

    /// The delivery ends while its listener has not replied.
    #[test]
    fn what_is_not_delivered_at_the_end_is_counted_in_the_log() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let runtime = Runtime::new().unwrap();
        let log = runtime.block_on(async {
            let destination = Destination::Http { port, path: "/".into(), is_put: false };
            let outlet = Outlet::open(&destination, false).await.unwrap();
            let limits = Limits { items: 2, bytes: 1000, time: 3600 * SECOND };
            let (delivery, log) = delivery(outlet, limits);
            for record in ["1", "22", "333"] {
                delivery.push(record.into());
            }
            // The first two are in flight when the listener is connected to.
            tokio::task::spawn_blocking(move || listener.accept().unwrap()).await.unwrap();
            log
        });
        let tail = tail(runtime, &log);
        let expected = "3 records (6 bytes) of telemetry for the extension ext were not delivered";
        assert!(tail.contains(expected), "{tail}");
    }

    #[test]
    fn what_another_subscription_delivers_is_no_loss() {
        let runtime = Runtime::new().unwrap();
        let log = runtime.block_on(async {
            let destination = Destination::Http { port: 1, path: "/".into(), is_put: false };
            let outlet = Outlet::open(&destination, false).await.unwrap();
            let limits = Limits { items: 2, bytes: 1000, time: 3600 * SECOND };
            let (delivery, log) = delivery(outlet, limits);
            delivery.push("1".into());
            delivery.lose(1, 1, "slow");
            delivery.replace();
            log
        });
        assert!(!tail(runtime, &log).contains("telemetry"));
    }

    #[test]
    fn what_a_tcp_listener_cannot_get_any_more_is_dropped_and_counted_in_the_log() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let runtime = Runtime::new().unwrap();
        let log = runtime.block_on(async {
            let outlet = Outlet::open(&Destination::Tcp { port }, false).await.unwrap();
            let limits = Limits { items: 3, bytes: 1000, time: 3600 * SECOND };
            let (delivery, log) = delivery(outlet, limits);
            // Both the connection and the port are closed, before anything is written.
            drop(listener.accept().unwrap());
            drop(listener);
            for record in ["1", "22", "333"] {
                delivery.push(record.into());
            }
            while delivery.shared.lock().total().records < 3 {
                tokio::time::sleep(SECOND / 100).await;
            }
            log
        });
        let tail = tail(runtime, &log);
        let expected = "3 records (6 bytes) of telemetry for the extension ext were dropped: could \
                        not send events: dial tcp 127.0.0.1:";
        assert!(tail.contains(expected), "{tail}");
    }
}
