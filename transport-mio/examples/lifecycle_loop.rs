//! A lifecycle in a loop of the program's own: each context goes to another thread with its responder, and the
//! shutdown hooks run when the slots have ended.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --event 20 target/release/examples/lifecycle_loop
//! cargo run -p lambda-lab -- run --event 60000 --timeout 2 target/release/examples/lifecycle_loop
//! ```

use std::error::Error;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_mio::{Context, Event, Failure, Invocation, Lifecycle, Runtime};
use mio::{Events, Poll, Token};

/// What an init hook makes.
struct Unit(&'static str);

fn main() -> Result<(), Box<dyn Error>> {
    let lifecycle = Lifecycle::new().on_init("unit", |init| init.put(Unit("ms"))).on_shutdown(
        "goodbye",
        |_| {
            eprintln!("lifecycle_loop: the shutdown hook");
            Ok(())
        },
    );
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let runtime = Runtime::from_env()?.lifecycle(lifecycle);
    let mut slots = runtime.register(poll.registry(), Token(0))?;
    loop {
        while let Some(event) = slots.next_event(Instant::now()) {
            match event {
                Event::Invocation(mut invocation, responder) => {
                    let context = invocation.take_context().ok_or("there is a lifecycle")?;
                    thread::spawn(move || match work(&invocation, &context) {
                        Ok(answer) => responder.send(answer),
                        Err(failure) => responder.fail(failure),
                    });
                }
                Event::Ended(result) => return Ok(result.and(slots.finish())?),
                _ => {}
            }
        }
        let timeout = slots.next_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let now = Instant::now();
        for event in &events {
            slots.handle_event(event, now);
        }
        slots.handle_timeout(now);
    }
}

/// Waits for as many milliseconds as the event says, and less if the deadline or the end of the process is
/// near.
fn work(invocation: &Invocation, context: &Context) -> Result<String, Failure> {
    let text = std::str::from_utf8(invocation.body()).unwrap_or_default();
    let Ok(millis) = text.trim().parse() else {
        return Err(Failure::new("Function.NoNumber", "the event is to be a number"));
    };
    if context.cancellation().wait(Duration::from_millis(millis)) {
        return Err(Failure::new("Function.Cancelled", "there was no time for it"));
    }
    let unit = context.get().map_or("", |Unit(unit)| unit);
    Ok(format!("{millis} {unit}"))
}
