//! What is likely meant by a command line that is not understood.

use std::ffi::OsStr;
use std::path::Path;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::Cli;

/// What is wrong with an option in the place of the program; `None` if it is not an option.
pub(crate) fn option(word: &OsStr, command: &str) -> Option<String> {
    let text = word.to_string_lossy();
    if !text.starts_with('-') {
        return None;
    }
    let name = text.split('=').next().unwrap_or(&text);
    Some(match name.strip_prefix("--").and_then(|name| other_with(name, command)) {
        Some(other) => {
            format!("{name} is an option of lambda-lab {other}, not of lambda-lab {command}")
        }
        None => format!(
            "unknown option {text}: see --help; to start a program of that name, give its path"
        ),
    })
}

/// Another command than this one that has an option of this name.
fn other_with(name: &str, command: &str) -> Option<String> {
    let cli = Cli::command();
    let mut others = cli.get_subcommands().filter(|it| it.get_name() != command);
    let other = others.find(|it| {
        let mut options = it.get_arguments().filter_map(|it| it.get_long_and_visible_aliases());
        options.any(|names| names.contains(&name))
    });
    other.map(|it| it.get_name().to_owned())
}

/// What to write instead of a program without a command before it.
pub(crate) fn program(error: &Error) -> Option<String> {
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return None;
    };
    let path = Path::new(word);
    let what = if path.is_dir() { "folder" } else { "file" };
    // A name without a slash is looked up in PATH.
    let folder = if word.contains('/') { "" } else { "./" };
    path.exists()
        .then(|| format!("{word} is a {what}, not a command: write lambda-lab run {folder}{word}"))
}
