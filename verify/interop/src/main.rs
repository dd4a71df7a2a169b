//! Runs a function under AWS's emulator, invokes it once, and prints its answer:
//! `cargo run -p lambda-interop -- hello '{"name":"Ada"}'`.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lambda_interop::{Error, Function, Result, programs};
use lexopt::prelude::*;

const USAGE: &str = "\
Runs a function under AWS's emulator, invokes it once, and prints its answer.

usage: lambda-interop FUNCTION EVENT [-- ARGUMENTS]

FUNCTION   an example (bare, echo, hello, minimal, stream), which is built first, or the
           path of any bootstrap
EVENT      the event to invoke it with, usually JSON
ARGUMENTS  passed to the function

The answer goes to standard output, everything else to standard error. The exit code is
0 if the function succeeded, 1 if it failed, and 2 for a wrong command line.

  cargo run -p lambda-interop -- hello '{\"name\":\"Ada\"}'
";

enum Command {
    Help,
    Run { function: OsString, event: OsString, arguments: Vec<OsString> },
}

fn main() -> ExitCode {
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("lambda-interop: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = match command {
        Command::Help => print(USAGE.as_bytes()),
        Command::Run { function, event, arguments } => run(function, event, arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lambda-interop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> std::result::Result<Command, lexopt::Error> {
    let (mut function, mut event, mut arguments) = (None, None, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Value(value) if function.is_none() => function = Some(value),
            Value(value) if event.is_none() => event = Some(value),
            Value(value) => arguments.push(value),
            other => return Err(other.unexpected()),
        }
    }
    let function = function.ok_or("FUNCTION is missing")?;
    let event = event
        .ok_or("EVENT is missing: give the event to invoke the function with, such as '{}'")?;
    Ok(Command::Run { function, event, arguments })
}

fn run(function: OsString, event: OsString, arguments: Vec<OsString>) -> Result<()> {
    let function = Function::new(program(function)?);
    let function = arguments.into_iter().fold(function, Function::argument);
    let mut emulator = function.start()?;
    let answer = emulator.invoke(event.as_encoded_bytes())?;
    eprint!("{}", emulator.output());
    if let Some(failure) = answer.failure() {
        return Err(Error::new(format!("the function failed: {failure}")));
    }
    // A program gets exactly the answer; on a terminal the last line is ended.
    let ends_line = !std::io::stdout().is_terminal() || answer.body.ends_with(b"\n");
    print(&answer.body).and_then(|()| if ends_line { Ok(()) } else { print(b"\n") })
}

/// A name means an example; anything with a slash is a path.
fn program(function: OsString) -> Result<PathBuf> {
    if let Some(name) = function.to_str().filter(|name| !name.contains('/')) {
        return programs::example(name);
    }
    let path = PathBuf::from(function);
    path.canonicalize().map_err(|error| {
        Error::new(format!(
            "{}: {error}; FUNCTION must be the name of an example or a path",
            path.display()
        ))
    })
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Error::new(format!("cannot write to standard output: {error}")))
}
