//! Plays every vector of `conformance/` against each implementation, and writes the outcomes to
//! `conformance/RESULTS.md`.
//!
//! `cargo run --release -p lambda-interop --bin conformance-results`
//!
//! With the argument `aws-clients`, it renews the table of AWS's clients for Python and Node.js only. These
//! are built as published, too, for which CMake, autoconf, automake and libtool must be installed.

mod clients;
mod costs;
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
    let only_aws = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("aws-clients") => true,
        Some(other) => {
            return Err(Error::new(format!("{other:?}: the only argument is aws-clients")));
        }
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let files = client::load(&folder.join("client")).map_err(Error::new)?;
    let path = folder.join("RESULTS.md");
    let page = if only_aws {
        let page = std::fs::read_to_string(&path)
            .map_err(|error| Error::new(format!("cannot read {}: {error}", path.display())))?;
        page::renew(&page, &clients::aws(&files)?)
    } else {
        let extensions = client::load(&folder.join("extension")).map_err(Error::new)?;
        page::write(&[
            clients::ours(&files)?,
            clients::extensions(&extensions)?,
            services::both()?,
            clients::others(&files)?,
            clients::aws(&files)?,
        ])
    };
    std::fs::write(&path, page)
        .map_err(|error| Error::new(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}
