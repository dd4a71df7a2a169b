//! How this transport runs an extension with telemetry.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::time::Instant;

use lambda_proto_mio::extension::Event;
use lambda_proto_service::Gate;
use mio::{Events, Poll, Token};

pub(crate) use lambda_proto_mio::extension::{
    EnvironmentEvent, Error, Extension, Telemetry, TelemetryOptions, TelemetrySchema,
    TelemetryTypes, telemetry,
};
pub(crate) use lambda_proto_mio::{Endpoint, Failure};

/// Runs an extension in a loop of its own. A gate would block the loop, and no test of this transport
/// gives it one.
pub(crate) fn run(
    extension: Extension,
    options: impl Into<TelemetryOptions>,
    mut on_telemetry: impl FnMut(Telemetry<'_>) -> Result<Option<Gate>, Failure>,
    mut on_event: impl FnMut(EnvironmentEvent<'_>) -> Result<(), Failure>,
) -> Result<(), Error> {
    run_loop(extension.telemetry(options), |event| match event {
        Event::Environment(event) => on_event(event),
        Event::Telemetry(telemetry) => on_telemetry(telemetry).map(drop),
        _ => unreachable!("there are no others"),
    })
}

/// Runs an extension in a loop of its own.
pub(crate) fn run_loop(
    extension: Extension,
    mut handler: impl FnMut(Event<'_>) -> Result<(), Failure>,
) -> Result<(), Error> {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(64);
    let mut extension = extension.register(poll.registry(), Token(3))?;
    loop {
        if let ControlFlow::Break(result) = extension.dispatch(Instant::now(), &mut handler) {
            return result;
        }
        let now = Instant::now();
        let timeout = extension.next_timeout(now).map(|at| at.saturating_duration_since(now));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("{error}"),
            _ => {}
        }
        for event in &events {
            assert!(extension.handle_event(event), "{event:?}");
        }
    }
}
