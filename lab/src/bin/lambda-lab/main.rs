//! The program `lambda-lab`.
#![forbid(unsafe_code)]

mod options;

use std::ffi::OsString;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lambda_lab::{Event, command};

use options::Options;

/// A local Lambda: runs a custom runtime on this machine
#[derive(Parser)]
#[command(name = "lambda-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a function, invoke it, print its answer
    ///
    /// The answer goes to standard output, everything else to standard error. The exit code is 0 if
    /// the function answered, 1 if it failed, and 2 if the command line is invalid.
    Run {
        /// The event: JSON, @FILE, or - for standard input; repeat the option for several
        /// invocations, one after the other
        #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
        event: Vec<String>,
        #[command(flatten)]
        options: Options,
        /// The program to start, and its arguments
        #[arg(
            value_name = "BOOTSTRAP",
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        bootstrap: Vec<OsString>,
    },
    /// Keep running, and invoke a function with each event that is posted
    Serve {
        /// The port to listen on; 0 for any free port
        #[arg(long, default_value_t = 9000)]
        port: u16,
        /// The address to listen on
        #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
        host: IpAddr,
        /// How many environments to start at most for concurrent callers
        #[arg(long, value_name = "N", default_value_t = 1)]
        environments: usize,
        /// Managed instances: how many concurrent invocations each environment takes
        #[arg(long, value_name = "N")]
        concurrency: Option<usize>,
        #[command(flatten)]
        options: Options,
        /// The program to start, and its arguments; if omitted, start the runtime yourself
        #[arg(value_name = "BOOTSTRAP", trailing_var_arg = true, allow_hyphen_values = true)]
        bootstrap: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run { event, options, bootstrap } => {
            options.function(bootstrap).and_then(|function| {
                let events: Result<Vec<_>, _> = event.into_iter().map(read_event).collect();
                Ok(command::run_all(function, events?.into_iter().map(Event::from)))
            })
        }
        Command::Serve { port, host, environments, concurrency, options, bootstrap } => {
            options.function(bootstrap).map(|function| {
                let function = function.listen(SocketAddr::new(host, port));
                let function = function.environments(environments);
                command::serve(match concurrency {
                    Some(most) => function.concurrency(most),
                    None => function,
                })
            })
        }
    };
    result.unwrap_or_else(command::invalid)
}

fn read_event(event: String) -> Result<Vec<u8>, String> {
    if event == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        return read.map(|_| bytes).map_err(|error| format!("cannot read standard input: {error}"));
    }
    match event.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(|error| {
            format!(
                "cannot read the event from the file \"{file}\": {error}; give its path after @"
            )
        }),
        None => Ok(event.into_bytes()),
    }
}
