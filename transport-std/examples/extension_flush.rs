//! An external extension that collects what the function logs, and sends it after each invocation.
//! The caller has its answer before: the extension waits until the runtime is done. The environment
//! is not frozen before the extension asks for its next event, so nothing is left behind.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --extension target/release/examples/extension_flush --event '{}' \
//!     target/release/examples/minimal
//! ```
//!
//! `FLUSH_TO=127.0.0.1:4317` is the address of a server, which gets a connection for each flush with one
//! record a line, and closes it when it has them. Without it, the extension prints how many there are.
//!
//! A flush holds up the end of its invocation, so it ends before the deadline, also if the server never
//! replies. What was not sent goes with the next flush.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto_std::extension::{
    EnvironmentEvent, Error, Extension, Reason, Telemetry, TelemetryOptions, TelemetryTypes,
};
use lambda_proto_std::{Deadline, Failure};

/// What is kept while the server is not there; then the oldest records go.
const MOST: usize = 10_000;

/// The time for a last flush if a function runs into its timeout.
const RESERVE: Duration = Duration::from_millis(500);

/// What a flush leaves of the time until the deadline, to ask for the next event.
const MARGIN: Duration = Duration::from_millis(100);

/// The longest flush, however much time is left: the function is billed for it.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let server = match std::env::var("FLUSH_TO").map(|server| server.parse()) {
        Err(_) => None,
        Ok(Ok(server)) => Some(server),
        Ok(Err(error)) => {
            eprintln!("extension_flush: FLUSH_TO is not an IP address with a port: {error}");
            return ExitCode::from(2);
        }
    };
    match run(server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("extension_flush: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(server: Option<SocketAddr>) -> Result<(), Error> {
    let options = TelemetryOptions::new(TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION))
        .reserve(RESERVE);
    // The deadline of the latest event, which a flush must keep; 0 if it has none.
    let latest = Arc::new(AtomicU64::new(0));
    let deadline = latest.clone();
    let mut records = Vec::new();
    Extension::from_env("extension_flush")?
        .telemetry(options, move |telemetry| {
            match telemetry {
                Telemetry::Record(record) => keep(&mut records, record.raw().to_owned()),
                Telemetry::Unread(unread) => eprintln!("extension_flush: {unread}"),
                Telemetry::Flush(reason) => {
                    let deadline = Deadline::from_unix_millis(deadline.load(Relaxed));
                    flush(server, &records, reason, Instant::now() + time_left(deadline))?;
                    records.clear();
                }
                _ => {}
            }
            Ok(())
        })
        .run(|event| {
            let deadline = match event {
                EnvironmentEvent::Invoke(invoke) => invoke.deadline,
                EnvironmentEvent::Shutdown(shutdown) => shutdown.deadline,
                _ => return Ok(()),
            };
            latest.store(deadline.map_or(0, Deadline::as_unix_millis), Relaxed);
            Ok(())
        })
}

/// How long a flush may take from now on. A deadline in the past is none: some local services send a
/// duration instead of a date.
fn time_left(deadline: Deadline) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = deadline.remaining(now);
    let left = if left.is_zero() { RESERVE } else { left };
    left.saturating_sub(MARGIN).min(PATIENCE)
}

fn keep(records: &mut Vec<String>, record: String) {
    if records.len() == MOST {
        eprintln!("extension_flush: more than {MOST} records; the oldest is lost: {}", records[0]);
        records.remove(0);
    }
    records.push(record);
}

/// Sends the records. If it fails, they are sent with the next flush.
fn flush(
    server: Option<SocketAddr>,
    records: &[String],
    reason: Reason,
    until: Instant,
) -> Result<(), Failure> {
    let count = records.len();
    match server {
        None => println!("extension_flush: {count} records ({reason:?})"),
        Some(server) => send(server, records, until)?,
    }
    Ok(())
}

fn send(server: SocketAddr, records: &[String], until: Instant) -> io::Result<()> {
    // A timeout of zero is an error.
    let left = || match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&server, left()?)?;
    let text = records.join("\n") + "\n";
    let mut unsent = text.as_bytes();
    while !unsent.is_empty() {
        // The timeout of a socket is that of one call.
        stream.set_write_timeout(Some(left()?))?;
        let length = stream.write(unsent)?;
        unsent = &unsent[length..];
    }
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(left()?))?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}
