//! An external extension with async handlers, which prints the life of an environment: one line for
//! each record of its telemetry, and one for each flush with the number of records before it.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --extension target/release/examples/async_extension --event '{}' \
//!     target/release/examples/async_minimal
//! ```

use lambda_proto_tokio::extension::telemetry::{Body, Done, Record};
use lambda_proto_tokio::extension::{
    EnvironmentEvent, Error, Extension, Telemetry, TelemetryTypes,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let types = TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION);
    // Log records do not say which invocation they belong to.
    let mut current = "-".to_owned();
    let mut records = 0;
    Extension::from_env("async_extension")?
        .telemetry(types, async move |telemetry| {
            match telemetry {
                Telemetry::Record(record) => {
                    if let Body::Start(start) = record.body {
                        current = start.request_id.to_string();
                    }
                    records += 1;
                    println!("async_extension: {}", line(&record, &current));
                }
                Telemetry::Unread(unread) => println!("async_extension: {unread}"),
                // The caller has its answer. An upload is awaited here; it is dropped shortly before
                // the deadline, so what it sends is kept until then.
                Telemetry::Flush(reason) => {
                    println!("async_extension: flush of {records} records ({reason:?})");
                    records = 0;
                }
                _ => {}
            }
            Ok(())
        })
        .run(async |event| {
            if let EnvironmentEvent::Shutdown(shutdown) = event {
                println!("async_extension: SHUTDOWN {}", shutdown.reason);
            }
            Ok(())
        })
        .await
}

/// A record as one line, with the request id of its invocation.
fn line(record: &Record<'_>, current: &str) -> String {
    let kind = record.record_type;
    match record.body {
        Body::FunctionLog(log) => format!("{kind} {current} {:?}", log.to_string().trim_end()),
        Body::Start(start) => format!("{kind} {} version {}", start.request_id, start.version),
        Body::RuntimeDone(done) | Body::Report(done) => {
            let Done { request_id, status, metrics, .. } = done;
            let mut line = format!("{kind} {request_id}");
            if let Some(status) = status {
                line += &format!(" {status}");
            }
            if let Some(duration) = metrics.duration {
                line += &format!(", {duration}");
            }
            line
        }
        // What this program does not know by name is shown as it came.
        _ => format!("{kind} {}", record.raw()),
    }
}
