//! Other people's extensions, and one in plain Python, as external extensions of the lab: each is
//! told everything about two invocations, and of the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use lambda_conformance::service::Port;
use lambda_interop::programs;
use lambda_lab::{Function, Lab};
use serde_json::Value;

use crate::{Folder, PATIENCE, files, lab};

/// A lab whose function writes a line about each event, with one extension.
struct Told {
    lab: Lab,
    output: PathBuf,
    _folder: Folder,
    /// Where the extension listens, if it was told to.
    port: Option<Port>,
}

/// Something that an extension was told: its kind, and a document.
type Line = (String, Value);

impl Told {
    fn start(extension: &Path, change: impl FnOnce(Function, &Path) -> Function) -> Self {
        let folder = Folder::new();
        let output = folder.0.join("told");
        let function = Function::new("/bin/bash").argument(files().join("bootstrap.sh"));
        let function = function.variable("LAMBDA_TASK_ROOT", files()).handler("function.log");
        let lab = lab(change(function.extension(extension), &output));
        Self { lab, output, _folder: folder, port: None }
    }

    fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        // The last line may not be complete yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| {
            let line = match line.strip_prefix("telemetry.py: ") {
                // The first word is the time.
                Some(line) => line.split_once(' ').unwrap().1,
                None => line,
            };
            let (kind, document) = line.split_once(' ').unwrap();
            (kind.to_owned(), serde_json::from_str(document).unwrap())
        });
        lines.collect()
    }

    /// Waits until what the extension was told is enough.
    fn wait_until(&self, is_enough: impl Fn(&[Line]) -> bool) {
        let began = Instant::now();
        while !is_enough(&self.lines()) {
            assert!(began.elapsed() < PATIENCE, "something is missing: {:#?}", self.lines());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the extension was told something of this kind a number of times.
    fn wait_for(&self, kind: &str, times: usize) {
        self.wait_until(|lines| of(lines, kind).len() >= times);
    }

    /// Invokes the function twice, ends the lab, and returns the request ids and all lines.
    fn whole_life(&self) -> ([String; 2], Vec<Line>) {
        let mut count = 0;
        let ids = ["one", "two"].map(|event| {
            let answer = self.lab.invoke(event).unwrap();
            assert_eq!(answer.text(), event);
            count += 1;
            self.wait_for("platform.report", count);
            answer.request_id
        });
        self.lab.stop();
        self.wait_for("SHUTDOWN", 1);
        (ids, self.lines())
    }
}

/// The documents of this kind, in their order.
fn of<'l>(lines: &'l [Line], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|(it, _)| it == kind).map(|(_, document)| document).collect()
}

/// The kinds of the platform's events, and `function`, in their order.
fn telemetry(lines: &[Line]) -> Vec<&str> {
    let kinds = lines.iter().map(|(kind, _)| kind.as_str());
    kinds.filter(|kind| kind.starts_with("platform.") || *kind == "function").collect()
}

/// Checks what each invocation brings an extension, whichever API it has subscribed to.
fn both_invocations_are_told(ids: &[String; 2], lines: &[Line]) {
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    for kind in ["INVOKE", "platform.start", "platform.runtimeDone", "platform.report"] {
        let told: Vec<_> = of(lines, kind).iter().map(|it| it["requestId"].as_str()).collect();
        assert_eq!(told, [Some(ids[0]), Some(ids[1])], "{kind}");
    }
    assert_eq!(of(lines, "function"), ["the event is one", "the event is two"]);
    for done in of(lines, "platform.runtimeDone") {
        assert_eq!(done["status"], "success");
    }
    for report in of(lines, "platform.report") {
        assert!(report["metrics"]["billedDurationMs"].as_u64().unwrap() > 0, "{report}");
    }
    let shutdown = of(lines, "SHUTDOWN");
    assert_eq!(shutdown.len(), 1);
    assert_eq!(shutdown[0]["shutdownReason"].as_str().unwrap().to_lowercase(), "spindown");
}

/// What the Telemetry API delivers about a life with two invocations. Where the state of the
/// extension and the subscription come among the events of init is left open.
fn a_whole_life_is_told(ids: &[String; 2], lines: &[Line]) {
    both_invocations_are_told(ids, lines);
    let invocation = ["platform.start", "function", "platform.runtimeDone", "platform.report"];
    let init = ["platform.initStart", "platform.initRuntimeDone", "platform.initReport"];
    let is_free =
        |kind: &&str| ["platform.extension", "platform.telemetrySubscription"].contains(kind);
    let all = telemetry(lines);
    let in_order: Vec<_> = all.iter().copied().filter(|kind| !is_free(kind)).collect();
    assert_eq!(in_order, [&init[..], &invocation, &invocation].concat());
    assert_eq!(all.iter().filter(|kind| is_free(kind)).count(), 2, "{all:?}");
    let first = of(lines, "platform.report")[0];
    assert!(first["metrics"]["initDurationMs"].as_f64().unwrap() > 0.0, "{first}");
}

fn peer(kind: &'static str) -> Told {
    let port = Port::claim().unwrap();
    let number = port.number().to_string();
    let told = Told::start(&programs::peer_extension().unwrap(), |function, output| {
        let function = function.variable("PEER_EXTENSION", kind);
        let function = function.variable("PEER_EXTENSION_PORT", number);
        function.variable("PEER_EXTENSION_OUTPUT", output)
    });
    Told { port: Some(port), ..told }
}

#[test]
fn lambda_extension_gets_all_telemetry_of_two_invocations_and_the_end() {
    let (ids, lines) = peer("telemetry").whole_life();
    a_whole_life_is_told(&ids, &lines);
}

/// It refuses each batch with a record of init, which it does not know, and loses what else is in
/// it. So it is asked about an invocation after the lab has given up that batch.
#[test]
fn lambda_extension_gets_all_logs_of_an_invocation_after_init_and_the_end() {
    let told = peer("logs");
    let began = Instant::now();
    while of(&told.lines(), "platform.report").is_empty() {
        assert!(began.elapsed() < PATIENCE, "no report: {:#?}", told.lines());
        told.lab.invoke("one").unwrap();
    }
    let id = told.lab.invoke("two").unwrap().request_id;
    told.wait_until(|lines| {
        of(lines, "platform.report").iter().any(|it| it["requestId"] == id.as_str())
    });
    told.lab.stop();
    told.wait_for("SHUTDOWN", 1);
    let lines = told.lines();
    for kind in
        ["INVOKE", "platform.start", "platform.runtimeDone", "platform.end", "platform.report"]
    {
        let documents = of(&lines, kind);
        let count = documents.iter().filter(|it| it["requestId"] == id.as_str()).count();
        assert_eq!(count, 1, "{kind}: {lines:#?}");
    }
    assert_eq!(of(&lines, "function").iter().filter(|it| **it == "the event is two").count(), 1);
}

#[test]
fn an_extension_in_plain_python_gets_all_telemetry_of_two_invocations_and_the_end() {
    let extension = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/examples/telemetry.py");
    let told =
        Told::start(&extension, |function, output| function.variable("TELEMETRY_OUTPUT", output));
    let (ids, lines) = told.whole_life();
    a_whole_life_is_told(&ids, &lines);
}
