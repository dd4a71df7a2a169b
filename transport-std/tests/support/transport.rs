//! How this transport runs an extension with telemetry.

use lambda_proto_service::Gate;

pub(crate) use lambda_proto_std::extension::{
    EnvironmentEvent, Error, Extension, Telemetry, TelemetryOptions, TelemetrySchema,
    TelemetryTypes, telemetry,
};
pub(crate) use lambda_proto_std::{Endpoint, Failure};

/// Runs an extension whose telemetry handler waits for a gate, if it is given one.
pub(crate) fn run(
    extension: Extension,
    options: impl Into<TelemetryOptions>,
    mut on_telemetry: impl FnMut(Telemetry<'_>) -> Result<Option<Gate>, Failure> + Send + 'static,
    on_event: impl FnMut(EnvironmentEvent<'_>) -> Result<(), Failure>,
) -> Result<(), Error> {
    let take = move |telemetry: Telemetry<'_>| {
        if let Some(gate) = on_telemetry(telemetry)? {
            gate.wait();
        }
        Ok(())
    };
    extension.telemetry(options, take).run(on_event)
}
