//! What becomes of work that a handler leaves undone: a table of handlers and policies, under the
//! lab, which stops the process between invocations as Lambda does.
//!
//! ```console
//! $ cargo build --release && cargo run --release --example orphans target/release/lambda-quickjs
//! ```
//!
//! With `NODE RIC` after that, the program of Node and `bin/index.mjs` of the npm package
//! `aws-lambda-ric`, the same handlers also run on Node.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use lambda_lab::{Function, Output};
use serde_json::{Value, json};

const HANDLERS: [(&str, &str); 9] = [
    ("orphan.handler", "an event whose listener is asynchronous"),
    ("others.unawaited", "an async function that nobody awaits"),
    ("others.rejected", "a rejection before the answer"),
    ("others.rejectedLate", "a rejection 50 ms after the answer"),
    ("others.thrownLate", "an error in a timer after the answer"),
    ("others.pending", "a promise that never settles"),
    ("others.waited", "waitUntil with 400 ms of work"),
    ("others.interval", "an interval"),
    ("others.open", "a stream without its end"),
];

const POLICIES: [&str; 4] = ["drain", "report", "strict", "abandon"];

/// A runtime as a command.
struct Program {
    command: Vec<OsString>,
    name: &'static str,
}

/// Each handler is called as often.
const CALLS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let program = arguments.next().ok_or("name the program lambda-quickjs")?;
    let program: OsString = fs::canonicalize(program)?.into();
    let ours = POLICIES.map(|name| Program { command: vec![program.clone()], name });
    let mut programs = Vec::from(ours);
    if let (Some(node), Some(ric)) = (arguments.next(), arguments.next()) {
        let ric = fs::canonicalize(ric)?.into();
        programs.push(Program { command: vec![node, ric], name: "Node" });
    }
    println!(
        "| handler | policy, or Node | answers | work done | under its own id | reports | processes | ms billed, by invocation |"
    );
    println!("|---|---|---|--:|--:|--:|--:|---|");
    for (handler, what) in HANDLERS {
        for program in &programs {
            println!("| {what} | {} | {} |", program.name, row(program, handler)?);
        }
    }
    Ok(())
}

/// Calls a handler under a policy, and returns the cells of what happened.
fn row(program: &Program, handler: &str) -> Result<String, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let script = r#"echo '{"message":"process"}' >>"$LOG"; exec "$@" "$_HANDLER" >>"$LOG" 2>&1"#;
    let mut function = Function::new("/bin/sh").argument("-c").argument(script).argument("sh");
    for argument in &program.command {
        function = function.argument(argument);
    }
    let lab = function
        .clean_env()
        .variable("LOG", &log)
        .variable("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .variable("LAMBDA_PROTO_WORK", if program.name == "Node" { "" } else { program.name })
        .task_root(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/orphans"))
        .handler(handler)
        .timeout(Duration::from_secs(3))
        .init_timeout(Duration::from_secs(60))
        .freeze()
        .output(Output::Discarded)
        .start()?;
    let (mut answers, mut billed, mut ids) = (vec![], vec![], vec![]);
    for number in 1..=CALLS {
        let begun = Instant::now();
        let answer = lab.invoke_to_the_end(json!({ "number": number }).to_string(), |_| {});
        billed.push(begun.elapsed().as_millis().to_string());
        let (text, id) = match answer {
            Ok(answer) => ("ok".to_owned(), answer.request_id),
            Err(error) => match error.function() {
                Some(failure) => {
                    (failure.error_type().unwrap_or_default(), failure.request_id.clone())
                }
                None => return Err(error.into()),
            },
        };
        answers.push(text);
        ids.push(id);
    }
    lab.stop();
    let records = records(&log)?;
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let (mut done, mut own, mut reports, mut processes) = (0, 0, 0, 0);
    for record in &records {
        let told = text(record, "message");
        processes += usize::from(told == "process");
        reports += usize::from(told.contains("work is left after the answer"));
        let told = if told.starts_with("work of ") { told } else { text(record, "errorMessage") };
        let Some(number) = told.strip_prefix("work of ").and_then(|it| it.parse::<usize>().ok())
        else {
            continue;
        };
        done += 1;
        own += usize::from(ids.get(number - 1) == Some(&text(record, "requestId")));
    }
    Ok(format!(
        "{} | {done} | {own} | {reports} | {processes} | {}",
        answers.join(", "),
        billed.join(", ")
    ))
}

fn records(log: &Path) -> io::Result<Vec<Value>> {
    let text = fs::read_to_string(log)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
