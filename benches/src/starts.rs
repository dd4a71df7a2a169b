//! Measures the time from the start of a program to its first `next`.

use crate::clients::{Client, Kind};
use crate::error::Result;
use crate::programs::Programs;
use crate::running::{Cores, Running};
use crate::statistics::Estimate;

/// The clients to measure, in turn. The others are compared with the first.
const KINDS: [Kind; 8] = [
    Kind::Floor,
    Kind::Nolibc,
    Kind::Echo,
    Kind::AsyncEcho,
    Kind::LambdaRuntime,
    Kind::LambdaRuntimeThreads,
    Kind::AsyncAxum,
    Kind::LambdaHttp,
];

/// How often each is started.
const ROUNDS: usize = 201;

/// A row of the table.
pub(crate) struct Row {
    kind: Kind,
    micros: Vec<f64>,
}

/// Starts each program many times, in turn, on another core than the service if there is one.
pub(crate) fn measure(programs: &mut Programs, cores: Cores, is_quick: bool) -> Result<Vec<Row>> {
    let mut clients = Vec::new();
    for kind in KINDS {
        clients.extend(Client::find(kind, 1, None, programs)?);
    }
    let rounds = if is_quick { ROUNDS / 10 } else { ROUNDS };
    eprintln!("starting each client {rounds} times");
    let new = |client: &Client| Row { kind: client.kind, micros: Vec::new() };
    let mut rows: Vec<_> = clients.iter().map(new).collect();
    for round in 0..rounds {
        for turn in 0..clients.len() {
            let turn = (turn + round) % clients.len();
            let took = Running::time_start(&clients[turn], cores)?;
            rows[turn].micros.push(took.as_secs_f64() * 1e6);
        }
    }
    Ok(rows)
}

/// The times as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "### from the start of the process to its first `next`\n\n| client | µs | to the floor |\n|---|--:|--:|\n",
    );
    let floor = rows.first().map(|row| &row.micros[..]).unwrap_or_default();
    for Row { kind, micros } in rows {
        let ratios: Vec<_> = micros.iter().zip(floor).map(|(one, floor)| one / floor).collect();
        let ratio = match kind {
            Kind::Floor => "–".to_owned(),
            _ => Estimate::of(&ratios).to_string(),
        };
        text += &format!("| {} | {:.0} | {ratio} |\n", kind.name(), Estimate::of(micros).median);
    }
    text
}
