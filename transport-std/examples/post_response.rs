//! Answers immediately, and finishes its work after the answer: the caller does not wait for it.
//!
//! The environment runs until the runtime asks for the next invocation. Then it is frozen, and
//! unfinished work is stopped until a later invocation thaws it. The policy decides what happens to
//! such work:
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --freeze --event 1 --event 2 target/release/examples/post_response drain
//! cargo run -p lambda-lab -- run --freeze --event 1 --event 2 target/release/examples/post_response report
//! ```
//!
//! `first` is the alternative: the work is done before the answer, and the caller waits.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_std::{Lifecycle, Policy, Runtime};

const USAGE: &str = "post_response [first|drain|report|strict|abandon] [MILLISECONDS OF WORK]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next();
    let is_first = mode.as_deref() == Some("first");
    let policy = match mode.as_deref() {
        None | Some("first" | "drain") => Policy::default(),
        Some("report") => Policy::Report,
        Some("strict") => Policy::Strict,
        Some("abandon") => Policy::Abandon,
        Some(other) => {
            eprintln!("post_response: \"{other}\" is not a policy; {USAGE}");
            return ExitCode::from(2);
        }
    };
    let work = match arguments.next().map(|text| text.parse()) {
        None => Duration::from_millis(300),
        Some(Ok(millis)) => Duration::from_millis(millis),
        Some(Err(error)) => {
            eprintln!("post_response: the milliseconds of work are not a number: {error}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    let lifecycle = Lifecycle::new().work(policy);
    let result = Runtime::from_env().and_then(|runtime| {
        runtime.lifecycle(lifecycle).run(|invocation, responder, context| {
            let id = invocation.request_id().to_owned();
            if is_first {
                thread::sleep(work);
                eprintln!("post_response: {id}: the work ends before the answer");
                return Ok(responder.send("done"));
            }
            let task = context.begin_work(&invocation, "write the books");
            let sent = responder.send("done, as far as you are concerned");
            let answered = Instant::now();
            thread::spawn(move || {
                thread::sleep(work);
                let after = answered.elapsed().as_millis();
                eprintln!("post_response: {id}: the work ends {after} ms after its answer");
                drop(task);
            });
            Ok(sent)
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("post_response: {error}");
            ExitCode::FAILURE
        }
    }
}
