//! A program with many slots, under the [`Service`].

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lambda_interop::Process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::service::Service;

pub(crate) struct Child {
    pub(crate) service: Service,
    pub(crate) process: Process,
    /// The process id of the program, or of strace if that runs it.
    pid: i32,
}

impl Child {
    /// Starts the program, and waits until all slots wait for an invocation.
    pub(crate) fn start(program: &Path, arguments: &[&str], slots: usize) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start_as(command, slots)
    }

    pub(crate) fn start_as(mut command: Command, slots: usize) -> Self {
        allow_many_files();
        let mut service = Service::start();
        command.env("AWS_LAMBDA_RUNTIME_API", service.address().to_string());
        command.env("AWS_LAMBDA_MAX_CONCURRENCY", slots.to_string());
        let process = Process::start(&mut command).unwrap();
        service.wait_for_slots(slots);
        let pid = *process.family().first().expect("it runs");
        Self { service, process, pid }
    }

    /// The resident memory in KiB.
    pub(crate) fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The peak of the resident memory, in KiB.
    pub(crate) fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> usize {
        // The program releases memory after it has sent its last bytes, and there is no signal for
        // that.
        thread::sleep(Duration::from_millis(200));
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// Raises the limit of open files, which is 1,024 by default on many systems, for 1,000
/// connections. Child processes inherit it.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the system refuses, the test fails with an error about open files.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
