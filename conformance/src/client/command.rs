//! `lambda-conformance client`: plays vectors against a program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lexopt::prelude::*;

use super::{File, Patience, Vector, load, load_file, play};

/// How it is called.
pub const USAGE: &str = "\
Plays the Runtime API to a client, and says what it does otherwise than it should.

Usage: lambda-conformance client [OPTION]… PROGRAM [ARGUMENT]…

PROGRAM is started once for each vector, with AWS_LAMBDA_RUNTIME_API in its environment. It is a bootstrap
whose function gives its event back; what else it can do is said by --can.

  --can WHAT          describe, fail, panic, answer, stream, http, start, snapshot, concurrency, as
                      conformance/README.md says it, or all; as often as there is something to say
  --only TEXT         only the vectors with this text in \"FILE: NAME\"
  --patience SECONDS  how long to wait for what must come; 20 without it
  --vectors PATH      a file of vectors, or a folder; without it, all that there are

Ends with 0 if all that were played conform, with 1 if not, with 2 if none was played.
";

/// What a function can be asked to do besides giving its event back, as vectors [need](Vector::needs) it.
pub const CAN: [&str; 9] =
    ["describe", "fail", "panic", "answer", "stream", "http", "start", "snapshot", "concurrency"];

/// Plays vectors against a program, and prints what it makes of them; whether it did everything right.
///
/// # Errors
///
/// What is wrong with the arguments or the vectors, or that none was played.
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
        let report = play(vector, command, *patience).map_err(|error| {
            format!("{} cannot be started: {error}", Path::new(program).display())
        })?;
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
        0 => Err("none was played: each needs what --can has not said".to_owned()),
        _ => Ok(others == 0),
    }
}

/// What is asked for.
#[derive(Debug)]
struct Request {
    program: OsString,
    arguments: Vec<OsString>,
    patience: Patience,
    can: Vec<String>,
    /// The vectors that are chosen, by their files and names.
    vectors: Vec<(String, Vector)>,
}

/// None if help is asked for.
fn read(mut parser: lexopt::Parser) -> Result<Option<Request>, String> {
    let text = |error: lexopt::Error| format!("{error}; --help says more");
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
            None => return Err("which program? --help says more".to_owned()),
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
        return Err(format!("{}: there are no vectors", path.display()));
    }
    for what in std::mem::take(&mut can) {
        let is_needed = || vectors.iter().any(|(_, vector)| vector.needs.contains(&what));
        if what == "all" {
            can.extend(vectors.iter().flat_map(|(_, vector)| vector.needs.clone()));
        } else if CAN.contains(&what.as_str()) || is_needed() {
            can.push(what);
        } else {
            return Err(format!("nothing needs --can {what}; there is {}, all", CAN.join(", ")));
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

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("lambda-conformance-{}-{name}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            std::fs::create_dir_all(&folder.0).unwrap();
            folder
        }

        /// The path of a file in it, in which this stands.
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
    fn what_stands_behind_the_program_is_the_programs() {
        let request = arguments(&["--can", "fail", "p", "--only", "x"]).unwrap().unwrap();
        assert_eq!(
            (request.program, request.arguments),
            ("p".into(), vec!["--only".into(), "x".into()])
        );
        assert_eq!(request.can, ["fail"]);
    }

    #[test]
    fn what_the_vectors_need_is_what_can_be_said() {
        let all = arguments(&["--can", "all", "p"]).unwrap().unwrap();
        for (title, vector) in &all.vectors {
            for need in &vector.needs {
                assert!(CAN.contains(&need.as_str()), "{title} needs {need}");
                assert!(all.can.contains(need), "{title} needs {need}");
            }
        }
        for what in CAN {
            assert!(USAGE.contains(what), "{what}");
            assert!(all.can.iter().any(|it| it == what), "nothing needs {what} any more");
        }
    }

    #[test]
    fn a_wrong_command_line_is_told() {
        let folder = Folder::new("wrong");
        std::fs::create_dir(folder.0.join("nothing")).unwrap();
        let nothing = folder.0.join("nothing").to_string_lossy().into_owned();
        let broken = folder.file("broken.json", "{\"about\": \"\", \"vectors\": [");
        let empty = folder.file("empty.json", "{\"about\": \"\", \"vectors\": []}");
        assert!(arguments(&["--help"]).unwrap().is_none());
        for (line, reason) in [
            (&[][..], "which program?"),
            (&["--only", "next"], "which program?"),
            (&["--all", "p"], "invalid option '--all'"),
            (&["--only"], "missing argument"),
            (&["--patience", "long", "p"], "\"long\""),
            (&["--can", "sing", "p"], "nothing needs --can sing; there is describe, "),
            (&["--only", "no such name", "p"], "no vector has \"no such name\" in its name"),
            (&["--vectors", "/nonexistent", "p"], "/nonexistent: No such file"),
            (&["--vectors", &broken, "p"], "broken.json: EOF while parsing"),
            (&["--vectors", &empty, "p"], "empty.json: there are no vectors"),
            (&["--vectors", &nothing, "p"], "nothing: there are no vectors"),
        ] {
            let error = arguments(line).unwrap_err();
            assert!(error.contains(reason), "{line:?}: {error}");
        }
    }

    #[test]
    fn that_none_was_played_is_no_success() {
        let played = |line: &[&str]| command(lexopt::Parser::from_args(line));
        let folder = Folder::new("needs");
        let path = folder.file(
            "needs.json",
            r#"{"about": "", "vectors": [
                {"name": "n", "source": [], "needs": ["panic"], "steps": [{"exits": "zero"}]}]}"#,
        );
        assert!(played(&["--vectors", &path, "true"]).unwrap_err().starts_with("none was played"));
        assert_eq!(played(&["--vectors", &path, "--can", "panic", "true"]), Ok(true));
        assert_eq!(played(&["--vectors", &path, "--can", "all", "false"]), Ok(false));
        let none = played(&["--vectors", &path, "--can", "all", "/nonexistent"]).unwrap_err();
        assert!(none.starts_with("/nonexistent cannot be started: "), "{none}");
    }
}
