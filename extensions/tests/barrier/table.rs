//! The table of the barrier, as data: `src/barrier/table.md` is rendered from it, and the model
//! looks up its transitions in it. The barrier has no access to it.

use Input::{
    Check, Done, Elapsed, Invoke, InvokeDone, InvokeReportsOnly, InvokeSilent, InvokeUnnamed,
    InvokeWithout, NoRuntimeDone, NoTelemetry, Other, Reported, ReportedLast, Shutdown,
    ShutdownSettled,
};
use Stage::{Ended, Open, Reports, Waiting};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Open,
    Waiting,
    Reports,
    Ended,
}

/// Everything that can change the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Invoke,
    /// `runtimeDone` or the report of this invocation came before.
    InvokeDone,
    /// The last wait was in vain, and nothing has arrived since.
    InvokeSilent,
    /// Without a usable request id.
    InvokeUnnamed,
    /// After `no_telemetry`.
    InvokeWithout,
    /// After `no_runtime_done`.
    InvokeReportsOnly,
    /// `runtimeDone` of the current invocation.
    Done,
    /// The report of the current invocation.
    Reported,
    /// The report of the last invocation that had none.
    ReportedLast,
    /// A record of another invocation, or a second one.
    Other,
    NoTelemetry,
    NoRuntimeDone,
    Shutdown,
    /// No report is outstanding, or no telemetry comes.
    ShutdownSettled,
    /// A check while there is time left.
    Check,
    /// A check when only the reserve is left.
    Elapsed,
}

impl Input {
    pub(crate) const ALL: [Self; 16] = [
        Invoke,
        InvokeDone,
        InvokeSilent,
        InvokeUnnamed,
        InvokeWithout,
        InvokeReportsOnly,
        Done,
        Reported,
        ReportedLast,
        Other,
        NoTelemetry,
        NoRuntimeDone,
        Shutdown,
        ShutdownSettled,
        Check,
        Elapsed,
    ];
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) from: &'static [Stage],
    pub(crate) inputs: &'static [Input],
    words: &'static str,
    /// `None` where the stage stays.
    to: Option<Stage>,
}

const STAGES: [(Stage, &str, &str, &str); 4] = [
    (Open, "Open", "there is nothing to wait for", "`Ask`"),
    (Waiting, "Waiting", "for `runtimeDone` of the current invocation", "`Wait`"),
    (Reports, "Reports", "SHUTDOWN was read, and reports are outstanding", "`Wait`"),
    (Ended, "Ended", "SHUTDOWN was read, and there is nothing to wait for", "`End`"),
];

const ALL: &[Stage] = &[Open, Waiting, Reports, Ended];

pub(crate) static ROWS: &[Row] = &[
    row(&[Open, Waiting], &[Invoke], "`invoke`", Some(Waiting)),
    row(
        &[Open, Waiting],
        &[InvokeDone],
        "`invoke`; `runtimeDone` or the report of this invocation came before it",
        Some(Open),
    ),
    row(
        &[Open],
        &[InvokeSilent],
        "`invoke`; the last wait was in vain, and no record has arrived since",
        Some(Open),
    ),
    row(&[Open, Waiting], &[InvokeUnnamed], "`invoke` without a usable request id", Some(Open)),
    row(
        &[Open],
        &[InvokeWithout, InvokeReportsOnly],
        "`invoke` after `no_telemetry` or `no_runtime_done`",
        Some(Open),
    ),
    row(
        &[Waiting],
        &[Done, Reported],
        "`runtime_done` or `report` of the current invocation",
        Some(Open),
    ),
    row(&[Waiting], &[Elapsed], "`check` with no more than the reserve left", Some(Open)),
    row(
        &[Waiting],
        &[NoTelemetry, NoRuntimeDone],
        "`no_telemetry` or `no_runtime_done`",
        Some(Open),
    ),
    row(&[Open, Waiting], &[Shutdown], "`shutdown`", Some(Reports)),
    row(
        &[Open],
        &[ShutdownSettled],
        "`shutdown`; every invocation that is known to have begun has its report, or no telemetry comes",
        Some(Ended),
    ),
    row(&[Reports], &[ReportedLast], "`report` of the last outstanding invocation", Some(Ended)),
    row(&[Reports], &[Elapsed], "`check` with no more than the reserve left", Some(Ended)),
    row(&[Reports], &[NoTelemetry], "`no_telemetry`", Some(Ended)),
    row(ALL, &[Other, Check], "anything else", None),
];

const fn row(
    from: &'static [Stage],
    inputs: &'static [Input],
    words: &'static str,
    to: Option<Stage>,
) -> Row {
    Row { from, inputs, words, to }
}

/// The row of an input, and the stage that it leads to. What has no row of its own is anything else.
pub(crate) fn follow(from: Stage, input: Input) -> (&'static Row, Stage) {
    let find =
        |input| ROWS.iter().find(|row| row.from.contains(&from) && row.inputs.contains(&input));
    let row = find(input).or_else(|| find(Other)).expect("anything else has a row in every stage");
    (row, row.to.unwrap_or(from))
}

const HEADER: &str = "\
<!-- Rendered from extensions/tests/barrier/table.rs. To render it again:
UPDATE_PHASE_TABLE=1 cargo test -p lambda-proto-extension --test barrier -->

";

pub(crate) fn render() -> String {
    let mut page = HEADER.to_owned();
    line(&mut page, &["stage", "meaning", "`check` returns"]);
    line(&mut page, &["---"; 3]);
    for (_, name, meaning, passage) in STAGES {
        line(&mut page, &[name, meaning, passage]);
    }
    page.push('\n');
    line(&mut page, &["stage", "call", "next stage"]);
    line(&mut page, &["---"; 3]);
    for row in ROWS {
        let from: Vec<_> = row.from.iter().map(|stage| name(*stage)).collect();
        let from = if row.from == ALL { "any".to_owned() } else { from.join("; ") };
        line(&mut page, &[&from, row.words, row.to.map_or("as it was", name)]);
    }
    page
}

fn name(stage: Stage) -> &'static str {
    STAGES.iter().find(|(known, ..)| *known == stage).expect("every stage is listed").1
}

fn line(page: &mut String, cells: &[&str]) {
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}
