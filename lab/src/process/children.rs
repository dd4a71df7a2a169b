//! The children of this program: those that the lab started, and the orphans that it adopts.
//!
//! On Linux, a process whose parent has ended becomes a child of its nearest ancestor that is a
//! *subreaper*, or of process 1. A program that has [adopted](adopt) is one or the other, so it
//! finds the processes that have left the process group of their function among its own children.

use std::collections::HashSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group, waitid,
};

use super::proc::{self, Stat};

/// The children of this program, once it [adopts](adopt).
#[derive(Debug, Default)]
struct Children {
    /// Those that the lab started and has not reaped. Their exit status belongs to the thread that
    /// waits for them.
    own: HashSet<Pid>,
    /// The process groups of those that are being started, and are not in `own` yet; `None` for one
    /// that leads its own group.
    starting: Vec<Option<Pid>>,
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
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// How long a child may take to be executed when all are to end.
const START_PATIENCE: Duration = Duration::from_secs(1);

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

/// Starts a child whose exit status no other thread takes.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    start(command, None, Role::Process)
}

/// Like [`spawn`], in this process group.
pub(super) fn spawn_in(group: Pid, command: &mut Command) -> io::Result<Child> {
    start(command.process_group(group.as_raw_pid()), Some(group), Role::Process)
}

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Process,
    Cleaner,
}

fn start(command: &mut Command, group: Option<Pid>, role: Role) -> io::Result<Child> {
    // Without the lock, as this takes long if the file system is slow. Until `Starting` is dropped,
    // no other thread takes the new child for an orphan.
    let _starting = Starting::new(group);
    let child = command.spawn()?;
    if let Some(children) = &mut lock() {
        // At once, so that `kill_all` finds no cleaner that it takes for another process.
        children.own.insert(Pid::from_child(&child));
        if role == Role::Cleaner {
            children.cleaners.insert(Pid::from_child(&child));
        }
    }
    Ok(child)
}

/// Like [`spawn`], for a child that cleans up after the lab: [`kill_all`] leaves it alone.
pub(crate) fn spawn_cleaner(command: &mut Command) -> io::Result<Child> {
    start(command, None, Role::Cleaner)
}

/// Waits for the end of a child of [`spawn`], and reaps it.
pub(crate) fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    let id = Pid::from_child(child);
    // `NOWAIT` leaves it unreaped, so that the lock is not needed yet.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(id), options) {}
    let mut children = lock();
    let status = child.wait();
    if let Some(children) = &mut children {
        children.own.remove(&id);
        children.cleaners.remove(&id);
    }
    status
}

/// Reaps the orphans that have ended. Returns whether this was possible: while a child is being
/// started, it cannot be told from them.
pub(crate) fn reap_orphans() -> bool {
    let Some(mut children) = lock() else { return true };
    drop(children.orphans());
    children.starting.is_empty()
}

/// The orphans of a function. Those that start at the same time may be missing.
pub(super) fn orphans(origin: &Origin) -> Vec<Pid> {
    let Some(children) = lock() else { return Vec::new() };
    let found = proc::children_of_first_thread(getpid()).into_iter();
    let found = found.filter_map(|pid| Some((pid, children.stat_of_orphan(pid)?)));
    found.filter(|(pid, stat)| origin.is_of(*pid, stat)).map(|(pid, _)| pid).collect()
}

/// Kills the orphans of a function until none is left. Returns those that do not end.
pub(super) fn end_orphans(origin: &Origin) -> Vec<Pid> {
    end(KILL_PATIENCE, |pid, stat| origin.is_of(pid, stat))
}

/// Kills all orphans until none is left, when the lab ends. Returns those that do not end.
///
/// If this program had children before the lab, it is not known whose the orphans are, and they
/// live on.
pub(crate) fn end_all_orphans() -> Vec<Pid> {
    let Some(children) = when_started() else { return Vec::new() };
    for group in children.starting.iter().flatten() {
        let _ = kill_process_group(*group, Signal::KILL);
    }
    if !children.foreign.is_empty() {
        return Vec::new();
    }
    drop(children);
    end(KILL_PATIENCE, |_, _| true)
}

/// Kills every process that the lab started, and what they leave, without waiting for the lab. Only
/// those remain that clean up when it has ended.
pub(crate) fn kill_all() {
    let Some(children) = when_started() else { return };
    for pid in children.own.difference(&children.cleaners) {
        // Fails for all that do not lead a group. A group has those that are being started, too.
        let _ = kill_process_group(*pid, Signal::KILL);
        let _ = kill_process(*pid, Signal::KILL);
    }
    // What they leave is ours when they have ended, and not before. The lock is kept, so that no
    // other one is started.
    let began = Instant::now();
    let is_ending = |pid: &Pid| proc::stat(*pid).is_some_and(|stat| !stat.is_zombie);
    let killed = || children.own.difference(&children.cleaners);
    while killed().any(is_ending) && began.elapsed() < KILL_PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    drop(children);
    end_all_orphans();
}

/// The children when none is being started, or when that has taken too long: the file system of its
/// program may not answer.
fn when_started() -> Option<MutexGuard<'static, Children>> {
    let began = Instant::now();
    loop {
        let children = lock()?;
        if children.starting.is_empty() || began.elapsed() > START_PATIENCE {
            return Some(children);
        }
        drop(children);
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

/// `None` if this program does not adopt. The lock is never held while a program is started, nor
/// while a process is waited for, except in [`kill_all`].
fn lock() -> Option<MutexGuard<'static, Children>> {
    CHILDREN.get().map(|children| children.lock().unwrap_or_else(|it| it.into_inner()))
}

impl Children {
    /// The orphans that run. Those that have ended are reaped, unless a child is being started.
    ///
    /// While the lock is held, no other thread reaps them, so none of these ids is given to another
    /// process.
    fn orphans(&mut self) -> Vec<(Pid, Stat)> {
        let found = proc::children(getpid()).into_iter();
        let mut found: Vec<_> =
            found.filter_map(|pid| Some((pid, self.stat_of_orphan(pid)?))).collect();
        found.retain(|(pid, stat)| !(stat.is_zombie && self.has_ended(*pid)));
        found.retain(|(pid, _)| !self.unyielding.contains(pid));
        found
    }

    /// `None` if this child is no orphan, as far as can be seen: one that is being started is in
    /// its group, except for a moment before it executes its program.
    fn stat_of_orphan(&self, pid: Pid) -> Option<Stat> {
        if self.own.contains(&pid) || self.foreign.contains(&pid) {
            return None;
        }
        let stat = proc::stat(pid)?;
        let groups = self.starting.iter().flatten();
        groups.map(|it| it.as_raw_pid()).all(|group| group != stat.group).then_some(stat)
    }

    /// Whether a child that looks like a zombie has ended: it also looks so when only its first
    /// thread has. One that has ended is reaped, unless a child is being started.
    fn has_ended(&mut self, pid: Pid) -> bool {
        let mut options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if !self.starting.is_empty() {
            // It may be one that could not be started, whose status the thread that starts it
            // needs.
            options |= WaitIdOptions::NOWAIT;
        }
        let has_ended = !matches!(waitid(WaitId::Pid(pid), options), Ok(None));
        if has_ended && !options.contains(WaitIdOptions::NOWAIT) {
            // The next process with this id is another one.
            self.unyielding.remove(&pid);
        }
        has_ended
    }
}

/// A child that is being started.
struct Starting(Option<Pid>);

impl Starting {
    fn new(group: Option<Pid>) -> Self {
        if let Some(children) = &mut lock() {
            children.starting.push(group);
        }
        Self(group)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(children) = &mut lock()
            && let Some(at) = children.starting.iter().position(|group| *group == self.0)
        {
            children.starting.swap_remove(at);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_process_that_did_not_end_is_forgotten_when_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let mut children = Children { unyielding: [pid].into(), ..Children::default() };
        assert!(!children.has_ended(pid));
        assert!(children.unyielding.contains(&pid));
        child.kill().unwrap();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), options).unwrap();
        // While a child is being started, it stays a zombie, and so its id is not reused.
        children.starting.push(None);
        assert!(children.has_ended(pid));
        assert!(children.unyielding.contains(&pid));
        children.starting.clear();
        assert!(children.has_ended(pid));
        assert!(children.unyielding.is_empty());
        assert!(child.wait().is_err(), "it has not been reaped");
    }
}
