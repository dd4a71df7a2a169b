//! Builds the functions of `docs/moving-from-lambda-runtime.md` on both sides, and prints their
//! table: `just moving`.
//!
//! The lab invokes the functions under valgrind, which counts the user instructions of two runs;
//! their difference is that of an invocation. The fake service of `benches/` expects an echo and
//! has no Extensions API, which some of these functions need.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{Function, Lab, Output};
use lambda_moving::{PAIRS, Pair, Side};
use rustix::process::{Pid, Signal, kill_process};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many invocations the two runs have.
const RUNS: [u32; 2] = [200, 1_200];

fn main() -> Result<()> {
    println!("| function | lines of code | crates | program, kB | instructions |");
    println!("|---|--:|--:|--:|--:|");
    for pair in PAIRS {
        let sides = [Side::Theirs, Side::Moved, Side::Ours];
        let sides = sides.map(|side| pair.is_on(side).then(|| Measured::of(&pair, side)));
        let [theirs, moved, ours] = sides.map(Option::transpose);
        let sides = [theirs?, moved?, ours?];
        let row = |value: fn(&Measured) -> u64| {
            let cells = sides.iter().map(|side| match side {
                Some(side) => value(side).to_string(),
                None => "–".to_owned(),
            });
            cells.collect::<Vec<_>>().join(" → ")
        };
        let [theirs, ours] = [Side::Theirs, Side::Ours].map(|side| pair.lines(side));
        println!(
            "| {} | {theirs} → {ours} | {} | {} | {} |",
            pair.title,
            row(|side| side.crates),
            row(|side| side.bytes / 1000),
            row(|side| side.instructions),
        );
    }
    Ok(())
}

/// A function on one side.
struct Measured {
    /// The crates that it is built from, itself included.
    crates: u64,
    /// The program without symbols.
    bytes: u64,
    /// User instructions of an invocation.
    instructions: u64,
}

impl Measured {
    fn of(pair: &Pair, side: Side) -> Result<Self> {
        let program = build(pair, side)?;
        let [few, many] = RUNS.map(|invocations| count(&program, pair, invocations));
        Ok(Self {
            crates: pair.crates(side)?,
            bytes: stripped(&program)?,
            instructions: (many? - few?) / u64::from(RUNS[1] - RUNS[0]),
        })
    }
}

fn build(pair: &Pair, side: Side) -> Result<PathBuf> {
    let program = pair.program(side);
    let json = "--message-format=json-render-diagnostics";
    let build = ["build", "--release", "--locked", json, "--bin", &program];
    let messages = pair.cargo(side, &build)?;
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    });
    Ok(executable.ok_or_else(|| format!("cargo has not built {program}"))?.into())
}

fn stripped(program: &Path) -> Result<u64> {
    let copy = program.with_extension("stripped");
    let status = Command::new("strip").arg("-o").arg(&copy).arg(program).status();
    if !status.map_err(|error| format!("strip: {error}; apt-get install binutils"))?.success() {
        return Err("strip has failed".into());
    }
    let bytes = fs::metadata(&copy)?.len();
    fs::remove_file(copy)?;
    Ok(bytes)
}

/// The user instructions of a run with this many invocations.
fn count(program: &Path, pair: &Pair, invocations: u32) -> Result<u64> {
    let out = program.with_extension("callgrind");
    let lab = Function::external().output(Output::Discarded).start()?;
    let mut function = Running(start(program, &lab, &out)?);
    for _ in 0..invocations {
        lab.invoke_to_the_end(pair.event, |_| ())?;
    }
    function.end()?;
    let text = fs::read_to_string(&out)?;
    fs::remove_file(out)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.and_then(|it| it.trim().parse().ok()).ok_or("callgrind has written no total")?)
}

fn start(program: &Path, lab: &Lab, out: &Path) -> Result<Child> {
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(program);
    command.env("AWS_LAMBDA_RUNTIME_API", lab.runtime_api()).env("REGION", "here");
    // Without these, lambda_runtime does not start.
    for (name, value) in [("NAME", "moving"), ("MEMORY_SIZE", "1769"), ("VERSION", "$LATEST")] {
        command.env(format!("AWS_LAMBDA_FUNCTION_{name}"), value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn().map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?)
}

/// A process that is killed and reaped on drop.
struct Running(Child);

impl Running {
    /// Ends the process with SIGTERM, so that callgrind writes its counts.
    fn end(&mut self) -> Result<()> {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM)?;
        let began = Instant::now();
        while self.0.try_wait()?.is_none() {
            if began.elapsed() > Duration::from_secs(20) {
                return Err("the function does not end on SIGTERM".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _has_ended = self.0.kill();
        let _has_ended = self.0.wait();
    }
}
