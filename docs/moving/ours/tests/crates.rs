//! The numbers of crates in the document's table, which are those of Linux on x86_64.
//!
//! Theirs are checked if `MOVING_THEIRS` is set: `just moving`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;

use lambda_moving::{PAIRS, Side};

#[test]
fn the_table_has_the_number_of_crates_of_each_function() {
    let path = Side::Ours.folder().join("../../moving-from-lambda-runtime.md");
    let document = fs::read_to_string(path).expect("the document is there");
    let has_theirs = std::env::var_os("MOVING_THEIRS").is_some();
    for pair in PAIRS {
        let start = format!("| {} | ", pair.title);
        let row = document.lines().find(|line| line.starts_with(&start)).expect("a row");
        let cells: Vec<_> = row.split(" | ").nth(2).expect("crates").split(" → ").collect();
        let [theirs, moved, ours] = cells[..] else { panic!("not three numbers: {row}") };
        for (side, cell) in [(Side::Theirs, theirs), (Side::Moved, moved), (Side::Ours, ours)] {
            if side == Side::Theirs && !has_theirs {
                continue;
            }
            let crates = match pair.is_on(side) {
                true => pair.crates(side).expect("cargo runs").to_string(),
                false => "–".to_owned(),
            };
            assert_eq!(crates, cell, "{}; see `just moving`", pair.program(side));
        }
    }
}
