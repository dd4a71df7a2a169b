//! The document shows the code of the functions as it is compiled.

use std::fs;

use lambda_moving::{PAIRS, Side};

fn document() -> String {
    let path = Side::Ours.folder().join("../../moving-from-lambda-runtime.md");
    fs::read_to_string(path).expect("the document is there")
}

#[test]
fn each_pair_has_a_section_with_the_code_of_both_sides() {
    let document = document();
    for (number, pair) in (1..).zip(PAIRS) {
        let heading = format!("\n### {number}. {}\n", pair.title);
        let (_, section) = document.split_once(&heading).unwrap_or_else(|| panic!("no{heading}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let section = section.split("\n### ").next().unwrap_or_default();
        for side in [Side::Theirs, Side::Ours] {
            let code = fs::read_to_string(pair.code(side)).expect("it has been compiled");
            let block = format!("```rust\n{code}```\n");
            assert!(
                section.contains(&block),
                "{}: the document has other code",
                pair.program(side)
            );
        }
        assert_eq!(section.matches("```rust\n").count(), 2, "{}", pair.name);
    }
}

#[test]
fn the_table_has_a_row_for_each_pair_with_the_lines_of_code() {
    let document = document();
    for pair in PAIRS {
        let [theirs, ours] = [Side::Theirs, Side::Ours].map(|side| pair.lines(side));
        let row = format!("| {} | {theirs} → {ours} | ", pair.title);
        assert!(document.contains(&row), "no row that begins with {row:?}; see `just moving`");
    }
}
