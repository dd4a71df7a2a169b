//! The functions under the lab, and the differences that the document names.
//!
//! Theirs take part if `MOVING_THEIRS` is the folder with their programs: `just moving`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{
    Event, FailureKind, Function, FunctionFailure, InvokeError, Lab, LogFormat, Output,
};
use lambda_moving::{PAIRS, Side};
use serde_json::Value;

/// How long to wait for something that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// A function under the lab. The file with its output is removed on drop.
struct Running {
    lab: Lab,
    output: PathBuf,
}

impl Running {
    #[track_caller]
    fn json(&self, event: impl Into<Event>) -> Value {
        serde_json::from_slice(&self.lab.invoke(event).unwrap().body).unwrap()
    }

    fn start(side: Side, name: &str, change: impl FnOnce(Function) -> Function) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let output = format!("moving-{}-{number}.txt", std::process::id());
        let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(output);
        let program = folder(side)?.join(format!("{}-{name}", side.name()));
        // The lab prints what a function writes, and does not keep it.
        let shell = Function::new("/bin/sh").argument("-c").argument("exec \"$@\" >>\"$0\" 2>&1");
        let function = shell.argument(&output).argument(program).variable("REGION", "here");
        let lab = change(function.output(Output::Discarded)).start().unwrap();
        Some(Self { lab, output })
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    #[track_caller]
    fn failure(&self, event: &str) -> FunctionFailure {
        match self.lab.invoke(event) {
            Err(InvokeError::Function(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let began = Instant::now();
        while !self.output().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text:?} in {}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lab.stop();
        let _best_effort = fs::remove_file(&self.output);
    }
}

/// The folder with the programs of this side; `None` if they are not built.
fn folder(side: Side) -> Option<PathBuf> {
    match side {
        Side::Ours | Side::Moved => {
            Path::new(env!("CARGO_BIN_EXE_ours-json")).parent().map(PathBuf::from)
        }
        Side::Theirs => std::env::var_os("MOVING_THEIRS").map(PathBuf::from),
    }
}

/// This function on each side that it is on and that is built.
fn all(name: &str, change: impl Fn(Function) -> Function) -> impl Iterator<Item = (Side, Running)> {
    let pair = PAIRS.into_iter().find(|pair| pair.name == name).unwrap();
    let sides = Side::ALL.into_iter().filter(move |side| pair.is_on(*side));
    sides.filter_map(move |side| Some((side, Running::start(side, pair.name, &change)?)))
}

#[test]
fn each_function_gives_the_same_answer_on_all_sides() {
    for pair in PAIRS {
        let mut answers = Vec::new();
        for (side, running) in all(pair.name, Function::freeze) {
            let answers_here = [(); 2].map(|()| running.lab.invoke(pair.event).unwrap().text());
            for answer in &answers_here {
                assert!(answer.starts_with(pair.answer), "{}: {answer}", pair.program(side));
            }
            answers.push(answers_here);
        }
        if pair.name != "axum" {
            answers.dedup();
            assert_eq!(answers.len(), 1, "{}: {answers:?}", pair.name);
        }
    }
}

#[test]
fn an_axum_application_gives_the_same_response_on_both_sides() {
    let pair = PAIRS.into_iter().find(|pair| pair.name == "axum").unwrap();
    for (_, running) in all("axum", |it| it) {
        let answer = running.json(pair.event);
        assert_eq!(answer["statusCode"], 200);
        assert_eq!(answer["headers"]["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer["isBase64Encoded"], false);
        assert_eq!(answer["body"], "Hello, Ada!");
        let missing = pair.event.replace("/hello/", "/nobody/");
        assert_eq!(running.json(missing)["statusCode"], 404);
    }
}

#[test]
fn an_event_that_does_not_fit_has_an_error_type_of_lambda_here() {
    for (side, running) in all("json", |it| it) {
        let failure = running.failure(r#"{"name":7}"#);
        let right = match side {
            Side::Ours | Side::Moved => "Runtime.UnmarshalError",
            Side::Theirs => "&lambda_runtime::deserializer::DeserializeError",
        };
        assert_eq!(failure.error_type().as_deref(), Some(right));
        // Theirs names the member.
        let message = failure.error_message().unwrap();
        assert_eq!(message.contains("[name]"), side == Side::Theirs, "{message}");
        assert!(message.contains("line 1 column 9"), "{message}");
    }
}

#[test]
fn errors_have_their_types_on_all_sides_and_their_causes_here() {
    for (side, running) in all("errors", |it| it) {
        let failure = running.failure(r#"{"order":"19"}"#);
        assert_eq!(failure.error_type().as_deref(), Some("Function.OrderNotFound"));
        assert_eq!(failure.error_message().as_deref(), Some("there is no order \"19\""));
        let failure = running.failure(r#"{"order":"18"}"#);
        assert_eq!(failure.error_type().as_deref(), Some("Function.OrderUnreadable"));
        let body: Value = serde_json::from_slice(&failure.body).unwrap();
        let trace = body["stackTrace"].to_string();
        assert_eq!(trace.contains("invalid digit found in string"), side == Side::Ours, "{body}");
    }
}

#[test]
fn a_client_that_cannot_be_made_is_reported_here_and_ends_the_process_there() {
    // Not text, so that it counts as an error.
    let region = OsStr::from_bytes(b"\xff");
    for (side, running) in all("shared_client", |it| it.variable("REGION", region)) {
        let failure = running.failure("{}");
        let right = match side {
            Side::Ours => FailureKind::Init,
            Side::Theirs | Side::Moved => FailureKind::Exit,
        };
        assert_eq!(failure.kind, right, "{failure:?}");
        let message = failure.error_message().unwrap_or_default();
        assert_eq!(message.contains("not valid unicode"), side == Side::Ours, "{message}");
    }
}

#[test]
fn a_streamed_response_has_its_lines_after_the_prelude() {
    for (side, running) in all("streaming", |it| it) {
        let answer = running.lab.invoke(r#"{"lines":2}"#).unwrap().text();
        let (_, body) = answer.split_once("\0\0\0\0\0\0\0\0").unwrap();
        assert_eq!(body, "line 1\nline 2\n", "{side:?}");
    }
}

#[test]
fn background_work_is_done_before_the_freeze() {
    for (_, running) in all("background_work", Function::freeze) {
        for name in ["Ada", "Grace"] {
            let event = format!(r#"{{"customer":"{name}"}}"#);
            running.lab.invoke_to_the_end(event, |_| ()).unwrap();
            let done = format!("the mail to {name} is sent");
            assert!(running.output().contains(&done), "{}", running.output());
        }
    }
}

#[test]
fn an_event_without_an_order_leaves_their_extension_waiting_until_the_timeout() {
    if let Some(ours) = Running::start(Side::Ours, "background_work", |it| it) {
        assert_eq!(ours.failure("{}").kind, FailureKind::Reported);
        assert_eq!(ours.json(r#"{"customer":"Ada"}"#), "accepted");
        ours.wait_for("the mail to Ada is sent");
    }
    let timeout = |it: Function| it.timeout(Duration::from_secs(2));
    if let Some(theirs) = Running::start(Side::Theirs, "background_work", timeout) {
        assert_eq!(theirs.failure("{}").kind, FailureKind::Reported);
        // The next invocation begins when the runtime and all extensions have asked for it.
        let began = Instant::now();
        let _answer = theirs.lab.invoke(r#"{"customer":"Ada"}"#);
        assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[test]
fn log_lines_have_the_request_id() {
    for (side, running) in all("tracing", |it| it.log_format(LogFormat::Json)) {
        let id = running.lab.invoke(r#"{"name":"Ada"}"#).unwrap().request_id;
        running.wait_for("greeting");
        let output = running.output();
        let line = output.lines().find(|it| it.contains("greeting")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let found = match side {
            Side::Ours | Side::Moved => &line["requestId"],
            Side::Theirs => &line["span"]["requestId"],
        };
        assert_eq!(*found, *id, "{line}");
    }
}

#[test]
fn code_for_the_shutdown_runs_before_the_process_ends() {
    for (_, running) in all("shutdown", |it| it) {
        for _ in 0..3 {
            running.lab.invoke("{}").unwrap();
        }
        running.lab.stop();
        assert!(running.output().contains("flushed after 3 invocations"), "{}", running.output());
    }
}

#[test]
fn metrics_are_flushed_after_each_invocation_also_after_one_that_fails() {
    for (side, running) in all("extension", Function::freeze) {
        running.lab.invoke_to_the_end(r#"{"name":"Ada"}"#, |_| ()).unwrap();
        assert!(running.lab.invoke_to_the_end("{}", |_| ()).is_err());
        running.lab.invoke_to_the_end(r#"{"name":"Ada"}"#, |_| ()).unwrap();
        let count = running.output().matches("flushed 1\n").count();
        assert_eq!(count, 3, "{side:?}: {}", running.output());
    }
}
