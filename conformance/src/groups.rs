//! The process groups that the commands start, so that none outlives the program.
//!
//! Clients and services have groups of their own. A signal that a terminal sends to the program's
//! group does not reach them.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A process group, listed while this lives.
///
/// It must be dropped before its first process is waited for, as its id may then belong to another
/// group.
pub(crate) struct Group(Pid);

static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

impl Group {
    /// Starts a process as the first one of a group.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`].
    pub(crate) fn start(command: &mut Command) -> io::Result<(Child, Self)> {
        // Nothing is started between a signal and the end of this process: it holds this lock.
        let mut groups = groups();
        let child = command.process_group(0).spawn()?;
        let id = Pid::from_child(&child);
        groups.push(id);
        Ok((child, Self(id)))
    }

    /// Sends a signal to all processes of the group. They may have ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _may_have_ended = kill_process_group(self.0, signal);
    }

    /// How its first process has ended; `None` while that runs.
    pub(crate) fn ended(&self) -> Option<WaitIdStatus> {
        ended(self.0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        groups().retain(|id| *id != self.0);
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP end all groups and then this process, with 128 and the
/// number of the signal as its exit code.
///
/// Each group gets SIGTERM, as services have processes of their own to end, and SIGKILL after
/// [`END`] or another signal.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn end_with_this_process() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        let groups = groups();
        let tell_all = |signal| {
            groups.iter().for_each(|id| {
                let _may_have_ended = kill_process_group(*id, signal);
            });
        };
        tell_all(Signal::TERM);
        let began = Instant::now();
        while groups.iter().any(|id| ended(*id).is_none())
            && began.elapsed() < END
            && signals.pending().next().is_none()
        {
            thread::sleep(Duration::from_millis(5));
        }
        tell_all(Signal::KILL);
        std::process::exit(128 + signal);
    });
    Ok(())
}

/// How long a group may take to end after SIGTERM.
pub(crate) const END: Duration = Duration::from_secs(3);

/// `NOWAIT` leaves the process unreaped, so that its id, which is also that of its group, is not
/// reused.
fn ended(id: Pid) -> Option<WaitIdStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(id), options).ok().flatten()
}

fn groups() -> MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
