//! The size of a function that returns its event, and the number of crates that it is built from.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{During, Error, Result};
use crate::programs::{self, Programs, benches};

/// A row of the table.
pub(crate) struct Row {
    name: &'static str,
    /// The bytes of the stripped program; `None` without `strip`.
    size: Option<u64>,
    /// The number of crates with the default features, and without features if that is possible.
    crates: (usize, Option<usize>),
}

/// The packages whose users write such a function, and the program of each.
const OURS: [(&str, &str); 3] = [
    ("lambda-proto-std", "minimal"),
    ("lambda-proto-mio", "pool"),
    ("lambda-proto-tokio", "async_minimal"),
];

/// The words for Cargo that choose `lambda-proto-tokio` alone.
pub(crate) const TOKIO_WITHOUT_FEATURES: &[&str] =
    &["-p", "lambda-proto-tokio", "--no-default-features"];

/// Builds the functions with default features in release mode, as the clients that are measured.
pub(crate) fn measure(programs: &mut Programs) -> Result<Vec<Row>> {
    let main = benches().join("..");
    let mut rows = Vec::new();
    for (name, example) in OURS {
        let size = stripped(&programs.ours(name, example)?)?;
        let without = crates(&main, &["-p", name, "--no-default-features"])?;
        let crates = (crates(&main, &["-p", name])?, Some(without));
        rows.push(Row { name, size, crates });
    }
    let size = stripped(&programs.peer("peer-minimal")?)?;
    let name = "lambda_runtime";
    // Cargo takes features only for packages of the workspace.
    rows.push(Row { name, size, crates: (crates(&benches(), &["-p", name])?, None) });
    Ok(rows)
}

/// The size of a copy of this program without symbols.
pub(crate) fn stripped(program: &Path) -> Result<Option<u64>> {
    if !programs::has("strip") {
        eprintln!("not measuring sizes: strip is missing; apt-get install binutils");
        return Ok(None);
    }
    let copy = std::env::temp_dir().join(format!("lambda-benches-{}.stripped", std::process::id()));
    let status = Command::new("strip").arg("-o").arg(&copy).arg(program).status();
    let has_stripped = status.during("cannot start strip")?.success();
    let size = fs::metadata(&copy).map(|file| file.len());
    let _best_effort = fs::remove_file(&copy);
    match size {
        Ok(size) if has_stripped => Ok(Some(size)),
        _ => Err(Error::new(format!("strip failed for {}", program.display()))),
    }
}

/// How many crates a package needs on this system, itself included, to build and to run.
pub(crate) fn crates(workspace: &Path, package: &[&str]) -> Result<usize> {
    let tree = ["tree", "--locked", "--edges", "normal", "--prefix", "none"];
    let text = programs::cargo(workspace, &[&tree, package].concat())?;
    Ok(distinct(&String::from_utf8_lossy(&text)))
}

/// Counts the crates in lines such as `memchr v2.7.1 (*)`.
fn distinct(tree: &str) -> usize {
    let name = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    tree.lines().filter_map(name).collect::<BTreeSet<_>>().len()
}

/// The sizes as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "### a function that returns its event\n\n\
        | on | bytes, release, stripped | crates | crates without default features |\n|---|--:|--:|--:|\n",
    );
    let or_none = |number: Option<String>| number.unwrap_or_else(|| "–".to_owned());
    for Row { name, size, crates: (crates, without) } in rows {
        let size = or_none(size.map(|size| size.to_string()));
        let without = or_none(without.map(|crates| crates.to_string()));
        text += &format!("| {name} | {size} | {crates} | {without} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_of_a_crate_counts_once() {
        let tree =
            "a v1.0.0 (/home/a)\nb v2.0.0\nc v1.0.0 (proc-macro)\nb v2.0.0 (*)\nb v1.9.0\n\n";
        assert_eq!(distinct(tree), 4);
    }
}
