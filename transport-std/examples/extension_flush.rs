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
//! `FLUSH_TO=127.0.0.1:4317` names a server, which gets a connection for each flush with one record
//! a line, and closes it when it has them. Without it, the extension prints how many there are.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use lambda_proto_std::Failure;
use lambda_proto_std::extension::{
    Error, Extension, Reason, Telemetry, TelemetryOptions, TelemetryTypes,
};

/// What is kept while the server is not there; then the oldest records go.
const MOST: usize = 10_000;

/// How long the server may take with anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Error> {
    let server = std::env::var("FLUSH_TO").ok();
    let options = TelemetryOptions::new(TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION))
        // Time for a last flush if a function runs into its timeout.
        .reserve(Duration::from_millis(500));
    let mut records = Vec::new();
    Extension::from_env("extension_flush")?
        .telemetry(options, move |telemetry| {
            match telemetry {
                Telemetry::Record(record) => keep(&mut records, record.raw().to_owned()),
                Telemetry::Unread(unread) => eprintln!("extension_flush: {unread}"),
                Telemetry::Flush(reason) => {
                    flush(server.as_deref(), &records, reason)?;
                    records.clear();
                }
                _ => {}
            }
            Ok(())
        })
        .run(|_event| Ok(()))
}

fn keep(records: &mut Vec<String>, record: String) {
    if records.len() == MOST {
        eprintln!("extension_flush: more than {MOST} records; the oldest is lost: {}", records[0]);
        records.remove(0);
    }
    records.push(record);
}

/// Sends the records. If it fails, they are sent with the next flush.
fn flush(server: Option<&str>, records: &[String], reason: Reason) -> Result<(), Failure> {
    let count = records.len();
    match server {
        None => println!("extension_flush: {count} records ({reason:?})"),
        Some(server) => send(server, records)?,
    }
    Ok(())
}

fn send(server: &str, records: &[String]) -> io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all((records.join("\n") + "\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}
