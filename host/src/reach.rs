//! Whether the slots of a runtime reach the service, when to try again, and when to give up.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lambda_proto::client::Outage;

use crate::lifecycle::clock;
use crate::{Error, Settings, backoff};

/// Whether the slots of a runtime have connections. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Reach(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    outage: Outage,
    /// The log has reported that a slot has no connection.
    is_told: bool,
}

impl Reach {
    /// How much of the patience is left; unlimited while a slot has a connection.
    pub fn left(&self, patience: Duration) -> Duration {
        let outage = self.lock().outage;
        if outage.connections() > 0 {
            return Duration::MAX;
        }
        let lasted = outage.lasted(clock::monotonic(Instant::now()));
        patience.saturating_sub(lasted.unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The data is always consistent, so a poisoned lock is harmless.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The decisions of one slot that connects: how long to wait before an attempt, and whether to give
/// up after it. The slot itself waits and connects.
pub struct Dialer {
    settings: Settings,
    reach: Reach,
    /// Whether this slot is counted among those with a connection.
    is_connected: bool,
    /// Whether the log has reported that this slot has no connection.
    has_told: bool,
}

/// Attempts to connect, up to the one that succeeds.
#[derive(Debug)]
pub struct Attempts {
    began: Instant,
    /// How many attempts in a row have failed, or were of no use.
    failed: u32,
}

impl Dialer {
    /// The dialer of a slot without a connection.
    pub fn new(settings: Settings, reach: Reach) -> Self {
        Self { settings, reach, is_connected: false, has_told: false }
    }

    /// Begins to connect after this many `losses`, the number that the driver passes to its
    /// connector. The slot has no connection any more.
    pub fn begin(&mut self, losses: u32) -> Attempts {
        self.disconnected();
        self.settings.log_losses(losses);
        // The first loss is normal: the connection went stale.
        Attempts { began: Instant::now(), failed: losses.saturating_sub(1) }
    }

    /// How long to wait before the next attempt.
    pub fn pause(&self, attempts: &Attempts) -> Duration {
        backoff(attempts.failed).min(self.patience())
    }

    /// How long to keep trying, from now on; unlimited while another slot has a connection.
    pub fn patience(&self) -> Duration {
        self.reach.left(self.settings.patience)
    }

    /// Notes a new connection.
    pub fn connected(&mut self, attempts: &Attempts) {
        self.is_connected = true;
        self.reach.lock().outage.connected();
        if self.end_told() {
            self.settings.log_reachable(attempts.began.elapsed());
        }
    }

    /// Notes that the attempt that began at `tried` has failed.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if it is time to give up: no slot has had a connection for as long as
    /// the settings allow. While another slot has one, this slot keeps trying, because the service
    /// counts on every slot.
    pub fn failed(
        &mut self,
        attempts: &mut Attempts,
        tried: Instant,
        reason: io::Error,
    ) -> Result<(), Error> {
        let mut reach = self.reach.lock();
        reach.outage.failed(clock::monotonic(tried));
        let is_news = !std::mem::replace(&mut reach.is_told, true);
        let lasted = reach.outage.lasted(clock::monotonic(Instant::now()));
        drop(reach);
        self.has_told |= is_news;
        if let Some(waited) = lasted.filter(|lasted| *lasted >= self.settings.patience) {
            return Err(self.settings.unreachable(waited, reason));
        }
        if is_news {
            self.settings.log_unreachable(&reason);
        }
        attempts.failed = attempts.failed.saturating_add(1);
        Ok(())
    }

    /// The settings of the runtime.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Notes that the connection is gone, if there was one.
    fn disconnected(&mut self) {
        if std::mem::take(&mut self.is_connected) {
            self.reach.lock().outage.lost(clock::monotonic(Instant::now()));
        }
    }

    /// Notes that the outage of this slot is over; `false` if the log has not reported it.
    fn end_told(&mut self) -> bool {
        let has_told = std::mem::take(&mut self.has_told);
        if has_told {
            self.reach.lock().is_told = false;
        }
        has_told
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.disconnected();
        self.end_told();
    }
}
