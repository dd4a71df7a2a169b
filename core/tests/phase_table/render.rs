//! The table as Markdown: what `core/src/machine/phase.md` must be.

use std::fmt::Write;

use super::stage::STAGES;
use super::{AWAITING_REPLY, COMMANDS, LOSSES, RecoveryKind, Row, Stage, Target};

const HEADER: &str = "\
<!-- Rendered from core/tests/phase_table. To render it again:
UPDATE_PHASE_TABLE=1 cargo test -p lambda-proto --test machine_table -->
";

pub(crate) fn render() -> String {
    let mut page = HEADER.to_owned();
    table(&mut page, "Stages", &["stage", "meaning", "awaits a reply to", "invocation known"]);
    for facts in &STAGES {
        let awaits: Vec<_> = facts.awaits.iter().map(|call| format!("`{call}`")).collect();
        let awaits = if awaits.is_empty() { "–".to_owned() } else { awaits.join(" or ") };
        let is_known = if facts.has_invocation { "yes" } else { "no" };
        line(&mut page, &[facts.name, facts.meaning, &awaits, is_known]);
    }
    table(&mut page, "Commands and input", &["stage", "command or input", "next stage"]);
    for row in COMMANDS {
        line(&mut page, &[&from(row), row.words, target(row)]);
    }
    let columns = ["stage", "when the connection ends", "recovery", "next stage"];
    table(&mut page, "Lost connections", &columns);
    for row in LOSSES {
        let recovery = row.recovery.map_or("", link);
        line(&mut page, &[&from(row), row.words, recovery, target(row)]);
    }
    page
}

fn table(page: &mut String, title: &str, columns: &[&str]) {
    write!(page, "\n# {title}\n\n").expect("a string takes everything");
    line(page, columns);
    line(page, &vec!["---"; columns.len()]);
}

fn line(page: &mut String, cells: &[&str]) {
    let cells = cells.join(" | ");
    writeln!(page, "| {cells} |").expect("a string takes everything");
}

fn from(row: &Row) -> String {
    let names = |stages: &mut dyn Iterator<Item = &Stage>| {
        stages.map(|stage| stage.facts().name).collect::<Vec<_>>().join("; ")
    };
    if row.from == AWAITING_REPLY {
        return "any that awaits a reply, but not Ready, receiving".to_owned();
    }
    let mut others = Stage::ALL.iter().filter(|stage| !row.from.contains(stage));
    match Stage::ALL.len() - row.from.len() {
        0 => "any".to_owned(),
        1..=3 => format!("any but {}", names(&mut others)),
        _ => names(&mut row.from.iter()),
    }
}

fn target(row: &Row) -> &'static str {
    match row.target {
        Target::To(stage) => stage.facts().name,
        Target::Same => "as it was",
        Target::SameReconnecting => "as it was, on a new connection",
        Target::SameOnce => "as it was; the answer is not sent again",
        Target::AfterReply => "as after the reply, without a pipelined `next`",
        Target::Refused => "as it was; the command returns `WrongPhase`",
    }
}

fn link(recovery: RecoveryKind) -> &'static str {
    match recovery {
        RecoveryKind::Reconnect => "[`Reconnect`](Recovery::Reconnect)",
        RecoveryKind::AskAgain => "[`AskAgain`](Recovery::AskAgain)",
        RecoveryKind::FailInvocation => "[`FailInvocation`](Recovery::FailInvocation)",
        RecoveryKind::SendAgain => "[`SendAgain`](Recovery::SendAgain)",
        RecoveryKind::FateUnknown => "[`FateUnknown`](Recovery::FateUnknown)",
        RecoveryKind::Answered => "[`Answered`](Recovery::Answered)",
        RecoveryKind::Exit => "[`Exit`](Recovery::Exit)",
    }
}
