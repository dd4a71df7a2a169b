//! The table as Markdown: what `src/extension/phase.md` must be.

use lambda_proto_extension::Phase;

use super::{AWAITING, COMMANDS, LOSSES, PHASES, RecoveryKind, Row, Target};

const HEADER: &str = "\
<!-- Rendered from extensions/tests/phase_table. To render it again:
UPDATE_PHASE_TABLE=1 cargo test -p lambda-proto-extension --test extension -->
";

pub(crate) fn render() -> String {
    let mut page = HEADER.to_owned();
    table(&mut page, "Phases of an extension", &["phase", "meaning", "awaits a reply to"]);
    for facts in &PHASES {
        let awaits = facts.awaits.map_or_else(|| "–".to_owned(), |call| format!("`{call}`"));
        line(&mut page, &[facts.name, facts.meaning, &awaits]);
    }
    table(&mut page, "Commands and input", &["phase", "command or input", "next phase"]);
    for row in COMMANDS {
        line(&mut page, &[&from(row), row.words, target(row)]);
    }
    let columns = ["phase", "when the connection ends", "recovery", "next phase"];
    table(&mut page, "Lost connections", &columns);
    for row in LOSSES {
        let recovery = row.recovery.map_or("", link);
        line(&mut page, &[&from(row), row.words, recovery, target(row)]);
    }
    page
}

fn table(page: &mut String, title: &str, columns: &[&str]) {
    page.push_str(&format!("\n# {title}\n\n"));
    line(page, columns);
    line(page, &vec!["---"; columns.len()]);
}

fn line(page: &mut String, cells: &[&str]) {
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}

fn name(phase: Phase) -> &'static str {
    PHASES.iter().find(|facts| facts.phase == phase).expect("every phase has its facts").name
}

fn from(row: &Row) -> String {
    let names =
        |phases: &mut dyn Iterator<Item = Phase>| phases.map(name).collect::<Vec<_>>().join("; ");
    if row.from == AWAITING {
        return "any that awaits a reply".to_owned();
    }
    let others =
        || PHASES.iter().map(|facts| facts.phase).filter(|phase| !row.from.contains(phase));
    match others().count() {
        0 => "any".to_owned(),
        1 => format!("any but {}", names(&mut others())),
        _ => names(&mut row.from.iter().copied()),
    }
}

fn target(row: &Row) -> &'static str {
    match row.target {
        Target::To(phase) => name(phase),
        Target::Same => "as it was",
        Target::SameReconnecting => "as it was, on a new connection",
        Target::Refused => "as it was; the command returns `WrongPhase`",
    }
}

fn link(recovery: RecoveryKind) -> &'static str {
    match recovery {
        RecoveryKind::Reconnect => "[`Reconnect`](Recovery::Reconnect)",
        RecoveryKind::RegisterAgain => "[`RegisterAgain`](Recovery::RegisterAgain)",
        RecoveryKind::SubscribeAgain => "[`SubscribeAgain`](Recovery::SubscribeAgain)",
        RecoveryKind::AskAgain => "[`AskAgain`](Recovery::AskAgain)",
        RecoveryKind::Answered => "[`Answered`](Recovery::Answered)",
        RecoveryKind::Exit => "[`Exit`](Recovery::Exit)",
    }
}
