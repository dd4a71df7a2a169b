//! Child processes that do not outlive their owner.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result};

/// A process whose output is collected in memory. Dropping it kills it and all its descendants.
///
/// Process groups are not enough: the emulators put their children into other groups, and a crashed
/// emulator leaves its children to init. So all of them carry a mark in their environment, by which
/// they are found in `/proc`. They stay in the process group of the test, so that Ctrl-C reaches
/// them.
#[derive(Debug)]
pub struct Process {
    child: Child,
    mark: String,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    text: Mutex<String>,
    has_grown: Condvar,
}

/// The variable with the mark.
const MARK: &str = "LAMBDA_INTEROP_PROCESS";

/// How long to wait for output or for the end of a process.
const PATIENCE: Duration = Duration::from_secs(20);

impl Process {
    /// Starts the command.
    ///
    /// # Errors
    ///
    /// An [`Error`] that names the command.
    pub fn start(command: &mut Command) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!(
            "{}-{number}-of-{}",
            std::process::id(),
            std::env::var(MARK).unwrap_or_default()
        );
        command.env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| Error::new(format!("cannot start {command:?}: {error}")))?;
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        stdout.into_iter().for_each(|pipe| Output::collect(&output, pipe));
        stderr.into_iter().for_each(|pipe| Output::collect(&output, pipe));
        Ok(Self { child, mark, output })
    }

    /// The exit status, if the process has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends SIGTERM to the process. It may have ended.
    pub fn terminate(&self) {
        let _may_have_ended = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Waits for the end of the process, 20 s at most.
    ///
    /// # Errors
    ///
    /// An [`Error`] with the output if it does not end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(Error::new(format!("the process did not end; its output:\n{}", self.output())))
    }

    /// What the process and its descendants have written to standard output and error so far.
    pub fn output(&self) -> String {
        self.output.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Waits until the output contains this text, 20 s at most.
    ///
    /// # Errors
    ///
    /// An [`Error`] with the output if the text does not appear.
    pub fn wait_for_output(&self, text: &str) -> Result<()> {
        let output = self.output.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let lacks = |output: &mut String| !output.contains(text);
        let (output, waited) = self
            .output
            .has_grown
            .wait_timeout_while(output, PATIENCE, lacks)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if waited.timed_out() {
            return Err(Error::new(format!("\"{text}\" is not in the output:\n{output}")));
        }
        Ok(())
    }

    /// The ids of this process and all its descendants.
    pub fn family(&self) -> Vec<i32> {
        let marked = format!("{MARK}={}", self.mark);
        let is_marked = |pid: &i32| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|variable| variable == marked.as_bytes())
            })
        };
        let entries =
            fs::read_dir("/proc").into_iter().flatten().filter_map(std::result::Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(is_marked).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _has_ended = self.child.wait();
        // A process may start another while it is being killed: repeat until there is none.
        let began = Instant::now();
        loop {
            let family = self.family();
            if family.is_empty() {
                return;
            }
            for pid in family.into_iter().filter_map(Pid::from_raw) {
                let _has_ended = kill_process(pid, Signal::KILL);
            }
            if began.elapsed() > PATIENCE {
                eprintln!("processes marked {MARK}={} cannot be killed", self.mark);
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Output {
    /// Reads a pipe to its end, on another thread.
    fn collect(this: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let output = Arc::clone(this);
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let mut text = output.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                text.push_str(&String::from_utf8_lossy(&line));
                output.has_grown.notify_all();
                line.clear();
            }
        });
    }
}
