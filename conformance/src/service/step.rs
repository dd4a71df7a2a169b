use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Bytes;
use crate::service::bootstrap::{Order, Process};
use crate::service::events::Event;
use crate::service::expected::Expected;
use crate::service::listener::Listen;

/// A file of vectors about one subject.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorFile {
    /// What the vectors are about.
    pub about: String,
    /// The vectors, in the order of the file.
    pub vectors: Vec<Vector>,
}

/// One vector: steps for a newly started service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What it shows; unique in its file.
    pub name: String,
    /// The public documents from which its facts come.
    pub source: Vec<String>,
    /// The settings of the service.
    #[serde(default)]
    pub service: Settings,
    /// What happens, in this order.
    pub steps: Vec<Step>,
}

/// The settings of a service for a vector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The number of concurrent invocations; `None` for an on-demand function, which has one at a
    /// time.
    pub concurrency: Option<u32>,
    /// The timeout of the function, in seconds; `None` for any timeout of at least 20 s.
    pub timeout: Option<u32>,
    /// Whether the function has SnapStart.
    pub snapstart: bool,
    /// The names of the external extensions.
    pub extensions: Vec<String>,
    /// Whether the service has the Telemetry and Logs API; `None` if it does not matter.
    pub telemetry: Option<bool>,
    /// Whether the function has the log format JSON.
    pub json_logs: bool,
}

/// One step of a vector.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Notation")]
pub enum Step {
    /// A caller of this name invokes the function, and waits while the vector continues.
    Invoke(String, Invoke),
    /// The runtime sends these bytes on this connection, and opens it if needed.
    Send(String, Bytes),
    /// A matching reply comes on this connection. Later steps may refer to its headers by the name.
    Receive(String, Box<Expected>, Option<String>),
    /// The caller of this name gets a matching reply.
    Answered(String, Box<Expected>),
    /// Nothing comes on this connection, for this caller or for this listener, and this process is
    /// not started, for a moment.
    Hangs(String),
    /// The service closes this connection without another byte.
    Closed(String),
    /// The runtime closes this connection, or an extension this listener.
    Close(String),
    /// The runtime sends no more on this connection, and still reads.
    HalfClose(String),
    /// The service starts this process.
    Starts(Process),
    /// A process of the service carries out this order.
    Order(Process, Order),
    /// The service is told to end, and goes on until it has.
    Stop,
    /// An extension listens for telemetry. Later steps may refer to its port by the name.
    Listen(String, Listen),
    /// These events arrive at this listener, in this order; see [`Delivery`].
    Delivered(String, Delivery),
}

/// The events that a listener gets.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The events. Other ones may come between them.
    pub events: Vec<Event>,
    /// The types that no other event before the last of them may have; `*` stands for each.
    pub without: Vec<String>,
}

/// What a caller sends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Invoke {
    /// Header fields in addition to those that every request has.
    pub headers: BTreeMap<String, Bytes>,
    /// The event.
    pub body: Bytes,
    /// The service has ended the runtime, and starts it again for this event.
    pub restarts: bool,
}

/// A step as the file has it: exactly one verb, and the fields that belong to it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Notation {
    invoke: Option<Invoke>,
    send: Option<Bytes>,
    receive: Option<Expected>,
    answered: Option<Expected>,
    hangs: Option<String>,
    closed: Option<String>,
    close: Option<String>,
    half_close: Option<String>,
    starts: Option<String>,
    print: Option<Print>,
    exit: Option<u8>,
    stop: Option<Nothing>,
    listen: Option<Listen>,
    delivered: Option<Vec<Event>>,
    without: Vec<String>,
    by: Option<String>,
    on: Option<String>,
    to: Option<String>,
    #[serde(rename = "as")]
    name: Option<String>,
}

/// What a process writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Print {
    text: Bytes,
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    stderr: bool,
}

fn once() -> u32 {
    1
}

/// An object without members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl TryFrom<Notation> for Step {
    type Error = String;

    fn try_from(notation: Notation) -> Result<Self, String> {
        let Notation { on, to, by, name, .. } = notation;
        let need = |what: Option<String>, word: &str| what.ok_or(format!("\"{word}\" is missing"));
        let mut steps = Vec::new();
        if let Some(invoke) = notation.invoke {
            steps.push(Self::Invoke(need(name.clone(), "as")?, invoke));
        }
        if let Some(bytes) = notation.send {
            steps.push(Self::Send(need(on.clone(), "on")?, bytes));
        }
        if let Some(expected) = notation.receive {
            steps.push(Self::Receive(need(on, "on")?, Box::new(expected), name.clone()));
        }
        if let Some(expected) = notation.answered {
            steps.push(Self::Answered(need(to.clone(), "to")?, Box::new(expected)));
        }
        if let Some(print) = notation.print {
            let Print { text, times, stderr } = print;
            let text = String::from_utf8(text.as_slice().to_vec());
            let text = text.map_err(|_| "\"text\" is not UTF-8")?;
            if text.trim() != text || text.contains('\n') || text.len() > LONGEST_LINE {
                return Err("\"text\" is a line without white space at its ends".into());
            }
            let order = Order::Print { text, times, to_stderr: stderr };
            steps.push(Self::Order(need(by.clone(), "by")?.into(), order));
        }
        if let Some(code) = notation.exit {
            steps.push(Self::Order(need(by, "by")?.into(), Order::Exit(code)));
        }
        if let Some(listen) = notation.listen {
            steps.push(Self::Listen(need(name, "as")?, listen));
        }
        if let Some(events) = notation.delivered {
            let without = notation.without;
            steps.push(Self::Delivered(need(to, "to")?, Delivery { events, without }));
        }
        steps.extend(notation.starts.map(|name| Self::Starts(name.into())));
        steps.extend(notation.stop.map(|Nothing {}| Self::Stop));
        steps.extend(notation.hangs.map(Self::Hangs));
        steps.extend(notation.closed.map(Self::Closed));
        steps.extend(notation.close.map(Self::Close));
        steps.extend(notation.half_close.map(Self::HalfClose));
        let count = steps.len();
        steps
            .pop()
            .filter(|_| count == 1)
            .ok_or(format!("a step has exactly one verb, this one has {count}"))
    }
}

/// The longest line that a process writes; orders have to fit into a pipe.
const LONGEST_LINE: usize = 32_768;

impl VectorFile {
    /// Reads a file, and checks that its vectors can be played.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| at(&error))?;
        let file: Self = serde_json::from_str(&text).map_err(|error| at(&error))?;
        let mut names = BTreeSet::new();
        for vector in &file.vectors {
            let name = &vector.name;
            if !names.insert(name) {
                return Err(at(&format!("two vectors are called \"{name}\"")));
            }
            vector.check().map_err(|error| at(&format!("\"{name}\": {error}")))?;
        }
        Ok(file)
    }
}

impl Vector {
    /// Checks that each step uses only names that are defined, and defines only new ones.
    fn check(&self) -> Result<(), String> {
        if self.source.is_empty() || self.steps.is_empty() {
            return Err("no source, or no steps".into());
        }
        if self
            .service
            .extensions
            .iter()
            .any(|name| ["runtime", "bootstrap"].contains(&name.as_str()))
        {
            return Err("an extension is called like the runtime".into());
        }
        let is_process = |process: &Process| match process {
            Process::Runtime => true,
            Process::Extension(name) => self.service.extensions.contains(name),
        };
        let (mut invocations, mut connections) = (BTreeSet::new(), BTreeSet::new());
        let (mut listeners, mut open) = (BTreeSet::new(), BTreeSet::new());
        for (index, step) in self.steps.iter().enumerate() {
            let is_in_order = match step {
                Step::Invoke(name, _) => !listeners.contains(name) && invocations.insert(name),
                Step::Send(on, _) => {
                    connections.insert(on);
                    !invocations.contains(on) && !listeners.contains(on)
                }
                Step::Answered(to, _) => invocations.contains(to),
                Step::Hangs(name) => {
                    let is_name =
                        [&invocations, &connections, &open].iter().any(|it| it.contains(name));
                    is_name || is_process(&Process::from(name.clone()))
                }
                Step::Close(on) => connections.remove(on) || open.remove(on),
                Step::Receive(on, ..) | Step::Closed(on) | Step::HalfClose(on) => {
                    connections.contains(on)
                }
                Step::Starts(process) | Step::Order(process, _) => is_process(process),
                Step::Stop => true,
                Step::Listen(name, _) => {
                    listeners.insert(name);
                    open.insert(name) && !invocations.contains(name) && !connections.contains(name)
                }
                Step::Delivered(to, delivery) => {
                    listeners.contains(to) && !delivery.events.is_empty()
                }
            };
            if !is_in_order {
                return Err(format!("step {}: undefined name, or name in use", index + 1));
            }
        }
        Ok(())
    }
}

/// All vectors for services in this repository, by the names of their files.
///
/// # Errors
///
/// A text that says what is wrong with a file.
pub fn all() -> Result<BTreeMap<String, VectorFile>, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("service");
    let at = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, VectorFile::read(&path)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: &str) -> Result<Step, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_step_has_one_verb_and_its_fields() {
        assert!(matches!(step(r#"{"send": "x", "on": "1"}"#), Ok(Step::Send(on, _)) if on == "1"));
        assert!(matches!(step(r#"{"hangs": "1"}"#), Ok(Step::Hangs(on)) if on == "1"));
        for (json, reason) in [
            (r#"{"send": "x"}"#, "\"on\" is missing"),
            (r#"{"invoke": {}}"#, "\"as\" is missing"),
            (r#"{"on": "1"}"#, "one verb, this one has 0"),
            (r#"{"hangs": "1", "close": "1"}"#, "one verb, this one has 2"),
            (r#"{"sends": "x", "on": "1"}"#, "unknown field `sends`"),
            (r#"{"receive": {"statu": 1}, "on": "1"}"#, "unknown field `statu`"),
            (r#"{"print": {"text": "t"}}"#, "\"by\" is missing"),
            (r#"{"print": {"text": "t\n"}, "by": "runtime"}"#, "without white space at its ends"),
            (r#"{"print": {"text": "\u00ff"}, "by": "runtime"}"#, "not UTF-8"),
            (
                r#"{"print": {"text": [{"repeat": "t", "times": 32769}]}, "by": "runtime"}"#,
                "without white space at its ends",
            ),
            (r#"{"exit": 256, "by": "runtime"}"#, "256"),
            (r#"{"listen": {"protocol": "UDP"}, "as": "t"}"#, "unknown variant `UDP`"),
            (r#"{"delivered": [{"type": "function"}], "to": "t"}"#, "missing field `record`"),
        ] {
            let error = step(json).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn a_vector_with_an_undefined_name_is_refused() {
        for (steps, is_in_order) in [
            (r#"[{"send": "x", "on": "1"}, {"hangs": "1"}]"#, true),
            (r#"[{"send": "x", "on": "1"}, {"hangs": "2"}]"#, false),
            (r#"[{"send": "x", "on": "1"}, {"close": "1"}, {"close": "1"}]"#, false),
            (r#"[{"send": "x", "on": "1"}, {"answered": {"status": 200}, "to": "1"}]"#, false),
            (r#"[{"invoke": {}, "as": "a"}, {"answered": {"status": 200}, "to": "a"}]"#, true),
            (r#"[{"invoke": {}, "as": "a"}, {"invoke": {}, "as": "a"}]"#, false),
            (r#"[{"invoke": {}, "as": "a"}, {"send": "x", "on": "a"}]"#, false),
            (r#"[{"receive": {"status": 200}, "on": "1"}]"#, false),
            ("[]", false),
            (r#"[{"starts": "e"}, {"starts": "runtime"}, {"hangs": "e"}]"#, true),
            (r#"[{"starts": "f"}]"#, false),
            (r#"[{"exit": 1, "by": "f"}]"#, false),
            (r#"[{"listen": {"protocol": "TCP"}, "as": "t"}, {"hangs": "t"}]"#, true),
            (r#"[{"hangs": "t"}]"#, false),
            (
                r#"[{"listen": {"protocol": "TCP"}, "as": "t"}, {"close": "t"},
                    {"listen": {"protocol": "TCP"}, "as": "t"}]"#,
                true,
            ),
            (
                r#"[{"listen": {"protocol": "TCP"}, "as": "t"},
                    {"listen": {"protocol": "TCP"}, "as": "t"}]"#,
                false,
            ),
            (r#"[{"listen": {"protocol": "TCP"}, "as": "t"}, {"send": "x", "on": "t"}]"#, false),
            (r#"[{"delivered": [{"type": "function", "record": ""}], "to": "t"}]"#, false),
        ] {
            let vector = format!(
                r#"{{"name": "n", "source": ["s"], "service": {{"extensions": ["e"]}}, "steps": {steps}}}"#
            );
            let vector: Vector = serde_json::from_str(&vector).unwrap();
            assert_eq!(vector.check().is_ok(), is_in_order, "{steps}");
        }
    }

    #[test]
    fn every_file_can_be_read_and_there_are_well_over_a_hundred_vectors() {
        let files = all().unwrap();
        let count: usize = files.values().map(|file| file.vectors.len()).sum();
        assert!(count > 100, "{count}");
    }
}
