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

impl Outsiders {
    /// Those that run now.
    pub(super) fn of(origin: &Origin) -> Self {
        let mut outsiders = Self::default();
        outsiders.find_more(origin);
        outsiders
    }

    /// Adds those that are not known yet. Returns whether there are any.
    pub(super) fn find_more(&mut self, origin: &Origin) -> bool {
        let mut roots = children::orphans(origin);
        roots.push(origin.first);
        let mut found = proc::descendants(&roots);
        roots.pop();
        found.append(&mut roots);
        let known = self.0.len();
        for id in found {
            let is_new = self.0.iter().all(|it| it.id != id);
            if is_new && proc::group(id).is_some_and(|group| !origin.is_signalled(group)) {
                self.0.extend(Outsider::open(id));
            }
        }
        self.0.len() > known
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
