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

static GROUPS: Mutex<Groups> = Mutex::new(Groups { all: Vec::new(), starting: 0 });

/// The groups of this program.
struct Groups {
    all: Vec<Pid>,
    /// How many processes are being started, whose groups are not in `all` yet.
    starting: usize,
}

impl Group {
    /// Starts a process as the first one of a group.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`].
    pub(crate) fn start(command: &mut Command) -> io::Result<(Child, Self)> {
        groups().starting += 1;
        // Without the lock, as this takes long if the file system is slow.
        let child = command.process_group(0).spawn();
        let mut groups = groups();
        groups.starting -= 1;
        let child = child?;
        let id = Pid::from_child(&child);
        groups.all.push(id);
        Ok((child, Self(id)))
    }

    /// Ends the group: SIGTERM, and SIGKILL when all have ended or [`END`] has passed.
    pub(crate) fn end(&self) {
        self.signal(Signal::TERM);
        let began = Instant::now();
        while !is_over(self.0) && began.elapsed() < END {
            thread::sleep(GLANCE);
        }
        self.signal(Signal::KILL);
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
        groups().all.retain(|id| *id != self.0);
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
        // Nothing is started, and nothing ends the program otherwise, while this holds the lock.
        let groups = when_started();
        let tell_all = |signal| {
            groups.all.iter().for_each(|id| {
                let _may_have_ended = kill_process_group(*id, signal);
            });
        };
        tell_all(Signal::TERM);
        let began = Instant::now();
        while !groups.all.iter().all(|id| is_over(*id))
            && began.elapsed() < END
            && signals.pending().next().is_none()
        {
            thread::sleep(GLANCE);
        }
        tell_all(Signal::KILL);
        std::process::exit(128 + signal);
    });
    Ok(())
}

/// How long a group may take to end after SIGTERM, and a process to be started after a signal.
const END: Duration = Duration::from_secs(3);

/// How often processes are looked at that are to end.
const GLANCE: Duration = Duration::from_millis(5);

/// Whether all processes of a group have ended. The first one may be a shell that ends before the
/// process for which it waits.
fn is_over(id: Pid) -> bool {
    ended(id).is_some() && !has_members(id)
}

/// Whether a process of this group runs. Zombies do not.
///
/// Source: proc_pid_stat(5).
#[cfg(target_os = "linux")]
fn has_members(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let mut stats = processes.filter_map(|it| std::fs::read(it.ok()?.path().join("stat")).ok());
    stats.any(|stat| {
        // The name of the program may contain anything, so the fields begin after the last
        // parenthesis: the state, the parent and the group.
        let end = stat.iter().rposition(|byte| *byte == b')').map_or(0, |at| at + 1);
        let fields = String::from_utf8_lossy(&stat[end..]);
        let mut fields = fields.split_ascii_whitespace();
        let runs = fields.next().is_some_and(|state| !matches!(state, "Z" | "X"));
        runs && fields.nth(1).and_then(|it| it.parse().ok()) == Some(group.as_raw_pid())
    })
}

/// It is not known, so a group ends with its first process.
#[cfg(not(target_os = "linux"))]
fn has_members(_group: Pid) -> bool {
    false
}

/// `NOWAIT` leaves the process unreaped, so that its id, which is also that of its group, is not
/// reused.
fn ended(id: Pid) -> Option<WaitIdStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(id), options).ok().flatten()
}

/// The groups when no process is being started, or when that has taken too long: the file system of
/// its program may not answer.
fn when_started() -> MutexGuard<'static, Groups> {
    let began = Instant::now();
    loop {
        let groups = groups();
        if groups.starting == 0 || began.elapsed() > END {
            return groups;
        }
        drop(groups);
        thread::sleep(GLANCE);
    }
}

fn groups() -> MutexGuard<'static, Groups> {
    GROUPS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
