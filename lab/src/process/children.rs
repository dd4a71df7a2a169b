//! The children of this program: those that the lab started, and the orphans that it adopts.
//!
//! On Linux, a process whose parent has ended becomes a child of its nearest ancestor that is a
//! *subreaper*, or of process 1. A program that has [adopted](adopt) is one or the other, so it
//! finds the processes that have left the process group of their function among its own children.

use std::collections::HashSet;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, waitpid,
};

use super::proc::{self, Stat};

/// The children of this program, once it [adopts](adopt).
#[derive(Debug, Default)]
struct Children {
    /// Those that the lab started and has not reaped. Their exit status belongs to whoever waits.
    own: HashSet<Pid>,
    /// Those of them that clean up after the lab, and end by themselves when it has ended.
    cleaners: HashSet<Pid>,
    /// Those that are none of the lab's business: they were here before it.
    foreign: HashSet<Pid>,
    /// Those that SIGKILL has not ended in time.
    unyielding: HashSet<Pid>,
}

static CHILDREN: OnceLock<Mutex<Children>> = OnceLock::new();

/// By what the processes of a function are recognized when their parents have ended.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The id of the process group in which the function was started.
    pub(super) group: Pid,
    pub(super) first: Pid,
    /// The variable that only this function's processes have, as `NAME=value`.
    pub(super) mark: Vec<u8>,
}

/// How long orphans have to end after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes this program the parent of all orphans that descend from it, until it ends.
///
/// Only a program that owns its process may do this: it reaps every child but those that the lab
/// started, and those that it has now. On other systems than Linux nothing changes.
pub(crate) fn adopt() {
    if become_subreaper() {
        let foreign = proc::children(getpid()).into_iter().collect();
        let _ = CHILDREN.set(Mutex::new(Children { foreign, ..Children::default() }));
    }
}

/// Process 1 adopts orphans in any case.
#[cfg(target_os = "linux")]
fn become_subreaper() -> bool {
    let me = getpid();
    me.is_init() || rustix::process::set_child_subreaper(Some(me)).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn become_subreaper() -> bool {
    false
}

/// Starts a child whose exit status nobody else takes.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    // Under the lock, so that no other thread takes the new child for an orphan.
    let mut children = lock();
    let child = command.spawn()?;
    if let Some(children) = &mut children {
        children.own.insert(Pid::from_child(&child));
    }
    Ok(child)
}

/// Like [`spawn`], for a child that cleans up after the lab: [`kill_all`] leaves it alone.
pub(crate) fn spawn_cleaner(command: &mut Command) -> io::Result<Child> {
    let child = spawn(command)?;
    if let Some(children) = &mut lock() {
        children.cleaners.insert(Pid::from_child(&child));
    }
    Ok(child)
}

/// Reaps a child of [`spawn`] that has ended.
pub(crate) fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    let mut children = lock();
    let status = child.wait();
    if let Some(children) = &mut children {
        let id = Pid::from_child(child);
        children.own.remove(&id);
        children.cleaners.remove(&id);
    }
    status
}

/// Reaps the orphans that have ended. Returns whether this was possible: it does not wait for a
/// command that is being started, which may take long on a slow file system.
pub(crate) fn reap_orphans() -> bool {
    match CHILDREN.get().map(Mutex::try_lock) {
        Some(Ok(children)) => drop(children.orphans()),
        Some(Err(TryLockError::Poisoned(children))) => drop(children.into_inner().orphans()),
        Some(Err(TryLockError::WouldBlock)) => return false,
        None => {}
    }
    true
}

/// The orphans of a function. Those that start at the same time may be missing.
pub(super) fn orphans(origin: &Origin) -> Vec<Pid> {
    // Without waiting, as a command that starts from a slow file system keeps the lock.
    let Some(Ok(children)) = CHILDREN.get().map(Mutex::try_lock) else { return Vec::new() };
    let found = proc::children_of_first_thread(getpid()).into_iter();
    let found = found.filter(|pid| !children.own.contains(pid) && !children.foreign.contains(pid));
    found.filter(|pid| proc::stat(*pid).is_some_and(|stat| origin.is_of(*pid, &stat))).collect()
}

/// Kills the orphans of a function until none is left. Returns those that do not end.
pub(super) fn end_orphans(origin: &Origin) -> Vec<Pid> {
    end(PATIENCE, |pid, stat| origin.is_of(pid, stat))
}

/// Kills all orphans until none is left, when the lab ends. Returns those that do not end.
///
/// If this program had children before the lab, nobody knows whose the orphans are, and they live
/// on.
pub(crate) fn end_all_orphans() -> Vec<Pid> {
    if lock().is_none_or(|children| !children.foreign.is_empty()) {
        return Vec::new();
    }
    end(PATIENCE, |_, _| true)
}

/// Kills every process that the lab started, and what they leave, without waiting for the lab. Only
/// those remain that clean up when it has ended.
pub(crate) fn kill_all() {
    let Some(children) = CHILDREN.get() else { return };
    let began = Instant::now();
    // Not for long, as a command that starts from a slow file system keeps the lock. The guards
    // kill what this leaves.
    while began.elapsed() < PATIENCE {
        if let Ok(children) = children.try_lock() {
            for pid in children.own.difference(&children.cleaners) {
                // Fails for all that do not lead a group.
                let _ = kill_process_group(*pid, Signal::KILL);
                let _ = kill_process(*pid, Signal::KILL);
            }
            // What they leave is ours when they have ended, and not before.
            let is_ending = |pid: &Pid| proc::stat(*pid).is_some_and(|stat| !stat.is_zombie);
            let killed = || children.own.difference(&children.cleaners);
            while killed().any(is_ending) && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
            drop(children);
            end_all_orphans();
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn end(patience: Duration, is_meant: impl Fn(Pid, &Stat) -> bool) -> Vec<Pid> {
    let began = Instant::now();
    let mut killed = HashSet::new();
    let mut rounds_without = 0;
    loop {
        let Some(mut children) = lock() else { return Vec::new() };
        let mut left = Vec::new();
        for (pid, stat) in children.orphans() {
            // One that has been killed is known by its id only: it has no variables any more.
            if killed.contains(&pid) || is_meant(pid, &stat) {
                let _ = kill_process(pid, Signal::KILL);
                killed.insert(pid);
                left.push(pid);
            }
        }
        // Twice, as the list of children may have gaps while some of them end.
        rounds_without = if left.is_empty() { rounds_without + 1 } else { 0 };
        if rounds_without == 2 {
            return left;
        }
        if began.elapsed() > patience {
            children.unyielding.extend(&left);
            return left;
        }
        drop(children);
        if !left.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// `None` if this program does not adopt.
fn lock() -> Option<MutexGuard<'static, Children>> {
    CHILDREN.get().map(|children| children.lock().unwrap_or_else(|it| it.into_inner()))
}

impl Children {
    /// The orphans that run. Those that have ended are reaped.
    ///
    /// While the lock is held, nobody else reaps, so none of these ids is given to another process.
    fn orphans(&self) -> Vec<(Pid, Stat)> {
        let is_orphan = |pid: &Pid| !self.own.contains(pid) && !self.foreign.contains(pid);
        let found = proc::children(getpid()).into_iter().filter(is_orphan);
        let found = found.filter_map(|pid| Some((pid, proc::stat(pid)?)));
        // A process also looks like a zombie when only its first thread has ended.
        let is_reaped = |pid, stat: &Stat| {
            stat.is_zombie && !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None))
        };
        let running = found.filter(|(pid, stat)| !is_reaped(*pid, stat));
        running.filter(|(pid, _)| !self.unyielding.contains(pid)).collect()
    }
}

impl Origin {
    /// Whether a signal to the groups of the function reaches this group.
    pub(super) fn is_signalled(&self, group: i32) -> bool {
        [self.group, self.first].iter().any(|id| group == id.as_raw_pid())
    }

    /// Whether a process belongs to the function, as far as can be seen.
    pub(super) fn is_of(&self, pid: Pid, stat: &Stat) -> bool {
        self.is_signalled(stat.group)
            || stat.session == self.first.as_raw_pid()
            || !self.mark.is_empty() && proc::has_variable(pid, &self.mark)
    }
}
