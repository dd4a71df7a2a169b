//! Measures the cost of an invocation over loopback: of lambda-proto, of a minimal client as the
//! floor, and of third-party clients.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -- --help`
#![forbid(unsafe_code)]

mod bounds;
mod check;
mod clients;
mod error;
mod graph;
mod instructions;
mod machine;
mod measure;
mod options;
mod proc;
mod programs;
mod report;
mod results;
mod run;
mod running;
mod service;
mod sizes;
mod starts;
mod statistics;
mod telemetry;

use std::process::ExitCode;

use error::{Error, Result};
use options::{Options, Placement, Task};
use programs::Programs;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if let [_, first, words @ ..] = &words[..]
        && first == running::BECOME
    {
        eprintln!("{}", running::become_client(words));
        return ExitCode::FAILURE;
    }
    let done = Options::parse(words).and_then(|options| match options.task {
        Task::Run => run::run(&options),
        Task::Instructions => count_instructions(&options),
        Task::Starts => time_starts(&options),
        Task::Sizes => {
            print!("{}", sizes::table(&sizes::measure(&mut Programs::default())?));
            Ok(())
        }
        Task::Telemetry => {
            let rows = telemetry::measure(&mut Programs::default(), options.is_quick)?;
            print!("{}", telemetry::table(&rows));
            Ok(())
        }
        Task::Check => check::check(&options),
        Task::Help => {
            print!("{}", options::HELP);
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lambda-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn time_starts(options: &Options) -> Result<()> {
    let rows = starts::measure(&mut Programs::default(), options.start_cores()?, options.is_quick)?;
    print!("{}", starts::table(&rows));
    Ok(())
}

fn count_instructions(options: &Options) -> Result<()> {
    let cores = options.cores(Placement::Same)?.ok_or_else(|| Error::new("no core to run on"))?;
    let rows = instructions::count(
        &mut Programs::default(),
        cores,
        options.clients.as_deref(),
        options.is_all,
    )?;
    if options.is_json {
        for row in &rows {
            println!("{}", serde_json::json!(row));
        }
    } else {
        print!("{}", instructions::table(&rows));
    }
    Ok(())
}
