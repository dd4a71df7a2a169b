//! Functions under the lab whose output is kept, and whose state is read from `/proc`, which shows
//! whether they are stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{Function, Lab, Output};

use crate::programs;

/// How long to wait: longer than anything takes unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A function for the lab, and the file with its output.
pub struct Logged {
    function: Function,
    log: PathBuf,
}

/// A lab that runs a [`Logged`] function. The file is removed on drop.
pub struct Running {
    /// The lab.
    pub lab: Lab,
    log: PathBuf,
}

impl Logged {
    /// An example of this workspace.
    ///
    /// # Panics
    ///
    /// If it does not build.
    pub fn example(name: &str, arguments: &[&str]) -> Self {
        Self::program(&programs::example(name).unwrap(), arguments)
    }

    /// Any program.
    ///
    /// # Panics
    ///
    /// If the folder for its output cannot be created.
    pub fn program(program: &Path, arguments: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = programs::target_folder().unwrap().join("tmp");
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join(format!("under-lab-{}-{number}.txt", std::process::id()));
        // The lab prints what a function writes, and does not keep it.
        let shell = Function::new("/bin/sh").argument("-c").argument("exec \"$@\" 2>>\"$0\"");
        let function = shell.argument(&log).argument(program);
        let function = arguments.iter().fold(function, |function, it| function.argument(it));
        Self { function: function.output(Output::Discarded), log }
    }

    /// Changes the settings of the function.
    #[must_use]
    pub fn with(self, change: impl FnOnce(Function) -> Function) -> Self {
        Self { function: change(self.function), log: self.log }
    }

    /// Starts a lab for it.
    ///
    /// # Panics
    ///
    /// If the lab does not start.
    pub fn start(self) -> Running {
        Running { lab: self.function.start().unwrap(), log: self.log }
    }
}

impl Running {
    /// Invokes the function, and waits until it has asked for the next invocation; returns the
    /// request id.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn invoke(&self) -> String {
        self.lab.invoke_to_the_end("{}", |_| ()).unwrap().request_id
    }

    /// Invokes the function until its log has a line with all `parts`; returns the request id of
    /// the first invocation. One invocation may not be enough: it may end, and the process be
    /// frozen again, before a thread that is due has run.
    ///
    /// # Panics
    ///
    /// If the line does not appear.
    #[track_caller]
    pub fn invoke_until(&self, parts: &[&str]) -> String {
        let first = self.invoke();
        wait_until(&format!("{parts:?}"), || {
            self.invoke();
            self.find(parts).is_some()
        });
        first
    }

    /// What the function has written to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The number of the first line with all `parts`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn line_with(&self, parts: &[&str]) -> usize {
        self.find(parts).unwrap_or_else(|| panic!("no line with {parts:?}:\n{}", self.log()))
    }

    /// The number of the first line with all `parts`, if there is one.
    pub fn find(&self, parts: &[&str]) -> Option<usize> {
        self.log().lines().position(|line| parts.iter().all(|part| line.contains(part)))
    }

    /// Waits for a line with all `parts`.
    ///
    /// # Panics
    ///
    /// If it does not appear.
    #[track_caller]
    pub fn wait_for(&self, parts: &[&str]) {
        wait_until(&format!("{parts:?}"), || self.find(parts).is_some());
    }

    /// The id of the function's process.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn pid(&self) -> u32 {
        let mark = format!("AWS_LAMBDA_RUNTIME_API={}", self.lab.runtime_api());
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let mut pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let is_marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        pids.find(is_marked).expect("it runs")
    }

    /// Whether the process is stopped.
    pub fn is_frozen(&self) -> bool {
        state(self.pid()) == Some('T')
    }

    /// Waits until the process is stopped.
    ///
    /// # Panics
    ///
    /// If it keeps running.
    #[track_caller]
    pub fn wait_for_freeze(&self) {
        let pid = self.pid();
        wait_until("the process is stopped", || state(pid) == Some('T'));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lab.stop();
        let _best_effort = fs::remove_file(&self.log);
    }
}

/// The state of a process, as in `proc(5)`; `T` for a stopped one.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until the condition holds.
///
/// # Panics
///
/// If it does not hold in time.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "still waiting after {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}
