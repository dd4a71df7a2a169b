//! A Lambda runtime for LuaJIT. `README.md` says how it is used.
//!
//! | module | responsible for |
//! |---|---|
//! | `settings` | environment variables |
//! | `json` | JSON to Lua values and back |
//! | `stack` | the stack of a Lua state, where many values are made or visited |
//! | `interpreter`, `prelude.lua` | a Lua state and what scripts find in it |
//! | `handler` | the function's file and the function in it |
//! | `host` | what Lua functions share with the runtime: the worker, the log |
//! | `context` | the handler's second argument |
//! | `failure` | Lua errors as failures |
//! | `hooks` | functions of scripts around a snapshot and before the end |
//! | `slot` | the loop over invocations |
//! | `watchdog`, `interrupt` | the end of Lua code whose time is over |

mod context;
mod failure;
mod handler;
mod hooks;
mod host;
mod interpreter;
mod interrupt;
mod json;
mod settings;
mod slot;
mod stack;
mod watchdog;

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use lambda_proto_std::{Error, Failure, Log, Runtime};

use crate::handler::LoadError;
use crate::hooks::Hooks;
use crate::settings::{Mode, Settings};
use crate::slot::{Command, Served};
use crate::watchdog::Watchdog;

/// The stack of the threads that run Lua: nested JSON and the patterns of `string` need some.
const STACK: usize = 8 * 1024 * 1024;

/// A thread with a Lua state.
struct Started {
    thread: JoinHandle<()>,
    commands: Sender<Command>,
    served: Receiver<Served>,
}

fn main() -> Result<(), Error> {
    let runtime = Runtime::from_env()?.error_type::<LoadError>();
    let settings = Settings::from_env()?;
    let (slots, hooks) = runtime.init(|| start(settings?))?;
    let commands: Vec<_> = slots.iter().map(|slot| slot.commands.clone()).collect();
    let lifecycle = hooks::lifecycle(&hooks, &commands);
    let workers = runtime.lifecycle(lifecycle).into_workers()?;
    if workers.is_empty() {
        return Ok(());
    }
    for (slot, worker) in slots.iter().zip(workers) {
        // A slot takes its worker unless it has panicked, which is found out below.
        let _ = slot.commands.send(Command::Serve(Box::new(worker)));
    }
    let mut result = Ok(());
    let mut workers = vec![];
    for Started { thread, served, .. } in slots {
        let ended = match served.recv() {
            Ok(Served { worker, result }) => {
                workers.push(worker);
                result
            }
            Err(_) => Err(thread.join().map_or_else(panicked, |()| panicked(Box::new(())))),
        };
        result = result.and(ended);
    }
    // The end of the last worker runs the shutdown hooks, on the threads of the slots.
    workers.into_iter().fold(result, |result, worker| {
        let ended = worker.end();
        result.and(ended)
    })
}

fn panicked(payload: Box<dyn Any + Send>) -> Error {
    Error::Panicked { message: Failure::from_panic(&*payload).message().to_owned() }
}

/// Starts a thread with a Lua state for each slot, and waits until all have loaded the function.
fn start(settings: Settings) -> Result<(Vec<Started>, Hooks), Failure> {
    if settings.mode == Mode::Script {
        std::env::set_current_dir(&settings.task_root)?;
    }
    let watchdog = Watchdog::start(Log::from_env())?;
    let settings = Arc::new(settings);
    let mut slots = vec![];
    let mut starts = vec![];
    for number in 0..settings.slots {
        let (started, has_started) = channel();
        let (commands, incoming) = channel();
        let (serving, served) = channel();
        let (settings, watchdog) = (settings.clone(), watchdog.clone());
        let thread = thread::Builder::new()
            .name(format!("lambda-slot-{number}"))
            .stack_size(STACK)
            .spawn(move || slot::run(&settings, &watchdog, started, &incoming, &serving))?;
        slots.push(Started { thread, commands, served });
        starts.push(has_started);
    }
    let mut hooks = Hooks::new();
    for start in starts {
        // A thread that panics has logged that.
        let start = start.recv();
        hooks =
            start.unwrap_or_else(|_| Err(Failure::new("Runtime.Panic", "the start panicked")))?;
    }
    Ok((slots, hooks))
}
