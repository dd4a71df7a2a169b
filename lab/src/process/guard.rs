//! The process group of a function, and the shell that ends it when the lab itself is killed.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::{children, obstacle};

/// A process group, and a shell that waits for the end of its input, which means that the lab has
/// ended. It kills the group then, and the processes outside of it that the lab has named.
///
/// The shell is not in the group: it would be stopped with it. If the lab were killed then, nobody
/// would continue it.
///
/// The write end of the input is open in this process and, between fork and exec, also in the
/// process that is being started. That process has joined the group by the time its copy is closed,
/// so the kill reaches it.
#[derive(Debug)]
pub(super) struct Guard {
    watcher: Shell,
    leader: Shell,
}

#[derive(Debug)]
struct Shell(Child);

/// The group exists as long as this process, which may be stopped with it. It ends with its input.
///
/// It ignores the signals that a runtime may send to its own group.
const LEADER: &str = "trap '' HUP INT TERM; read -r line";

/// Each line of the input names the processes outside of the group that are to be killed with it,
/// instead of those of the line before. A number with a minus sign names a group. The argument is
/// the group.
const WATCHER: &str = "trap '' HUP INT TERM; others=; while read -r line; do others=$line; done; \
                     [ -z \"$others\" ] || kill -s KILL $others; kill -s KILL -- \"-$1\"";

/// How long a shell has to end after SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

impl Guard {
    pub(super) fn start() -> io::Result<Self> {
        let leader = Shell::start(LEADER, None)?;
        let watcher = Shell::start(WATCHER, Some(leader.id()))?;
        Ok(Self { watcher, leader })
    }

    /// The id of the group.
    pub(super) fn group(&self) -> Pid {
        self.leader.id()
    }

    /// Names the processes outside of the group that end with it: the first process, which may
    /// leave the group, with the group that it leads then, and these others.
    pub(super) fn names(&mut self, first: Pid, others: impl Iterator<Item = Pid>) {
        let mut line = format!("{first} -{first}");
        for other in others {
            line.push_str(&format!(" {other}"));
        }
        line.push('\n');
        if let Some(input) = &mut self.watcher.0.stdin {
            // Fails if the watcher has ended: somebody else has killed it.
            let _ = input.write_all(line.as_bytes());
        }
    }

    #[cfg(test)]
    pub(super) fn end_input(&mut self) {
        drop(self.watcher.0.stdin.take());
    }
}

impl Shell {
    /// In a process group of its own.
    fn start(script: &str, argument: Option<Pid>) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).args(argument.map(|it| it.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = children::spawn(command.env_clear().process_group(0)).map_err(|error| {
            let remedy = obstacle::remedy(&error).unwrap_or_default();
            let text = format!("cannot start the guard process /bin/sh: {error}{remedy}");
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self(child))
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let id = self.id();
        let _ = kill_process(id, Signal::KILL);
        let began = Instant::now();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while matches!(waitid(WaitId::Pid(id), options), Ok(None)) {
            if began.elapsed() > KILL_PATIENCE {
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
        let _ = children::reap(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};

    use rustix::process::kill_process_group;

    use super::*;

    #[test]
    fn the_guard_kills_the_group_when_its_input_ends() {
        let mut guard = Guard::start().unwrap();
        let mut sleep = Command::new("/bin/sleep");
        let group = guard.group().as_raw_pid();
        let mut child = sleep.arg("1000").process_group(group).spawn().unwrap();
        assert!(child.try_wait().unwrap().is_none());
        guard.end_input();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    /// As when the lab is killed just after it has stopped the group.
    #[test]
    fn the_guard_kills_a_group_that_was_stopped_as_a_whole() {
        let mut guard = Guard::start().unwrap();
        let mut sleep = Command::new("/bin/sleep");
        let mut child =
            sleep.arg("1000").process_group(guard.group().as_raw_pid()).spawn().unwrap();
        kill_process_group(guard.group(), Signal::STOP).unwrap();
        guard.end_input();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn the_guard_kills_the_processes_that_were_named_last_when_its_input_ends() {
        let start = || Command::new("/bin/sleep").arg("1000").process_group(0).spawn().unwrap();
        let (mut first, mut other, mut earlier) = (start(), start(), start());
        let mut guard = Guard::start().unwrap();
        guard.names(Pid::from_child(&first), [Pid::from_child(&earlier)].into_iter());
        guard.names(Pid::from_child(&first), [Pid::from_child(&other)].into_iter());
        guard.end_input();
        assert_eq!(first.wait().unwrap().signal(), Some(9));
        assert_eq!(other.wait().unwrap().signal(), Some(9));
        assert!(earlier.try_wait().unwrap().is_none());
        earlier.kill().unwrap();
        earlier.wait().unwrap();
    }
}
