//! A Lambda runtime for LuaJIT. `README.md` says how it is used.
//!
//! | module | responsible for |
//! |---|---|
//! | `settings` | environment variables |
//! | `json` | JSON to Lua values and back |
//! | `interpreter`, `prelude.lua` | a Lua state and what scripts find in it |
//! | `handler` | the function's file and the function in it |
//! | `host` | what Lua functions share with the runtime: the worker, the log |
//! | `context` | the handler's second argument |
//! | `failure` | Lua errors as failures |
//! | `slot` | the loop over invocations |
//! | `watchdog`, `interrupt` | the end of Lua code whose time is over |

mod context;
mod failure;
mod handler;
mod host;
mod interpreter;
mod interrupt;
mod json;
mod settings;
mod slot;
mod watchdog;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use lambda_proto_std::{Error, Failure, InLifecycle, Lifecycle, Log, Runtime, Worker};

use crate::handler::LoadError;
use crate::settings::{Mode, Settings};
use crate::watchdog::Watchdog;

/// The stack of the threads that run Lua: nested JSON and the patterns of `string` need some.
const STACK: usize = 8 * 1024 * 1024;

/// A slot that waits for its worker.
struct Started {
    thread: JoinHandle<Result<(), Error>>,
    worker: Sender<Worker<InLifecycle>>,
}

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?.error_type::<LoadError>();
    let settings = Settings::from_env()?;
    let slots = runtime.init(|| start(settings?))?;
    let workers = runtime.lifecycle(Lifecycle::new()).into_workers()?;
    for (slot, worker) in slots.iter().zip(workers) {
        // A slot takes its worker unless it has panicked, and then its thread has an error.
        let _ = slot.worker.send(worker);
    }
    let mut result = Ok(());
    for Started { thread, worker } in slots {
        drop(worker);
        let ended = thread.join().unwrap_or_else(|payload| {
            let message = Failure::from_panic(&*payload).message().to_owned();
            Err(Error::Panicked { message })
        });
        result = result.and(ended);
    }
    result
}

/// Starts a thread with a Lua state for each slot, and waits until all have loaded the function.
fn start(settings: Settings) -> Result<Vec<Started>, Failure> {
    if settings.mode == Mode::Script {
        std::env::set_current_dir(&settings.task_root)?;
    }
    let watchdog = Watchdog::start(Log::from_env())?;
    let settings = Arc::new(settings);
    let mut slots = vec![];
    let mut starts = vec![];
    for number in 0..settings.slots {
        let (started, has_started) = channel();
        let (worker, workers) = channel();
        let (settings, watchdog) = (settings.clone(), watchdog.clone());
        let thread = thread::Builder::new()
            .name(format!("lambda-slot-{number}"))
            .stack_size(STACK)
            .spawn(move || slot::run(&settings, &watchdog, started, &workers))?;
        slots.push(Started { thread, worker });
        starts.push(has_started);
    }
    for start in starts {
        // A thread that panics has logged that.
        start
            .recv()
            .unwrap_or_else(|_| Err(Failure::new("Runtime.Panic", "the start panicked")))?;
    }
    Ok(slots)
}
