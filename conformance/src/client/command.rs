//! The command that plays vectors against a program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{File, Patience, load, play};

/// How it is called.
pub const USAGE: &str = "\
lambda-conformance client [--vectors FOLDER] [--only TEXT] [--can NEED]… [--patience SECONDS] PROGRAM [ARGUMENT]…

Starts PROGRAM once for each conversation, with AWS_LAMBDA_RUNTIME_API in its environment, plays the Runtime
API to it, and says what it does otherwise than it should. PROGRAM is a bootstrap whose function gives its
event back; what else it can do (see conformance/README.md) is said by --can: describe, fail, panic, answer,
stream, http, start, snapshot, concurrency; all of these by --can all. Ends with 0 if all conversations
conform, with 1 if not.";

/// Plays vectors against a program, and prints what it makes of them; whether it did everything right.
///
/// # Errors
///
/// What is wrong with the arguments or the vectors.
pub fn command(mut arguments: lexopt::Parser) -> Result<bool, String> {
    use lexopt::ValueExt;
    let text = |error: lexopt::Error| format!("{error}\n{USAGE}");
    let mut folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/client"));
    let (mut only, mut can) = (String::new(), vec!["echo".to_owned()]);
    let mut patience = Patience::default();
    let program: OsString = loop {
        match arguments.next().map_err(text)? {
            Some(lexopt::Arg::Long("vectors")) => {
                folder = PathBuf::from(arguments.value().map_err(text)?);
            }
            Some(lexopt::Arg::Long("only")) => {
                only = arguments.value().and_then(|it| it.string()).map_err(text)?;
            }
            Some(lexopt::Arg::Long("can")) => {
                can.push(arguments.value().and_then(|it| it.string()).map_err(text)?);
            }
            Some(lexopt::Arg::Long("patience")) => {
                let seconds = arguments.value().and_then(|it| it.parse::<u32>()).map_err(text)?;
                patience.long = Duration::from_secs(seconds.into());
            }
            Some(lexopt::Arg::Value(program)) => break program,
            Some(other) => return Err(text(other.unexpected())),
            None => return Err(format!("which program?\n{USAGE}")),
        }
    };
    let rest: Vec<OsString> = arguments.raw_args().map_err(text)?.collect();
    let mut all_conform = true;
    for File { name: file, vectors, .. } in load(Path::new(&folder))? {
        for vector in vectors {
            let title = format!("{file}: {}", vector.name);
            if !title.contains(&only) {
                continue;
            }
            let lacks = vector
                .needs
                .iter()
                .find(|need| !can.contains(need) && !can.iter().any(|it| it == "all"));
            if let Some(need) = lacks {
                println!("-       {title} (needs {need})");
                continue;
            }
            let mut command = Command::new(&program);
            command.args(&rest);
            let report = play(&vector, command, patience)
                .map_err(|error| format!("{}: {error}", Path::new(&program).display()))?;
            match &report.deviation {
                None => println!("ok      {title}"),
                Some(deviation) => {
                    all_conform = false;
                    println!(
                        "WRONG   {title}\n        {deviation}\n        the process: {:?}",
                        report.end
                    );
                    let last: Vec<_> = report.output.lines().rev().take(5).collect();
                    last.iter().rev().for_each(|line| println!("        | {line}"));
                }
            }
        }
    }
    Ok(all_conform)
}
