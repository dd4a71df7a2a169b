//! User-space instructions and heap allocations per invocation, counted with valgrind from two runs
//! of different lengths.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, process};

use serde::Serialize;

use crate::clients::{Client, Kind};
use crate::error::{During, Error, Result};
use crate::programs::{self, Programs};
use crate::running::{Cores, Running};

/// A typical event of the echoes.
const BODY: usize = 128;

/// Counts per invocation.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) client: String,
    pub(crate) instructions: f64,
    /// How often memory is allocated or grown.
    pub(crate) allocations: f64,
}

/// The name of bare httparse in the table.
pub(crate) const HTTPARSE: &str = "bare-httparse";

/// Counts for bare httparse and these clients; for all of this project and the floor if there are
/// none, and, if requested because they are slow, for `lambda_runtime` and `lambda_http`.
pub(crate) fn count(
    programs: &mut Programs,
    cores: Cores,
    only: Option<&[Kind]>,
    with_peers: bool,
) -> Result<Vec<Row>> {
    if !programs::has("valgrind") {
        return Err(Error::new(
            "valgrind is missing, which counts instructions: apt-get install valgrind",
        ));
    }
    let bare = programs.bare_httparse()?;
    let mut rows = vec![Row {
        client: HTTPARSE.to_owned(),
        instructions: parse_only(&bare, Counter::Instructions)?,
        allocations: parse_only(&bare, Counter::Allocations)?,
    }];
    let mut kinds = vec![
        (Kind::Floor, LONG),
        (Kind::FloorPipelined, LONG),
        (Kind::Echo, LONG),
        (Kind::EchoPipelined, LONG),
        (Kind::Pool, LONG),
        (Kind::AsyncEcho, LONG),
        (Kind::AsyncEchoPipelined, LONG),
        (Kind::AsyncService, LONG),
        (Kind::CEcho, LONG),
        (Kind::AsyncAxum, SHORT),
    ];
    if with_peers {
        // With twenty times as many instructions, a shorter run is as precise.
        kinds.extend([(Kind::LambdaRuntime, SHORT), (Kind::LambdaHttp, SHORT)]);
    }
    if let Some(only) = only {
        kinds.retain(|(kind, _)| only.contains(kind));
    }
    for (kind, lengths) in kinds {
        let Some(client) = Client::find(kind, 1, None, programs)? else { continue };
        eprintln!("valgrind: {}", kind.name());
        rows.push(Row {
            client: kind.name().to_owned(),
            instructions: Counter::Instructions.each(&client, cores, lengths)?,
            allocations: Counter::Allocations.each(&client, cores, SHORT)?,
        });
    }
    Ok(rows)
}

/// The two run lengths.
const LONG: [usize; 2] = [2_000, 12_000];
const SHORT: [usize; 2] = [500, 2_500];

/// A tool of valgrind that counts.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    /// Callgrind.
    Instructions,
    /// Memcheck, which counts every call of the allocator.
    Allocations,
}

impl Counter {
    /// The count of one invocation, from runs of these lengths.
    fn each(self, client: &Client, cores: Cores, lengths: [usize; 2]) -> Result<f64> {
        let [once, more] = lengths;
        let on_top = self.run(client, cores, more)? - self.run(client, cores, once)?;
        Ok(on_top / (more - once) as f64)
    }

    /// The count of a whole run.
    fn run(self, client: &Client, cores: Cores, invocations: usize) -> Result<f64> {
        let file = OutFile::new();
        let words = self.command(&file);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut running = Running::start(client, BODY, cores, &words)?;
        running.become_fast(true)?;
        running.serve(invocations)?;
        running.end()?;
        self.total(&file)
    }

    /// The words before a command whose count goes to the file.
    pub(crate) fn command(self, file: &OutFile) -> Vec<String> {
        let words = match self {
            Self::Instructions => {
                ["--tool=callgrind".to_owned(), format!("--callgrind-out-file={}", file.0)]
            }
            Self::Allocations => ["--leak-check=no".to_owned(), format!("--log-file={}", file.0)],
        };
        std::iter::once("valgrind".to_owned()).chain(words).collect()
    }

    /// The count in the file, after the end of the command.
    pub(crate) fn total(self, file: &OutFile) -> Result<f64> {
        let text = fs::read_to_string(&file.0).during("cannot read the output of valgrind")?;
        let total = match self {
            Self::Instructions => callgrind_total(&text),
            Self::Allocations => memcheck_total(&text),
        };
        total.ok_or_else(|| Error::new("no total in the output of valgrind: check its version"))
    }
}

/// Reads a line such as `totals: 98765`.
fn callgrind_total(text: &str) -> Option<f64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
    total.split(' ').next()?.parse().ok()
}

/// Reads a line such as `==7==   total heap usage: 1,234 allocs, 1,200 frees, 98,765 bytes allocated`.
fn memcheck_total(text: &str) -> Option<f64> {
    let total = text.lines().find_map(|line| line.split_once("total heap usage: "))?.1;
    total.split(' ').next()?.replace(',', "").parse().ok()
}

/// The count of bare httparse on the two heads of an invocation.
fn parse_only(program: &Path, counter: Counter) -> Result<f64> {
    let [once, more] = LONG.map(|times| {
        let file = OutFile::new();
        let words = counter.command(&file);
        let [valgrind, arguments @ ..] = &words[..] else { return Ok(0.0) };
        let mut command = Command::new(valgrind);
        command.args(arguments).arg(program).arg(times.to_string()).stderr(Stdio::null());
        let status = command.status().during("cannot start valgrind")?;
        if !status.success() {
            return Err(Error::new(format!("bare-httparse failed under valgrind: {status}")));
        }
        counter.total(&file)
    });
    Ok((more? - once?) / (LONG[1] - LONG[0]) as f64)
}

/// The output file of valgrind, removed on drop.
pub(crate) struct OutFile(String);

impl OutFile {
    pub(crate) fn new() -> Self {
        let name = format!("lambda-benches-{}.valgrind", process::id());
        Self(std::env::temp_dir().join(name).display().to_string())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        let _best_effort = fs::remove_file(&self.0);
    }
}

/// The counts as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let bare = rows.iter().find(|row| row.client == HTTPARSE).map_or(0.0, |row| row.instructions);
    let mut text = String::from(
        "| client | user instructions | beyond bare httparse | allocations |\n|---|--:|--:|--:|\n",
    );
    for Row { client, instructions, allocations } in rows {
        let beyond = instructions - bare;
        text += &format!("| {client} | {instructions:.0} | {beyond:.0} | {allocations:.2} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_valgrind_are_read() {
        let callgrind = "summary: 98765\n\ntotals: 98765\n";
        assert_eq!(callgrind_total(callgrind), Some(98_765.0));
        let memcheck = "==7== HEAP SUMMARY:\n==7==     in use at exit: 1 bytes in 1 blocks\n\
            ==7==   total heap usage: 1,234 allocs, 1,233 frees, 98,765 bytes allocated\n";
        assert_eq!(memcheck_total(memcheck), Some(1_234.0));
        assert_eq!((callgrind_total(""), memcheck_total("")), (None, None));
    }
}
