//! How this transport runs an extension with telemetry.

use std::time::Duration;

use lambda_proto_service::{Gate, PATIENCE};

pub(crate) use lambda_proto_tokio::extension::{
    EnvironmentEvent, Error, Extension, Telemetry, TelemetryOptions, TelemetrySchema,
    TelemetryTypes, telemetry,
};
pub(crate) use lambda_proto_tokio::{Endpoint, Failure};

/// Runs an extension whose telemetry handler waits for a gate, if it is given one.
pub(crate) fn run(
    extension: Extension,
    options: impl Into<TelemetryOptions>,
    mut on_telemetry: impl FnMut(Telemetry<'_>) -> Result<Option<Gate>, Failure>,
    mut on_event: impl FnMut(EnvironmentEvent<'_>) -> Result<(), Failure>,
) -> Result<(), Error> {
    let take = async |telemetry: Telemetry<'_>| {
        if let Some(gate) = on_telemetry(telemetry)? {
            is_open(&gate).await;
        }
        Ok(())
    };
    block_on(extension.telemetry(options, take).run(async |event| on_event(event)))
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.enable_all().build().expect("tokio starts").block_on(future)
}

async fn is_open(gate: &Gate) {
    let opened = async {
        while !gate.is_open() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.expect("nobody opened the gate");
}
