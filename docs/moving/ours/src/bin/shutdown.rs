//! Code that runs before the process ends.

use std::sync::atomic::{AtomicU64, Ordering};

use lambda_proto_tokio::{Error, Lifecycle, Runtime};

static INVOCATIONS: AtomicU64 = AtomicU64::new(0);

async fn flush() {
    eprintln!("flushed after {} invocations", INVOCATIONS.load(Ordering::Relaxed));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let lifecycle = Lifecycle::new().on_shutdown("flush", async |_| {
        flush().await;
        Ok(())
    });
    let run = Runtime::from_env()?.lifecycle(lifecycle).run(async |_, responder, _| {
        INVOCATIONS.fetch_add(1, Ordering::Relaxed);
        responder.json("done").await
    });
    run.await
}
