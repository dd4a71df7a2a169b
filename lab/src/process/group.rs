//! The first process of a function, its process group, and what has left that group.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use super::children::{self, Origin};
use super::guard::Guard;
use super::outsiders::{Found, Outsiders};
use super::proc;

#[derive(Debug)]
pub(super) struct Group {
    /// The group and the first process may be signalled until they are reaped; after that the
    /// system may reuse their ids.
    origin: Origin,
    members: Mutex<Option<Members>>,
    /// The process does not end, and is no longer waited for.
    is_left: AtomicBool,
}

#[derive(Debug)]
struct Members {
    child: Child,
    guard: Guard,
    /// When the processes were stopped, while they are, and those outside of the group.
    frozen: Option<(Instant, Outsiders)>,
    /// The processes have been asked to end, and are never stopped again.
    is_ending: bool,
}

/// How often more processes are searched for, at most, while they are being stopped.
const ROUNDS: u32 = 10;

/// How many of the rounds may follow a pause because some processes are not stopped yet. On a busy
/// machine that takes a while, and the parent in a `vfork` is not stopped before its child has
/// executed a program.
const PAUSES: u32 = 3;

const PAUSE: Duration = Duration::from_micros(200);

impl Group {
    /// The group of the guard, and a child that was started in it.
    pub(super) fn new(child: Child, mut guard: Guard, mark: Vec<u8>) -> Self {
        let (group, first) = (guard.group(), Pid::from_child(&child));
        guard.names(first, std::iter::empty());
        let members = Mutex::new(Some(Members { child, guard, frozen: None, is_ending: false }));
        let origin = Origin { group, first, mark };
        Self { origin, members, is_left: AtomicBool::new(false) }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Kills all processes that can be found.
    pub(super) fn kill(&self) {
        let mut members = self.lock();
        if let Some(members) = members.as_mut() {
            // Those that have left the group are found as long as their parents live. So none may
            // leave it, or start another one, between the search and the kill.
            let outsiders = self.stop(&mut members.guard);
            self.signal(Signal::KILL);
            outsiders.signal(Signal::KILL);
            members.kill_stopped();
        }
    }

    /// Asks the processes to end: SIGTERM, and SIGCONT if they are stopped.
    pub(super) fn terminate(&self) {
        let mut members = self.lock();
        let Some(members) = members.as_mut() else { return };
        members.is_ending = true;
        // Before SIGCONT, so that a stopped process handles it before anything else.
        self.signal(Signal::TERM);
        if let Some((_, outsiders)) = members.frozen.take() {
            self.go_on(&outsiders, &mut members.guard);
        }
    }

    pub(super) fn freeze(&self) {
        let mut members = self.lock();
        let Some(members) = members.as_mut().filter(|it| !it.is_ending && it.frozen.is_none())
        else {
            return;
        };
        let outsiders = self.stop(&mut members.guard);
        members.frozen = Some((Instant::now(), outsiders));
    }

    /// Stops all processes that can be found. Returns those outside of the group.
    fn stop(&self, guard: &mut Guard) -> Outsiders {
        self.signal(Signal::STOP);
        let mut outsiders = Outsiders::default();
        // Each round may find processes that others have started, or that have left the group,
        // before they were stopped.
        let mut pauses = 0;
        for _ in 0..ROUNDS {
            match outsiders.find_more(&self.origin) {
                Found::More => {
                    // Named before they are stopped, so that no stopped process outlives the lab.
                    guard.names(self.origin.first, outsiders.ids());
                    outsiders.signal(Signal::STOP);
                }
                // The signal takes effect at the end of a system call.
                Found::Running if pauses < PAUSES => {
                    thread::sleep(PAUSE);
                    pauses += 1;
                }
                Found::Running | Found::Stopped => break,
            }
        }
        outsiders
    }

    pub(super) fn thaw(&self) -> Option<Duration> {
        let mut members = self.lock();
        let members = members.as_mut()?;
        let (since, outsiders) = members.frozen.take()?;
        self.go_on(&outsiders, &mut members.guard);
        Some(since.elapsed())
    }

    fn go_on(&self, outsiders: &Outsiders, guard: &mut Guard) {
        self.signal(Signal::CONT);
        outsiders.signal(Signal::CONT);
        if !outsiders.is_empty() {
            // From now on they may end, and their ids may become those of other processes.
            guard.names(self.origin.first, std::iter::empty());
        }
    }

    /// Stops waiting for a process that does not end.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Relaxed);
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Relaxed)
    }

    /// Waits for the end of the first process, kills and reaps all others, and passes the exit
    /// status on. Returns the processes that do not end.
    pub(super) fn wait(&self, tell: impl FnOnce(ExitStatus)) -> Vec<Pid> {
        // `NOWAIT` leaves the process unreaped, so that `kill` can take the lock while this waits.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(self.origin.first), options) {}
        let (members, status) = {
            let mut members = self.lock();
            self.signal(Signal::KILL);
            let mut members = members.take();
            if let Some(members) = &members {
                members.kill_stopped();
            }
            let status = members.as_mut().and_then(|it| children::reap(&mut it.child).ok());
            (members, status)
        };
        // Orphans of a process that is no longer waited for may be those of its successor.
        let left = if self.is_left() { Vec::new() } else { children::end_orphans(&self.origin) };
        tell(status.unwrap_or_else(|| ExitStatus::from_raw(0)));
        // Reaps the guard.
        drop(members);
        left
    }

    /// Signals the group, and the first process wherever it is, with the group that it leads if it
    /// has made one. No other process can have made a group with its id.
    fn signal(&self, signal: Signal) {
        let Origin { group, first, .. } = self.origin;
        // These fail if there is no such group, or none that may be signalled.
        let _ = kill_process_group(group, signal);
        let _ = kill_process_group(first, signal);
        let is_reached = proc::group(first).is_some_and(|group| self.origin.is_signalled(group));
        if !is_reached || signal == Signal::KILL {
            let _ = kill_process(first, signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Members>> {
        self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Ends the input of the guard, as the end of the lab does.
    #[cfg(test)]
    pub(super) fn end_input_of_guard(&self) {
        self.lock().as_mut().unwrap().guard.end_input();
    }
}

impl Members {
    /// Kills the stopped processes outside of the group, also those that cannot be found any longer
    /// because their parents have ended. Otherwise they would stay stopped.
    fn kill_stopped(&self) {
        if let Some((_, outsiders)) = &self.frozen {
            outsiders.signal(Signal::KILL);
        }
    }
}
