//! A Lambda runtime for JavaScript. `README.md` says how it is used.
//!
//! | module | responsible for |
//! |---|---|
//! | `settings` | environment variables |
//! | `engine`, `prelude/` | a JavaScript runtime, its event loop, and what the function finds in it |
//! | `owners` | which invocation each piece of JavaScript belongs to |
//! | `timers`, `work` | timers, and the ledger of open work |
//! | `loader`, `handler` | modules, and the handler in one of them |
//! | `host`, `native` | what JavaScript shares with the runtime: the worker, the log; its functions |
//! | `urls` | the parser of URLs |
//! | `failure` | what JavaScript throws, as failures |
//! | `hooks` | functions around a snapshot and before the end |
//! | `slot` | the loop over invocations, and the time between the answer and the freeze |
//! | `writer` | the thread that writes a streamed response |
//! | `times`, `watchdog` | the end of code whose time is over |

mod engine;
mod failure;
mod handler;
mod hooks;
mod host;
mod loader;
mod native;
mod owners;
mod settings;
mod slot;
mod timers;
mod times;
mod urls;
mod watchdog;
mod work;
mod writer;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use lambda_proto_host::policy::Policy;
use lambda_proto_std::{Error, Failure, Log, Runtime};

use crate::handler::LoadError;
use crate::hooks::Hooks;
use crate::settings::Settings;
use crate::slot::{Command, End, Served};
use crate::watchdog::Watchdog;

/// The stack of the threads that run JavaScript: more than its own limit, for native functions.
const STACK: usize = 16 * 1024 * 1024;

/// A thread with a JavaScript runtime.
struct Started {
    thread: JoinHandle<()>,
    commands: Sender<Command>,
    served: Receiver<Served>,
}

/// Why the process ends with an error. `Debug` is what `main` prints.
struct Ended(End);

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<E: Into<End>> From<E> for Ended {
    fn from(end: E) -> Self {
        Self(end.into())
    }
}

fn main() -> Result<(), Ended> {
    let runtime = Runtime::from_env()?.error_type::<LoadError>();
    let settings = Settings::from_env()?;
    let (slots, hooks) = runtime.init(|| start(settings?))?;
    let commands: Vec<_> = slots.iter().map(|slot| slot.commands.clone()).collect();
    let stop = runtime.stop_handle();
    // The slots carry out the policy themselves, since the work runs on their threads.
    let lifecycle = hooks::lifecycle(&hooks, &commands).work(Policy::Report);
    let workers = runtime.lifecycle(lifecycle).into_workers()?;
    if workers.is_empty() {
        return Ok(());
    }
    for (slot, worker) in slots.iter().zip(workers) {
        // A slot takes its worker unless it has panicked, which is found out below.
        let _ = slot.commands.send(Command::Serve(Box::new(worker), stop.clone()));
    }
    let mut result = Ok(());
    let mut workers = vec![];
    for Started { thread, served, .. } in slots {
        let ended = match served.recv() {
            Ok(Served { worker, result }) => {
                workers.push(worker);
                result
            }
            Err(_) => Err(thread.join().map_or_else(panicked, |()| panicked(Box::new(()))).into()),
        };
        result = result.and(ended);
    }
    // The end of the last worker runs the shutdown hooks, on the threads of the slots.
    let result = workers.into_iter().fold(result, |result, worker| {
        let ended = worker.end();
        result.and(ended.map_err(End::from))
    });
    result.map_err(Ended)
}

fn panicked(payload: Box<dyn Any + Send>) -> Error {
    Error::Panicked { message: Failure::from_panic(&*payload).message().to_owned() }
}

/// Starts a thread with a JavaScript runtime for each slot, and waits until all have loaded the
/// function.
fn start(settings: Settings) -> Result<(Vec<Started>, Hooks), Failure> {
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
