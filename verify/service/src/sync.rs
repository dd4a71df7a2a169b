//! Signals between threads, each with a bounded wait.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

/// A door that one thread opens and others wait for.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Opens it for good.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    /// Waits until it is open.
    #[track_caller]
    pub fn wait(&self) {
        let is_open = self.0.0.lock().unwrap();
        let waited = self.0.1.wait_timeout_while(is_open, PATIENCE, |is_open| !*is_open).unwrap();
        assert!(!waited.1.timed_out(), "nobody opened the gate");
    }
}

/// What a runtime has logged.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>, Arc<AtomicBool>);

impl Lines {
    /// Logs a line.
    ///
    /// # Panics
    ///
    /// If the log is [broken](Self::break_off).
    pub fn push(&self, line: String) {
        self.0.0.lock().unwrap().push(line);
        self.0.1.notify_all();
        assert!(!self.1.load(Relaxed), "the log is broken");
    }

    /// Makes [`push`](Self::push) panic from now on.
    pub fn break_off(&self) {
        self.1.store(true, Relaxed);
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits for a line with this in it.
    #[track_caller]
    pub fn wait_for(&self, part: &str) {
        let has_not = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(part));
        let lines = self.0.0.lock().unwrap();
        let (lines, waited) = self.0.1.wait_timeout_while(lines, PATIENCE, has_not).unwrap();
        assert!(!waited.timed_out(), "no line with {part:?} in {lines:?}");
    }
}
