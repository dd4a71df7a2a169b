//! `lambda-conformance service`: plays vectors against any service that a command can start.

use std::cell::Cell;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::service::bootstrap::Bootstrap;
use crate::service::player::{Player, Service};
use crate::service::step::{Settings, Vector, VectorFile, all};

/// What `lambda-conformance service` takes.
pub const USAGE: &str = "\
Plays the vectors for services, each with a service that is started for it.

Usage: lambda-conformance service --start COMMAND [OPTION]… [FILE]…

  --start COMMAND  what a shell starts the service with, in these variables:
                     CONFORMANCE_INVOKE_API   where callers invoke, as host:port
                     CONFORMANCE_RUNTIME_API  where its Runtime API is, or may be
                     CONFORMANCE_CONCURRENCY  how many invocations at a time; unset for one
                     CONFORMANCE_SNAPSTART    set for a function with SnapStart
                     CONFORMANCE_TIMEOUT      the function's timeout in seconds
                     CONFORMANCE_STARTED      for its bootstrap, conformance/service/bootstrap
                   One that ends with 77 says that it has no such kind of function.
  --vector TEXT    only those with this text in their names
  --patience SECONDS
                   how long to wait for what must come; 30 without it
  FILE             vectors; without any, all that there are

Ends with 0 if the service does what all that were played say, with 1 if not, with 2 if none was played.
";

/// Runs `lambda-conformance service` with the arguments that are left, and prints what came of each
/// vector. Gives whether the service does what they say.
///
/// # Errors
///
/// What is wrong with the command line, or a file, or that no vector was played, in words.
pub fn command(arguments: lexopt::Parser) -> Result<bool, String> {
    match read(arguments)? {
        Some(request) => play(&request),
        None => {
            print!("{USAGE}");
            Ok(true)
        }
    }
}

/// What is asked for.
struct Request {
    start: OsString,
    player: Player,
    /// The names of files, and their vectors.
    files: Vec<(String, Vec<Vector>)>,
}

fn read(mut parser: lexopt::Parser) -> Result<Option<Request>, String> {
    let (mut start, mut part, mut paths) = (None, String::new(), Vec::new());
    let mut player = Player::default();
    let words = |error: lexopt::Error| format!("{error}; --help says more");
    while let Some(argument) = parser.next().map_err(words)? {
        match argument {
            Long("start") => start = Some(parser.value().map_err(words)?),
            Long("vector") => part = parser.value().and_then(|it| it.parse()).map_err(words)?,
            Long("patience") => {
                let seconds = parser.value().and_then(|it| it.parse::<u32>()).map_err(words)?;
                player.patience = Duration::from_secs(seconds.into());
            }
            Long("help") | Short('h') => return Ok(None),
            Value(path) => paths.push(PathBuf::from(path)),
            other => return Err(words(other.unexpected())),
        }
    }
    let start = start.ok_or("--start is missing; --help says more")?;
    let mut files: Vec<_> = match paths.as_slice() {
        [] => all()?.into_iter().map(|(name, file)| (name, file.vectors)).collect(),
        paths => paths
            .iter()
            .map(|path| Ok((path.display().to_string(), VectorFile::read(path)?.vectors)))
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
    let (mut conform, mut others, mut left_out) = (0, 0, 0);
    for (file, vector) in files.iter().flat_map(|(file, all)| all.iter().map(move |it| (file, it)))
    {
        let name = &vector.name;
        match Started::new(start, &vector.service) {
            Err(reason) => {
                others += 1;
                println!("{file}: \"{name}\": cannot be started: {reason}");
            }
            Ok(None) => {
                left_out += 1;
                println!("{file}: \"{name}\": not played");
            }
            Ok(Some(service)) => match player.play(vector, &service) {
                Ok(_) => conform += 1,
                Err(failure) => {
                    others += 1;
                    println!("{file}: \"{name}\": {failure}");
                }
            },
        }
    }
    println!("{conform} as the vectors say, {others} otherwise, {left_out} not played");
    match conform + others {
        0 => Err("none was played: the command has ended with 77 for each".to_owned()),
        _ => Ok(others == 0),
    }
}

/// A service that was started by a command; it ends on drop.
struct Started {
    child: Child,
    invoke_api: SocketAddr,
    runtime_api: Cell<SocketAddr>,
    bootstrap: Bootstrap,
}

/// How long anything may take that is not part of a vector.
const PATIENCE: Duration = Duration::from_secs(30);

/// The exit status of what has no such kind of function, as Automake has it for tests.
const SKIPPED: i32 = 77;

impl Started {
    /// None if it has no such kind of function.
    fn new(start: &OsString, settings: &Settings) -> Result<Option<Self>, String> {
        let words = |error: std::io::Error| error.to_string();
        let [invoke_api, runtime_api] = free_addresses()?;
        let bootstrap = Bootstrap::new();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(start).stdin(Stdio::null()).process_group(0);
        command
            .env("CONFORMANCE_INVOKE_API", invoke_api.to_string())
            .env("CONFORMANCE_RUNTIME_API", runtime_api.to_string())
            .env("CONFORMANCE_TIMEOUT", settings.timeout.unwrap_or(20).to_string())
            .env(Bootstrap::VARIABLE, bootstrap.file())
            .env_remove("CONFORMANCE_CONCURRENCY")
            .env_remove("CONFORMANCE_SNAPSTART");
        if let Some(concurrency) = settings.concurrency {
            command.env("CONFORMANCE_CONCURRENCY", concurrency.to_string());
        }
        if settings.snapstart {
            command.env("CONFORMANCE_SNAPSTART", "1");
        }
        let child = command.spawn().map_err(words)?;
        let mut this = Self { child, invoke_api, runtime_api: Cell::new(runtime_api), bootstrap };
        let began = Instant::now();
        loop {
            let is_listening = is_listening(invoke_api);
            match this.child.try_wait().map_err(words)? {
                Some(status) if status.code() == Some(SKIPPED) => return Ok(None),
                Some(status) => return Err(format!("it has ended: {status}")),
                None if is_listening => return Ok(Some(this)),
                None if began.elapsed() > PATIENCE => {
                    return Err(format!("it does not listen on {invoke_api}"));
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
        self.invoke_api
    }

    fn await_start(&self) -> Result<(), String> {
        self.runtime_api.set(self.bootstrap.await_start()?);
        Ok(())
    }
}

impl Drop for Started {
    /// First it is asked to end, so that it can end what it has started.
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _has_ended = kill_process_group(group, Signal::TERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < END {
            thread::sleep(Duration::from_millis(5));
        }
        let _has_ended = kill_process_group(group, Signal::KILL);
        let _has_ended = self.child.wait();
    }
}

const END: Duration = Duration::from_secs(3);

/// Whether somebody listens there. A connection to a port of its own host that nobody has may be one with
/// itself (RFC 9293 section 3.5, simultaneous open), if its own end was given just that port.
fn is_listening(address: SocketAddr) -> bool {
    TcpStream::connect(address)
        .and_then(|stream| stream.local_addr())
        .is_ok_and(|own| own != address)
}

/// Addresses of loopback on which nobody listens, and which nobody is given who asks for any: the service
/// takes some time until it has taken them.
fn free_addresses() -> Result<[SocketAddr; 2], String> {
    // Below those that Linux, and all that keep to RFC 6335, give to who asks for any.
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut free = PORTS.filter_map(|_| {
        // Another process begins elsewhere.
        let number =
            std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(number % PORTS.len() as u32).unwrap_or_default();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        TcpListener::bind(address).is_ok().then_some(address)
    });
    match (free.next(), free.next()) {
        (Some(one), Some(other)) => Ok([one, other]),
        _ => Err("no port is free".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &[&str]) -> Result<Option<Request>, String> {
        read(lexopt::Parser::from_args(line.iter().map(OsString::from)))
    }

    #[test]
    fn vectors_are_chosen_by_their_names_and_a_wrong_command_line_is_told() {
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
    fn a_command_that_ends_is_told_apart_from_one_that_has_no_such_function() {
        let start = |command: &str| Started::new(&command.into(), &Settings::default());
        assert!(start("exit 3").is_err_and(|reason| reason.contains("3")));
        assert!(start("exit 77").is_ok_and(|it| it.is_none()));
    }

    #[test]
    fn that_none_was_played_is_no_success() {
        let line = ["--start", "exit 77", "--vector", "a response may be empty"];
        let played = command(lexopt::Parser::from_args(line));
        assert!(played.is_err_and(|reason| reason.contains("none was played")));
    }

    #[test]
    fn what_a_service_is_to_listen_on_is_free_and_not_given_to_others() {
        let [one, other] = free_addresses().unwrap();
        assert_ne!(one, other);
        for address in [one, other] {
            assert!(!is_listening(address));
            let listener = TcpListener::bind(address).unwrap();
            assert!(is_listening(address));
            drop(listener);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_with_itself_is_nobody_who_listens() {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let [address, _] = free_addresses().unwrap();
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&own, &address).unwrap();
        connect(&own, &address).unwrap();
        assert_eq!(TcpStream::from(own).peer_addr().unwrap(), address);
        assert!(!is_listening(address));
    }
}
