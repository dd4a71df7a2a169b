//! A runtime and a service in lock-step, so that every round needs the same memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use lambda_proto_mio::{Endpoint, Error, Invocation, Lifecycle, Responder, Runtime, StopHandle};
use lambda_proto_service::{Connection, Event, MOMENT, PATIENCE, Running, Service};

use crate::counting::{Count, Counter};

/// Where answers are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Loop,
    /// A thread that lives as long as the runtime.
    Worker,
}

pub(crate) struct Bench {
    slots: usize,
    max_pooled: Option<usize>,
    is_one_by_one: bool,
    warm_up: Option<fn(Invocation, Responder)>,
    has_lifecycle: bool,
}

/// Rounds before the count begins; in each of them all slots have the largest event.
const WARM_UP: usize = 8;

impl Bench {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, max_pooled: None, is_one_by_one: false, warm_up: None, has_lifecycle: false }
    }

    pub(crate) fn max_pooled(mut self, bytes: usize) -> Self {
        self.max_pooled = Some(bytes);
        self
    }

    /// Serves the slots one after the other instead of all at the same time. For answers that the
    /// service has to read while they are being written.
    pub(crate) fn one_by_one(mut self) -> Self {
        self.is_one_by_one = true;
        self
    }

    /// Gives the first answers this way. For ways of answering whose need for memory varies.
    pub(crate) fn warm_up(mut self, answer: fn(Invocation, Responder)) -> Self {
        self.warm_up = Some(answer);
        self
    }

    /// With a lifecycle, and a context for each invocation.
    pub(crate) fn lifecycle(mut self) -> Self {
        self.has_lifecycle = true;
        self
    }

    /// Serves the events in turn for a number of rounds, one event per slot and round, and returns
    /// the allocations of the threads of the runtime and the worker.
    pub(crate) fn run(
        &self,
        events: &[Event],
        rounds: usize,
        place: Place,
        answer: impl Fn(Invocation, Responder) + Send + Copy + 'static,
    ) -> Count {
        let service = Service::start();
        let (counter, handled) = (Counter::new(), Arc::new(AtomicUsize::new(0)));
        let count_handled = handled.clone();
        // Answered together, so that every round has the same number of events in flight.
        let at_once = if self.is_one_by_one { 1 } else { self.slots };
        let mut held = Vec::with_capacity(at_once);
        let (warm_up, mut so_far) = (self.warm_up, 0);
        let handle = move |invocation, responder: Responder| {
            counter.enter();
            held.push((invocation, responder));
            if held.len() == at_once {
                for (invocation, responder) in held.drain(..) {
                    so_far += 1;
                    match warm_up {
                        Some(warm_up) if so_far <= WARM_UP / 2 * at_once => {
                            warm_up(invocation, responder);
                        }
                        _ => answer(invocation, responder),
                    }
                    count_handled.fetch_add(1, SeqCst);
                }
            }
        };
        let (runtime, stop) = self.runtime(&service);
        let stop = move || stop.stop();
        let has_lifecycle = self.has_lifecycle;
        let run = move || -> Result<(), Error> {
            let mut handle: Box<dyn FnMut(Invocation, Responder)> = match place {
                Place::Loop => Box::new(handle),
                Place::Worker => {
                    let worker = Worker::start(handle);
                    Box::new(move |invocation, responder| {
                        counter.enter();
                        worker.give(invocation, responder);
                    })
                }
            };
            if !has_lifecycle {
                return runtime.run(move |invocation, responder| {
                    let (responder, sent) = responder.defer();
                    handle(invocation, responder);
                    Ok(sent)
                });
            }
            let lifecycle = Lifecycle::new().signals(false);
            runtime.lifecycle(lifecycle).run(move |invocation, responder, context| {
                std::hint::black_box(context.cancellation().is_cancelled());
                let (responder, sent) = responder.defer();
                handle(invocation, responder);
                Ok(sent)
            })
        };
        let run = Running::new(service.lines(), stop, run);
        let mut driver = Driver { connections: service.open_slots(self.slots), handled, given: 0 };
        let largest = events.iter().max_by_key(|event| event.bytes().len()).expect("an event");
        for round in 0..WARM_UP + rounds {
            if round == WARM_UP {
                self.settle();
                counter.start();
            }
            let event = |slot| match round.checked_sub(WARM_UP) {
                None => largest,
                Some(round) => &events[(round + slot) % events.len()],
            };
            if self.is_one_by_one {
                (0..self.slots).for_each(|slot| driver.invoke_one(slot, event(slot)));
            } else {
                driver.invoke_all(event);
            }
        }
        self.settle();
        let count = counter.stop();
        run.stop();
        count
    }

    fn runtime(&self, service: &Service) -> (Runtime, StopHandle) {
        let endpoint = Endpoint::parse(&service.address()).expect("it is an address");
        // The program's log function is not counted; the runtime's calls of it are.
        let mut runtime = Runtime::new(endpoint).slots(self.slots).log(|_| {});
        if let Some(bytes) = self.max_pooled {
            runtime = runtime.max_pooled(bytes);
        }
        let stop = runtime.stop_handle();
        (runtime, stop)
    }

    /// Waits for memory that is freed only after the last byte that the service sees.
    fn settle(&self) {
        if self.max_pooled.is_some() {
            thread::sleep(MOMENT);
        }
    }
}

/// Plays the service.
struct Driver {
    /// The connections, each with its `next` open.
    connections: Vec<Connection>,
    /// How many invocations have been answered and their events dropped.
    handled: Arc<AtomicUsize>,
    given: usize,
}

impl Driver {
    /// Puts an invocation in flight in every slot at the same time.
    fn invoke_all<'e>(&mut self, event: impl Fn(usize) -> &'e Event) {
        for (slot, connection) in self.connections.iter_mut().enumerate() {
            connection.send(event(slot).bytes());
        }
        self.given += self.connections.len();
        self.wait_until_handled();
        for connection in &mut self.connections {
            connection.request();
        }
        for connection in &mut self.connections {
            connection.take_answer();
            connection.expect_next();
        }
    }

    fn invoke_one(&mut self, slot: usize, event: &Event) {
        self.given += 1;
        self.connections[slot].send(event.bytes());
        self.connections[slot].request();
        self.wait_until_handled();
        self.connections[slot].take_answer();
        self.connections[slot].expect_next();
    }

    fn wait_until_handled(&self) {
        let began = Instant::now();
        while self.handled.load(SeqCst) < self.given {
            assert!(began.elapsed() < PATIENCE, "the answers do not come");
            thread::yield_now();
        }
    }
}

/// A thread that answers, until it is dropped. Its queue allocates nothing once it is warm.
struct Worker(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    has_grown: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<(Invocation, Responder)>,
    is_over: bool,
}

impl Worker {
    fn start(mut handle: impl FnMut(Invocation, Responder) + Send + 'static) -> Self {
        let queue = Arc::new(Queue::default());
        // How many invocations wait for the worker depends on timing.
        queue.state.lock().unwrap().work.reserve(64);
        let worker = Self(queue.clone());
        thread::spawn(move || {
            while let Some((invocation, responder)) = queue.take() {
                handle(invocation, responder);
            }
        });
        worker
    }

    fn give(&self, invocation: Invocation, responder: Responder) {
        self.0.state.lock().unwrap().work.push_back((invocation, responder));
        self.0.has_grown.notify_one();
    }
}

impl Queue {
    fn take(&self) -> Option<(Invocation, Responder)> {
        let is_empty = |state: &mut State| state.work.is_empty() && !state.is_over;
        self.has_grown.wait_while(self.state.lock().unwrap(), is_empty).unwrap().work.pop_front()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().is_over = true;
        self.0.has_grown.notify_one();
    }
}
