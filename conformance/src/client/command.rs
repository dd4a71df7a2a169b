//! `lambda-conformance client`: plays vectors against a program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lexopt::prelude::*;

use super::{File, Patience, Vector, load, load_file, play};

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

Exits with 0 if the client conforms to all vectors that were played, with 1 if it does not, and with 2
if none was played.
";

/// What a function may be able to do besides returning its event, as vectors [need](Vector::needs)
/// it.
pub const CAN: [&str; 9] =
    ["describe", "fail", "panic", "answer", "stream", "http", "start", "snapshot", "concurrency"];

/// Plays vectors against a program, and prints the results. Returns whether the program conforms to
/// all of them.
///
/// # Errors
///
/// A text, if the arguments or the vectors are invalid, or if no vector was played.
pub fn command(arguments: lexopt::Parser) -> Result<bool, String> {
    let Some(request) = read(arguments)? else {
        print!("{USAGE}");
        return Ok(true);
    };
    let Request { program, arguments, patience, can, vectors } = &request;
    let (mut conform, mut others) = (0, 0);
    for (title, vector) in vectors {
        if let Some(need) = vector.needs.iter().find(|need| !can.contains(need)) {
            println!("-       {title} (needs --can {need})");
            continue;
        }
        let mut command = Command::new(program);
        command.args(arguments);
        let report = play(vector, command, *patience)
            .map_err(|error| format!("cannot start {}: {error}", Path::new(program).display()))?;
        let Some(deviation) = &report.deviation else {
            conform += 1;
            println!("ok      {title}");
            continue;
        };
        others += 1;
        println!("WRONG   {title}\n        {deviation}\n        the process {}", report.end);
        let last: Vec<_> = report.output.lines().rev().take(5).collect();
        last.iter().rev().for_each(|line| println!("        | {line}"));
    }
    println!("{conform} conform, {others} do not, {} not played", vectors.len() - conform - others);
    match conform + others {
        0 => Err("no vector was played: each needs something that --can does not list".to_owned()),
        _ => Ok(others == 0),
    }
}

/// The parsed command line.
#[derive(Debug)]
struct Request {
    program: OsString,
    arguments: Vec<OsString>,
    patience: Patience,
    can: Vec<String>,
    /// The chosen vectors, with their titles, `FILE: NAME`.
    vectors: Vec<(String, Vector)>,
}

/// Parses the command line. `None` if it asks for help.
fn read(mut parser: lexopt::Parser) -> Result<Option<Request>, String> {
    let text = |error: lexopt::Error| format!("{error}; see --help");
    let mut path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/client"));
    let (mut only, mut can) = (String::new(), Vec::new());
    let mut patience = Patience::default();
    let program = loop {
        match parser.next().map_err(text)? {
            Some(Long("vectors")) => path = parser.value().map_err(text)?.into(),
            Some(Long("only")) => only = parser.value().and_then(ValueExt::string).map_err(text)?,
            Some(Long("can")) => can.push(parser.value().and_then(ValueExt::string).map_err(text)?),
            Some(Long("patience")) => {
                let seconds = parser.value().and_then(|it| it.parse::<u32>()).map_err(text)?;
                patience.long = Duration::from_secs(seconds.into());
            }
            Some(Long("help") | Short('h')) => return Ok(None),
            Some(Value(program)) => break program,
            Some(other) => return Err(text(other.unexpected())),
            None => return Err("no PROGRAM given; see --help".to_owned()),
        }
    };
    let arguments = parser.raw_args().map_err(text)?.collect();
    let files = if path.is_file() {
        vec![load_file(&path).map_err(|error| format!("{}: {error}", path.display()))?]
    } else {
        load(&path)?
    };
    let named = |File { name, vectors, .. }| {
        vectors.into_iter().map(move |it: Vector| (format!("{name}: {}", it.name), it))
    };
    let mut vectors: Vec<_> = files.into_iter().flat_map(named).collect();
    if vectors.is_empty() {
        return Err(format!("{}: no vectors found", path.display()));
    }
    for what in std::mem::take(&mut can) {
        let is_needed = || vectors.iter().any(|(_, vector)| vector.needs.contains(&what));
        if what == "all" {
            can.extend(vectors.iter().flat_map(|(_, vector)| vector.needs.clone()));
        } else if CAN.contains(&what.as_str()) || is_needed() {
            can.push(what);
        } else {
            return Err(format!("unknown --can {what}; use one of {}, all", CAN.join(", ")));
        }
    }
    vectors.retain(|(title, _)| title.contains(&only));
    if vectors.is_empty() {
        return Err(format!("no vector has {only:?} in its name"));
    }
    Ok(Some(Request { program, arguments, patience, can, vectors }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &[&str]) -> Result<Option<Request>, String> {
        read(lexopt::Parser::from_args(line.iter().map(OsString::from)))
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
        let all = arguments(&["--can", "all", "p"]).unwrap().unwrap();
        for (title, vector) in &all.vectors {
            for need in &vector.needs {
                assert!(CAN.contains(&need.as_str()), "{title} needs {need}");
                assert!(all.can.contains(need), "{title} needs {need}");
            }
        }
        for what in CAN {
            assert!(USAGE.contains(what), "{what}");
            assert!(all.can.iter().any(|it| it == what), "no vector needs {what}");
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
        let played = |line: &[&str]| command(lexopt::Parser::from_args(line));
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
