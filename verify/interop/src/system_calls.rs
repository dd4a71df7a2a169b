//! Counts the system calls of programs with strace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// How far the calls per invocation may be from the expected number. A few calls of a whole run
/// vary, with the timing of its threads at the start and the end and with the memory that the
/// allocator releases.
const TOLERANCE: f64 = 0.1;

/// A trace of a program by strace, from its start to its end, with all of its threads.
pub struct Trace {
    log: PathBuf,
}

impl Trace {
    /// A trace that is written to this file. The file is removed on drop.
    pub fn new(log: PathBuf) -> Self {
        Self { log }
    }

    /// The command that runs the program under strace; arguments and variables can be added to it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(&self.log).arg(program);
        command
    }

    /// The calls of the program, once it has ended.
    ///
    /// # Errors
    ///
    /// If there is no trace, for instance because strace is not installed.
    pub fn calls(&self) -> io::Result<SystemCalls> {
        let text = fs::read_to_string(&self.log)?;
        // Signals and exits are not calls, and an interrupted call has two lines but counts once.
        let is_call = |line: &&str| {
            !line.contains("+++ ") && !line.contains("--- ") && !line.contains(" resumed>")
        };
        let mut calls = BTreeMap::new();
        for line in text.lines().filter(is_call) {
            let call = line.trim_start_matches(|it: char| it.is_ascii_digit() || it == ' ');
            let name = call.split('(').next().unwrap_or_default();
            *calls.entry(name.to_owned()).or_default() += 1;
        }
        Ok(SystemCalls(calls))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _best_effort = fs::remove_file(&self.log);
    }
}

/// The calls of one run, counted by name.
#[derive(Debug)]
pub struct SystemCalls(BTreeMap<String, usize>);

impl SystemCalls {
    /// The calls per invocation, if this run had `more` invocations than the other: the difference
    /// divided by `more`.
    pub fn each_beyond(&self, fewer: &Self, more: usize) -> EachCosts {
        let on_top = |(name, count): (&String, &usize)| {
            let before = fewer.0.get(name).copied().unwrap_or_default();
            (name.clone(), (*count as f64 - before as f64) / more as f64)
        };
        EachCosts(self.0.iter().map(on_top).collect())
    }
}

/// The calls of one invocation, by name.
#[derive(Debug)]
pub struct EachCosts(BTreeMap<String, f64>);

impl EachCosts {
    /// All of them together.
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// Panics unless each invocation makes these calls and no others.
    #[track_caller]
    pub fn assert_are(&self, expected: &[(&str, f64)]) {
        self.assert_at_most(expected);
        for (name, count) in expected {
            let is_so = self.0.get(*name).is_some_and(|each| *each >= count - TOLERANCE);
            assert!(is_so, "fewer than {count} times {name}: {self:.3?}");
        }
    }

    /// Panics if an invocation makes more calls than these, or others.
    #[track_caller]
    pub fn assert_at_most(&self, most: &[(&str, f64)]) {
        for (name, count) in &self.0 {
            let most = most.iter().find(|(other, _)| other == name).map_or(0.0, |(_, most)| *most);
            assert!(*count <= most + TOLERANCE, "more than {most} times {name}: {self:.3?}");
        }
    }
}
