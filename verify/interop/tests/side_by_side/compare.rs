//! Runs a script under both services and finds the differences.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::http::{self, Response};
use crate::script::Script;

/// A part of an answer that differs between the services; a missing part is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) step: &'static str,
    pub(crate) part: String,
    pub(crate) emulator: String,
    pub(crate) lab: String,
}

/// Everything that differs in a script.
pub(crate) fn differences(script: &Script) -> BTreeSet<Found> {
    let (emulator, lab) = thread::scope(|scope| {
        let emulator = scope.spawn(|| under_the_emulator(script));
        let lab = under_the_lab(script);
        (emulator.join().expect("the emulator plays the whole script"), lab)
    });
    let mut found = BTreeSet::new();
    for ((step, emulator), lab) in script.steps.iter().zip(emulator).zip(lab) {
        let mut differ = |part: &str, emulator: &str, lab: &str| {
            if emulator != lab {
                found.insert(Found {
                    step: step.name,
                    part: part.to_owned(),
                    emulator: shorten(emulator),
                    lab: shorten(lab),
                });
            }
        };
        differ("status", &emulator.status, &lab.status);
        let end = |response: &Response| if response.is_cut_off { "cut off" } else { "" };
        differ("end", end(&emulator), end(&lab));
        for (kind, emulator, lab) in [
            ("header", &emulator.headers, &lab.headers),
            ("trailer", &emulator.trailers, &lab.trailers),
        ] {
            let names: BTreeSet<_> = emulator.iter().chain(lab).map(|(name, _)| name).collect();
            for name in names {
                differ(&format!("{kind} {name}"), &values(emulator, name), &values(lab, name));
            }
        }
        for (part, emulator, lab) in bodies(&emulator.body, &lab.body) {
            differ(&part, &emulator, &lab);
        }
    }
    found
}

fn under_the_emulator(script: &Script) -> Vec<Response> {
    let function = lambda_interop::Function::new(&script.program);
    let function = script.arguments.iter().fold(function, lambda_interop::Function::argument);
    let emulator = function.timeout_seconds(script.timeout_seconds).start().unwrap();
    run(script, emulator.address())
}

fn under_the_lab(script: &Script) -> Vec<Response> {
    let function = lambda_lab::Function::new(&script.program);
    let function = script.arguments.iter().fold(function, lambda_lab::Function::argument);
    let timeout = Duration::from_secs(script.timeout_seconds.into());
    // The lab repeats a start that exceeds the init timeout, and the second one exceeds it, too.
    let function = function.timeout(timeout).init_timeout(timeout);
    // Not the one of the shell that runs the tests: the emulator has this one.
    let function = function.variable("AWS_REGION", "us-east-1");
    let lab = function.output(lambda_lab::Output::Discarded).start().unwrap();
    run(script, lab.address())
}

fn run(script: &Script, address: SocketAddr) -> Vec<Response> {
    let mut known = Known::of(script);
    let steps = script.steps.iter();
    steps
        .map(|step| {
            let mut response = http::send(address, &step.request);
            let fields = response.headers.iter_mut().chain(&mut response.trailers);
            fields.for_each(|(_, value)| *value = known.normalise(value));
            // A large echo contains nothing that varies between runs.
            if response.body.len() < 100_000 {
                let body = String::from_utf8_lossy(&response.body);
                response.body = known.normalise(&body).into_bytes();
            }
            response
        })
        .collect()
}

/// Values that vary between runs.
#[derive(Default)]
struct Known {
    /// The folder of a program that was built, which has a name of its own.
    program_folder: Option<PathBuf>,
    processes: BTreeMap<String, usize>,
}

impl Known {
    fn of(script: &Script) -> Self {
        let folder = script.program.parent();
        let folder = folder.filter(|it| it.components().count() > 2).map(Into::into);
        Self { program_folder: folder, ..Self::default() }
    }

    /// Replaces ids, ports and folders by placeholders, times by 0, and process ids by their order.
    fn normalise(&mut self, text: &str) -> String {
        let here = std::env::current_dir().expect("Cargo starts tests in a folder");
        let mut text = text.replace(&*here.to_string_lossy(), "<here>");
        if let Some(folder) = &self.program_folder {
            text = text.replace(&*folder.to_string_lossy(), "<program>");
        }
        let mut normal = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let (length, placeholder) = if is_uuid(rest) {
                (36, "<id>".to_owned())
            } else if is_trace_id(rest) {
                (TRACE_ID.len(), "<trace>".to_owned())
            } else if normal.ends_with("\"process\":") && first.is_ascii_digit() {
                let number = digits(rest);
                let count = self.processes.len() + 1;
                let order = *self.processes.entry(number.to_owned()).or_insert(count);
                (number.len(), order.to_string())
            } else if normal.ends_with("127.0.0.1:") && first.is_ascii_digit() {
                (digits(rest).len(), "<port>".to_owned())
            } else if digits(rest).len() == 13 && !normal.ends_with(|it: char| it.is_ascii_digit())
            {
                (13, "0".to_owned())
            } else {
                (first.len_utf8(), first.to_string())
            };
            normal.push_str(&placeholder);
            rest = &rest[length..];
        }
        normal
    }
}

/// A trace id that a service made.
fn is_trace_id(text: &str) -> bool {
    text.len() >= TRACE_ID.len()
        && text.bytes().zip(TRACE_ID.bytes()).all(|(byte, pattern)| match pattern {
            b'x' => byte.is_ascii_hexdigit(),
            _ => byte == pattern,
        })
}

const TRACE_ID: &str = "Root=1-xxxxxxxx-xxxxxxxxxxxxxxxxxxxxxxxx;Parent=xxxxxxxxxxxxxxxx;Sampled=0";

fn digits(text: &str) -> &str {
    text.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default()
}

fn is_uuid(text: &str) -> bool {
    text.len() >= 36
        && text.bytes().take(36).enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn values(fields: &[(String, String)], name: &str) -> String {
    let values = fields.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str());
    values.collect::<Vec<_>>().join(", ")
}

/// Compares two bodies: JSON objects with a common member by member, texts with common lines by
/// line, and others as a whole.
fn bodies(emulator: &[u8], lab: &[u8]) -> Vec<(String, String, String)> {
    let object = |body: &[u8]| serde_json::from_slice::<Map<String, Value>>(body).ok();
    if let (Some(one), Some(other)) = (object(emulator), object(lab))
        && one != other
        && one.keys().any(|name| other.contains_key(name))
    {
        let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
        let member = |object: &Map<String, Value>, name: &str| match object.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let parts = names.into_iter();
        return parts
            .map(|name| (format!("body.{name}"), member(&one, name), member(&other, name)))
            .collect();
    }
    let (one, other) = (String::from_utf8_lossy(emulator), String::from_utf8_lossy(lab));
    let common = |of: &str, with: &str| -> (Vec<String>, Vec<String>) {
        of.lines().map(str::to_owned).partition(|line| with.lines().any(|it| it == line))
    };
    let ((same, only), (same_too, only_too)) = (common(&one, &other), common(&other, &one));
    if same == same_too && !same.is_empty() && only != only_too {
        return vec![("lines of body".into(), only.join("\n"), only_too.join("\n"))];
    }
    vec![("body".into(), one.into_owned(), other.into_owned())]
}

/// Replaces a long text by its length and its beginning.
fn shorten(text: &str) -> String {
    if text.len() <= 300 {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(20).collect();
    format!("{} bytes: {beginning}…", text.len())
}

#[test]
fn values_that_vary_between_runs_are_normalised() {
    let mut known = Known::default();
    for (text, normal) in [
        (r#"{"process":77,"x":1}"#, r#"{"process":1,"x":1}"#),
        (r#"{"process":78}"#, r#"{"process":2}"#),
        (r#"{"process":77}"#, r#"{"process":1}"#),
        ("é 01234567-89ab-cdef-0123-456789abcdef.", "é <id>."),
        ("01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcde"),
        ("Root=1-65a0b1c2-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0", "<trace>"),
        ("Root=1-65a0b1c2;Sampled=1", "Root=1-65a0b1c2;Sampled=1"),
        ("127.0.0.1:80, 127.0.0.1", "127.0.0.1:<port>, 127.0.0.1"),
        ("{\"deadline\":1700000000000}", "{\"deadline\":0}"),
        ("of 012345678912 and 12345678901234", "of 012345678912 and 12345678901234"),
    ] {
        assert_eq!(known.normalise(text), normal);
    }
}

#[test]
fn objects_are_compared_by_member_texts_by_line_and_others_as_a_whole() {
    let of = |part: &str, emulator: &str, lab: &str| {
        (part.to_owned(), emulator.to_owned(), lab.to_owned())
    };
    let parts = bodies(br#"{"a":1,"b":"x"}"#, br#"{"a":1,"c":[2]}"#);
    let expected = [of("body.a", "1", "1"), of("body.b", "x", ""), of("body.c", "", "[2]")];
    assert_eq!(parts, expected);
    let (one, other) = (r#"{"a":1}"#, r#"{"b":1}"#);
    assert_eq!(bodies(one.as_bytes(), other.as_bytes()), [of("body", one, other)]);
    assert_eq!(bodies(b"a", b"{}"), [of("body", "a", "{}")]);
    assert_eq!(bodies(b"a\nb\nc", b"a\nc\nd"), [of("lines of body", "b", "d")]);
    assert_eq!(bodies(b"a\nb", b"b\na"), [of("body", "a\nb", "b\na")]);
    assert_eq!(bodies(b"{ }", b"{}"), [of("body", "{ }", "{}")]);
}
