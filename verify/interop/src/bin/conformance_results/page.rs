//! The page of results.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Outcome;

/// The outcomes of the vectors of one folder with some implementations.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    /// The text above the table, which explains how to read it.
    pub(crate) preface: &'static str,
    /// The folder of the vectors.
    pub(crate) folder: &'static str,
    /// A name for each implementation, and what it is.
    pub(crate) columns: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
    /// What follows, such as another table; empty, or in Markdown with a line feed at its end.
    pub(crate) epilogue: String,
}

/// The outcomes of one vector.
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) vector: String,
    /// Whether the vector has a †, which the text above the table explains.
    pub(crate) is_marked: bool,
    /// One for each column.
    pub(crate) outcomes: Vec<Outcome>,
}

/// The page without tables.
pub(crate) const HEAD: &str = "# What implementations make of the vectors\n\n\
     Written by `cargo run --release -p lambda-interop --bin conformance-results`, not by hand. \
     [What the vectors are](README.md).\n";

/// The page with this table in place of the one of the same title, or at its end.
pub(crate) fn renew(page: &str, table: &Table) -> String {
    let (before, rest) = page.split_once(&format!("\n## {}\n", table.title)).unwrap_or((page, ""));
    let after = rest.find("\n## ").map_or("", |at| &rest[at..]);
    let mut renewed = before.to_owned();
    table.write(&mut renewed);
    renewed + after
}

/// The numbered notes below a table.
struct Notes(Vec<String>);

impl Notes {
    /// Adds a note unless it is there already, and returns its number in brackets.
    fn add(&mut self, note: &str) -> String {
        let note = escaped(note);
        let number = self.0.iter().position(|other| *other == note).unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        });
        format!("[{}]", number + 1)
    }
}

impl Table {
    fn write(&self, page: &mut String) {
        // Writing to a string does not fail.
        let mut line = |text: &str| {
            page.push_str(text);
            page.push('\n');
        };
        line(&format!("\n## {}\n\n{}\n", self.title, self.preface));
        line("| | what it is | conforms | deviates | not applicable |\n|---|---|---|---|---|");
        for (column, (name, about)) in self.columns.iter().enumerate() {
            let outcomes = self.rows.iter().map(|row| &row.outcomes[column]);
            let (mut conforms, mut deviates, mut rest) = (0, 0, 0);
            let mut words = BTreeMap::new();
            outcomes.for_each(|outcome| match outcome {
                Outcome::Conforms => conforms += 1,
                Outcome::Deviates(word, _) => {
                    deviates += 1;
                    *words.entry(*word).or_insert(0) += 1;
                }
                Outcome::NotApplicable(_) => rest += 1,
            });
            let words: Vec<_> =
                words.iter().map(|(word, count)| format!("{count} {word}")).collect();
            let words = match &words[..] {
                [] => String::new(),
                words => format!(": {}", words.join(", ")),
            };
            line(&format!("| {name} | {about} | {conforms} | {deviates}{words} | {rest} |"));
        }
        let names: Vec<_> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        line(&format!("\n| vector | {} |", names.join(" | ")));
        line(&format!("|---|{}", "---|".repeat(names.len())));
        let (mut notes, mut file) = (Notes(Vec::new()), "");
        for row in &self.rows {
            if row.file != file {
                file = &row.file;
                let blanks = " |".repeat(names.len());
                line(&format!("| **[{file}]({}/{file}.json)** |{blanks}", self.folder));
            }
            let cells = row.outcomes.iter().map(|outcome| match outcome {
                Outcome::Conforms => "yes".to_owned(),
                Outcome::Deviates(word, what) => format!("**{word}** {}", notes.add(what)),
                Outcome::NotApplicable(why) => format!("– {}", notes.add(why)),
            });
            let cells = cells.collect::<Vec<_>>().join(" | ");
            let mark = if row.is_marked { " †" } else { "" };
            line(&format!("| {}{mark} | {cells} |", escaped(&row.vector)));
        }
        if !notes.0.is_empty() {
            line("");
        }
        for (number, note) in notes.0.iter().enumerate() {
            let _infallible = writeln!(page, "{}. {note}", number + 1);
        }
        if !self.epilogue.is_empty() {
            page.push('\n');
            page.push_str(&self.epilogue);
        }
    }
}

/// Escapes the characters that have a meaning in Markdown tables and lists.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
        .replace('\n', " ")
}
