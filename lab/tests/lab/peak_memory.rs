//! The memory of a function's processes, in the REPORT line and against the memory size.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::served::Served;
use crate::support::{PATIENCE, lives, wait_until};

/// The variable that makes this program take this number of megabytes.
pub(crate) const HUNGRY: &str = "LAB_TEST_HUNGRY";

/// Takes memory, says so, and keeps it.
pub(crate) fn eat(megabytes: usize) {
    // Writes every byte.
    let memory = std::hint::black_box(vec![1_u8; megabytes << 20]);
    println!("full {}", memory.len());
    loop {
        std::thread::park();
    }
}

/// Starts a child that has taken that much memory, and keeps it until it is killed.
pub(crate) fn start_hungry(megabytes: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "hungry", "--nocapture"]).env(HUNGRY, megabytes);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("full")));
    child
}

fn served(options: &[&str]) -> Served {
    let bootstrap = std::env::current_exe().unwrap();
    let script = format!("exec {} --exact bootstrap --nocapture", bootstrap.display());
    Served::start(options, &script)
}

/// Invokes the function. Returns its answer, what the REPORT line says, and the lines before it.
fn used(served: &mut Served, event: &str) -> (String, u32, String) {
    let answer = served.invoke(event).response();
    assert_eq!(answer.status, 200);
    let mut before = String::new();
    loop {
        let mut line = String::new();
        assert!(served.stderr.read_line(&mut line).unwrap() > 0, "{before}");
        if let Some((_, used)) = line.split_once("Max Memory Used: ") {
            let used = used.split_once(" MB").unwrap().0.parse().unwrap();
            return (answer.text(), used, before);
        }
        before.push_str(&line);
    }
}

#[test]
fn the_memory_of_a_child_counts_also_after_its_end() {
    let mut served = served(&[]);
    let (_, alone, _) = used(&mut served, "in");
    assert!(alone > 0 && alone < 100, "{alone}");
    let (child, ..) = used(&mut served, "hungry 200");
    let child: u32 = child.parse().unwrap();
    let began = Instant::now();
    // A child counts when it has been seen for some milliseconds.
    let together = loop {
        let (_, used, _) = used(&mut served, "in");
        if used >= 200 {
            break used;
        }
        assert!(began.elapsed() < PATIENCE, "{used}");
    };
    assert!(together < 400, "{together}");
    let kill = Command::new("kill").args(["-s", "KILL", &child.to_string()]).status().unwrap();
    assert!(kill.success());
    wait_until("the child has ended", || !lives(child));
    assert!(used(&mut served, "in").1 >= together);
}

#[test]
fn a_child_is_measured_during_an_invocation_that_takes_its_time() {
    let mut served = served(&[]);
    let began = Instant::now();
    // The child ends before the invocation does.
    while used(&mut served, "hungry-for 150 300").1 < 150 {
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn passing_the_memory_size_is_said_once() {
    let mut served = served(&["--memory", "128"]);
    let (_, _, mut said) = used(&mut served, "hungry 150");
    let began = Instant::now();
    while !said.contains(" MB of 128 MB: ") {
        assert!(began.elapsed() < PATIENCE);
        said = used(&mut served, "in").2;
    }
    let words = " MB of 128 MB: Lambda would have ended the function (Runtime.ExitError, signal: \
                 killed); the lab does not enforce the memory size\n";
    assert!(said.contains(words), "{said}");
    for _ in 0..3 {
        let (_, used, said) = used(&mut served, "in");
        assert!(used >= 150 && !said.contains(" of 128 MB"), "{used} {said}");
    }
}
