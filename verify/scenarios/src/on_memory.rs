//! The blocking driver of `lambda-proto` over pipes in memory.

use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto::client::{VecStorage, Warning};
use lambda_proto::driver::{Connection, Connector, Driver, DriverError, Responder, Sent};
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_HEAD, MAX_REQUEST_HEAD, MAX_XRAY_CAUSE};
use lambda_proto::machine::Machine;
use lambda_proto_host::{self as transport, Error, Failure, Log, backoff};
use lambda_proto_service::{Pipe, Place, ReadEnd, Service};

use crate::{Act, Ending, Handler, Head, Running, Seen, Settings, Streamed, Transport};

/// The blocking driver of `lambda-proto` over pipes in memory, on a thread for each slot.
pub struct Memory;

impl Transport for Memory {
    fn service(&self) -> Service {
        Service::in_memory()
    }

    fn start(&self, place: &Place, settings: Settings, handler: Handler) -> Running {
        let endpoint = Endpoint::parse(place.address()).expect("the test's address is one");
        let mut common = transport::Settings::new(endpoint);
        let lines = place.lines().clone();
        common.log = Log::to(move |line| lines.push(line.to_string()));
        common.set_slots(settings.slots.unwrap_or(1));
        common.max_event = settings.max_event.unwrap_or(common.max_event);
        let stop = Arc::new(Stop::new(common.slots));
        let slots = (0..common.slots).map(|slot| {
            let (place, settings, stop) = (place.clone(), common.clone(), stop.clone());
            driver(Slot { slot, place, settings, stop })
        });
        let slots: Vec<_> = slots.collect();
        let stopped = stop.clone();
        Running::new(
            place.lines(),
            move || stop.stop(),
            move || run(slots, settings.is_pulling, &handler, &stopped),
        )
    }
}

fn driver(host: Slot) -> Driver<Slot, VecStorage> {
    let settings = &host.settings;
    let machine = Machine::with_concurrency(settings.endpoint.clone(), settings.concurrency());
    let max_event = settings.max_event;
    let events = VecStorage::new(0, max_event.saturating_add(MAX_HEAD));
    let most = MAX_REQUEST_HEAD + MAX_XRAY_CAUSE + MAX_ERROR_BODY;
    let requests = VecStorage::new(0, most);
    Driver::new(machine, host, events, requests).with_max_event(max_event)
}

/// Runs every slot; the first slot that ends with an error stops all.
fn run(
    drivers: Vec<Driver<Slot, VecStorage>>,
    is_pulling: bool,
    handler: &Handler,
    stop: &Stop,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let run_slot = |mut driver: Driver<_, _>| {
            let ended = match is_pulling {
                false => call(&mut driver, handler),
                true => pull(&mut driver, handler),
            };
            let result = match ended {
                Err(DriverError::Connect(_)) if stop.is_stopping() => Ok(()),
                Err(DriverError::Connect(reason)) => {
                    Err(driver.connector().settings.unreachable(Duration::ZERO, reason))
                }
                Err(DriverError::Ended(end)) => Error::from_end(end).map_or(Ok(()), Err),
                Ok(()) => Ok(()),
            };
            if result.is_err() {
                stop.stop();
            }
            result
        };
        let slots: Vec<_> =
            drivers.into_iter().map(|driver| scope.spawn(move || run_slot(driver))).collect();
        let results: Vec<_> =
            slots.into_iter().map(|slot| slot.join().expect("no panic")).collect();
        results.into_iter().collect()
    })
}

type Ended = Result<(), DriverError<io::Error>>;

fn call(driver: &mut Driver<Slot, VecStorage>, handler: &Handler) -> Ended {
    driver.run(|invocation, responder| {
        let act = handler(&Seen::new(*invocation, invocation.body()));
        let sent = perform(act, responder)?;
        Ok::<_, Failure>(sent.expect("only a handler that pulls drops its responder"))
    })
}

fn pull(driver: &mut Driver<Slot, VecStorage>, handler: &Handler) -> Ended {
    while let Some((invocation, responder)) = driver.next()? {
        let act = handler(&Seen::new(*invocation, invocation.body()));
        if let Err(failure) = perform(act, responder).map(drop) {
            driver.fail_in_flight(&failure.as_error_report());
        }
    }
    Ok(())
}

/// Answers, unless the action is to drop the responder.
fn perform<'i>(
    act: Act,
    responder: Responder<'i, Slot, VecStorage>,
) -> Result<Option<Sent<'i>>, Failure> {
    Ok(Some(match act {
        Act::Send(response) => responder.send(response.for_driver()?),
        Act::SendAndNext(response) => responder.send_and_next(response.for_driver()?),
        Act::Stream(streamed) => return stream(streamed, responder),
        Act::Fail(failure) => return Err(failure),
        Act::Drop => return Ok(None),
        Act::Then(first, after) => {
            let sent = match *first {
                Act::Fail(failure) => responder.fail(&failure.as_error_report()),
                first => perform(first, responder)?.expect("the first action is an answer"),
            };
            after(sent.receipt())?;
            sent
        }
    }))
}

fn stream<'i>(
    streamed: Streamed,
    responder: Responder<'i, Slot, VecStorage>,
) -> Result<Option<Sent<'i>>, Failure> {
    let Head::Plain(content_type) = streamed.head else {
        panic!("only the transports have preludes")
    };
    let mut stream = responder.stream(content_type);
    Ok(Some(match streamed.write(|piece| Ok(stream.write(piece)?)) {
        Ending::Finish => stream.finish(),
        Ending::FinishAndNext => stream.finish_and_next(),
        Ending::Fail(failure) => stream.fail(&failure.as_error_report()),
        Ending::Return(failure) => return Err(failure),
        Ending::Drop => return Ok(None),
    }))
}

/// The host of one slot.
struct Slot {
    slot: usize,
    place: Place,
    settings: transport::Settings,
    stop: Arc<Stop>,
}

impl Connector for Slot {
    type Connection = Socket;
    type Error = io::Error;

    fn connect(&mut self, losses: u32) -> io::Result<Socket> {
        self.settings.log_losses(losses);
        self.stop.pause(backoff(losses.saturating_sub(1)));
        let pipe = self.place.dial()?;
        self.stop.connected(self.slot, pipe.read_end());
        Ok(Socket(pipe))
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        self.settings.log.warning(warning);
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    fn begin_wait(&mut self) -> bool {
        self.stop.begin_wait(self.slot)
    }

    fn end_wait(&mut self) -> bool {
        self.stop.end_wait(self.slot)
    }
}

/// Stops the slots, also while they wait for an invocation.
struct Stop {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    is_stopping: bool,
    slots: Vec<Waiter>,
}

#[derive(Clone, Default)]
struct Waiter {
    connection: Option<ReadEnd>,
    is_waiting: bool,
    is_cut: bool,
}

impl Stop {
    fn new(slots: usize) -> Self {
        let state = State { is_stopping: false, slots: vec![Waiter::default(); slots] };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn stop(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_stopping = true;
        for slot in state.slots.iter_mut().filter(|slot| slot.is_waiting) {
            slot.is_cut = true;
            slot.connection.as_ref().expect("the slot waits on its connection").end();
        }
        self.changed.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.state.lock().unwrap().is_stopping
    }

    fn pause(&self, pause: Duration) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_timeout_while(state, pause, |state| !state.is_stopping));
    }

    fn connected(&self, slot: usize, connection: ReadEnd) {
        self.state.lock().unwrap().slots[slot].connection = Some(connection);
    }

    fn begin_wait(&self, slot: usize) -> bool {
        let mut state = self.state.lock().unwrap();
        state.slots[slot].is_waiting = !state.is_stopping;
        !state.is_stopping
    }

    fn end_wait(&self, slot: usize) -> bool {
        let waiter = &mut self.state.lock().unwrap().slots[slot];
        waiter.is_waiting = false;
        !std::mem::take(&mut waiter.is_cut)
    }
}

/// A pipe, with the traits of `embedded_io`.
struct Socket(Pipe);

#[derive(Debug)]
struct SocketError(io::Error);

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SocketError {}

impl embedded_io::Error for SocketError {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}

impl embedded_io::ErrorType for Socket {
    type Error = SocketError;
}

impl embedded_io::Read for Socket {
    fn read(&mut self, room: &mut [u8]) -> Result<usize, SocketError> {
        self.0.read(room).map_err(SocketError)
    }
}

impl embedded_io::Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, SocketError> {
        self.0.write(bytes).map_err(SocketError)
    }

    fn flush(&mut self) -> Result<(), SocketError> {
        Ok(())
    }
}

impl Connection for Socket {
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, SocketError> {
        self.0.write_vectored(&parts.map(IoSlice::new)).map_err(SocketError)
    }
}
