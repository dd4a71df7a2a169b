//! Compares `lambda-quickjs` with Node.js and AWS's client: what becomes of work that handlers leave
//! undone, and what a start and an invocation cost. `just quickjs-bench` builds both and runs this.

mod client;
mod report;

// What the bench of the other runtime also needs.
#[path = "../../../luajit/bench/src/machine.rs"]
mod machine;
#[path = "../../../luajit/bench/src/measure.rs"]
mod measure;
#[path = "../../../luajit/bench/src/running.rs"]
mod running;
#[path = "../../../luajit/bench/src/service.rs"]
mod service;
#[path = "../../../luajit/bench/src/statistics.rs"]
mod statistics;
#[path = "../../../luajit/bench/src/usage.rs"]
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use client::Client;
use lambda_interop::aws_clients::{self, Node};
use lambda_quickjs_bench::orphans::{self, HANDLERS, Program, Settings, Table};
use measure::{Effort, Samples};

const HELP: &str = "\
Compares lambda-quickjs with Node.js and AWS's client, aws-lambda-ric.

Usage: lambda-quickjs-bench [orphans] [--quick] [--out FILE]

  orphans      only what becomes of work that handlers leave undone; prints, and writes no file
  --quick      few rounds and invocations, too imprecise to compare; prints, and writes no file
  --out FILE   where to write the page; default: runtimes/quickjs/RESULTS.md

Installs Node.js by pip and its client by npm, which compiles for some minutes and needs CMake, autoconf,
automake, libtool and a C++ compiler. Without them, it only runs lambda-quickjs.
";

/// The numbers of items of the events that are measured.
const ITEMS: [usize; 2] = [2, 64];

/// How the handlers are invoked that leave something undone.
const SETTINGS: Settings =
    Settings { timeout: Duration::from_secs(3), pause: Duration::from_millis(100) };

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lambda-quickjs-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (mut is_quick, mut is_help, mut is_only_orphans) = (false, false, false);
    let mut out = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../RESULTS.md"));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "orphans" => is_only_orphans = true,
            "--quick" => is_quick = true,
            "--help" | "-h" => is_help = true,
            "--out" => out = arguments.next().ok_or("--out needs a file; see --help")?.into(),
            other => return Err(format!("{other:?} is not an option; see --help")),
        }
    }
    if is_help {
        print!("{HELP}");
        return Ok(());
    }
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let ours = this.with_file_name("lambda-quickjs");
    if !ours.is_file() {
        return Err(format!("{} does not exist; run `just quickjs-bench`", ours.display()));
    }
    let node = match aws_clients::node_as_published() {
        Ok(node) => Some(node),
        Err(error) => {
            eprintln!("without Node.js, which cannot be installed here: {error}");
            None
        }
    };
    let orphans = orphans(&ours, node.as_ref())?;
    if is_only_orphans {
        print!("{}", report::orphans(&orphans));
        return Ok(());
    }
    let clients = Client::all(&ours, node.as_ref());
    let groups = measured(&clients, is_quick)?;
    let page = report::page(&clients, node.as_ref(), &groups, &orphans, is_quick)?;
    if is_quick {
        print!("{page}");
        return Ok(());
    }
    std::fs::write(&out, page).map_err(|error| format!("{}: {error}", out.display()))?;
    println!("wrote {}", out.display());
    Ok(())
}

/// Invokes every handler under each policy, and on Node.js.
fn orphans(ours: &Path, node: Option<&Node>) -> Result<[Table; 3], String> {
    let mut programs = Program::ours(ours);
    programs.extend(node.map(|node| Program {
        name: client::NODE.to_owned(),
        command: vec![node.program.clone().into(), node.client.clone().into()],
        policy: "",
    }));
    let mut outcomes = vec![];
    for handler in &HANDLERS {
        eprintln!("{}", handler.about);
        let of = programs.iter().map(|program| orphans::play(program, handler, SETTINGS));
        outcomes.push(of.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(orphans::tables(&programs, &outcomes))
}

/// Measures the clients with each event, in turn.
fn measured(clients: &[Client], is_quick: bool) -> Result<Vec<(String, Vec<Samples>)>, String> {
    machine::pin_to_one_core()?;
    let effort = match is_quick {
        true => Effort { rounds: 2, invocations: 2_000, starts: 5 },
        false => Effort { rounds: 7, invocations: 6_000, starts: 61 },
    };
    let groups = ITEMS
        .map(|items| (measure::event(items), clients.iter().map(|_| Samples::default()).collect()));
    let mut groups: Vec<(String, Vec<Samples>)> = groups.into();
    for round in 0..effort.rounds {
        for (event, samples) in &mut groups {
            eprintln!("events of {} bytes: round {} of {}", event.len(), round + 1, effort.rounds);
            // Each round begins with another client.
            for turn in 0..clients.len() {
                let at = (turn + round) % clients.len();
                measure::invocations(&clients[at], event, effort, &mut samples[at])?;
            }
        }
    }
    eprintln!("starting each client {} times", effort.starts);
    for round in 0..effort.starts {
        for turn in 0..clients.len() {
            let at = (turn + round) % clients.len();
            measure::start(&clients[at], &mut groups[0].1[at])?;
        }
    }
    Ok(groups)
}
