//! Plays every vector of `conformance/` against each implementation, and writes the outcomes to
//! `conformance/RESULTS.md`.
//!
//! `cargo run --release -p lambda-interop --bin conformance-results`
//!
//! Arguments name the tables to renew, of which all are by default: see [`TABLES`]. Those of AWS's clients for
//! Python and Node.js are built as published, too, for which CMake, autoconf, automake and libtool must be
//! installed.

mod clients;
mod costs;
mod page;
mod services;

use std::io::ErrorKind;
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

/// The tables of the page, by their arguments.
const TABLES: [&str; 5] = ["clients", "extensions", "services", "others", "aws-clients"];

fn run() -> Result<PathBuf> {
    let named: Vec<_> = std::env::args().skip(1).collect();
    if let Some(unknown) = named.iter().find(|name| !TABLES.contains(&name.as_str())) {
        return Err(Error::new(format!(
            "{unknown:?} is no table, which are {}",
            TABLES.join(", ")
        )));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let load = |name: &str| client::load(&folder.join(name)).map_err(Error::new);
    let path = folder.join("RESULTS.md");
    for name in TABLES {
        if !named.is_empty() && !named.iter().any(|it| it == name) {
            continue;
        }
        let table = match name {
            "clients" => clients::ours(&load("client")?)?,
            "extensions" => clients::extensions(&load("extension")?)?,
            "services" => services::both()?,
            "others" => clients::others(&load("client")?)?,
            _ => clients::aws(&load("client")?)?,
        };
        // Each table takes minutes, so it is kept whatever happens to the next.
        let renewed = match std::fs::read_to_string(&path) {
            Ok(page) => page::renew(&page, &table),
            Err(error) if error.kind() == ErrorKind::NotFound => page::renew(page::HEAD, &table),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        std::fs::write(&path, renewed).map_err(|error| failed("write", &path, &error))?;
    }
    Ok(path)
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("cannot {what} {}: {error}", path.display()))
}
