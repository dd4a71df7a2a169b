//! The peak memory of a function's processes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::children::{self, Origin};
use super::proc;

/// Measures the first process and all its descendants.
///
/// A sample is the sum of the peaks of those that are alive, so memory that processes share counts
/// once for each. A process that lives for less than [`PROBATION`] is not counted.
#[derive(Debug)]
pub(super) struct Meter {
    orphans: Orphans,
    samples: Mutex<Samples>,
}

/// Whether orphans are measured. They belong to an environment, and so to one of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphans {
    Measured,
    LeftOut,
}

#[derive(Debug, Default)]
struct Samples {
    /// The largest sample, in KiB.
    peak: u64,
    /// When all processes were measured last.
    last: Option<Instant>,
    /// The others of the last sample, and when they were first seen.
    others: HashMap<Pid, Instant>,
}

/// How long a process must have been seen before it counts.
///
/// A process that has been forked looks as large as its parent until it starts its program.
const PROBATION: Duration = Duration::from_millis(4);

/// The least time between two samples of a function whose first process has no children.
const PAUSE: Duration = Duration::from_millis(10);

impl Meter {
    pub(super) fn new(orphans: Orphans) -> Self {
        Self { orphans, samples: Mutex::default() }
    }

    /// Measures all processes, unless that was done a moment ago.
    pub(super) fn sample(&self, origin: &Origin, is_running: impl Fn() -> bool) {
        let mut samples = self.lock();
        if samples.last.is_none_or(|last| last.elapsed() >= PROBATION) {
            let sum = samples.sum(origin, self.orphans);
            samples.add(sum, is_running);
        }
    }

    /// Measures the first process, and all others if there may be any. Returns the peak in KiB;
    /// `None` if the system does not report it.
    pub(super) fn peak(&self, origin: &Origin, is_running: impl Fn() -> bool) -> Option<u64> {
        let mut samples = self.lock();
        let is_due = samples.last.is_none_or(|last| last.elapsed() >= PAUSE);
        let sum = if is_due || !samples.others.is_empty() {
            samples.sum(origin, self.orphans)
        } else {
            proc::peak_memory(origin.first).unwrap_or_default()
        };
        samples.add(sum, is_running);
        Some(samples.peak).filter(|peak| *peak > 0)
    }

    /// The largest sample so far, in KiB.
    pub(super) fn highest(&self) -> u64 {
        self.lock().peak
    }

    fn lock(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Samples {
    fn sum(&mut self, origin: &Origin, orphans: Orphans) -> u64 {
        let now = Instant::now();
        let mut roots = match orphans {
            Orphans::Measured => children::orphans(origin),
            Orphans::LeftOut => Vec::new(),
        };
        roots.push(origin.first);
        let mut others = proc::descendants(&roots);
        roots.pop();
        others.append(&mut roots);
        let earlier = std::mem::take(&mut self.others);
        let mut sum = proc::peak_memory(origin.first).unwrap_or_default();
        for pid in others {
            let since = *earlier.get(&pid).unwrap_or(&now);
            if now - since >= PROBATION {
                sum += proc::peak_memory(pid).unwrap_or_default();
            }
            self.others.insert(pid, since);
        }
        self.last = Some(now);
        sum
    }

    fn add(&mut self, sum: u64, is_running: impl Fn() -> bool) {
        // If the first process has been reaped since, its id may have been another one's.
        if is_running() {
            self.peak = self.peak.max(sum);
        }
    }
}
