//! Compares `lambda-luajit` with the common guide's form, with the protocol by hand on Debian's
//! luajit, and with functions in Rust; `just luajit-bench` builds all of them and runs this.

mod client;
mod faults;
mod machine;
mod measure;
mod report;
mod running;
mod service;
mod statistics;
mod usage;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use client::Client;
use measure::{Effort, Samples};

const HELP: &str = "\
Compares lambda-luajit with other ways to run Lua on Lambda, and with functions in Rust.

Usage: lambda-luajit-bench [--quick] [--out FILE]

  --quick      few rounds and invocations, too imprecise to compare; prints, and writes no file
  --out FILE   where to write the page; default: runtimes/luajit/RESULTS.md

Needs curl and Debian's packages luajit, lua-cjson and lua-socket.
";

/// The numbers of items of the events that are measured.
const ITEMS: [usize; 2] = [2, 64];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lambda-luajit-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (mut is_quick, mut is_help) = (false, false);
    let mut out = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../RESULTS.md"));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
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
    let programs = std::env::current_exe().map_err(|error| error.to_string())?;
    let clients = Client::all(programs.parent().unwrap_or(Path::new(".")));
    check_packages()?;
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
    eprintln!("the failures, under the lab");
    let with_faults: Vec<_> = clients.iter().filter(|client| client.faults.is_some()).collect();
    let outcomes: Result<Vec<_>, _> = with_faults.iter().map(|client| faults::of(client)).collect();
    let page = report::page(&clients, &groups, &with_faults, &outcomes?, is_quick);
    if is_quick {
        print!("{page}");
        return Ok(());
    }
    std::fs::write(&out, page).map_err(|error| format!("{}: {error}", out.display()))?;
    println!("wrote {}", out.display());
    Ok(())
}

/// Whether this machine has what the other clients need.
fn check_packages() -> Result<(), String> {
    let needed: [(&str, &[&str]); 2] =
        [("luajit", &["-e", "require 'cjson' require 'socket'"]), ("curl", &["--version"])];
    for (command, arguments) in needed {
        let mut command = Command::new(command);
        let output = command.args(arguments).output();
        if !output.is_ok_and(|output| output.status.success()) {
            return Err("install curl, luajit, lua-cjson and lua-socket (Debian)".to_owned());
        }
    }
    Ok(())
}
