//! The execution environments, and the queue of invocations for them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::answer::{Answered, FunctionFailure, InvokeError};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::invocation::{Invocation, InvokeRequest};
use crate::log::Log;
use crate::settings::Settings;

/// Gives each event a free slot of an environment, in the order of arrival.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: Arc<Settings>,
    clock: Clock,
    runtime_api: SocketAddr,
    slots: Arc<Semaphore>,
    environments: Mutex<Environments>,
    /// Held while another environment is opened.
    opening: tokio::sync::Mutex<()>,
    /// Runs the invocations, whichever thread calls [`Pool::invoke`].
    handle: Handle,
}

/// An invocation that a runtime has answered, or failed.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub(crate) answer: Result<Answered, FunctionFailure>,
    /// Ends when the environment is free again, which may be after the answer. Returns the tail of
    /// the log, if there is one.
    pub(crate) end: JoinHandle<Option<Vec<u8>>>,
    /// Whether there will be a tail of the log.
    pub(crate) has_tail: bool,
}

#[derive(Debug, Default)]
struct Environments {
    all: Vec<Arc<Environment>>,
    /// Holds each environment once for each further invocation that it can take. The one that was
    /// used last is taken first, as the others may not be needed again.
    idle: Vec<Arc<Environment>>,
    /// How many callers wait for an environment.
    waiting: usize,
    is_stopped: bool,
}

/// A caller that waits for an environment.
struct Waiting<'p>(&'p Pool);

impl Pool {
    /// A pool with its first environment.
    ///
    /// # Errors
    ///
    /// An error, which says what to do, if the Runtime API cannot listen, or a folder cannot be
    /// created.
    pub(crate) async fn new(settings: Arc<Settings>) -> io::Result<Arc<Self>> {
        let clock = Clock::default();
        let listen = settings.runtime_api;
        let first = Environment::new(Arc::clone(&settings), clock.clone(), listen).await?;
        let runtime_api = first.address();
        let each = settings.concurrency.unwrap_or(1);
        let slots = Arc::new(Semaphore::new(settings.environments * each));
        let first = Arc::new(first);
        let prepared = Arc::clone(&first);
        tokio::spawn(async move { prepared.prepare().await });
        let all = vec![Arc::clone(&first)];
        let idle = vec![first; each];
        let environments = Environments { all, idle, waiting: 0, is_stopped: false };
        let environments = Mutex::new(environments);
        let handle = Handle::current();
        let opening = tokio::sync::Mutex::new(());
        Ok(Arc::new(Self { settings, clock, runtime_api, slots, environments, opening, handle }))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The time that callers and functions see.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn log(&self) -> &Log {
        &self.settings.log
    }

    /// The address of the first environment's Runtime API.
    pub(crate) fn runtime_api(&self) -> SocketAddr {
        self.runtime_api
    }

    /// Waits for an environment, and then for the answer, or for the beginning of a streamed one.
    ///
    /// If this future is dropped, an invocation that has an environment continues.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        request: InvokeRequest,
    ) -> Result<Invoked, InvokeError> {
        request.event.check()?;
        let waiting = Waiting::new(self);
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| InvokeError::Stopped)?;
        let environment = self.environment().await?;
        drop(waiting);
        let (caller, answer) = oneshot::channel();
        let invocation = Arc::new(Invocation::new(request, &self.settings, self.clock.clone()));
        let has_tail = invocation.has_tail;
        let pool = Arc::clone(self);
        let end = self.handle.spawn(async move {
            let tail = environment.invoke(invocation, caller).await;
            pool.lock().give_back(environment);
            drop(slot);
            tail
        });
        match answer.await {
            Ok(answer) => Ok(Invoked { answer, end, has_tail }),
            Err(_) => Err(InvokeError::Stopped),
        }
    }

    async fn environment(&self) -> Result<Arc<Environment>, InvokeError> {
        if let Some(environment) = self.idle()? {
            return Ok(environment);
        }
        // While this waits, another task may open an environment that has room.
        let _opening = self.opening.lock().await;
        if let Some(environment) = self.idle()? {
            return Ok(environment);
        }
        let mut listen = self.settings.runtime_api;
        listen.set_port(0);
        let opened = Environment::new(Arc::clone(&self.settings), self.clock.clone(), listen);
        let environment = match self.handle.spawn(opened).await {
            Ok(Ok(environment)) => Arc::new(environment),
            Ok(Err(error)) => return Err(InvokeError::Environment(error.to_string())),
            Err(_) => return Err(InvokeError::Stopped),
        };
        let mut environments = self.lock();
        if environments.is_stopped {
            return Err(InvokeError::Stopped);
        }
        environments.all.push(Arc::clone(&environment));
        let others = self.settings.concurrency.unwrap_or(1) - 1;
        environments.idle.extend(std::iter::repeat_n(Arc::clone(&environment), others));
        Ok(environment)
    }

    fn idle(&self) -> Result<Option<Arc<Environment>>, InvokeError> {
        let mut environments = self.lock();
        if environments.is_stopped {
            return Err(InvokeError::Stopped);
        }
        Ok(environments.idle.pop())
    }

    /// Ends every runtime, and returns when all have ended. Waiting callers get
    /// [`InvokeError::Stopped`]. A runtime that gets SIGTERM may still answer until it ends.
    pub(crate) fn stop(&self) {
        self.slots.close();
        let environments = {
            let mut environments = self.lock();
            environments.is_stopped = true;
            environments.all.clone()
        };
        let all = environments
            .into_iter()
            .map(|environment| self.handle.spawn(async move { environment.stop().await }));
        // Collected first, so that all environments stop at the same time.
        for stopping in all.collect::<Vec<_>>() {
            // Fails only if the task panicked, which would be a bug.
            let _ = pollster::block_on(stopping);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Environments> {
        self.environments.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Environments {
    fn give_back(&mut self, environment: Arc<Environment>) {
        self.idle.push(environment);
        self.rest();
    }

    /// Freezes the environments that no caller waits for. While a caller waits, it is not known
    /// which of them it gets, and a freeze just before an event would only delay it.
    fn rest(&self) {
        if self.waiting == 0 {
            self.idle.iter().for_each(|environment| environment.rest());
        }
    }
}

impl<'p> Waiting<'p> {
    fn new(pool: &'p Pool) -> Self {
        pool.lock().waiting += 1;
        Self(pool)
    }
}

/// It has an environment, or has given up.
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut environments = self.0.lock();
        environments.waiting -= 1;
        environments.rest();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::thread;
    use std::time::Duration;

    use lambda_proto_std::{Endpoint, Runtime};

    use super::*;
    use crate::event::Event;
    use crate::{Function, Output};

    /// The runtime is a thread of the test, which is not frozen. The clock counts the thaws.
    #[test]
    fn an_environment_is_frozen_only_if_no_event_waits_for_it() {
        const HOUR: Duration = Duration::from_secs(3600);
        let bootstrap = Function::new("/bin/sleep").argument("1000").output(Output::Discarded);
        let mut settings = bootstrap.freeze_for(HOUR).settings();
        settings.log = Log::discarded();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let pool = runtime.block_on(Pool::new(Arc::new(settings))).unwrap();
        let endpoint = Endpoint::parse(&pool.runtime_api().to_string()).unwrap();
        let invoke = |event: &str| {
            let invoked = runtime.block_on(pool.invoke(Event::from(event).into())).unwrap();
            assert!(invoked.answer.is_ok());
            invoked.end
        };
        let answered = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                // `next` fails if it comes before the process is started.
                while !pool.lock().is_stopped {
                    let _ = Runtime::new(endpoint.clone()).run(|_, responder| {
                        while answered.load(Relaxed) == 0 && pool.lock().waiting < 2 {
                            thread::yield_now();
                        }
                        answered.fetch_add(1, Relaxed);
                        Ok(responder.send("out"))
                    });
                }
            });
            let callers = [(); 3].map(|()| scope.spawn(|| invoke("in")));
            for caller in callers {
                runtime.block_on(caller.join().unwrap()).unwrap();
            }
            assert_eq!(pool.clock().ahead(), Duration::ZERO, "nothing was frozen before");
            runtime.block_on(invoke("later")).unwrap();
            assert_eq!(pool.clock().ahead(), HOUR, "it was frozen after the last of them");
            assert_eq!(answered.load(Relaxed), 4);
            pool.stop();
        });
    }
}
