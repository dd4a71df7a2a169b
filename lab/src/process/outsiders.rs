//! Processes of a function that have left its process group.

use rustix::process::{Pid, Signal};

use super::children::{self, Origin};
use super::proc;

/// The processes of a function that signals to its groups do not reach.
#[derive(Debug, Default)]
pub(super) struct Outsiders(Vec<Outsider>);

#[derive(Debug)]
struct Outsider {
    id: Pid,
    /// Names the process even when its id has been given to another one.
    #[cfg(target_os = "linux")]
    descriptor: std::os::fd::OwnedFd,
}

/// What a search has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Processes that were not known yet.
    More,
    /// None of these, but some that are not stopped.
    Running,
    Stopped,
}

impl Outsiders {
    /// Adds those that are not known yet.
    pub(super) fn find_more(&mut self, origin: &Origin) -> Found {
        let mut roots = children::orphans(origin);
        roots.push(origin.first);
        let mut found = proc::descendants(&roots);
        found.append(&mut roots);
        let (known, mut is_running) = (self.0.len(), false);
        for id in &found {
            let Some(stat) = proc::stat(*id) else { continue };
            is_running |= !stat.is_stopped && !stat.is_zombie;
            if *id != origin.first && !origin.is_signalled(stat.group) {
                self.add(*id, origin, &found);
            }
        }
        match self.0.len() > known {
            true => Found::More,
            false if is_running => Found::Running,
            false => Found::Stopped,
        }
    }

    /// Adds a process that was found, unless its id has been given to another one since.
    fn add(&mut self, id: Pid, origin: &Origin, found: &[Pid]) {
        if self.0.iter().any(|it| it.id == id) {
            return;
        }
        let Some(outsider) = Outsider::open(id) else { return };
        // Looked at again: what is true of the id from now on is true of the process that is open,
        // or that one has ended.
        let is_found = proc::stat(id).is_some_and(|stat| {
            found.iter().any(|it| it.as_raw_pid() == stat.parent) || origin.is_of(id, &stat)
        });
        if is_found {
            self.0.push(outsider);
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        for outsider in &self.0 {
            outsider.signal(signal);
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = Pid> {
        self.0.iter().map(|it| it.id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(target_os = "linux")]
impl Outsider {
    /// `None` if there is no such process, or if the kernel is older than 5.3.
    fn open(id: Pid) -> Option<Self> {
        use rustix::process::{PidfdFlags, pidfd_open};
        let descriptor = pidfd_open(id, PidfdFlags::empty()).ok()?;
        Some(Self { id, descriptor })
    }

    fn signal(&self, signal: Signal) {
        // Fails if the process has ended.
        let _ = rustix::process::pidfd_send_signal(&self.descriptor, signal);
    }
}

/// Without `/proc` there is nothing to find outsiders by.
#[cfg(not(target_os = "linux"))]
impl Outsider {
    fn open(_id: Pid) -> Option<Self> {
        None
    }

    fn signal(&self, _signal: Signal) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn a_process_that_is_no_longer_the_one_that_was_found_gets_no_signal() {
        let start = || Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let ends = |mut child: Child| {
            let _ = child.kill();
            child.wait().unwrap();
        };
        let (first, other) = (start(), start());
        let (first_id, id) = (Pid::from_child(&first), Pid::from_child(&other));
        // The group and the mark of no process.
        let origin = Origin { group: first_id, first: first_id, mark: b"LAB_TEST=none".to_vec() };
        let mut outsiders = Outsiders::default();
        // As if the first process had had a child of this id.
        outsiders.add(id, &origin, &[first_id, id]);
        assert!(outsiders.is_empty());
        outsiders.add(id, &origin, &[rustix::process::getpid(), id]);
        assert_eq!(outsiders.ids().collect::<Vec<_>>(), [id], "its parent has been found");
        ends(first);
        ends(other);
    }
}
