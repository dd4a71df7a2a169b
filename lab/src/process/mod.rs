//! The processes of a runtime. None of them outlives the lab.

pub(crate) mod program;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::sync::watch;

/// A runtime's process and all processes that it started, as one process group.
///
/// When the first process ends, or when this is dropped, the whole group is killed. If the lab
/// itself is killed, the [`Guard`] kills the group.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    group: Arc<Group>,
    exit: watch::Receiver<Option<ExitStatus>>,
    reaper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Group {
    /// The id of the guard and of its group. It may be signalled until the guard is reaped; after
    /// that the system may reuse it.
    id: Pid,
    members: Mutex<Option<Members>>,
}

#[derive(Debug)]
struct Members {
    child: Child,
    guard: Guard,
    /// When the group was stopped, while it is.
    frozen: Option<Instant>,
    /// The group has been asked to end, and is never stopped again.
    is_ending: bool,
}

/// A shell that leads the group. It waits for the end of its input, which means that the lab has
/// ended, and then kills the group.
///
/// The write end of the input is open in this process and, between fork and exec, also in the
/// process that is being started. That process has joined the group by the time its copy is closed,
/// so the kill reaches it.
#[derive(Debug)]
struct Guard(Child);

/// The guard ignores the signals that a runtime may send to its own group.
const GUARD: &str = "trap '' HUP INT TERM; read -r _; kill -s KILL 0";

impl Process {
    /// Starts the command in its own process group, with no input.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let guard = Guard::start()?;
        let id = Pid::from_child(&guard.0);
        let child =
            command.stdin(Stdio::null()).process_group(id.as_raw_nonzero().get()).spawn()?;
        let pid = Pid::from_child(&child);
        let members = Members { child, guard, frozen: None, is_ending: false };
        let group = Arc::new(Group { id, members: Mutex::new(Some(members)) });
        let (tell_exit, exit) = watch::channel(None);
        let reaper = thread::Builder::new().name("lambda-lab-reaper".into()).spawn({
            let group = Arc::clone(&group);
            move || {
                // Fails if no one waits for the exit any longer.
                let _ = tell_exit.send(Some(group.wait(pid)));
            }
        });
        match reaper {
            Ok(reaper) => Ok(Self { pid, group, exit, reaper: Some(reaper) }),
            Err(error) => {
                group.kill();
                group.wait(pid);
                Err(error)
            }
        }
    }

    /// The exit status of the first process; `None` while it runs.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until the first process has ended and the rest of the group has been killed.
    pub(crate) async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.expect("it was waited for"),
            // The reaper has panicked, which would be a bug.
            Err(_) => ExitStatus::from_raw(0),
        }
    }

    /// Kills the group, even if it is stopped. [`wait`](Self::wait) returns when it is gone.
    pub(crate) fn kill(&self) {
        self.group.kill();
    }

    /// Asks the group to end: SIGTERM, and SIGCONT if it is stopped. It cannot be stopped again.
    pub(crate) fn terminate(&self) {
        self.group.terminate();
    }

    /// Stops the group, as Lambda freezes an environment. Does nothing if the group has been asked
    /// to end.
    pub(crate) fn freeze(&self) {
        self.group.freeze();
    }

    /// Continues the group. Returns how long it was stopped, if it was.
    pub(crate) fn thaw(&self) -> Option<Duration> {
        self.group.thaw()
    }

    /// The peak memory of the first process, in MiB. `None` if the process has ended, or if the
    /// system does not report it.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero()));
        // If the process has been reaped by now, the file may have been another process's.
        let status = status.ok().filter(|_| self.exit_status().is_none())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib.div_ceil(1024))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
    }
}

impl Group {
    fn kill(&self) {
        if self.lock().is_some() {
            // Fails if the group has just ended, which is not an error here.
            let _ = kill_process_group(self.id, Signal::KILL);
        }
    }

    fn terminate(&self) {
        let mut members = self.lock();
        let Some(members) = members.as_mut() else { return };
        members.is_ending = true;
        // The guard ignores SIGTERM. It is sent before SIGCONT, so that a stopped process handles
        // it before anything else.
        let _ = kill_process_group(self.id, Signal::TERM);
        if members.frozen.take().is_some() {
            let _ = kill_process_group(self.id, Signal::CONT);
        }
    }

    fn freeze(&self) {
        let mut members = self.lock();
        let Some(members) = members.as_mut().filter(|it| !it.is_ending && it.frozen.is_none())
        else {
            return;
        };
        let _ = kill_process_group(self.id, Signal::STOP);
        // The guard must keep running to see the end of the lab. If the lab is killed between these
        // two calls, the group becomes orphaned, and the kernel continues it.
        let _ = kill_process(Pid::from_child(&members.guard.0), Signal::CONT);
        members.frozen = Some(Instant::now());
    }

    fn thaw(&self) -> Option<Duration> {
        let since = self.lock().as_mut()?.frozen.take()?;
        let _ = kill_process_group(self.id, Signal::CONT);
        Some(since.elapsed())
    }

    /// Waits for the end of the first process, kills the rest of the group, and reaps.
    fn wait(&self, first: Pid) -> ExitStatus {
        // `NOWAIT` leaves the process unreaped, so that `kill` can take the lock while this waits.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(first), options) {}
        let mut members = self.lock();
        let _ = kill_process_group(self.id, Signal::KILL);
        let status = members.take().and_then(|mut members| members.child.wait().ok());
        status.unwrap_or_else(|| ExitStatus::from_raw(0))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Members>> {
        self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Guard {
    fn start() -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GUARD]).stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(Stdio::null()).env_clear().process_group(0);
        let guard = command.spawn().map_err(|error| {
            let remedy = program::remedy(&error).unwrap_or_default();
            let text = format!("cannot start the guard process /bin/sh: {error}{remedy}");
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self(guard))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a process ended, in the words of the service, which are those of Go.
pub(crate) fn describe_exit(status: ExitStatus) -> String {
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
        (Some(0), _) => "Runtime exited without providing a reason".into(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            let name = SIGNALS.iter().find(|(known, _)| *known == signal).map(|(_, name)| *name);
            let name = name.map_or_else(|| format!("signal {signal}"), str::to_owned);
            let core = if status.core_dumped() { " (core dumped)" } else { "" };
            format!("Runtime exited with error: signal: {name}{core}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start(Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::null())).unwrap()
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
        let file = format!("/proc/{}/stat", process.pid.as_raw_nonzero());
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
            assert_ends(process.group.id);
            process.freeze();
            assert_eq!(process.thaw(), None);
        }
        let process = shell("sleep 1000 & exec sleep 1000");
        process.freeze();
        assert_gets(&process, 'T');
        let group = process.group.id;
        drop(process);
        assert_ends(group);
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
        drop(process.group.lock().as_mut().unwrap().guard.0.stdin.take());
        assert_eq!(pollster::block_on(process.wait()).signal(), Some(9));
        assert_ends(process.group.id);
    }

    #[test]
    fn an_exit_is_described_in_the_words_of_the_service() {
        for (script, words) in [
            ("exit 0", "Runtime exited without providing a reason"),
            ("exit 3", "Runtime exited with error: exit status 3"),
            ("kill -9 $$", "Runtime exited with error: signal: killed"),
            ("kill -15 $$", "Runtime exited with error: signal: terminated"),
            ("kill -12 $$", "Runtime exited with error: signal: signal 12"),
        ] {
            let process = shell(script);
            assert_eq!(describe_exit(pollster::block_on(process.wait())), words);
        }
    }

    #[test]
    fn the_children_of_a_process_end_with_it() {
        let process = shell("sleep 1000 & sleep 1000 & exit 0");
        pollster::block_on(process.wait());
        assert_ends(process.group.id);
    }

    #[test]
    fn kill_and_drop_end_a_process_and_its_children() {
        let process = shell("sleep 1000 & sleep 1000");
        process.kill();
        let status = pollster::block_on(process.wait());
        assert_eq!(status.signal(), Some(9));
        assert_ends(process.group.id);
        process.kill();

        let process = shell("sleep 1000 & sleep 1000");
        let pid = process.group.id;
        assert!(lives(pid));
        drop(process);
        assert_ends(pid);
    }

    #[test]
    fn the_guard_kills_the_group_when_its_input_ends() {
        let mut guard = Guard::start().unwrap();
        let mut sleep = Command::new("/bin/sleep");
        let mut child = sleep.arg("1000").process_group(guard.0.id() as i32).spawn().unwrap();
        assert!(child.try_wait().unwrap().is_none());
        drop(guard.0.stdin.take());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn the_guard_survives_signals_to_the_group() {
        let process = shell("trap '' INT; kill -s INT 0; kill -s TERM 0; sleep 1000");
        let status = pollster::block_on(process.wait());
        assert_eq!(status.signal(), Some(15));
        assert_ends(process.group.id);
    }

    #[test]
    fn a_command_that_does_not_exist_is_an_error_and_leaves_no_guard() {
        let began = Instant::now();
        let error = Process::start(&mut Command::new("/nonexistent")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
