//! A Lambda runtime on its own event loop, here tokio's: one thread, a task and a connection for
//! each client, async handlers. `Client` says what to do next, and this file does it.
//!
//! It is for programs whose loop says when a socket is ready, and that want to decide each read and
//! write themselves. Unlike the loop of `lambda_proto::async_driver`, it waits for both directions at
//! once while it sends an answer, so a reply to half of an answer counts although the service reads
//! no further. `io_uring_driver` is the same for a loop that reports completed operations. To write a
//! function on tokio, use the crate `lambda-proto-tokio`.
//!
//! Try it with `cargo run -p lambda-lab -- run --event '{}' target/debug/examples/tokio_driver`.

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, IoSlice};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use lambda_proto::api::{Concurrency, Endpoint, ErrorReport};
use lambda_proto::client::{Client, End, Exchange, Outage, Step, VecStorage, Warning, backoff};
use lambda_proto::limits;
use lambda_proto::machine::Machine;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

/// How long one attempt to connect may take.
const MAX_ATTEMPT: Duration = Duration::from_secs(2);

/// The function: it returns the event, from the memory that it arrived in.
async fn handle(event: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    // Stands for the work of a handler; the other slots run while it waits.
    tokio::task::yield_now().await;
    Ok(event.into())
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("tokio_driver: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(|error| {
        format!("AWS_LAMBDA_RUNTIME_API: {error}; set it to the address of the Runtime API")
    })?;
    let endpoint = Endpoint::parse(&address)?;
    let slots = std::env::var("AWS_LAMBDA_MAX_CONCURRENCY").unwrap_or_default();
    let slots = Concurrency::slots(&slots)
        .map_err(|error| format!("AWS_LAMBDA_MAX_CONCURRENCY is {slots:?}: {error}"))?;
    run_at(endpoint, slots)
}

/// Serves invocations, until the session is over.
pub(crate) fn run_at(endpoint: Endpoint, slots: usize) -> Result<(), Box<dyn Error>> {
    let concurrency = Concurrency::of_slots(slots);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (stop, is_stopping) = watch::channel(false);
        let reach = Rc::new(Reach { origin: Instant::now(), outage: Cell::default() });
        let mut tasks = JoinSet::new();
        for _ in 0..slots {
            let wire = Wire {
                endpoint: endpoint.clone(),
                connection: None,
                reach: reach.clone(),
                is_stopping: is_stopping.clone(),
            };
            tasks.spawn_local(serve(wire, concurrency));
        }
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            // When one client ends, each of the others ends once its invocation in flight is
            // answered. A task that cannot be joined has panicked.
            stop.send_replace(true);
            result = result.and(ended.unwrap_or_else(|panic| Err(panic.into())));
        }
        result
    })
}

/// Takes invocations and answers them, until the client ends.
async fn serve(mut wire: Wire, concurrency: Concurrency) -> Result<(), Box<dyn Error>> {
    let memory = || VecStorage::new(0, usize::MAX);
    let machine = Machine::with_concurrency(wire.endpoint.clone(), concurrency);
    let mut client = Client::new(machine, memory(), memory()).with_max_event(limits::MAX_PAYLOAD);
    loop {
        match wire.pump(&mut client.exchange(), &[]).await? {
            Step::Idle if *wire.is_stopping.borrow() => client.exchange().shut_down(),
            Step::Idle => client.ask()?,
            Step::Answer => {
                let Some((invocation, mut exchange)) = client.in_flight() else { continue };
                let answer = handle(invocation.body()).await;
                let body = match &answer {
                    Ok(body) => {
                        exchange.respond(None, body.len(), false)?;
                        &**body
                    }
                    Err(message) => {
                        exchange.fail(&ErrorReport::new("Function.Error", message), tell)?;
                        &[]
                    }
                };
                wire.pump(&mut exchange, body).await?;
            }
            Step::End(End::Done) => return Ok(()),
            Step::End(end) if end.begins_anew(concurrency) => {
                eprintln!("tokio_driver: restarting a slot in 1 s: {end}");
                client.begin_anew();
                sleep(Duration::from_secs(1)).await;
            }
            Step::End(end) => return Err(end.into()),
            Step::Settled(_) | Step::Connect { .. } | Step::Write | Step::Read => {}
        }
    }
}

/// Whether the service can be reached: how long no slot has had a connection.
struct Reach {
    origin: Instant,
    outage: Cell<Outage>,
}

impl Reach {
    /// Records an event in the outage, with the time since the origin.
    fn note(&self, what: impl FnOnce(&mut Outage, Duration)) {
        let mut outage = self.outage.get();
        what(&mut outage, self.origin.elapsed());
        self.outage.set(outage);
    }
}

/// The connection of a client, and when to stop.
struct Wire {
    endpoint: Endpoint,
    connection: Option<TcpStream>,
    reach: Rc<Reach>,
    is_stopping: watch::Receiver<bool>,
}

impl Wire {
    /// Does what a client asks for, until `serve` has to act. While stopping, shuts down a client
    /// that has nothing in flight.
    async fn pump(
        &mut self,
        exchange: &mut Exchange<'_, VecStorage>,
        body: &[u8],
    ) -> Result<Step, Box<dyn Error>> {
        loop {
            let step = exchange.step(tell);
            if !exchange.is_connected() && self.connection.take().is_some() {
                self.reach.note(Outage::lost);
            }
            let may_stop = exchange.may_stop();
            match (step, &self.connection) {
                (Step::Connect { losses }, _) => tokio::select! {
                    connected = connect(&self.endpoint, losses, &self.reach) => {
                        self.connection = Some(connected?);
                        self.reach.note(|outage, _| outage.connected());
                        exchange.connected();
                    }
                    _ = self.is_stopping.wait_for(|it| *it), if may_stop => exchange.shut_down(),
                },
                (Step::Write | Step::Read, Some(stream)) => tokio::select! {
                    // No timeout: the process may be frozen for hours while it waits for an event.
                    () = transfer(exchange, stream, body, step) => {}
                    _ = self.is_stopping.wait_for(|it| *it), if may_stop => exchange.shut_down(),
                },
                (Step::Write | Step::Read, None) => exchange.lost(),
                (step, _) => return Ok(step),
            }
        }
    }
}

/// Writes, or reads if there is nothing to write or a write would block: a service may reply before
/// it has read everything and then stop reading.
async fn transfer(
    exchange: &mut Exchange<'_, VecStorage>,
    stream: &TcpStream,
    body: &[u8],
    step: Step,
) {
    let mut interest = Interest::READABLE;
    if step == Step::Write {
        interest |= Interest::WRITABLE;
    }
    // Nothing is lost if this wait is cancelled: no bytes are transferred before it, and there is
    // no other wait.
    let Ok(ready) = stream.ready(interest).await else { return exchange.lost() };
    if step == Step::Write && ready.is_writable() {
        match stream.try_write_vectored(&exchange.unsent(body).map(IoSlice::new)) {
            Ok(length) if length > 0 => exchange.sent(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => exchange.write_failed(),
        }
    } else if let Some(room) = exchange.room() {
        match stream.try_read(room) {
            Ok(length) => exchange.received(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => exchange.lost(),
        }
    }
}

/// Tries to connect until it succeeds, with growing pauses.
async fn connect(endpoint: &Endpoint, losses: u32, reach: &Reach) -> Result<TcpStream, String> {
    let address = endpoint.authority();
    // The first loss is an ordinary one, of a connection that went stale.
    let mut failed = losses.saturating_sub(1);
    loop {
        // The keys of a new `RandomState` are random, so slots do not retry in step.
        sleep(backoff(failed, RandomState::new().hash_one(()) as u32)).await;
        let began = reach.origin.elapsed();
        let attempt = TcpStream::connect((endpoint.host(), endpoint.port()));
        let attempt = timeout(MAX_ATTEMPT, attempt).await.unwrap_or_else(|late| Err(late.into()));
        let error = match attempt.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        reach.note(|outage, _| outage.failed(began));
        // Do not give up while another slot has a connection: the service counts on this slot.
        let lasted = reach.outage.get().lasted(reach.origin.elapsed());
        if let Some(lasted) = lasted.filter(|lasted| *lasted >= limits::PATIENCE) {
            return Err(format!("no connection to {address} for {lasted:?}; giving up: {error}"));
        }
        eprintln!("tokio_driver: no connection to {address}, retrying: {error}");
        failed = failed.saturating_add(1);
    }
}

fn tell(warning: &Warning<'_>) {
    eprintln!("tokio_driver: {warning}");
}
