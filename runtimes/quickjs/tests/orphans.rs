//! What the demonstration shows of this runtime is what the README says.
#![allow(missing_docs)]

use std::path::Path;
use std::thread;
use std::time::Duration;

use lambda_quickjs_bench::orphans::{HANDLERS, Program, Settings, play, tables};

/// Long, so that a busy machine does not change what happens.
const SETTINGS: Settings =
    Settings { timeout: Duration::from_secs(120), pause: Duration::from_millis(100) };

#[test]
fn the_tables_of_the_readme_say_what_becomes_of_work_that_is_left_undone() {
    let programs = Program::ours(Path::new(env!("CARGO_BIN_EXE_lambda-quickjs")));
    let outcomes: Vec<Vec<_>> = thread::scope(|scope| {
        let programs = &programs;
        let of = |handler| move || programs.iter().map(|it| play(it, handler, SETTINGS)).collect();
        let handlers = HANDLERS.each_ref().map(|handler| scope.spawn(of(handler)));
        handlers.map(|running| running.join().unwrap()).into_iter().collect::<Result<_, _>>()
    })
    .unwrap();
    let readme = include_str!("../README.md");
    let [answers, work, _times] = tables(&programs, &outcomes);
    for table in [answers, work] {
        let (_, told) = readme.split_once(&format!("{}:\n\n", table.title)).unwrap_or_else(|| {
            panic!("the README has no table {:?}:\n\n{}", table.title, table.lines.join("\n"))
        });
        let told: Vec<_> = told.lines().take_while(|line| line.starts_with('|')).collect();
        // The README's table has columns of other runtimes after these.
        let is_same = |(told, line): (&&str, &String)| told.starts_with(&**line);
        let are_same =
            told.len() == table.lines.len() && told.iter().zip(&table.lines).all(is_same);
        assert!(
            are_same,
            "what the README says of {:?} is now\n\n{}",
            table.title,
            table.lines.join("\n")
        );
    }
}
