//! Compares what an invocation costs in `pool` and in `run_concurrent` of `lambda_runtime`, under
//! the lab.
//!
//! It prints a table. It asserts only that each program answers every caller with its own event,
//! which does not depend on the speed of the machine.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use lambda_interop::programs;
use lambda_lab::{Function, Lab, Output};

const SLOTS: usize = 64;
const WARM_UP: usize = 5_000;
const INVOCATIONS: usize = 40_000;
const ROUNDS: usize = 3;

/// The resources that a program has used so far.
#[derive(Clone, Copy)]
struct Usage {
    cpu_us: f64,
    context_switches: u64,
}

/// A program that runs under a lab.
struct Candidate {
    name: &'static str,
    lab: Lab,
    process: String,
    /// CPU microseconds and context switches per invocation, for each round.
    costs: Vec<(f64, f64)>,
}

impl Candidate {
    fn start(name: &'static str, program: PathBuf, arguments: &[&str]) -> Self {
        let function = Function::new(program).concurrency(SLOTS).output(Output::Discarded);
        let function =
            arguments.iter().fold(function, |function, argument| function.argument(argument));
        let lab = function.variable("PROGRAM", name).start().expect("the lab starts");
        invoke_many(&lab, WARM_UP);
        let process = process_with(&format!("PROGRAM={name}"));
        Self { name, lab, process, costs: Vec::new() }
    }

    fn measure(&mut self) {
        let before = self.usage();
        invoke_many(&self.lab, INVOCATIONS);
        let after = self.usage();
        let each = |total: f64| total / INVOCATIONS as f64;
        let switches = (after.context_switches - before.context_switches) as f64;
        self.costs.push((each(after.cpu_us - before.cpu_us), each(switches)));
    }

    fn usage(&self) -> Usage {
        let (mut cpu_ns, mut context_switches) = (0, 0);
        let tasks = fs::read_dir(format!("{}/task", self.process)).expect("the process runs");
        for task in tasks {
            let task = task.unwrap().path();
            // A thread may end at any time.
            let read = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
            cpu_ns += number(read("schedstat").split(' ').next().unwrap_or_default());
            context_switches += field(&read("status"), "voluntary_ctxt_switches:");
            context_switches += field(&read("status"), "nonvoluntary_ctxt_switches:");
        }
        Usage { cpu_us: cpu_ns as f64 / 1000.0, context_switches }
    }

    fn report(&self) {
        let status = fs::read_to_string(format!("{}/status", self.process)).unwrap();
        let sockets = fs::read_dir(format!("{}/fd", self.process)).unwrap();
        let sockets = sockets.filter(|file| {
            let target = fs::read_link(file.as_ref().unwrap().path()).unwrap_or_default();
            target.to_string_lossy().starts_with("socket:")
        });
        println!(
            "{:<28} {:>8.1} {:>10.2} {:>12} {:>9} {:>9} {:>8}",
            self.name,
            median(self.costs.iter().map(|cost| cost.0)),
            median(self.costs.iter().map(|cost| cost.1)),
            sockets.count(),
            field(&status, "VmRSS:"),
            field(&status, "VmHWM:"),
            field(&status, "Threads:"),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// The number in a line of `/proc/PID/status`.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    number(line.trim().trim_end_matches(" kB"))
}

/// The folder in `/proc` of the process that has this variable.
fn process_with(variable: &str) -> String {
    for process in fs::read_dir("/proc").unwrap() {
        let folder = process.unwrap().path().display().to_string();
        let environment = fs::read(format!("{folder}/environ")).unwrap_or_default();
        let is_it = environment.split(|byte| *byte == 0).any(|it| it == variable.as_bytes());
        // The shell that guards the program has the same environment.
        let name = fs::read_to_string(format!("{folder}/comm")).unwrap_or_default();
        if is_it && name.trim() != "sh" {
            return folder;
        }
    }
    panic!("no process with {variable}");
}

fn invoke_many(lab: &Lab, invocations: usize) {
    let next = &AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..SLOTS {
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= invocations {
                        return;
                    }
                    let event = format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(100));
                    let answer = lab.invoke(event.clone()).expect("an answer");
                    assert!(
                        answer.body == event.as_bytes(),
                        "invocation {number} got another's answer"
                    );
                }
            });
        }
    });
}

#[test]
fn cost_of_an_invocation_with_64_slots() {
    let peer = programs::peer_concurrent().unwrap();
    let mut candidates = [
        Candidate::start("pool", programs::example("pool").unwrap(), &[]),
        Candidate::start("lambda_runtime, one thread", peer.clone(), &["one-thread"]),
        Candidate::start("lambda_runtime, its default", peer, &[]),
    ];
    // The programs take turns, so that other load of the machine affects all of them alike.
    (0..ROUNDS).for_each(|_| candidates.iter_mut().for_each(Candidate::measure));
    println!(
        "\n{:<28} {:>8} {:>10} {:>12} {:>9} {:>9} {:>8}",
        "", "CPU µs", "switches", "connections", "RSS KiB", "peak KiB", "threads"
    );
    candidates.iter().for_each(Candidate::report);
}
