//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::clients::Kind;
use crate::error::{Error, Result};
use crate::running::Cores;

pub(crate) const HELP: &str = "\
Measures the cost of an invocation over loopback: of lambda-proto, of a minimal client as the
floor, and of third-party clients.

Usage: lambda-benches [run] [OPTIONS]          measures, and prints tables with ratios; a complete
                                               run writes benches/RESULTS.md and benches/graphs/
       lambda-benches instructions [OPTIONS]   counts user instructions and allocations of an
                                               invocation (valgrind)
       lambda-benches starts [OPTIONS]         measures the time from process start to `next`
       lambda-benches sizes                    measures programs, and counts their crates
       lambda-benches telemetry [--quick]      measures extensions that receive telemetry, and what
                                               they lose
       lambda-benches check [OPTIONS]          fails if a count exceeds its bound (src/bounds.rs)

Options of run:
  --quick            few rounds and invocations, too imprecise to compare; also for starts
  --clients a,b      only these clients; default: all
  --bodies 128,6144  lengths of the event, with one slot
  --slots 1,64       numbers of slots, with events of 128 B
  --rounds N         how often each client is measured; ratios are taken within a round
  --placements a,b   same, apart: whether service and client share a core
  --python PATH      a Python that can import awslambdaric
  --out FOLDER       where to write RESULTS.md and graphs/; default: benches/, for complete runs
Options of instructions:
  --json             one line of JSON per client
  --all              includes lambda_runtime and lambda_http, which takes two minutes
  --clients a,b      only these clients, beside bare httparse
Options of all commands:
  --cores A,B        the cores of service and client; default: the first two
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Run,
    Instructions,
    Starts,
    Sizes,
    Telemetry,
    Check,
    Help,
}

/// Whether service and client share a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    Same,
    Apart,
}

impl Placement {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Apart => "apart",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) task: Task,
    pub(crate) is_quick: bool,
    pub(crate) clients: Option<Vec<Kind>>,
    pub(crate) bodies: Option<Vec<usize>>,
    pub(crate) slots: Option<Vec<usize>>,
    pub(crate) rounds: Option<usize>,
    pub(crate) placements: Option<Vec<Placement>>,
    pub(crate) python: Option<PathBuf>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) is_json: bool,
    pub(crate) is_all: bool,
    cores: Option<Vec<usize>>,
}

impl Options {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        use lexopt::prelude::{Long, Short, Value, ValueExt};
        let mut this = Self {
            task: Task::Run,
            is_quick: false,
            clients: None,
            bodies: None,
            slots: None,
            rounds: None,
            placements: None,
            python: None,
            out: None,
            is_json: false,
            is_all: false,
            cores: None,
        };
        let mut parser = lexopt::Parser::from_iter(arguments);
        let wrong = |error: lexopt::Error| Error::new(format!("{error}; see --help"));
        let value = |parser: &mut lexopt::Parser| {
            parser.value().and_then(|value| value.string()).map_err(wrong)
        };
        while let Some(argument) = parser.next().map_err(wrong)? {
            match argument {
                Value(task) => this.task = parse_task(&task.to_string_lossy())?,
                Short('h') | Long("help") => this.task = Task::Help,
                Long("quick") => this.is_quick = true,
                Long("json") => this.is_json = true,
                Long("all") => this.is_all = true,
                Long("clients") => {
                    this.clients = Some(list(&value(&mut parser)?, Kind::from_name)?)
                }
                Long("bodies") => {
                    this.bodies = Some(list(&value(&mut parser)?, |it| number(it, 9, 6 << 20))?)
                }
                Long("slots") => {
                    this.slots = Some(list(&value(&mut parser)?, |it| number(it, 1, 4096))?)
                }
                Long("rounds") => this.rounds = Some(number(&value(&mut parser)?, 1, 1000)?),
                Long("placements") => {
                    this.placements = Some(list(&value(&mut parser)?, parse_placement)?)
                }
                Long("python") => this.python = Some(value(&mut parser)?.into()),
                Long("out") => this.out = Some(value(&mut parser)?.into()),
                Long("cores") => {
                    this.cores = Some(list(&value(&mut parser)?, |it| number(it, 0, 1023))?)
                }
                other => return Err(wrong(other.unexpected())),
            }
        }
        Ok(this)
    }

    /// Whether this run measures everything, often enough for comparisons.
    pub(crate) fn is_whole(&self) -> bool {
        let is_narrowed = self.clients.is_some()
            || self.bodies.is_some()
            || self.slots.is_some()
            || self.rounds.is_some()
            || self.placements.is_some();
        !self.is_quick && !is_narrowed
    }

    /// The cores of service and client in this placement; `None` if there are too few.
    pub(crate) fn cores(&self, placement: Placement) -> Result<Option<Cores>> {
        let cores = match &self.cores {
            Some(cores) => cores.clone(),
            None => Cores::allowed()?,
        };
        let Some(&service) = cores.first() else {
            return Err(Error::new("--cores is empty; give two numbers, such as 0,1"));
        };
        let client = match placement {
            Placement::Same => Some(service),
            Placement::Apart => cores.get(1).copied(),
        };
        Ok(client.map(|client| Cores { service, client }))
    }

    /// The cores of service and client for measuring starts: different ones, if there are two.
    pub(crate) fn start_cores(&self) -> Result<Cores> {
        let cores = self.cores(Placement::Apart)?.or(self.cores(Placement::Same)?);
        cores.ok_or_else(|| Error::new("no core to run on"))
    }
}

fn parse_task(name: &str) -> Result<Task> {
    match name {
        "run" => Ok(Task::Run),
        "instructions" => Ok(Task::Instructions),
        "starts" => Ok(Task::Starts),
        "sizes" => Ok(Task::Sizes),
        "telemetry" => Ok(Task::Telemetry),
        "check" => Ok(Task::Check),
        _ => Err(Error::new(format!(
            "\"{name}\" is not a command; choose run, instructions, starts, sizes, telemetry or check; see \
             --help"
        ))),
    }
}

fn parse_placement(name: &str) -> Result<Placement> {
    match name {
        "same" => Ok(Placement::Same),
        "apart" => Ok(Placement::Apart),
        _ => Err(Error::new(format!("\"{name}\" is not a placement; choose same or apart"))),
    }
}

fn list<T>(text: &str, parse: impl FnMut(&str) -> Result<T>) -> Result<Vec<T>> {
    text.split(',').map(str::trim).map(parse).collect()
}

fn number(text: &str, least: usize, most: usize) -> Result<usize> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| Error::new(format!("\"{text}\" is not a number from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn lists_are_read_and_narrow_a_run() {
        let options = parse("benches run --bodies 128,1048576 --clients floor,echo").unwrap();
        assert_eq!(options.bodies.as_deref(), Some(&[128, 1_048_576][..]));
        assert_eq!(options.clients.as_deref(), Some(&[Kind::Floor, Kind::Echo][..]));
        assert!(!options.is_whole());
        assert!(parse("benches --out /tmp/x").unwrap().is_whole());
    }

    #[test]
    fn an_error_names_the_wrong_value_and_the_valid_ones() {
        for (line, text) in [
            ("benches --clients eccho", "\"eccho\" is not a client; choose from floor,"),
            ("benches --bodies 7", "\"7\" is not a number from 9 to"),
            ("benches --fast", "invalid option '--fast'; see --help"),
            ("benches walk", "\"walk\" is not a command; choose run,"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
