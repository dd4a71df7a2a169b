//! An external extension that prints the life of an environment: one line for each record of its
//! telemetry, with the request id, and the text of log records as it came.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --extension target/release/examples/extension_logs --event '{}' \
//!     target/release/examples/minimal
//! ```
//!
//! `EXTENSION_LOGS=1000` includes the logs of extensions, and its own lines among them. Each of them
//! causes another one, without end; so it gets at most 1,000 of them between two events.

use std::fmt::{self, Display};
use std::process::ExitCode;

use lambda_proto_std::extension::telemetry::{Body, Done, Json, Log, Metrics, Record};
use lambda_proto_std::extension::{
    EnvironmentEvent, Error, Extension, Telemetry, TelemetryOptions, TelemetryTypes,
};

fn main() -> ExitCode {
    let types = TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION);
    let options = match std::env::var("EXTENSION_LOGS").map(|limit| limit.parse()) {
        Err(_) => TelemetryOptions::new(types),
        Ok(Ok(limit)) => {
            TelemetryOptions::new(types.and(TelemetryTypes::EXTENSION)).own_log_limit(limit)
        }
        Ok(Err(error)) => {
            eprintln!("extension_logs: EXTENSION_LOGS is not a number of records: {error}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("extension_logs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: TelemetryOptions) -> Result<(), Error> {
    // Log records do not say which invocation they belong to.
    let mut current = "-".to_owned();
    Extension::from_env("extension_logs")?
        .telemetry(options, move |telemetry| {
            match telemetry {
                Telemetry::Record(record) => {
                    if let Body::Start(start) = record.body {
                        current = start.request_id.to_string();
                    }
                    println!("extension_logs: {}", Line { record, current: &current });
                }
                Telemetry::Unread(unread) => println!("extension_logs: {unread}"),
                _ => {}
            }
            Ok(())
        })
        .run(|event| {
            if let EnvironmentEvent::Shutdown(shutdown) = event {
                println!("extension_logs: SHUTDOWN {}", shutdown.reason);
            }
            Ok(())
        })
}

/// A record as one line.
struct Line<'a> {
    record: Record<'a>,
    /// The request id of the latest invocation.
    current: &'a str,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.record.record_type;
        match self.record.body {
            Body::FunctionLog(log) | Body::ExtensionLog(log) => {
                write!(f, "{kind} {} ", self.current)?;
                write_log(log, f)
            }
            Body::Start(start) => {
                write!(f, "{kind} {} version {}", start.request_id, start.version)
            }
            Body::RuntimeDone(done) | Body::Report(done) => write!(f, "{kind} {}", Ended(done)),
            Body::InitReport(report) => {
                write!(f, "{kind}")?;
                write_some(" ", report.status, f)?;
                write_some(" ", report.metrics.duration, f)
            }
            Body::LogsDropped(dropped) => {
                write!(f, "{kind} {}", dropped.reason)?;
                write_some(", records: ", dropped.records, f)
            }
            // What this program does not know by name is shown as it came.
            _ => match Json::parse(self.record.raw().as_bytes())
                .ok()
                .and_then(|event| event.member("record"))
            {
                Some(record) => write!(f, "{kind} {record}"),
                None => write!(f, "{kind}"),
            },
        }
    }
}

/// The end of an invocation.
struct Ended<'a>(Done<'a>);

impl Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { request_id, status, error_type, metrics, .. } = self.0;
        let Metrics { duration, billed_duration, max_memory_used_mb, .. } = metrics;
        write!(f, "{request_id}")?;
        write_some(" ", status, f)?;
        write_some(" ", (!error_type.is_empty()).then_some(error_type), f)?;
        write_some(", ", duration, f)?;
        write_some(", billed ", billed_duration, f)?;
        write_some(", memory in MB: ", max_memory_used_mb, f)
    }
}

fn write_some<T: Display>(
    before: &str,
    value: Option<T>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, "{before}{value}"))
}

/// A log record as it came, on one line.
fn write_log(log: Log<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = log.to_string();
    text.trim_end_matches('\n').chars().try_for_each(|character| {
        if character.is_control() && character != '\t' {
            write!(f, "{}", character.escape_default())
        } else {
            write!(f, "{character}")
        }
    })
}
