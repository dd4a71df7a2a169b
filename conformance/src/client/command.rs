//! `lambda-conformance client`: plays vectors against a program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use lexopt::prelude::*;

use super::rehearsal::{needs_an_echo, rehearse, shown};
use super::{File, Patience, Report, Vector, load, load_file, play};
use crate::groups;
use crate::options::{self, words};
use crate::report::{Counts, Report as Results, Verdict};

/// The help text of `lambda-conformance client`.
pub const USAGE: &str = "\
Plays the Runtime API to a client, and reports how the client deviates from the vectors.

Usage: lambda-conformance client [OPTION]… PROGRAM [ARGUMENT]…

PROGRAM is started once for each vector, with AWS_LAMBDA_RUNTIME_API in its environment. It is a
bootstrap whose function returns its event. Declare with --can what else the function can do.

  --can WHAT          describe, fail, panic, answer, stream, http, start, snapshot, concurrency,
                      all of them described in conformance/README.md, or all; may be repeated
  --only TEXT         play only the vectors with this text in \"FILE: NAME\"
  --patience SECONDS  how long to wait for each expected action [default: 20]
  --vectors PATH      a file or folder of vectors [default: all]

Before the first vector, two plain events show whether the function returns them. If it does not,
no vector is played.

Exits with 0 if the client conforms to all vectors that were played, with 1 if it does not, and with 2
if there is no such result: the command line is invalid, PROGRAM cannot be started or does not return
its event, no vector was played, or the results cannot be written. A signal that ends the run ends
PROGRAM, too; the exit code is then 128 and the signal's number.
";

/// The help text of `lambda-conformance extension`.
pub const EXTENSION_USAGE: &str = "\
Plays the Extensions, Telemetry and Logs APIs to an extension, and reports how the extension
deviates from the vectors.

Usage: lambda-conformance extension [OPTION]… PROGRAM [ARGUMENT]…

PROGRAM is started once for each vector, with AWS_LAMBDA_RUNTIME_API in its environment. It is an
extension that prints what it is told, as conformance/README.md describes. Declare with --can what
it can do besides taking events.

  --can WHAT          account, barrier, fail, internal, logs, send_again, tcp, telemetry, all of
                      them described in conformance/README.md, or all; may be repeated
  --only, --patience, --vectors, and the exit codes are as for lambda-conformance client
";

/// What an extension may be able to do besides taking events.
pub const EXTENSION_CAN: [&str; 8] =
    ["account", "barrier", "fail", "internal", "logs", "send_again", "tcp", "telemetry"];

/// Who is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tested {
    /// A client of the Runtime API.
    Runtime,
    /// An extension.
    Extension,
}

impl Tested {
    const fn usage(self) -> &'static str {
        match self {
            Self::Runtime => USAGE,
            Self::Extension => EXTENSION_USAGE,
        }
    }

    const fn can(self) -> &'static [&'static str] {
        match self {
            Self::Runtime => &CAN,
            Self::Extension => &EXTENSION_CAN,
        }
    }

    const fn vectors(self) -> &'static str {
        match self {
            Self::Runtime => concat!(env!("CARGO_MANIFEST_DIR"), "/client"),
            Self::Extension => concat!(env!("CARGO_MANIFEST_DIR"), "/extension"),
        }
    }
}

/// What a function may be able to do besides returning its event, as vectors [need](Vector::needs)
/// it.
pub const CAN: [&str; 9] =
    ["describe", "fail", "panic", "answer", "stream", "http", "start", "snapshot", "concurrency"];

/// Plays vectors against a program, and prints the results. Returns whether the program conforms to
/// all of them.
///
/// # Errors
///
/// A text, if the arguments or the vectors are invalid, if the program cannot be started or does
/// not return its event, if no vector was played, or if the results cannot be written.
pub fn command(tested: Tested, arguments: lexopt::Parser) -> Result<bool, String> {
    let Some(request) = read(tested, arguments)? else {
        let _nobody_may_read = io::stdout().write_all(tested.usage().as_bytes());
        return Ok(true);
    };
    let Request { patience, vectors, .. } = &request;
    groups::end_with_this_process().map_err(|error| format!("cannot handle signals: {error}"))?;
    let is_played = |vector: &Vector| request.lacks(vector).is_none();
    if vectors.iter().any(|(_, vector)| is_played(vector) && needs_an_echo(&vector.steps)) {
        rehearse(|vector| request.play(vector), *patience)?;
    }
    let mut results = Results::new(vectors.len());
    let mut lacking = BTreeMap::<&str, usize>::new();
    for (file, vector) in vectors {
        results.begin(&format!("{file}: {}", vector.name));
        let verdict = if let Some(need) = request.lacks(vector) {
            *lacking.entry(need).or_default() += 1;
            Verdict::NotPlayed(format!("needs --can {need}"))
        } else {
            match request.play(vector) {
                Ok(report) => verdict(&report),
                Err(error) => {
                    results.finish()?;
                    return Err(error);
                }
            }
        };
        results.add(file, &vector.name, &vector.source, verdict)?;
    }
    let Counts { conform, wrong, .. } = results.finish()?;
    if !lacking.is_empty() {
        let lacking = lacking.iter().map(|(need, count)| format!("--can {need} ({count})"));
        let lacking = lacking.collect::<Vec<_>>().join(", ");
        results.print(&format!("to play the others: {lacking}\n"))?;
    }
    match conform + wrong {
        0 => Err("no vector was played: each needs something that --can does not list".to_owned()),
        _ => Ok(wrong == 0),
    }
}

fn verdict(report: &Report) -> Verdict {
    match &report.deviation {
        None => Verdict::Conforms,
        Some(deviation) => Verdict::Wrong([vec![deviation.to_string()], shown(report)].concat()),
    }
}

/// The parsed command line.
#[derive(Debug)]
struct Request {
    program: OsString,
    arguments: Vec<OsString>,
    patience: Patience,
    can: Vec<String>,
    /// The chosen vectors, with the names of their files.
    vectors: Vec<(String, Vector)>,
}

impl Request {
    /// What the vector needs and the function is not said to be able to do.
    fn lacks<'v>(&self, vector: &'v Vector) -> Option<&'v str> {
        vector.needs.iter().find(|need| !self.can.contains(need)).map(String::as_str)
    }

    fn play(&self, vector: &Vector) -> Result<Report, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        play(vector, command, self.patience).map_err(|error| {
            let program = Path::new(&self.program);
            format!("cannot start {}: {error}{}", program.display(), hint(program, &error))
        })
    }
}

/// What to do about a program that cannot be started.
fn hint(program: &Path, error: &io::Error) -> &'static str {
    let is_named_by_path = program.components().count() > 1;
    match error.kind() {
        _ if is_named_by_path && program.is_dir() => "; it is a folder: name the program in it",
        io::ErrorKind::NotFound if is_named_by_path && program.exists() => {
            "; the file is there, so its interpreter is missing: look at its first line"
        }
        io::ErrorKind::NotFound if !is_named_by_path && program.exists() => {
            "; it is not in PATH: write ./ before the name of a file in this folder"
        }
        io::ErrorKind::PermissionDenied => "; make it executable with chmod +x",
        // ENOEXEC has no kind.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            "; it has no first line with #!, or was built for another machine"
        }
        _ => "",
    }
}

/// Parses the command line. `None` if it asks for help.
fn read(tested: Tested, mut parser: lexopt::Parser) -> Result<Option<Request>, String> {
    let mut path = PathBuf::from(tested.vectors());
    let (mut only, mut can) = (String::new(), Vec::new());
    let mut patience = Patience::default();
    let program = loop {
        match parser.next().map_err(words)? {
            Some(Long("vectors")) => path = parser.value().map_err(words)?.into(),
            Some(Long("only")) => {
                only = parser.value().and_then(ValueExt::string).map_err(words)?;
            }
            Some(Long("can")) => {
                can.push(parser.value().and_then(ValueExt::string).map_err(words)?);
            }
            Some(Long("patience")) => patience.long = options::patience(&mut parser)?,
            Some(Long("help") | Short('h')) => return Ok(None),
            Some(Value(program)) => break program,
            Some(other) => return Err(words(other.unexpected())),
            None => return Err("no PROGRAM given; see --help".to_owned()),
        }
    };
    let arguments = parser.raw_args().map_err(words)?.collect();
    let files = if path.is_file() {
        vec![load_file(&path).map_err(|error| format!("{}: {error}", path.display()))?]
    } else {
        load(&path).map_err(|error| format!("{error}; choose others with --vectors"))?
    };
    let named =
        |File { name, vectors, .. }| vectors.into_iter().map(move |it: Vector| (name.clone(), it));
    let mut vectors: Vec<_> = files.into_iter().flat_map(named).collect();
    if vectors.is_empty() {
        return Err(format!("{}: no vectors found", path.display()));
    }
    for what in std::mem::take(&mut can) {
        let is_needed = || vectors.iter().any(|(_, vector)| vector.needs.contains(&what));
        if what == "all" {
            can.extend(vectors.iter().flat_map(|(_, vector)| vector.needs.clone()));
        } else if tested.can().contains(&what.as_str()) || is_needed() {
            can.push(what);
        } else {
            let known = tested.can().join(", ");
            return Err(format!("unknown --can {what}; use one of {known}, all"));
        }
    }
    vectors.retain(|(file, vector)| format!("{file}: {}", vector.name).contains(&only));
    if vectors.is_empty() {
        return Err(format!("no vector has {only:?} in its name"));
    }
    Ok(Some(Request { program, arguments, patience, can, vectors }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &[&str]) -> Result<Option<Request>, String> {
        read(Tested::Runtime, lexopt::Parser::from_args(line.iter().map(OsString::from)))
    }

    /// A folder that is removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("lambda-conformance-{}-{name}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            std::fs::create_dir_all(&folder.0).unwrap();
            folder
        }

        /// Writes a file with this text, and returns its path.
        fn file(&self, name: &str, text: &str) -> String {
            std::fs::write(self.0.join(name), text).unwrap();
            self.0.join(name).to_string_lossy().into_owned()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _nobody_needs_it = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn vectors_are_chosen_by_files_and_names() {
        let count = |line: &[&str]| arguments(line).unwrap().unwrap().vectors.len();
        let all = count(&["p"]);
        let next = count(&["--only", "next", "p"]);
        let errors = count(&["--only", "errors: ", "p"]);
        assert!(0 < next && next < all && 0 < errors && errors < all, "{next}, {errors}, {all}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/client/errors.json");
        assert_eq!(count(&["--vectors", path, "p"]), errors);
    }

    #[test]
    fn arguments_after_the_program_belong_to_the_program() {
        let request = arguments(&["--can", "fail", "p", "--only", "x"]).unwrap().unwrap();
        assert_eq!(
            (request.program, request.arguments),
            ("p".into(), vec!["--only".into(), "x".into()])
        );
        assert_eq!(request.can, ["fail"]);
    }

    #[test]
    fn can_lists_exactly_the_needs_of_the_vectors() {
        for tested in [Tested::Runtime, Tested::Extension] {
            let line = lexopt::Parser::from_args(["--can", "all", "p"]);
            let all = read(tested, line).unwrap().unwrap();
            for (file, vector) in &all.vectors {
                for need in &vector.needs {
                    let name = &vector.name;
                    assert!(tested.can().contains(&need.as_str()), "{file}: {name} needs {need}");
                    assert!(all.can.contains(need), "{file}: {name} needs {need}");
                }
            }
            for what in tested.can() {
                assert!(tested.usage().contains(what), "{what}");
                assert!(all.can.iter().any(|it| it == what), "no vector needs {what}");
            }
        }
    }

    #[test]
    fn an_invalid_command_line_is_refused_with_the_reason() {
        let folder = Folder::new("wrong");
        std::fs::create_dir(folder.0.join("nothing")).unwrap();
        let nothing = folder.0.join("nothing").to_string_lossy().into_owned();
        let broken = folder.file("broken.json", "{\"about\": \"\", \"vectors\": [");
        let empty = folder.file("empty.json", "{\"about\": \"\", \"vectors\": []}");
        assert!(arguments(&["--help"]).unwrap().is_none());
        for (line, reason) in [
            (&[][..], "no PROGRAM"),
            (&["--only", "next"], "no PROGRAM"),
            (&["--all", "p"], "invalid option '--all'"),
            (&["--only"], "missing argument"),
            (&["--patience", "long", "p"], "\"long\""),
            (&["--patience", "0", "p"], "at least 1 second"),
            (&["--can", "sing", "p"], "unknown --can sing; use one of describe, "),
            (&["--only", "no such name", "p"], "no vector has \"no such name\" in its name"),
            (&["--vectors", "/nonexistent", "p"], "/nonexistent: No such file"),
            (&["--vectors", &broken, "p"], "broken.json: EOF while parsing"),
            (&["--vectors", &empty, "p"], "empty.json: no vectors found"),
            (&["--vectors", &nothing, "p"], "nothing: no vectors found"),
        ] {
            let error = arguments(line).unwrap_err();
            assert!(error.contains(reason), "{line:?}: {error}");
        }
    }

    #[test]
    fn playing_no_vector_is_an_error() {
        let played = |line: &[&str]| command(Tested::Runtime, lexopt::Parser::from_args(line));
        let folder = Folder::new("needs");
        let path = folder.file(
            "needs.json",
            r#"{"about": "", "vectors": [
                {"name": "n", "source": [], "needs": ["panic"], "steps": [{"exits": "zero"}]}]}"#,
        );
        assert!(
            played(&["--vectors", &path, "true"]).unwrap_err().starts_with("no vector was played")
        );
        assert_eq!(played(&["--vectors", &path, "--can", "panic", "true"]), Ok(true));
        assert_eq!(played(&["--vectors", &path, "--can", "all", "false"]), Ok(false));
        let none = played(&["--vectors", &path, "--can", "all", "/nonexistent"]).unwrap_err();
        assert!(none.starts_with("cannot start /nonexistent: "), "{none}");
    }
}
