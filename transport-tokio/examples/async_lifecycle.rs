//! Prints when each hook of a [`Lifecycle`] runs, and what a handler learns from its context. Hooks
//! are async, and work after the answer is a future.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --event '{}' target/release/examples/async_lifecycle
//! cargo run -p lambda-lab -- run --freeze --event 1 --event 2 target/release/examples/async_lifecycle
//! cargo run -p lambda-lab -- run --snapstart --event '{}' target/release/examples/async_lifecycle
//! ```

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lambda_proto_tokio::{Error, Failure, Lifecycle, Runtime, cancelled};
use tokio::time::{sleep, timeout};

/// What an init hook makes and every invocation uses.
struct Greeting(&'static str);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    say("main");
    let lifecycle = Lifecycle::new()
        .on_init("greeting", async |init| {
            say("init hook \"greeting\", beside the other");
            init.put(Greeting("hello"));
        })
        .on_init("slow", async |init| {
            // Until it is cancelled or done.
            let cancelled = cancelled(init.cancellation());
            let is_cancelled = timeout(Duration::from_millis(20), cancelled).await.is_ok();
            say("init hook \"slow\" is done");
            !is_cancelled
        })
        .before_snapshot("connections", async |_| {
            say("before the snapshot: connections are closed");
            Ok(())
        })
        .after_restore("connections", async |_| {
            say("after the restore: connections are opened");
            Ok(())
        })
        .on_shutdown("flush", async |shutdown| {
            say(&format!("shutdown hook \"flush\" has {} ms", millis(shutdown.remaining())));
            Ok(())
        })
        .on_shutdown("forget", async |_| {
            say("shutdown hook \"forget\" fails");
            Err(Failure::new("Function.Forgotten", "there is nothing to flush"))
        });
    let runtime = Runtime::from_env()?.lifecycle(lifecycle);
    let run = runtime.run(async |invocation, responder, context| {
        let Greeting(text) = context.get().ok_or_else(|| Failure::from_display("no greeting"))?;
        let function = context.environment().function_name().unwrap_or("a function");
        say(&format!("{function} is invoked: {}", invocation.request_id()));
        if let Some(left) = context.remaining() {
            say(&format!("it has {} s", left.as_secs_f32().round()));
        }
        if let Some(frozen) =
            context.idle_gap().and_then(|gap| gap.thawed_after(Duration::from_secs(1)))
        {
            say(&format!("the environment was frozen for {} s", frozen.as_secs()));
        }
        let id = invocation.request_id().to_owned();
        context.spawn_work(&invocation, "write the books", async move {
            sleep(Duration::from_millis(20)).await;
            say(&format!("{id}: the books are written, after the answer"));
        });
        // Cancelled when the deadline is near, or when the process must end.
        tokio::select! {
            () = context.cancelled() => Err(Failure::from_display("there was no time left")),
            answer = greet(text) => Ok(responder.send(answer).await),
        }
    });
    let result = run.await;
    say("the end of main");
    // It is the error of the shutdown hook that fails.
    result
}

async fn greet(text: &str) -> &str {
    sleep(Duration::from_millis(1)).await;
    text
}

fn millis(duration: Duration) -> u128 {
    duration.as_millis()
}

/// One line, with the time since the first one.
fn say(what: &str) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let passed = BEGAN.get_or_init(Instant::now).elapsed();
    eprintln!("{:>6} ms  {what}", passed.as_millis());
}
