//! A program with its slots, under the [`Service`].

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
    /// Of the program, or of what traces it.
    pid: i32,
}

impl Child {
    /// Starts it, and waits until all slots wait for an invocation.
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

    /// Its resident memory in KiB.
    pub(crate) fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most that was ever resident, in KiB.
    pub(crate) fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> usize {
        // Nobody tells when it has given its memory back behind the last bytes that it has sent.
        thread::sleep(Duration::from_millis(200));
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// A connection of each of 1,000 slots at both ends: more than the 1,024 files that many systems allow
/// at first. What is started has the same limit.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused the test fails for want of files, and says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
