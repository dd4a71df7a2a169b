//! The processes of an environment. None of them outlives the lab, as far as it can find them.

pub(crate) mod children;
mod group;
mod guard;
mod memory;
pub(crate) mod obstacle;
mod outsiders;
mod proc;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::watch;

use crate::log::Log;
use crate::variables::RUNTIME_API;
use group::Group;
use guard::Guard;
use memory::Meter;

pub(crate) use memory::Orphans;

/// The process of a runtime or of an extension, and all processes that it started.
///
/// They are one process group. The first process is also reached by its own id, and those that have
/// left the group as long as they can be [found](outsiders).
///
/// When the first process ends, or when this is dropped, the others are killed. If the lab itself
/// is killed, the [`Guard`] kills the group and the first process.
#[derive(Debug)]
pub(crate) struct Process {
    group: Arc<Group>,
    exit: watch::Receiver<Option<ExitStatus>>,
    meter: Meter,
    /// Disconnected when the thread that waits for the process has ended.
    reaper: Mutex<mpsc::Receiver<()>>,
}

/// How long a process has to end after SIGKILL. Only one that is in an uninterruptible call, or
/// that belongs to another user, takes longer.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// The log line about a process that SIGKILL has not ended in time.
pub(crate) fn unyielding(pid: Pid, which: &str) -> String {
    format!("lambda-lab: process {pid}{which} does not end after SIGKILL: end it by hand")
}

/// Which process that is: an orphan.
pub(crate) const LEFT: &str = ", which the function left,";

impl Process {
    /// Starts the command in its own process group, with no input.
    pub(crate) fn start(command: &mut Command, orphans: Orphans, log: &Log) -> io::Result<Self> {
        let mark = mark(command);
        // Started first: without it, the process would not be waited for.
        let (give, take) = mpsc::channel::<Arc<Group>>();
        let (tell_exit, exit) = watch::channel(None);
        let (ending, reaper) = mpsc::channel();
        let reap = {
            let log = log.clone();
            move || {
                let _ending: mpsc::Sender<()> = ending;
                // Fails if the process could not be started.
                let Ok(group) = take.recv() else { return };
                // Telling fails if no one waits for the exit any longer.
                let left = group.wait(|status| {
                    let _ = tell_exit.send(Some(status));
                });
                for pid in left {
                    log.lines(&[&unyielding(pid, LEFT)]);
                }
            }
        };
        thread::Builder::new().name("lambda-lab-reaper".into()).spawn(reap)?;
        let guard = Guard::start()?;
        let child = children::spawn_in(guard.group(), command.stdin(Stdio::null()))?;
        let group = Arc::new(Group::new(child, guard, mark));
        let process = Self { group, exit, meter: Meter::new(orphans), reaper: Mutex::new(reaper) };
        // Cannot fail: the thread waits for it.
        let _ = give.send(Arc::clone(&process.group));
        Ok(process)
    }

    /// The id of the first process.
    pub(crate) fn id(&self) -> Pid {
        self.group.origin().first
    }

    /// The exit status of the first process; `None` while it runs.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until the first process has ended and all others have been killed.
    pub(crate) async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.expect("it was waited for"),
            // The reaper has panicked, which would be a bug.
            Err(_) => ExitStatus::from_raw(0),
        }
    }

    /// Kills the processes, even if they are stopped. [`wait`](Self::wait) returns when they are
    /// gone.
    pub(crate) fn kill(&self) {
        self.group.kill();
    }

    /// Stops waiting for a process that does not end. It is killed once more when this is dropped.
    pub(crate) fn leave(&self) {
        self.group.leave();
    }

    /// Asks the processes to end: SIGTERM, and SIGCONT if they are stopped. They cannot be stopped
    /// again.
    pub(crate) fn terminate(&self) {
        self.group.terminate();
    }

    /// Stops the processes, as Lambda freezes an environment. Does nothing if they have been asked
    /// to end.
    pub(crate) fn freeze(&self) {
        self.group.freeze();
    }

    /// Continues the processes. Returns how long they were stopped, if they were.
    pub(crate) fn thaw(&self) -> Option<Duration> {
        self.group.thaw()
    }

    /// Measures the memory of all processes, which takes some 50 µs.
    pub(crate) fn sample_memory(&self) {
        self.meter.sample(self.group.origin(), || self.exit_status().is_none());
    }

    /// The peak memory of all processes together, in KiB. `None` if the system does not report it.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        self.meter.peak(self.group.origin(), || self.exit_status().is_none())
    }

    /// The peak memory that has been measured so far, in KiB.
    pub(crate) fn measured_memory(&self) -> u64 {
        self.meter.highest()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if !self.group.is_left() {
            let reaper = self.reaper.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            // Fails when the thread has ended, which is what this waits for.
            let _ = reaper.recv_timeout(KILL_PATIENCE);
        }
    }
}

/// The variable that only the processes of this command have, as `NAME=value`: the address of their
/// Runtime API.
fn mark(command: &Command) -> Vec<u8> {
    let variable = command.get_envs().find(|(name, _)| *name == RUNTIME_API);
    variable.and_then(|(_, value)| value).map_or_else(Vec::new, |value| {
        [RUNTIME_API.as_bytes(), b"=", value.as_encoded_bytes()].concat()
    })
}

/// How a runtime ended, in the words of the service.
///
/// Source: emulator, `rapid/handlers.go`.
pub(crate) fn describe_exit(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "Runtime exited without providing a reason".into(),
        _ => format!("Runtime exited with error: {}", describe_status(status)),
    }
}

/// How an extension ended, in the words of the service.
///
/// Source: emulator, `rapid/handlers.go`.
pub(crate) fn describe_exit_of_extension(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "exit code 0".into(),
        _ => describe_status(status),
    }
}

/// How a process ended, in the words of Go.
fn describe_status(status: ExitStatus) -> String {
    const SIGNALS: [(i32, &str); 10] = [
        (1, "hangup"),
        (2, "interrupt"),
        (3, "quit"),
        (4, "illegal instruction"),
        (6, "aborted"),
        (8, "floating point exception"),
        (9, "killed"),
        (11, "segmentation fault"),
        (13, "broken pipe"),
        (15, "terminated"),
    ];
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            let name = SIGNALS.iter().find(|(known, _)| *known == signal).map(|(_, name)| *name);
            let name = name.map_or_else(|| format!("signal {signal}"), str::to_owned);
            let core = if status.core_dumped() { " (core dumped)" } else { "" };
            format!("signal: {name}{core}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdout(Stdio::null());
        Process::start(&mut command, Orphans::Measured, &Log::discarded()).unwrap()
    }

    /// Waits until no process of the group runs. Zombies do not count.
    fn assert_ends(group: Pid) {
        let began = Instant::now();
        while lives(group) {
            assert!(began.elapsed() < Duration::from_secs(10), "the group {group:?} still runs");
            thread::yield_now();
        }
    }

    fn lives(group: Pid) -> bool {
        let group = group.as_raw_nonzero().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let stats = processes.filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
        // After the name, which may contain anything: the state, the parent, the group.
        stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned())).any(|stat| {
            let mut fields = stat.split(' ');
            fields.next() != Some("Z") && fields.nth(1) == Some(&group)
        })
    }

    /// Waits until the first process is in this state: `T` for stopped, `S` for sleeping.
    fn assert_gets(process: &Process, state: char) {
        let file = format!("/proc/{}/stat", process.id());
        let began = Instant::now();
        loop {
            let stat = std::fs::read_to_string(&file).unwrap();
            if stat.rsplit_once(") ").unwrap().1.starts_with(state) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "not {state}: {stat}");
            thread::yield_now();
        }
    }

    #[test]
    fn thaw_continues_a_stopped_process_and_returns_for_how_long_it_was_stopped() {
        let process = shell("exec sleep 1000");
        assert_eq!(process.thaw(), None);
        for _ in 0..3 {
            process.freeze();
            process.freeze();
            assert_gets(&process, 'T');
            assert!(process.thaw().is_some());
            assert_eq!(process.thaw(), None);
            assert_gets(&process, 'S');
        }
    }

    #[test]
    fn kill_terminate_and_drop_end_a_stopped_process() {
        for (end, signal) in [(Process::kill as fn(&Process), 9), (Process::terminate, 15)] {
            let process = shell("sleep 1000 & exec sleep 1000");
            process.freeze();
            assert_gets(&process, 'T');
            end(&process);
            let status = pollster::block_on(process.wait());
            assert_eq!(status.signal(), Some(signal));
            assert_ends(process.group.origin().group);
            process.freeze();
            assert_eq!(process.thaw(), None);
        }
        let process = shell("sleep 1000 & exec sleep 1000");
        process.freeze();
        assert_gets(&process, 'T');
        let group = process.group.origin().group;
        drop(process);
        assert_ends(group);
    }

    /// A stopped process that has left the group, and whose parent ends, would be stopped forever.
    #[cfg(target_os = "linux")]
    #[test]
    fn stopped_processes_outside_of_the_group_end_with_the_first_one() {
        let end_by_itself = |process: &Process| {
            rustix::process::kill_process(process.id(), rustix::process::Signal::KILL).unwrap();
        };
        let end_without_its_parent = |process: &Process| {
            let parent = proc::children(process.id())[0];
            rustix::process::kill_process(parent, rustix::process::Signal::KILL).unwrap();
            while proc::stat(parent).is_some_and(|it| !it.is_zombie) {
                thread::yield_now();
            }
            process.kill();
        };
        for end in [end_by_itself as fn(&Process), end_without_its_parent] {
            let process = shell("(setsid sleep 1000 & wait) & wait");
            let began = Instant::now();
            let outsider = loop {
                assert!(began.elapsed() < Duration::from_secs(10), "there is no outsider");
                let leads =
                    |pid: &Pid| proc::stat(*pid).is_some_and(|it| it.session == pid.as_raw_pid());
                if let Some(pid) = proc::descendants(&[process.id()]).into_iter().find(leads) {
                    break pid;
                }
            };
            process.freeze();
            assert_gets(&process, 'T');
            end(&process);
            pollster::block_on(process.wait());
            while proc::stat(outsider).is_some_and(|it| !it.is_zombie) {
                assert!(began.elapsed() < Duration::from_secs(10), "{outsider:?} is still stopped");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_process_that_was_asked_to_end_is_not_stopped_again() {
        let process = shell("trap '' TERM; while :; do sleep 0.01; done");
        process.terminate();
        process.freeze();
        assert_eq!(process.thaw(), None);
    }

    #[test]
    fn the_guard_of_a_stopped_group_runs_and_kills_it_when_its_input_ends() {
        let process = shell("sleep 1000 & exec sleep 1000");
        process.freeze();
        assert_gets(&process, 'T');
        // As when the lab is killed.
        process.group.end_input_of_guard();
        assert_eq!(pollster::block_on(process.wait()).signal(), Some(9));
        assert_ends(process.group.origin().group);
    }

    #[test]
    fn an_exit_is_described_in_the_words_of_the_service() {
        for (script, words) in [
            ("exit 3", "exit status 3"),
            ("kill -9 $$", "signal: killed"),
            ("kill -15 $$", "signal: terminated"),
            ("kill -12 $$", "signal: signal 12"),
        ] {
            let status = pollster::block_on(shell(script).wait());
            assert_eq!(describe_exit(status), format!("Runtime exited with error: {words}"));
            assert_eq!(describe_exit_of_extension(status), words);
        }
        let status = pollster::block_on(shell("exit 0").wait());
        assert_eq!(describe_exit(status), "Runtime exited without providing a reason");
        assert_eq!(describe_exit_of_extension(status), "exit code 0");
    }

    #[test]
    fn the_children_of_a_process_end_with_it() {
        let process = shell("sleep 1000 & sleep 1000 & exit 0");
        pollster::block_on(process.wait());
        assert_ends(process.group.origin().group);
    }

    #[test]
    fn kill_and_drop_end_a_process_and_its_children() {
        let process = shell("sleep 1000 & sleep 1000");
        process.kill();
        let status = pollster::block_on(process.wait());
        assert_eq!(status.signal(), Some(9));
        assert_ends(process.group.origin().group);
        process.kill();

        let process = shell("sleep 1000 & sleep 1000");
        let pid = process.group.origin().group;
        assert!(lives(pid));
        drop(process);
        assert_ends(pid);
    }

    /// The test program is no subreaper, so an orphan would not be found.
    #[cfg(target_os = "linux")]
    #[test]
    fn processes_that_leave_the_group_while_it_is_killed_end_too() {
        let mark = format!("LAB_TEST_LEAVING={}", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let runs = |pid: &Pid| proc::stat(*pid).is_some_and(|it| !it.is_zombie);
        let marked = || {
            let all = proc::all().into_iter();
            all.filter(|pid| proc::has_variable(*pid, mark.as_bytes()) && runs(pid))
        };
        for round in 0..40 {
            let mut command = Command::new("/bin/sh");
            let script = "i=0; while [ $i -lt 200 ]; do i=$((i + 1)); setsid sleep 1000 & \
                          setsid sleep 1000 & sleep 0; done; wait";
            command.args(["-c", script]).env(name, value).stdout(Stdio::null());
            let process =
                Process::start(&mut command, Orphans::Measured, &Log::discarded()).unwrap();
            let began = Instant::now();
            while proc::children(process.id()).len() < 2 + round % 4 {
                assert!(began.elapsed() < Duration::from_secs(10), "it starts nothing");
            }
            process.kill();
            pollster::block_on(process.wait());
            while marked().next().is_some() && began.elapsed() < Duration::from_secs(10) {
                thread::yield_now();
            }
            let left: Vec<_> = marked().collect();
            for pid in &left {
                let _ = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
            }
            assert!(left.is_empty(), "round {round}: {left:?} have left");
        }
    }

    #[test]
    fn the_guard_survives_signals_to_the_group() {
        let process = shell("trap '' INT; kill -s INT 0; kill -s TERM 0; sleep 1000");
        let status = pollster::block_on(process.wait());
        assert_eq!(status.signal(), Some(15));
        assert_ends(process.group.origin().group);
    }

    #[test]
    fn a_command_that_does_not_exist_is_an_error_and_leaves_no_guard() {
        let began = Instant::now();
        let mut command = Command::new("/nonexistent");
        let started = Process::start(&mut command, Orphans::Measured, &Log::discarded());
        let error = started.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
