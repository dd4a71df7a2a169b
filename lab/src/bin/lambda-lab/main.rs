//! The program `lambda-lab`.
#![forbid(unsafe_code)]

mod addresses;
mod hints;
mod numbers;
mod options;
mod times;

use std::ffi::OsString;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lambda_lab::{Event, Function, command};

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
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// The event: JSON, @FILE, or - for standard input; may be repeated
        ///
        /// Several events are invoked one after the other.
        #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
        event: Vec<String>,
        /// The trace id of the invocations: Root=…;Parent=…;Sampled=1
        ///
        /// Without this option each invocation gets a new one; with an empty ID, none.
        #[arg(long, value_name = "ID")]
        trace_id: Option<String>,
        #[command(flatten)]
        options: Options,
        /// The program to start, and its arguments; or a folder, or a zip archive, with a bootstrap
        ///
        /// What follows it belongs to the program, so the options of the lab come before it.
        #[arg(
            value_name = "BOOTSTRAP",
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        bootstrap: Vec<OsString>,
    },
    /// Keep running, and invoke a function with each event that is posted
    #[command(after_help = SERVE_EXAMPLES)]
    Serve {
        /// The port to listen on; 0 for any free port
        #[arg(
            long,
            default_value_t = 9000,
            value_parser = numbers::port,
            help_heading = "Addresses"
        )]
        port: u16,
        /// The address to listen on, or a name such as localhost
        ///
        /// With 0.0.0.0 any machine in the network can invoke the function.
        #[arg(
            long,
            value_name = "HOST",
            default_value_t = addresses::HOST,
            value_parser = addresses::host,
            help_heading = "Addresses"
        )]
        host: IpAddr,
        /// The port of the Runtime API [default: a free port of 127.0.0.1]
        ///
        /// For a runtime that you start yourself, in a debugger or, with 0.0.0.0:PORT, in a
        /// container.
        #[arg(
            long,
            value_name = "[HOST:]PORT",
            value_parser = addresses::port_or_address,
            visible_aliases = ["runtime-api", "runtime-api-address"],
            help_heading = "Addresses"
        )]
        runtime_port: Option<SocketAddr>,
        /// Start the rebuilt program for the next invocation
        ///
        /// Then a new environment starts, also when a file among the arguments or in the task root
        /// has changed.
        #[arg(long)]
        watch: bool,
        /// How many environments to start at most for concurrent callers
        #[arg(
            long,
            value_name = "N",
            default_value_t = 1,
            value_parser = numbers::count,
            help_heading = "Environments"
        )]
        environments: usize,
        /// Managed instances: how many concurrent invocations each environment takes
        #[arg(
            long,
            value_name = "N",
            value_parser = numbers::count,
            help_heading = "Environments"
        )]
        concurrency: Option<usize>,
        /// Let the web pages of this origin invoke the function: https://app.example, * for all
        /// pages, null for files; may be repeated. Pages of localhost always may
        #[arg(long, value_name = "ORIGIN")]
        allow_origin: Vec<String>,
        #[command(flatten)]
        options: Options,
        /// The program to start, and its arguments; or a folder, or a zip archive, with a bootstrap
        ///
        /// If it is omitted, start the runtime yourself.
        #[arg(value_name = "BOOTSTRAP", trailing_var_arg = true, allow_hyphen_values = true)]
        bootstrap: Vec<OsString>,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  lambda-lab run --event '{\"name\":\"Ada\"}' target/release/my-function
  lambda-lab run --event @event.json --timeout 3 function.zip
  lambda-lab run --handler app.main python3 -m awslambdaric app.main";

const SERVE_EXAMPLES: &str = "\
Examples:
  lambda-lab serve --watch target/debug/my-function
  lambda-lab serve --port 9001 --environments 4 function.zip
  lambda-lab serve --runtime-port 9002";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match hints::program(&error) {
            Some(hint) => return command::invalid(hint),
            None => error.exit(),
        },
    };
    let result = match cli.command {
        Command::Run { event, trace_id, options, bootstrap } => {
            options.function("run", bootstrap).and_then(|function| {
                if event.iter().filter(|event| *event == "-").count() > 1 {
                    return Err("standard input can be read once: give --event - once, and the \
                                other events as JSON or @FILE"
                        .into());
                }
                let events: Result<Vec<_>, _> = event.into_iter().map(read_event).collect();
                let events = events?.into_iter().map(|event| match &trace_id {
                    Some(id) => event.trace_id(id),
                    None => event,
                });
                Ok(command::run_all(function, events))
            })
        }
        Command::Serve {
            port,
            host,
            runtime_port,
            watch,
            environments,
            concurrency,
            allow_origin,
            options,
            bootstrap,
        } => options.function("serve", bootstrap).map(|function| {
            let function = function.listen(SocketAddr::new(host, port));
            let function = function.environments(environments);
            let function = allow_origin.into_iter().fold(function, Function::allow_origin);
            let function = if watch { function.watch() } else { function };
            let function = match runtime_port {
                Some(address) => function.runtime_api(address),
                None => function,
            };
            command::serve(match concurrency {
                Some(most) => function.concurrency(most),
                None => function,
            })
        }),
    };
    result.unwrap_or_else(command::invalid)
}

fn read_event(event: String) -> Result<Event, String> {
    if event == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot read standard input: {error}"))?;
        return Event::json(bytes)
            .map_err(|error| format!("the event on standard input is not JSON: {error}"));
    }
    match event.strip_prefix('@') {
        Some(file) => {
            let bytes = std::fs::read(file).map_err(|error| {
                let remedy = match file {
                    "-" => "for standard input write --event -",
                    _ => "give its path after @",
                };
                format!("cannot read the event from the file {file:?}: {error}; {remedy}")
            })?;
            Event::json(bytes)
                .map_err(|error| format!("the event in the file {file:?} is not JSON: {error}"))
        }
        None => Event::json(event.as_str()).map_err(|error| {
            if std::path::Path::new(&event).is_file() {
                return format!(
                    "the event {event:?} is not JSON, but a file: write --event @{}",
                    event.escape_debug()
                );
            }
            let is_word = !event.contains(['\'', '"', '\\', '{', '[']) && event.len() < 40;
            let example = if is_word { format!("\"{event}\"") } else { r#"{"name":"Ada"}"#.into() };
            let (beginning, more) = match event.char_indices().nth(60) {
                Some((end, _)) => (&event[..end], " …"),
                None => (event.as_str(), ""),
            };
            format!(
                "the event {beginning:?}{more} is not JSON: {error}; write JSON in single quotes, \
                 such as --event '{}'",
                example.escape_debug().to_string().replace("\\\"", "\"")
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_can_be_parsed() {
        for example in RUN_EXAMPLES.lines().chain(SERVE_EXAMPLES.lines()) {
            if example != "Examples:" {
                let parsed = Cli::try_parse_from(example.split_whitespace());
                assert!(parsed.is_ok(), "{example}: {}", parsed.err().unwrap());
            }
        }
    }
}
