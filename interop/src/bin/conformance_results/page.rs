//! The page.

use std::fmt::Write;

use crate::clients::{Client, Outcome, Results};

/// Marks what is explained below a table.
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, note: String) -> String {
        let number = self.0.iter().position(|other| *other == note).unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        });
        format!("[{}]", number + 1)
    }

    fn write(&self, page: &mut String) {
        for (number, note) in self.0.iter().enumerate() {
            let _infallible = writeln!(page, "{}. {note}", number + 1);
        }
        page.push('\n');
    }
}

/// The page about these results.
pub(crate) fn write(results: &Results) -> String {
    let mut page = String::from(
        "# What implementations make of the conversations\n\n\
         Written by `cargo run --release -p lambda-interop --bin conformance-results`, not by hand. \
         [What the conversations are](README.md).\n\n",
    );
    let count = results.ours.len();
    clients(&mut page, "Clients of this project", results, &results.ours, 0);
    page.push_str(
        "The clients below are played the same conversations, over the same sockets. A function of theirs \
         gives its event back, and does what else their interface lets it do. What a word means: *exited*, the \
         process ended where it should have gone on; *panicked*, it ended or went on by a panic; *hung*, it did nothing \
         for 8 s where it should have done something; *spun*, the same with a processor busy; *otherwise*, it did \
         something else than it should.\n\n",
    );
    clients(&mut page, "Other clients", results, &results.others, count);
    page
}

fn clients(page: &mut String, title: &str, results: &Results, clients: &[Client], first: usize) {
    let _infallible = writeln!(page, "## {title}\n");
    page.push_str(
        "| client | what it is | conforms | deviates | not applicable |\n|---|---|---|---|---|\n",
    );
    for (place, client) in clients.iter().enumerate() {
        let count = |wanted: fn(&Outcome) -> bool| {
            results.rows.iter().filter(|row| wanted(&row.outcomes[first + place])).count()
        };
        let conforms = count(|it| matches!(it, Outcome::Conforms));
        let deviates = count(|it| matches!(it, Outcome::Deviates(..)));
        let rest = count(|it| matches!(it, Outcome::NotApplicable(_)));
        let (name, about) = (client.name, &client.about);
        let _infallible = writeln!(page, "| {name} | {about} | {conforms} | {deviates} | {rest} |");
    }
    let names: Vec<_> = clients.iter().map(|client| client.name).collect();
    let _infallible = writeln!(page, "\n| conversation | {} |", names.join(" | "));
    let _infallible = writeln!(page, "|---|{}", "---|".repeat(clients.len()));
    let mut notes = Notes(Vec::new());
    let mut file = "";
    for row in &results.rows {
        if row.file != file {
            file = &row.file;
            let _infallible = writeln!(
                page,
                "| **[{file}](client/{file}.json)** |{}",
                " |".repeat(clients.len())
            );
        }
        let cells: Vec<_> = row.outcomes[first..first + clients.len()]
            .iter()
            .map(|outcome| match outcome {
                Outcome::Conforms => "yes".to_owned(),
                Outcome::Deviates(word, what) => format!("**{word}** {}", notes.add(escaped(what))),
                Outcome::NotApplicable(why) => format!("– {}", notes.add(escaped(why))),
            })
            .collect();
        let name = escaped(&row.vector);
        let _infallible = writeln!(page, "| {name} | {} |", cells.join(" | "));
    }
    page.push('\n');
    notes.write(page);
}

/// Text that no table and no list takes for its own.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}
