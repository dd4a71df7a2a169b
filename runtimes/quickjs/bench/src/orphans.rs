//! What becomes of work that handlers leave undone, under each policy and on Node.js, under the lab,
//! which stops the process between invocations as Lambda does.
//!
//! The handlers are in `examples/orphans`. Each is invoked four times: a first event starts the
//! process, number 1 leaves something undone, number 2 takes its time, and number 3 answers at once.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{Function, Lab, Output};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A handler that leaves something undone.
pub struct Handler {
    /// The value of `_HANDLER`.
    pub name: &'static str,
    /// What it leaves undone.
    pub about: &'static str,
    /// Whether that would leave a line in the log if it was done.
    pub has_work: bool,
}

/// The handlers of `examples/orphans`.
pub const HANDLERS: [Handler; 13] = [
    Handler {
        name: "orphan.handler",
        about: "an event with an asynchronous listener, 200 ms",
        has_work: true,
    },
    Handler {
        name: "others.unawaited",
        about: "an async function that nobody awaits, 2 × 100 ms",
        has_work: true,
    },
    Handler { name: "others.rejected", about: "a rejection before the answer", has_work: true },
    Handler {
        name: "others.rejectedLate",
        about: "a rejection 50 ms after the answer",
        has_work: true,
    },
    Handler {
        name: "others.thrownLate",
        about: "an error in a timer, after 50 ms",
        has_work: true,
    },
    Handler { name: "others.shared", about: "a promise that invocation 2 settles", has_work: true },
    Handler { name: "others.waited", about: "`waitUntil` with 1.5 s of work", has_work: true },
    Handler { name: "others.interval", about: "an interval of 100 ms", has_work: true },
    Handler {
        name: "others.idle",
        about: "the timer of an idle connection, 60 s",
        has_work: false,
    },
    Handler {
        name: "others.pending",
        about: "the handler's promise never settles",
        has_work: false,
    },
    Handler { name: "others.callback", about: "a handler with three parameters", has_work: false },
    Handler { name: "others.broken", about: "an error in the middle of a stream", has_work: false },
    Handler { name: "others.open", about: "a stream without `end()`", has_work: false },
];

/// The policies of lambda-quickjs.
pub const POLICIES: [&str; 4] = ["drain", "report", "strict", "abandon"];

/// A runtime as a command, which gets the handler as its last argument.
pub struct Program {
    /// The column of the tables.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The value of `LAMBDA_PROTO_WORK`.
    pub policy: &'static str,
}

impl Program {
    /// lambda-quickjs with each policy.
    pub fn ours(program: &Path) -> Vec<Self> {
        let ours = POLICIES.map(|policy| {
            let name = if policy == "drain" {
                "`drain`, the default".into()
            } else {
                format!("`{policy}`")
            };
            Self { name, command: vec![program.into()], policy }
        });
        ours.into()
    }
}

/// How the handlers are invoked.
#[derive(Clone, Copy)]
pub struct Settings {
    /// The timeout of the function.
    pub timeout: Duration,
    /// How long the process stays frozen between two invocations.
    pub pause: Duration,
}

/// What became of three invocations.
#[derive(Clone, Debug)]
pub struct Outcome {
    has_work: bool,
    /// `None` for an answer, otherwise the type of the error.
    answers: Vec<Option<String>>,
    /// Where the work of invocation 1 has left a line in the log.
    traces: Vec<Trace>,
    /// Whether a line says what invocation 1 has left.
    is_reported: bool,
    /// How many processes were started.
    processes: usize,
    times: Vec<Times>,
}

/// A line about the work of invocation 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trace {
    /// The invocation that ran.
    during: usize,
    /// The invocation under whose request id it was logged, if it was one.
    under: Option<usize>,
}

/// The times of an invocation.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From the event to the request for the next one, or to the end of the process.
    billed: Duration,
    /// The part of it that followed the answer.
    after_answer: Option<Duration>,
}

/// Invokes a handler under the lab.
///
/// # Errors
///
/// If the lab does not start, or if the log cannot be read.
pub fn play(program: &Program, handler: &Handler, settings: Settings) -> Result<Outcome, String> {
    let named = |error: String| format!("{} with {}: {error}", handler.name, program.name);
    let running = Running::start(program, handler.name, settings).map_err(named)?;
    let mut outcome = Outcome {
        has_work: handler.has_work,
        answers: vec![],
        traces: vec![],
        is_reported: false,
        processes: 0,
        times: vec![],
    };
    let mut ids = vec![];
    let mut known = 0;
    for number in 0..=INVOCATIONS {
        let begun = Instant::now();
        let (mut answered, mut body) = (None, vec![]);
        let event = json!({ "number": number }).to_string();
        let answer = running.lab.invoke_to_the_end(event, |piece| {
            answered = Some(begun.elapsed());
            body.extend_from_slice(piece);
        });
        let billed = begun.elapsed();
        let (error, id) = match answer {
            // The first is JSON, the second is streamed.
            Ok(answer) if matches!(&body[..], br#""answer""# | b"answer") => {
                (None, answer.request_id)
            }
            Ok(answer) => (Some("a wrong answer".to_owned()), answer.request_id),
            Err(error) => match error.function() {
                Some(failure) => {
                    (Some(failure.error_type().unwrap_or_default()), failure.request_id.clone())
                }
                None => return Err(named(error.to_string())),
            },
        };
        ids.push(id);
        if number > 0 {
            let after_answer = answered.filter(|_| error.is_none()).map(|at| billed - at);
            outcome.answers.push(error);
            outcome.times.push(Times { billed, after_answer });
        }
        thread::sleep(settings.pause);
        if number == INVOCATIONS {
            running.lab.stop();
        }
        let log = running.log().map_err(named)?;
        // One that is being written is for the next time.
        let lines: Vec<_> =
            log.split_inclusive('\n').filter_map(|it| it.strip_suffix('\n')).collect();
        for line in &lines[known.min(lines.len())..] {
            outcome.read(line, number, &ids);
        }
        known = lines.len();
    }
    Ok(outcome)
}

/// How many invocations count.
const INVOCATIONS: usize = 3;

/// The line that the shell writes when it starts a process.
const PROCESS: &str = "a process";

impl Outcome {
    /// Adds a line that the log has got since this invocation began.
    fn read(&mut self, line: &str, during: usize, ids: &[String]) {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        let id = record["requestId"].as_str().unwrap_or_default();
        let under = ids.iter().position(|it| !id.is_empty() && it == id);
        self.processes += usize::from(line == PROCESS);
        self.is_reported |= under == Some(1) && line.contains("work is left after the answer");
        let trace = Trace { during, under };
        if line.contains("work of 1") && !self.traces.contains(&trace) {
            self.traces.push(trace);
        }
    }

    /// Which invocations were answered.
    fn answers(&self) -> String {
        let failed: Vec<_> = self.answers.iter().flatten().collect();
        let mut cell = match (self.answers.iter().position(Option::is_some), &failed[..]) {
            (None, _) => "all".to_owned(),
            (Some(at), [error]) => format!("not {}: `{error}`", at + 1),
            (Some(_), [error, ..]) if failed.len() == INVOCATIONS => {
                return format!("none: `{error}`");
            }
            _ => {
                let each = self.answers.iter().enumerate().filter_map(|(at, error)| {
                    error.as_ref().map(|error| format!("{}: `{error}`", at + 1))
                });
                format!("not {}", each.collect::<Vec<_>>().join(", "))
            }
        };
        if self.processes > 1 {
            cell += &format!("; {} processes", self.processes);
        }
        cell
    }

    /// What was done of the work of invocation 1.
    fn work(&self) -> String {
        let traces = self.traces.iter().map(|trace| match trace.under {
            Some(under) => format!("in {} as {under}", trace.during),
            None => format!("in {}, no id", trace.during),
        });
        let mut cells: Vec<_> = traces.collect();
        if cells.is_empty() && self.has_work {
            cells.push("lost".to_owned());
        }
        if self.is_reported {
            cells.push("reported".to_owned());
        }
        if cells.is_empty() { "–".to_owned() } else { cells.join(", ") }
    }

    /// What was billed, in milliseconds.
    fn billed(&self) -> String {
        let times = self.times.iter().map(|times| {
            let millis = times.billed.as_millis();
            match times.after_answer.map(|after| after.as_millis()).filter(|after| *after >= 5) {
                Some(after) => format!("{millis} ({after})"),
                None => millis.to_string(),
            }
        });
        times.collect::<Vec<_>>().join(", ")
    }
}

/// A table in Markdown with a row for each handler and a column for each program.
pub struct Table {
    /// What its cells say.
    pub title: &'static str,
    /// Its lines, the heads of the columns first.
    pub lines: Vec<String>,
}

/// The tables of these outcomes, of which each handler has one for each program. The last has times.
pub fn tables(programs: &[Program], outcomes: &[Vec<Outcome>]) -> [Table; 3] {
    let table = |title, cell: fn(&Outcome) -> String| {
        let row = |first: &str, cells: &mut dyn Iterator<Item = String>| {
            cells.fold(format!("| {first} |"), |row, cell| row + &format!(" {cell} |"))
        };
        let heads = row("invocation 1 leaves", &mut programs.iter().map(|it| it.name.clone()));
        let rule = format!("|---|{}", "---|".repeat(programs.len()));
        let rows = HANDLERS.iter().zip(outcomes);
        let rows = rows.map(|(handler, of)| row(handler.about, &mut of.iter().map(cell)));
        Table { title, lines: [heads, rule].into_iter().chain(rows).collect() }
    };
    [
        table("Which of three invocations are answered", Outcome::answers),
        table(
            "When the work of invocation 1 is done, and whose request id it is logged with",
            Outcome::work,
        ),
        table(
            "Milliseconds billed for each invocation (of them after the answer)",
            Outcome::billed,
        ),
    ]
}

/// A handler under the lab, and its log.
struct Running {
    lab: Lab,
    folder: TempDir,
}

impl Running {
    fn start(program: &Program, handler: &str, settings: Settings) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let script = format!(r#"echo "{PROCESS}" >>"$LOG"; exec "$@" "$_HANDLER" >>"$LOG" 2>&1"#);
        let shell = Function::new("/bin/sh").argument("-c").argument(script).argument("sh");
        let function = program.command.iter().fold(shell, |shell, it| shell.argument(it));
        let lab = function
            .clean_env()
            .variable("LOG", folder.path().join(LOG))
            .variable("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .variable("LAMBDA_PROTO_WORK", program.policy)
            .task_root(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/orphans"))
            .handler(handler)
            .timeout(settings.timeout)
            // A busy machine needs more than Lambda gives.
            .init_timeout(Duration::from_secs(120))
            .freeze()
            .output(Output::Discarded)
            .start();
        Ok(Self { lab: lab.map_err(|error| error.to_string())?, folder })
    }

    fn log(&self) -> Result<String, String> {
        let path = self.folder.path().join(LOG);
        let log = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }
}

/// The name of the log.
const LOG: &str = "log";

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 4] = ["id-0", "id-1", "id-2", "id-3"];

    fn outcome(answers: [Option<&str>; 3], lines: &[(usize, &str)]) -> Outcome {
        let mut outcome = Outcome {
            has_work: true,
            answers: answers.map(|error| error.map(str::to_owned)).into(),
            traces: vec![],
            is_reported: false,
            processes: 0,
            times: vec![],
        };
        let ids = IDS.map(str::to_owned);
        for &(during, line) in lines {
            outcome.read(line, during, &ids[..=during]);
        }
        outcome
    }

    fn line(id: &str, message: &str) -> String {
        json!({ "requestId": id, "message": message }).to_string()
    }

    #[test]
    fn work_is_told_by_when_it_was_logged_and_under_whose_request_id() {
        let own = line("id-1", "work of 1");
        let foreign = line("id-2", "work of 1");
        let work = |lines: &[(usize, &str)]| outcome([None; 3], lines).work();
        assert_eq!(work(&[(1, &own)]), "in 1 as 1");
        assert_eq!(work(&[(2, &own)]), "in 2 as 1");
        assert_eq!(work(&[(2, &own), (2, &own), (2, &foreign)]), "in 2 as 1, in 2 as 2");
        assert_eq!(work(&[(2, "Error: work of 1"), (2, &line("", "work of 1"))]), "in 2, no id");
    }

    #[test]
    fn work_without_a_line_is_lost_also_if_it_is_reported() {
        let other = line("id-1", "work of 2");
        let report = line("id-1", "work is left after the answer, and freezes: setTimeout");
        assert_eq!(outcome([None; 3], &[(1, &other)]).work(), "lost");
        assert_eq!(outcome([None; 3], &[(1, &report)]).work(), "lost, reported");
        let idle = Outcome { has_work: false, ..outcome([None; 3], &[]) };
        assert_eq!(idle.work(), "–");
    }

    #[test]
    fn answers_are_told_by_the_invocations_that_failed_and_by_new_processes() {
        let answers = |answers, lines: &[(usize, &str)]| outcome(answers, lines).answers();
        assert_eq!(answers([None; 3], &[(0, PROCESS)]), "all");
        assert_eq!(answers([None; 3], &[(0, PROCESS), (2, PROCESS)]), "all; 2 processes");
        assert_eq!(answers([None, Some("Exit"), None], &[]), "not 2: `Exit`");
        assert_eq!(answers([Some("A"), Some("B"), None], &[]), "not 1: `A`, 2: `B`");
        assert_eq!(answers([Some("A"); 3], &[(0, PROCESS), (1, PROCESS)]), "none: `A`");
    }

    #[test]
    fn what_is_billed_after_the_answer_is_in_parentheses() {
        let millis = Duration::from_millis;
        let times = |billed, after: Option<u64>| Times {
            billed: millis(billed),
            after_answer: after.map(millis),
        };
        let times = vec![times(203, Some(201)), times(302, Some(1)), times(7, None)];
        assert_eq!(Outcome { times, ..outcome([None; 3], &[]) }.billed(), "203 (201), 302, 7");
    }
}
