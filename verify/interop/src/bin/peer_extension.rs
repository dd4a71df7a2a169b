//! An external extension on `lambda-extension`, the crate that AWS publishes for Rust, to be run
//! under the lab.
//!
//! `PEER_EXTENSION` is `telemetry` or `logs`. It listens on the port `PEER_EXTENSION_PORT`, and
//! appends what it is told to the file `PEER_EXTENSION_OUTPUT`: each line is a kind and a JSON
//! document.

use std::fs::OpenOptions;
use std::io::Write;

use lambda_extension::{
    Error, Extension, LambdaEvent, LambdaLog, LambdaLogRecord, LambdaTelemetry, LogBuffering,
    NextEvent, SharedService, service_fn,
};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let types = &["platform", "function"];
    let port = std::env::var("PEER_EXTENSION_PORT")?.parse()?;
    let buffering = LogBuffering { timeout_ms: 25, max_bytes: 262_144, max_items: 10_000 };
    let extension = Extension::new().with_events_processor(service_fn(event));
    match std::env::var("PEER_EXTENSION")?.as_str() {
        "telemetry" => {
            let extension = extension
                .with_telemetry_processor(SharedService::new(service_fn(telemetry)))
                .with_telemetry_types(types)
                .with_telemetry_buffering(buffering)
                .with_telemetry_port_number(port);
            extension.run().await
        }
        "logs" => {
            let extension = extension
                .with_logs_processor(SharedService::new(service_fn(logs)))
                .with_log_types(types)
                .with_log_buffering(buffering)
                .with_log_port_number(port);
            extension.run().await
        }
        other => Err(format!("PEER_EXTENSION is {other:?}").into()),
    }
}

async fn event(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Invoke(event) => tell("INVOKE", &json!({ "requestId": event.request_id })),
        NextEvent::Shutdown(event) => {
            tell("SHUTDOWN", &json!({ "shutdownReason": event.shutdown_reason }))
        }
    }
}

async fn telemetry(events: Vec<LambdaTelemetry>) -> Result<(), Error> {
    for event in events {
        let event = serde_json::to_value(event)?;
        tell(event["type"].as_str().unwrap_or_default(), &event["record"])?;
    }
    Ok(())
}

async fn logs(logs: Vec<LambdaLog>) -> Result<(), Error> {
    for log in logs {
        match log.record {
            LambdaLogRecord::Function(line) => tell("function", &line.into())?,
            LambdaLogRecord::PlatformStart { request_id } => {
                tell("platform.start", &json!({ "requestId": request_id }))?;
            }
            LambdaLogRecord::PlatformEnd { request_id } => {
                tell("platform.end", &json!({ "requestId": request_id }))?;
            }
            LambdaLogRecord::PlatformRuntimeDone { request_id, status } => {
                let record = json!({ "requestId": request_id, "status": status });
                tell("platform.runtimeDone", &record)?;
            }
            LambdaLogRecord::PlatformReport { request_id, metrics } => {
                let metrics = json!({ "billedDurationMs": metrics.billed_duration_ms });
                tell("platform.report", &json!({ "requestId": request_id, "metrics": metrics }))?;
            }
            LambdaLogRecord::PlatformLogsSubscription { name, state, types } => {
                let record = json!({ "name": name, "state": state, "types": types });
                tell("platform.logsSubscription", &record)?;
            }
            other => tell("other", &format!("{other:?}").into())?,
        }
    }
    Ok(())
}

fn tell(kind: &str, document: &Value) -> Result<(), Error> {
    let output = std::env::var("PEER_EXTENSION_OUTPUT")?;
    let mut output = OpenOptions::new().create(true).append(true).open(output)?;
    Ok(output.write_all(format!("{kind} {document}\n").as_bytes())?)
}
