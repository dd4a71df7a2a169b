//! An internal extension in the loop of its function, without a further thread: after each invocation
//! it writes how long the runtime took, when the caller has its answer.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --event 1 --event 2 target/release/examples/loop_extension
//! ```

use std::error::Error;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::time::Instant;

use lambda_proto_mio::extension::telemetry::Body;
use lambda_proto_mio::extension::{Event, Extension, Telemetry, TelemetryTypes};
use lambda_proto_mio::{self as runtime, Failure, Runtime};
use mio::{Events, Poll, Token};

fn main() -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);

    // It registers before the runtime asks for its first invocation, and takes as many tokens as it
    // needs; the slots take those after them.
    let mut extension = Extension::internal_from_env("timing")?
        .telemetry(TelemetryTypes::PLATFORM)
        .register(poll.registry(), Token(0))?;
    let first = Token(extension.tokens().end);
    let mut slots = Runtime::from_env()?.register(poll.registry(), first)?;

    let mut lines = Vec::new();
    loop {
        while let Some(event) = slots.next_event(Instant::now()) {
            match event {
                runtime::Event::Invocation(invocation, responder) => {
                    responder.send(invocation.body());
                }
                runtime::Event::Ended(result) => return Ok(result?),
                // Receipts, for example.
                _ => {}
            }
        }
        let turn = extension.dispatch(Instant::now(), |event| note(&event, &mut lines));
        if let ControlFlow::Break(result) = turn {
            return Ok(result?);
        }

        let now = Instant::now();
        let until = [slots.next_timeout(), extension.next_timeout(now)].into_iter().flatten().min();
        match poll.poll(&mut events, until.map(|at| at.saturating_duration_since(now))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let now = Instant::now();
        for event in &events {
            if !extension.handle_event(event) {
                slots.handle_event(event, now);
            }
        }
        slots.handle_timeout(now);
    }
}

/// Collects a line for each invocation, and writes them when the runtime is done.
fn note(event: &Event<'_>, lines: &mut Vec<String>) -> Result<(), Failure> {
    match event {
        Event::Telemetry(Telemetry::Record(record)) => {
            if let Body::RuntimeDone(done) = record.body {
                let took =
                    done.metrics.duration.and_then(|it| it.to_duration()).unwrap_or_default();
                lines.push(format!("loop_extension: {} took {took:?}", done.request_id));
            }
        }
        Event::Telemetry(Telemetry::Flush(_)) => {
            lines.drain(..).for_each(|line| eprintln!("{line}"));
        }
        _ => {}
    }
    Ok(())
}
