//! Plays every vector of `conformance/` against each implementation, and writes the outcomes to
//! `conformance/RESULTS.md`.
//!
//! `cargo run --release -p lambda-interop --bin conformance-results`

mod clients;
mod page;
mod services;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lambda_conformance::client;
use lambda_interop::{Error, Result};

fn main() -> ExitCode {
    match run() {
        Ok(path) => {
            println!("wrote {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("conformance-results: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The outcome of a vector with one implementation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Conforms,
    /// The deviation in a word, and in a sentence.
    Deviates(&'static str, String),
    /// The reason why the vector does not apply.
    NotApplicable(String),
}

fn run() -> Result<PathBuf> {
    if let Some(argument) = std::env::args().nth(1) {
        return Err(Error::new(format!("{argument:?}: this command takes no arguments")));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let files = client::load(&folder.join("client")).map_err(Error::new)?;
    let extensions = client::load(&folder.join("extension")).map_err(Error::new)?;
    let tables = [
        clients::ours(&files)?,
        clients::extensions(&extensions)?,
        services::both()?,
        clients::others(&files)?,
    ];
    let path = folder.join("RESULTS.md");
    let page = page::write(&tables);
    std::fs::write(&path, page)
        .map_err(|error| Error::new(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}
