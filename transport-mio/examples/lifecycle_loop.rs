//! A lifecycle in the program's own loop. Each invocation waits for as many milliseconds as its
//! event says, with a timer of the loop. When its cancellation is due, it is answered with the time
//! that it has waited. The shutdown hooks run when the slots have ended.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --event 20 target/release/examples/lifecycle_loop
//! cargo run -p lambda-lab -- run --event 60000 --timeout 2 target/release/examples/lifecycle_loop
//! ```

use std::error::Error;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use lambda_proto_mio::{
    Context, Event, Failure, Invocation, Key, Lifecycle, Options, Responder, Runtime,
};
use mio::{Events, Poll, Token};

/// What an init hook makes.
struct Unit(&'static str);

fn main() -> Result<(), Box<dyn Error>> {
    let lifecycle = Lifecycle::new()
        // Enough time to send the answer.
        .options(Options::new().with_cancellation_buffer(Duration::from_millis(200))?)
        .on_init("unit", |init| init.put(Unit("ms")))
        .on_shutdown("goodbye", |_| {
            eprintln!("lifecycle_loop: the shutdown hook");
            Ok(())
        });
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let runtime = Runtime::from_env()?.lifecycle(lifecycle);
    let mut slots = runtime.register(poll.registry(), Token(0))?;
    let mut jobs = Jobs::default();
    loop {
        while let Some(event) = slots.next_event(Instant::now()) {
            match event {
                Event::Invocation(mut invocation, responder) => {
                    let context = invocation.take_context().ok_or("there is a lifecycle")?;
                    jobs.begin(&invocation, responder, context);
                }
                Event::CancellationDue { key } => jobs.cancel(key),
                Event::Ended(result) => return Ok(result.and(slots.finish())?),
                _ => {}
            }
        }
        let next = slots.next_timeout().into_iter().chain(jobs.next_timeout()).min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let now = Instant::now();
        for event in &events {
            slots.handle_event(event, now);
        }
        slots.handle_timeout(now);
        jobs.handle_timeout(now);
    }
}

/// The invocations that wait for their time.
#[derive(Default)]
struct Jobs(Vec<Job>);

struct Job {
    responder: Responder,
    context: Context,
    began: Instant,
    ends: Instant,
}

impl Jobs {
    fn begin(&mut self, invocation: &Invocation, responder: Responder, context: Context) {
        let text = std::str::from_utf8(invocation.body()).unwrap_or_default();
        let began = Instant::now();
        let time = text.trim().parse().map(Duration::from_millis);
        let Some(ends) = time.ok().and_then(|time| began.checked_add(time)) else {
            responder.fail(Failure::new("Function.NoNumber", "the event is not a number"));
            return;
        };
        self.0.push(Job { responder, context, began, ends });
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|job| job.ends).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        for job in self.0.extract_if(.., |job| job.ends <= now) {
            job.finish();
        }
    }

    /// Ends a job early when its invocation is cancelled.
    fn cancel(&mut self, key: Key) {
        for job in self.0.extract_if(.., |job| job.responder.key() == key) {
            if job.waited() > 0 {
                job.finish();
            } else {
                let failure = Failure::new("Function.TooLate", "there was no time for the event");
                job.responder.fail(failure);
            }
        }
    }
}

impl Job {
    fn waited(&self) -> u128 {
        self.began.elapsed().as_millis()
    }

    /// Answers with the time that it has waited.
    fn finish(self) {
        let unit = self.context.get().map_or("", |Unit(unit)| unit);
        let answer = format!("{} {unit}", self.waited());
        self.responder.send(answer);
    }
}
