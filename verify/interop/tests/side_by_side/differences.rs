//! Describes the intended differences as data, and checks that there are no others.

use std::collections::BTreeSet;

use crate::compare::{Found, differences};
use crate::script::{End, Script};

/// A reason, and all differences that it explains.
pub(crate) struct Difference {
    pub(crate) at: At,
    pub(crate) why: &'static str,
    /// The part of the answer, its value from the emulator, and its value from the lab. `*` matches
    /// any value.
    pub(crate) parts: &'static [(&'static str, &'static str, &'static str)],
}

/// The steps at which something differs.
pub(crate) enum At {
    /// Every step of every script that ends in one of these ways, unless a [`At::Steps`] row covers
    /// it.
    Ends(&'static [End]),
    /// These steps of this script.
    Steps(&'static str, &'static [&'static str]),
}

/// A part of an answer that is expected to differ.
#[derive(Debug)]
struct Expected<'a> {
    step: &'a str,
    part: &'static str,
    emulator: &'static str,
    lab: &'static str,
}

/// Runs the scripts under both services, and panics unless the differences are those of the table.
pub(crate) fn check(scripts: &[Script]) {
    let mut wrong = Vec::new();
    for script in scripts {
        let expected = expected(script);
        let found: Vec<_> = differences(script).into_iter().filter(is_compared).collect();
        let new = found.iter().filter(|found| !expected.iter().any(|row| row.is(found)));
        wrong.extend(new.map(|it| format!("not in the table: \"{}\" {it:?}", script.name)));
        let gone = expected.iter().filter(|row| !found.iter().any(|found| row.is(found)));
        let gone = gone.filter(|row| !is_inherited(row.part));
        wrong.extend(gone.map(|it| format!("no longer differs: \"{}\" {it:?}", script.name)));
    }
    assert!(
        wrong.is_empty(),
        "for each difference, add a row to table.rs if it is intended, or fix the lab\n{}",
        wrong.join("\n")
    );
}

/// The rows of the table for this script.
fn expected(script: &Script) -> Vec<Expected<'_>> {
    let mut expected: Vec<Expected<'_>> = Vec::new();
    let steps: BTreeSet<_> = script.steps.iter().map(|step| step.name).collect();
    for difference in crate::table::WANTED {
        let At::Steps(name, at) = difference.at else { continue };
        for step in at.iter().copied().filter(|_| name == script.name) {
            assert!(steps.contains(step), "table.rs: no step \"{step}\" in \"{name}\"");
            let parts = difference.parts.iter();
            expected.extend(parts.map(|&(part, emulator, lab)| Expected {
                step,
                part,
                emulator,
                lab,
            }));
        }
    }
    for difference in crate::table::WANTED {
        let At::Ends(ends) = difference.at else { continue };
        for step in script.steps.iter().filter(|step| ends.contains(&step.end)) {
            for &(part, emulator, lab) in difference.parts {
                // A script may have the same step several times.
                if !expected.iter().any(|row| row.step == step.name && row.part == part) {
                    expected.push(Expected { step: step.name, part, emulator, lab });
                }
            }
        }
    }
    expected
}

impl Expected<'_> {
    fn is(&self, found: &Found) -> bool {
        let is = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        self.step == found.step
            && self.part == found.part
            && is(self.emulator, &found.emulator)
            && is(self.lab, &found.lab)
    }
}

/// Ignores the variables of this process: both services pass them on, but the harness removes some
/// of them for the emulator.
fn is_compared(found: &Found) -> bool {
    found.part != "body.LAMBDA_INTEROP_PROCESS" && !is_inherited(&found.part)
}

fn is_inherited(part: &str) -> bool {
    part.strip_prefix("body.").is_some_and(|name| std::env::var_os(name).is_some())
}

#[test]
fn every_row_names_an_existing_script_and_a_reason() {
    let names: BTreeSet<_> = crate::all().iter().map(|script| script.name).collect();
    for difference in crate::table::WANTED {
        if let At::Steps(name, _) = difference.at {
            assert!(names.contains(name), "table.rs: no script \"{name}\"");
        }
        assert!(!difference.why.is_empty() && !difference.parts.is_empty());
    }
}
