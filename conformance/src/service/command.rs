//! `lambda-conformance service`: plays vectors against any service that a command can start.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use rustix::process::Signal;

use crate::groups::{self, Group};
use crate::options::{patience, words};
use crate::report::{Counts, Report, Verdict};
use crate::service::bootstrap::{Bootstrap, Process};
use crate::service::pattern::Words;
use crate::service::player::{Player, Service};
use crate::service::ports::{Port, is_listening};
use crate::service::step::{Settings, Step, Vector, VectorFile, all};

/// The help text of `lambda-conformance service`.
pub const USAGE: &str = "\
Plays the vectors for services, each against a newly started service.

Usage: lambda-conformance service --start COMMAND [OPTION]… [FILE]…

  --start COMMAND  the shell command that starts the service; it gets these variables:
                     CONFORMANCE_INVOKE_API   where to listen for callers, as host:port
                     CONFORMANCE_RUNTIME_API  a free address for the Runtime API; for a service
                                              that listens elsewhere, vectors that start no
                                              runtime are skipped
                     CONFORMANCE_CONCURRENCY  the number of concurrent invocations; unset for one
                     CONFORMANCE_SNAPSTART    set for a function with SnapStart
                     CONFORMANCE_TIMEOUT      the function's timeout in seconds
                     CONFORMANCE_TELEMETRY    yes if the vector needs the Telemetry and Logs API, no
                                              if it needs a service without; unset if it does not
                                              matter
                     CONFORMANCE_LOG_FORMAT   JSON for a function with this log format
                     CONFORMANCE_EXTENSIONS   a folder: each program in it is an external extension;
                                              unset if there are none
                     CONFORMANCE_STARTED      for its bootstrap, conformance/service/bootstrap, and
                                              for its extensions
                   If it exits with 77, the service lacks this kind of function.
  --own-words      the service may word its messages differently from AWS's emulator: statuses,
                   error types and everything else are compared, the texts of messages are not
  --vector TEXT    play only the vectors with this text in their names
  --patience SECONDS
                   how long to wait for each expected event [default: 30]
  FILE             files of vectors [default: all]

Before the first vector, one plain invocation shows whether the service works. If it does not, no
vector is played.

Exits with 0 if the service conforms to all vectors that were played, with 1 if it does not, and with 2
if there is no such result: the command line is invalid, the service cannot be started or does not
carry out an invocation, no vector was played, or the results cannot be written. A signal that ends
the run ends the service, too; the exit code is then 128 and the signal's number.
";

/// Runs `lambda-conformance service` with the remaining arguments, and prints the result of each
/// vector. Returns whether the service conforms to all of them.
///
/// # Errors
///
/// A text, if the command line or a file is invalid, if the service does not work at all, if no
/// vector was played, or if the results cannot be written.
pub fn command(arguments: lexopt::Parser) -> Result<bool, String> {
    match read(arguments)? {
        Some(request) => play(&request),
        None => {
            let _nobody_may_read = std::io::stdout().write_all(USAGE.as_bytes());
            Ok(true)
        }
    }
}

/// The parsed command line.
struct Request {
    start: OsString,
    player: Player,
    /// The names of files, and their vectors.
    files: Vec<(String, Vec<Vector>)>,
}

fn read(mut parser: lexopt::Parser) -> Result<Option<Request>, String> {
    let (mut start, mut part, mut paths) = (None, String::new(), Vec::new());
    let mut player = Player::default();
    while let Some(argument) = parser.next().map_err(words)? {
        match argument {
            Long("start") => start = Some(parser.value().map_err(words)?),
            Long("vector") => part = parser.value().and_then(|it| it.parse()).map_err(words)?,
            Long("own-words") => player.words = Words::Own,
            Long("patience") => player.patience = patience(&mut parser)?,
            Long("help") | Short('h') => return Ok(None),
            Value(path) => paths.push(PathBuf::from(path)),
            other => return Err(words(other.unexpected())),
        }
    }
    let start = start.ok_or("--start is missing; see --help")?;
    let mut files: Vec<_> = match paths.as_slice() {
        [] => all()?.into_iter().map(|(name, file)| (name, file.vectors)).collect(),
        paths => paths
            .iter()
            .map(|path| {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                Ok((name, VectorFile::read(path)?.vectors))
            })
            .collect::<Result<_, String>>()?,
    };
    for (_, vectors) in &mut files {
        vectors.retain(|vector| vector.name.contains(&part));
    }
    if files.iter().all(|(_, vectors)| vectors.is_empty()) {
        return Err(format!("no vector has {part:?} in its name"));
    }
    Ok(Some(Request { start, player, files }))
}

fn play(Request { start, player, files }: &Request) -> Result<bool, String> {
    groups::end_with_this_process().map_err(|error| format!("cannot handle signals: {error}"))?;
    let vectors = || files.iter().flat_map(|(file, all)| all.iter().map(move |it| (file, it)));
    let invokes = |vector: &Vector| vector.steps.iter().any(|it| matches!(it, Step::Invoke(..)));
    let mut is_where_told = true;
    if vectors().any(|(_, vector)| invokes(vector)) {
        is_where_told = rehearse(start, player)?;
    }
    // Without a start of its runtime, nobody says where the Runtime API is.
    let is_lost = |vector: &Vector| {
        let Settings { concurrency, snapstart, extensions, .. } = &vector.service;
        let starts = concurrency.is_some() || *snapstart || !extensions.is_empty();
        !is_where_told && !invokes(vector) && !starts
    };
    let mut results = Report::new(vectors().count());
    let mut has_started = false;
    for (file, vector) in vectors() {
        results.begin(&format!("{file}: {}", vector.name));
        if is_lost(vector) {
            let why = "the service does not listen at CONFORMANCE_RUNTIME_API".to_owned();
            results.add(file, &vector.name, &vector.source, Verdict::NotPlayed(why))?;
            continue;
        }
        let verdict = match Started::new(start, &vector.service, player.patience) {
            // Neither will the others start.
            Err(reason) if !has_started && vector.service == Settings::default() => {
                return Err(format!(
                    "the service cannot be started: {reason}; no vector was played"
                ));
            }
            Err(reason) => Verdict::Wrong(vec![format!("cannot be started: {reason}")]),
            Ok(None) => Verdict::NotPlayed("the command exited with 77".to_owned()),
            Ok(Some(service)) => {
                has_started = true;
                match player.play(vector, &service) {
                    Ok(_) => Verdict::Conforms,
                    Err(failure) => Verdict::Wrong(vec![failure.to_string()]),
                }
            }
        };
        results.add(file, &vector.name, &vector.source, verdict)?;
    }
    let Counts { conform, wrong, .. } = results.finish()?;
    match conform + wrong {
        0 => Err("no vector was played: the command exited with 77 for each".to_owned()),
        _ => Ok(wrong == 0),
    }
}

/// Has the service carry out one invocation. Without it, each vector would wait in vain until its
/// patience ends. Returns whether the Runtime API is at the address that the service was given.
fn rehearse(start: &OsString, player: &Player) -> Result<bool, String> {
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: lambda\r\n\r\n";
    let path = "/2018-06-01/runtime/invocation/${a.lambda-runtime-aws-request-id}/response";
    let answer = format!("POST {path} HTTP/1.1\r\nHost: lambda\r\nContent-Length: 4\r\n\r\n\"ok\"");
    let vector = serde_json::json!({
        "name": "the service carries out an invocation",
        "source": ["conformance/service/README.md"],
        "steps": [
            {"invoke": {"body": "{}"}, "as": "a"},
            {"send": next, "on": "1"},
            {"receive": {"status": 200}, "on": "1", "as": "a"},
            {"send": answer, "on": "1"},
            {"receive": {"status": 202}, "on": "1"},
            {"send": next, "on": "1"},
            {"answered": {"status": 200}, "to": "a"},
        ],
    });
    let vector: Vector = serde_json::from_value(vector).expect("the steps are those of a vector");
    let no_vector = "so no vector was played";
    let service = Started::new(start, &vector.service, player.patience)
        .map_err(|reason| format!("the service cannot be started: {reason}; {no_vector}"))?;
    // A service that is for other kinds of functions only is not rehearsed.
    let Some(service) = service else { return Ok(true) };
    let given = service.runtime_api();
    let played = player.play(&vector, &service).map(|_| service.runtime_api() == given);
    played.map_err(|failure| {
        let what = match failure.step {
            1 => "the service takes no invocation",
            2 => "the service does not start its runtime",
            3 => "the service does not give the runtime its event",
            4 | 5 => "the service does not accept the response",
            _ => "the service does not answer its caller",
        };
        format!(
            "{what}, {no_vector}\n  {failure}\n\
             how to start a service is in conformance/service/README.md"
        )
    })
}

/// A service that was started by a command. It is ended on drop.
struct Started {
    child: Child,
    /// `None` once it is being waited for.
    group: Option<Group>,
    invoke_api: Port,
    /// Claimed by the second port, if the service listens where it was told to.
    runtime_api: Cell<SocketAddr>,
    _runtime_api: Port,
    bootstrap: Bootstrap,
}

/// The exit code of a command whose service lacks this kind of function, as for skipped tests in
/// Automake.
const SKIPPED: i32 = 77;

impl Started {
    /// Starts the service. `None` if it lacks this kind of function.
    ///
    /// `patience` is how long it may take to listen.
    fn new(
        start: &OsString,
        settings: &Settings,
        patience: Duration,
    ) -> Result<Option<Self>, String> {
        let words = |error: std::io::Error| error.to_string();
        let [invoke_api, runtime_api] = [Port::claim()?, Port::claim()?];
        let bootstrap = Bootstrap::new()?.patience(patience);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(start).stdin(Stdio::null());
        command
            .env("CONFORMANCE_INVOKE_API", invoke_api.address().to_string())
            .env("CONFORMANCE_RUNTIME_API", runtime_api.address().to_string())
            .env("CONFORMANCE_TIMEOUT", settings.timeout.unwrap_or(20).to_string())
            .env(Bootstrap::VARIABLE, bootstrap.file())
            .env_remove("CONFORMANCE_CONCURRENCY")
            .env_remove("CONFORMANCE_SNAPSTART")
            .env_remove("CONFORMANCE_TELEMETRY")
            .env_remove("CONFORMANCE_LOG_FORMAT")
            .env_remove("CONFORMANCE_EXTENSIONS");
        if let Some(concurrency) = settings.concurrency {
            command.env("CONFORMANCE_CONCURRENCY", concurrency.to_string());
        }
        if settings.snapstart {
            command.env("CONFORMANCE_SNAPSTART", "1");
        }
        if let Some(telemetry) = settings.telemetry {
            command.env("CONFORMANCE_TELEMETRY", if telemetry { "yes" } else { "no" });
        }
        if settings.json_logs {
            command.env("CONFORMANCE_LOG_FORMAT", "JSON");
        }
        if !settings.extensions.is_empty() {
            command.env("CONFORMANCE_EXTENSIONS", bootstrap.extensions(&settings.extensions)?);
        }
        let (child, group) = Group::start(&mut command).map_err(words)?;
        let address = invoke_api.address();
        let this = Self {
            child,
            group: Some(group),
            invoke_api,
            runtime_api: Cell::new(runtime_api.address()),
            _runtime_api: runtime_api,
            bootstrap,
        };
        let began = Instant::now();
        loop {
            let is_listening = is_listening(address);
            match this.group.as_ref().and_then(Group::ended) {
                Some(status) if status.exit_status() == Some(SKIPPED) => return Ok(None),
                Some(status) => {
                    return Err(match status.exit_status() {
                        Some(code) => format!("the service exited with code {code}"),
                        None => "the service was ended by a signal".to_owned(),
                    });
                }
                None if is_listening => return Ok(Some(this)),
                None if began.elapsed() > patience => {
                    let seconds = patience.as_secs();
                    return Err(format!(
                        "the service does not listen on {address} after {seconds} s"
                    ));
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Service for Started {
    fn runtime_api(&self) -> SocketAddr {
        self.runtime_api.get()
    }

    fn invoke_api(&self) -> SocketAddr {
        self.invoke_api.address()
    }

    fn await_start(&self, process: &Process) -> Result<(), String> {
        self.runtime_api.set(self.bootstrap.await_start(process)?);
        Ok(())
    }

    fn bootstrap(&self) -> Option<&Bootstrap> {
        Some(&self.bootstrap)
    }

    fn stop(&self) {
        if let Some(group) = &self.group {
            group.signal(Signal::TERM);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(group) = self.group.take() else { return };
        // With SIGTERM first, so that the service can end the processes that it has started.
        group.end();
        // It may have left its group.
        let _has_ended = self.child.kill();
        drop(group);
        let _has_ended = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any command here takes.
    const LONG: Duration = Duration::from_secs(30);

    fn arguments(line: &[&str]) -> Result<Option<Request>, String> {
        read(lexopt::Parser::from_args(line.iter().map(OsString::from)))
    }

    #[test]
    fn vectors_are_chosen_by_name_and_an_invalid_command_line_is_refused() {
        let all = arguments(&["--start", "x"]).unwrap().unwrap().files;
        let some = arguments(&["--start", "x", "--vector", "next"]).unwrap().unwrap().files;
        let count = |files: &[(String, Vec<Vector>)]| -> usize {
            files.iter().map(|(_, vectors)| vectors.len()).sum()
        };
        assert!(count(&some) > 0 && count(&some) < count(&all));
        assert!(arguments(&["--help"]).unwrap().is_none());
        for (line, reason) in [
            (&[][..], "--start is missing"),
            (&["--start"], "missing argument"),
            (&["--begin"], "invalid option"),
            (&["--start", "x", "--patience", "long"], "\"long\""),
            (&["--start", "x", "--vector", "no such name"], "no vector has \"no such name\""),
            (&["--start", "x", "/nonexistent.json"], "/nonexistent.json: No such file"),
        ] {
            let error = arguments(line).err().unwrap_or_default();
            assert!(error.contains(reason), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_command_that_exits_is_distinguished_from_one_that_skips() {
        let start = |command: &str| Started::new(&command.into(), &Settings::default(), LONG);
        assert!(start("exit 3").is_err_and(|reason| reason.contains("3")));
        assert!(start("exit 77").is_ok_and(|it| it.is_none()));
    }

    #[test]
    fn playing_no_vector_is_an_error() {
        let line = ["--start", "exit 77", "--vector", "a response may be empty"];
        let played = command(lexopt::Parser::from_args(line));
        assert!(played.is_err_and(|reason| reason.contains("no vector was played")));
    }
}
