//! An external extension for telemetry on `lambda-extension`, the crate that AWS publishes for Rust.
//!
//! It takes the port to listen on. With a second argument, it prints the number of records of each
//! batch.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use lambda_extension::{
    Error, Extension, LambdaTelemetry, LambdaTelemetryRecord, SharedService, service_fn,
};

static BYTES: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let prints = arguments.next().is_some();
    let take = move |batch: Vec<LambdaTelemetry>| async move {
        if prints {
            println!("records {}", batch.len());
        }
        for record in batch {
            let length = match record.record {
                LambdaTelemetryRecord::Function(line) | LambdaTelemetryRecord::Extension(line) => {
                    line.len()
                }
                LambdaTelemetryRecord::PlatformStart { request_id, .. }
                | LambdaTelemetryRecord::PlatformRuntimeDone { request_id, .. }
                | LambdaTelemetryRecord::PlatformReport { request_id, .. } => request_id.len(),
                _ => 0,
            };
            BYTES.fetch_add(length, Relaxed);
        }
        Ok::<_, Error>(())
    };
    Extension::new()
        .with_telemetry_types(&["platform", "function", "extension"])
        .with_telemetry_port_number(port)
        .with_telemetry_processor(SharedService::new(service_fn(take)))
        .run()
        .await
}
