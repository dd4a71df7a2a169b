//! Tables for people, and `RESULTS.md`.

use std::fs;
use std::path::Path;

use crate::clients::Kind;
use crate::error::{During, Result};
use crate::graph::{self, Graph, Series};
use crate::machine::Machine;
use crate::options::{Options, Placement};
use crate::results::{Group, Row};
use crate::{instructions, starts};

/// A group as a table in Markdown.
pub(crate) fn table(group: &Group) -> String {
    let (event, placement) = (bytes(group.body), placement(group.placement));
    let about = if group.is_slots { "slots, " } else { "" };
    let mut text = format!("### {about}events of {event}, {placement}\n\n");
    text += "| client | invocations/s | to its floor | to lambda_runtime | CPU µs | of it user | system calls \
        | waits, preemptions | resident, peak KiB |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for row in &group.rows {
        let kind = row.client.kind;
        let floor = group.row(kind.floor());
        let floor = floor.filter(|_| !matches!(kind, Kind::Floor | Kind::FloorPipelined));
        let peer = group.peer(row);
        let ratio =
            |other: Option<&Row>| other.map_or("–".to_owned(), |it| row.ratio(it).to_string());
        let median = |value: fn(&crate::measure::Sample) -> f64| row.estimate(value).median;
        let calls = row.calls.as_ref().map(|calls| calls.values().sum::<f64>());
        text += &format!(
            "| {} | {} | {} | {} | {:.2} | {:.0} % | {} | {:.2}, {:.2} | {:.0}, {:.0} |\n",
            row.client.label(),
            thousands(median(|sample| sample.per_second)),
            ratio(floor),
            ratio(peer),
            median(|sample| sample.cpu_micros),
            row.user_share() * 100.0,
            calls.map_or("–".to_owned(), |calls| format!("{calls:.2}")),
            median(|sample| sample.voluntary),
            median(|sample| sample.involuntary),
            median(|sample| sample.resident as f64),
            median(|sample| sample.peak as f64),
        );
    }
    let several = |row: &&Row| row.samples.iter().any(|it| it.connections > row.client.slots);
    for row in group.rows.iter().filter(several) {
        let most = row.samples.iter().map(|sample| sample.connections).max().unwrap_or_default();
        text += &format!("\n{} has opened up to {most} connections.\n", row.client.label());
    }
    text
}

/// Writes `RESULTS.md` and the graphs.
pub(crate) fn write(
    out: &Path,
    machine: &Machine,
    groups: &[Group],
    starts: &[starts::Row],
    instructions: Option<&[instructions::Row]>,
    options: &Options,
) -> Result<()> {
    let graphs = out.join("graphs");
    fs::create_dir_all(&graphs).during(&format!("cannot create {}", graphs.display()))?;
    let mut text = String::from(
        "# Results\n\nWritten by `cargo run --release --manifest-path benches/Cargo.toml`; not by hand.\n\n",
    );
    if !options.is_whole() {
        text += "This is not a whole run: for a look, not for a comparison.\n\n";
    }
    text += "| | |\n|---|---|\n";
    for (name, value) in &machine.0 {
        text += &format!("| {name} | {value} |\n");
    }
    text += NOTES;
    for (name, graph) in [("bodies", by_body(groups)), ("slots", by_slots(groups))] {
        let Some(graph) = graph else { continue };
        let file = graphs.join(format!("{name}.svg"));
        fs::write(&file, graph::svg(&graph)).during(&format!("cannot write {}", file.display()))?;
        text += &format!("![{}](graphs/{name}.svg)\n\n", graph.title);
    }
    for group in groups {
        text += &table(group);
        text.push('\n');
    }
    text += &starts::table(starts);
    text.push('\n');
    if let Some(rows) = instructions {
        text += "### user-space instructions, counted by callgrind\n\n";
        text += &instructions::table(rows);
    }
    let file = out.join("RESULTS.md");
    fs::write(&file, text).during(&format!("cannot write {}", file.display()))?;
    eprintln!("written: {}", file.display());
    Ok(())
}

const NOTES: &str = "
Only ratios mean anything: each is taken between two runs of the same round; the median of all rounds is
shown, and in brackets where it lies with 95 % (bootstrap). The service answers at once with canned bytes, so
half of what an invocation takes is its own work; `CPU µs` is the client's alone, all its threads together,
user and kernel. `system calls` is the difference of two runs under `strace`, in which everything is slow, so
that what depends on timing (large bodies, many slots, threads) is a hint only. `waits, preemptions` are
voluntary and involuntary context switches per invocation. The floor (`benches/floor`) makes the same system
calls without libc and checks nothing; pipelined ones are compared with the pipelined floor, all others with
the sequential one. `lambda_runtime` takes the event as `RawValue`, the least that it can do with it;
`-threads` is tokio's multi-threaded runtime with two workers. In tables about slots the service uses `epoll`
for all, so that only the slots differ.

";

/// The series of the graphs: few enough to tell apart.
const DRAWN: [Kind; 6] = [
    Kind::Floor,
    Kind::FloorPipelined,
    Kind::Echo,
    Kind::EchoPipelined,
    Kind::Pool,
    Kind::LambdaRuntime,
];

/// The same in all graphs, and told apart also by those who see no red (Okabe and Ito).
fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Floor => "#555555",
        Kind::FloorPipelined => "#999999",
        Kind::Echo => "#0072b2",
        Kind::EchoPipelined => "#56b4e9",
        Kind::Pool => "#009e73",
        Kind::LambdaRuntime | Kind::LambdaRuntimeConcurrent => "#d55e00",
        Kind::LambdaRuntimeThreads | Kind::LambdaRuntimeConcurrentThreads => "#cc79a7",
        Kind::Awslambdaric => "#e69f00",
        Kind::Nolibc => "#000000",
    }
}

fn cost(row: &Row) -> f64 {
    row.estimate(|sample| sample.cpu_micros).median
}

fn by_body(groups: &[Group]) -> Option<Graph> {
    let groups = groups.iter().filter(|group| !group.is_slots);
    let placed = groups.clone().next()?.placement;
    let groups: Vec<_> = groups.filter(|group| group.placement == placed).collect();
    let series = DRAWN.map(|kind| Series {
        name: kind.name().to_owned(),
        color: color(kind),
        points: groups
            .iter()
            .filter_map(|group| Some((group.body as f64, cost(group.row(kind)?))))
            .collect(),
    });
    Some(Graph {
        title: format!(
            "CPU time of an invocation by the length of its event, {}",
            placement(placed)
        ),
        x: "bytes of the event".to_owned(),
        y: "µs".to_owned(),
        is_y_logarithmic: true,
        series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
    })
}

fn by_slots(groups: &[Group]) -> Option<Graph> {
    let group = groups.iter().find(|group| group.is_slots)?;
    let mut kinds: Vec<_> = group.rows.iter().map(|row| row.client.kind).collect();
    kinds.dedup();
    let most = group.rows.iter().map(|row| row.client.slots).max()?;
    let series = kinds.into_iter().map(|kind| {
        let rows = group.rows.iter().filter(|row| row.client.kind == kind);
        let mut points: Vec<_> = rows.map(|row| (row.client.slots as f64, cost(row))).collect();
        // One that has one slot only is a line to compare with.
        if let ([(_, cost)], false) = (&points[..], kind.has_slots()) {
            points.push((most as f64, *cost));
        }
        Series { name: kind.name().to_owned(), color: color(kind), points }
    });
    Some(Graph {
        title: format!("CPU time of an invocation by slots, {}", placement(group.placement)),
        x: "slots, all busy".to_owned(),
        y: "µs".to_owned(),
        is_y_logarithmic: false,
        series: series.collect(),
    })
}

fn placement(placement: Placement) -> &'static str {
    match placement {
        Placement::Same => "same core as the service",
        Placement::Apart => "another core than the service",
    }
}

fn bytes(length: usize) -> String {
    match length {
        _ if length >= 1 << 20 && length.is_multiple_of(1 << 20) => format!("{} MiB", length >> 20),
        _ if length >= 1 << 10 && length.is_multiple_of(1 << 10) => format!("{} KiB", length >> 10),
        _ => format!("{length} B"),
    }
}

/// `152,600`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(152_600.4), "152,600");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(bytes(128), "128 B");
        assert_eq!(bytes(6144), "6 KiB");
        assert_eq!(bytes(1 << 20), "1 MiB");
    }
}
