//! User-space instructions per invocation, counted with callgrind from two runs of different
//! lengths.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, process};

use serde::Serialize;

use crate::clients::{Client, Kind};
use crate::error::{During, Error, Result};
use crate::programs::{self, Programs};
use crate::running::{Cores, Running};

/// A typical event.
const BODY: usize = 128;

/// Instructions per invocation.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) client: String,
    pub(crate) instructions: f64,
}

/// The name of bare httparse in the table.
pub(crate) const HTTPARSE: &str = "bare-httparse";

/// Counts instructions of this project, the floor and bare httparse, and, if requested because it
/// is slow, of `lambda_runtime`.
pub(crate) fn count(
    programs: &mut Programs,
    cores: Cores,
    with_lambda_runtime: bool,
) -> Result<Vec<Row>> {
    if !programs::has("valgrind") {
        return Err(Error::new(
            "valgrind is missing, which counts instructions: apt-get install valgrind",
        ));
    }
    let bare = programs.bare_httparse()?;
    let mut rows = vec![Row { client: HTTPARSE.to_owned(), instructions: parse_only(&bare)? }];
    let mut kinds = vec![
        (Kind::Floor, LONG),
        (Kind::FloorPipelined, LONG),
        (Kind::Echo, LONG),
        (Kind::EchoPipelined, LONG),
        (Kind::Pool, LONG),
        (Kind::AsyncEcho, LONG),
        (Kind::AsyncEchoPipelined, LONG),
    ];
    if with_lambda_runtime {
        // With twenty times as many instructions, a shorter run is as precise.
        kinds.push((Kind::LambdaRuntime, SHORT));
    }
    for (kind, lengths) in kinds {
        let Some(client) = Client::find(kind, 1, None, programs)? else { continue };
        eprintln!("callgrind: {}", kind.name());
        let [once, more] = lengths;
        let instructions = run(&client, cores, more)? - run(&client, cores, once)?;
        let instructions = instructions / (more - once) as f64;
        rows.push(Row { client: kind.name().to_owned(), instructions });
    }
    Ok(rows)
}

/// The two run lengths.
const LONG: [usize; 2] = [2_000, 12_000];
const SHORT: [usize; 2] = [500, 2_500];

/// The instructions of a whole run.
fn run(client: &Client, cores: Cores, invocations: usize) -> Result<f64> {
    let file = OutFile::new();
    let words = file.command();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut running = Running::start(client, BODY, cores, &words)?;
    running.become_fast(true)?;
    running.serve(invocations)?;
    running.end()?;
    file.total()
}

/// The instructions of bare httparse on the two heads of an invocation.
fn parse_only(program: &Path) -> Result<f64> {
    let [once, more] = LONG.map(|times| {
        let file = OutFile::new();
        let [valgrind, arguments @ ..] = &file.command()[..] else { return Ok(0.0) };
        let mut command = Command::new(valgrind);
        command.args(arguments).arg(program).arg(times.to_string()).stderr(Stdio::null());
        let status = command.status().during("cannot start valgrind")?;
        if !status.success() {
            return Err(Error::new(format!("bare-httparse failed under valgrind: {status}")));
        }
        file.total()
    });
    Ok((more? - once?) / (LONG[1] - LONG[0]) as f64)
}

/// The output file of callgrind, removed on drop.
struct OutFile(String);

impl OutFile {
    fn new() -> Self {
        let name = format!("lambda-benches-{}.callgrind", process::id());
        Self(std::env::temp_dir().join(name).display().to_string())
    }

    fn command(&self) -> Vec<String> {
        let out = format!("--callgrind-out-file={}", self.0);
        ["valgrind", "--tool=callgrind", &out].map(str::to_owned).into()
    }

    fn total(&self) -> Result<f64> {
        let text = fs::read_to_string(&self.0).during("cannot read the output of callgrind")?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.split(' ').next()?.parse().ok());
        total.ok_or_else(|| Error::new("no totals in the output of callgrind: check its version"))
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
        "| client | user instructions per 128 B invocation | beyond bare httparse |\n|---|--:|--:|\n",
    );
    for Row { client, instructions } in rows {
        let beyond = instructions - bare;
        text += &format!("| {client} | {instructions:.0} | {beyond:.0} |\n");
    }
    text
}
