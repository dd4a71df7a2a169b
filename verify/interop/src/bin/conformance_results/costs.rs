//! What AWS's clients cost, as published and on the C interface.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lambda_interop::system_calls::{SystemCalls, Trace};
use lambda_interop::vector_clients::Program;
use lambda_interop::{Error, Process, Result, ScriptedService, aws_clients};

/// A client whose costs are measured.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) source: aws_clients::Source,
    /// Its native module.
    pub(crate) module: PathBuf,
    pub(crate) program: Program,
}

/// Sizes of events, and how many of them are sent for CPU time and under strace. Each is the
/// difference of two runs.
const SIZES: [(usize, &str, usize, usize); 2] =
    [(128, "128 B", 4_000, 400), (1_000_000, "1 MB", 200, 40)];

/// Measures all of them, one after the other, and writes a table in Markdown.
pub(crate) fn table(subjects: &[Subject]) -> Result<String> {
    let mut page = String::from(
        "Costs, measured one after the other in one run on one machine: CPU time to build the client \
         and what it is built on from source, and the time that took; the size of its native module; \
         system calls and CPU time of an invocation, whose function returns its event, in all threads. \
         The times depend on the machine, and are for comparison.\n\n\
         | | CPU to build | time to build | module |",
    );
    let mut line = String::from("|---|--:|--:|--:|");
    for (_, size, ..) in SIZES {
        page += &format!(" calls, {size} | CPU, {size} |");
        line += "--:|--:|";
    }
    page += &format!("\n{line}\n");
    for subject in subjects {
        eprintln!("costs: {}", subject.name);
        page += &subject.row()?;
    }
    Ok(page)
}

impl Subject {
    fn row(&self) -> Result<String> {
        let (began, before) = (Instant::now(), cpu_of_children()?);
        aws_clients::build_afresh(self.source)?;
        let built = cpu_of_children()?.saturating_sub(before);
        let size = fs::metadata(&self.module).map_err(|error| failed(&self.module, &error))?.len();
        let mut row = format!(
            "| {} | {:.0} s | {:.0} s | {} KB |",
            self.name,
            built.as_secs_f64(),
            began.elapsed().as_secs_f64(),
            size / 1000
        );
        for (size, _, events, traced) in SIZES {
            let few = self.trace(size, traced / 4)?;
            let more = self.trace(size, traced + traced / 4)?;
            let calls = more.each_beyond(&few, traced).total();
            let few = self.cpu(size, events / 4)?;
            let cpu = self.cpu(size, events + events / 4)?.saturating_sub(few);
            let micros = cpu.as_secs_f64() * 1e6 / events as f64;
            row += &format!(" {calls:.1} | {micros:.0} µs |");
        }
        Ok(row + "\n")
    }

    /// The CPU time of a run with so many events.
    fn cpu(&self, size: usize, events: usize) -> Result<Duration> {
        let before = cpu_of_children()?;
        self.run(Command::new(&self.program.file), size, events)?;
        Ok(cpu_of_children()?.saturating_sub(before))
    }

    fn trace(&self, size: usize, events: usize) -> Result<SystemCalls> {
        let log = std::env::temp_dir().join(format!("aws-clients-{}.txt", std::process::id()));
        let trace = Trace::new(log.clone());
        self.run(trace.command(&self.program.file), size, events)?;
        trace.calls().map_err(|error| failed(&log, &error))
    }

    fn run(&self, mut command: Command, size: usize, events: usize) -> Result<()> {
        let service = ScriptedService::start_on_several(events, size);
        self.program.complete(&mut command);
        command.env("AWS_LAMBDA_RUNTIME_API", service.address());
        let mut process = Process::start(&mut command)?;
        let right = service.finish()?;
        process.wait()?;
        if right != events {
            return Err(Error::new(format!("{}: {right} of {events} answers", self.name)));
        }
        Ok(())
    }
}

/// The CPU time of all children that have ended and were waited for, and of theirs [proc(5)].
fn cpu_of_children() -> Result<Duration> {
    const TICKS: u64 = 100;
    let stat = Path::new("/proc/self/stat");
    let text = fs::read_to_string(stat).map_err(|error| failed(stat, &error))?;
    // The name of the program is in parentheses, and may have spaces.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let mut fields = fields.skip(13);
    match (ticks(fields.next()), ticks(fields.next())) {
        (Some(user), Some(system)) => Ok(Duration::from_millis((user + system) * 1000 / TICKS)),
        _ => Err(Error::new(format!("{}: no times of children", stat.display()))),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("{}: {error}", path.display()))
}
