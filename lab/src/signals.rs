//! The signals that end a program of the lab, and the processes that end with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::lab::{Lab, StartError};
use crate::process::{LEFT, children, obstacle, unyielding};

/// Starts a thread that waits for the signals that end a program, stops the lab, and ends the
/// program. A second signal kills everything immediately. Returns a flag that is set when a signal
/// arrives.
///
/// The thread also reaps the orphans that this program has [adopted](children::adopt).
pub(crate) fn end_with_signals(lab: Arc<Lab>) -> Result<Arc<AtomicBool>, StartError> {
    let no_signals = |error| {
        let remedy = obstacle::remedy(&error).unwrap_or_default();
        StartError::System(format!("cannot wait for signals: {error}{remedy}"))
    };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(no_signals)?;
    let mut signals = Signals::new(&runtime).map_err(no_signals)?;
    let is_signalled = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&is_signalled);
    let wait = move || {
        // Those that ended before this program waited for signals.
        children::reap_orphans();
        let first = runtime.block_on(signals.next());
        tell.store(true, Relaxed);
        let is_killing = Arc::new(AtomicBool::new(false));
        let kills = Arc::clone(&is_killing);
        let end = move || {
            stop(&lab);
            if !kills.load(Relaxed) {
                exit(first);
            }
        };
        if thread::Builder::new().name("stop".into()).spawn(end).is_err() {
            // The lab cannot be stopped beside this thread, so it ends as by a second signal.
            children::kill_all();
            exit(first);
        }
        let second = runtime.block_on(signals.next());
        is_killing.store(true, Relaxed);
        children::kill_all();
        // Closes the input of the guards, too, which kill what is left.
        exit(second);
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(no_signals)?;
    Ok(is_signalled)
}

/// Stops the lab, and ends all processes that its function has left.
pub(crate) fn stop(lab: &Lab) {
    lab.stop();
    for pid in children::end_all_orphans() {
        crate::command::say(&[&unyielding(pid, LEFT)]);
    }
}

/// Ends the program with the exit code that a shell reports for one that a signal ended.
fn exit(signal: SignalKind) -> ! {
    std::process::exit(128 + signal.as_raw_value())
}

struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
    child: Signal,
}

impl Signals {
    fn new(runtime: &Runtime) -> std::io::Result<Self> {
        let _context = runtime.enter();
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// The next signal that ends a program. Until then, orphans are reaped when they end.
    async fn next(&mut self) -> SignalKind {
        let mut is_due = false;
        loop {
            tokio::select! {
                _ = self.hang_up.recv() => return SignalKind::hangup(),
                _ = self.interrupt.recv() => return SignalKind::interrupt(),
                _ = self.terminate.recv() => return SignalKind::terminate(),
                _ = self.child.recv() => {
                    children::reap_orphans();
                    is_due = true;
                }
                // Once more, as the list of children may have had gaps.
                () = sleep(Duration::from_millis(100)), if is_due => {
                    is_due = !children::reap_orphans();
                }
            }
        }
    }
}
