//! A Lambda runtime on an event loop of its own: tokio, one thread, a task and a connection for each
//! slot, async handlers. No transport crate: `Slot` says what to do next, and this file does it.
//!
//! Try it with `cargo run -p lambda-lab -- run --event '{}' target/debug/examples/tokio_driver`.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, IoSlice};
use std::process::ExitCode;
use std::time::Duration;

use lambda_proto::slot::{AfterEnd, End, Notice, Slot, Step, Storage, pause};
use lambda_proto::{Concurrency, Endpoint, ErrorReport, Machine, limits};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

/// How long to try without any connection before giving up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one attempt may take.
const MAX_ATTEMPT: Duration = Duration::from_secs(2);

/// What the function does: it gives the event back.
async fn handle(event: &[u8]) -> Result<Vec<u8>, String> {
    // In place of what a handler waits for; the other slots go on meanwhile.
    tokio::task::yield_now().await;
    Ok(event.to_vec())
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("tokio_driver: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(|error| {
        format!("AWS_LAMBDA_RUNTIME_API: {error}; it says where the service is")
    })?;
    let endpoint = Endpoint::parse(&address)?;
    let slots = std::env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok().and_then(|it| it.parse().ok());
    let slots: usize = slots.unwrap_or(1).max(1);
    let concurrency = if slots == 1 { Concurrency::Single } else { Concurrency::Multi };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (stop, is_stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for _ in 0..slots {
            tasks.spawn_local(serve(endpoint.clone(), concurrency, is_stopping.clone()));
        }
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            // When one slot ends, the others do when they have answered what they have in hand. A task
            // that cannot be joined has panicked.
            stop.send_replace(true);
            result = result.and(ended.unwrap_or_else(|panic| Err(panic.into())));
        }
        result
    })
}

/// Does what a slot asks for, until it ends.
async fn serve(
    endpoint: Endpoint,
    concurrency: Concurrency,
    mut is_stopping: watch::Receiver<bool>,
) -> Result<(), Box<dyn Error>> {
    let machine = Machine::with_concurrency(endpoint.clone(), concurrency);
    let slot = Slot::new(machine, Memory(vec![]), Memory(vec![]));
    let mut slot = slot.with_max_event(limits::MAX_PAYLOAD);
    let mut connection = None;
    let mut answer = Vec::new();
    loop {
        let step = slot.step(tell);
        if !slot.is_connected() {
            connection = None;
        }
        let may_stop = slot.may_stop();
        match (step, &connection) {
            (Step::Connect { losses }, _) => tokio::select! {
                connected = connect(&endpoint, losses) => {
                    connection = Some(connected?);
                    slot.connected();
                }
                _ = is_stopping.wait_for(|it| *it), if may_stop => slot.shut_down(),
            },
            (Step::Write | Step::Read, Some(stream)) => tokio::select! {
                // No timeout: the process may be frozen for hours while it waits for an event.
                () = exchange(&mut slot, stream, &answer, step) => {}
                _ = is_stopping.wait_for(|it| *it), if may_stop => slot.shut_down(),
            },
            (Step::Write | Step::Read, None) => slot.lost(),
            (Step::Idle, _) if *is_stopping.borrow() => slot.shut_down(),
            (Step::Idle, _) => slot.ask()?,
            (Step::InHand, _) => match handle(slot.invocation().1).await {
                Ok(bytes) => {
                    answer = bytes;
                    slot.respond(None, answer.len(), false)?;
                }
                Err(message) => slot.fail(&ErrorReport::new("Function.Error", &message), tell)?,
            },
            (Step::Answered(_), _) => answer = Vec::new(),
            (Step::End(End::Done), _) => return Ok(()),
            (Step::End(end), _) => match end.then(concurrency) {
                AfterEnd::EndAll => return Err(end.into()),
                AfterEnd::BeginAnew => {
                    eprintln!("tokio_driver: a slot begins anew: {end}");
                    slot.begin_anew();
                    sleep(Duration::from_secs(1)).await;
                }
            },
        }
    }
}

/// Writes, or reads when there is nothing to write or no room for it: a service may reply before it has
/// read everything, and read no more.
async fn exchange(slot: &mut Slot<Memory>, stream: &TcpStream, answer: &[u8], step: Step) {
    let mut interest = Interest::READABLE;
    if step == Step::Write {
        interest |= Interest::WRITABLE;
    }
    // Nothing is lost if this wait is cancelled: bytes are moved behind it, and without another.
    let Ok(ready) = stream.ready(interest).await else { return slot.lost() };
    if step == Step::Write && ready.is_writable() {
        match stream.try_write_vectored(&slot.unsent(answer).map(IoSlice::new)) {
            Ok(length) if length > 0 => slot.sent(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => slot.write_failed(),
        }
    } else if let Some(room) = slot.room() {
        match stream.try_read(room) {
            Ok(length) => slot.received(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => slot.lost(),
        }
    }
}

/// Tries until there is a connection, less and less often.
async fn connect(endpoint: &Endpoint, losses: u32) -> Result<TcpStream, String> {
    let (began, address) = (Instant::now(), endpoint.authority());
    // The first loss is an ordinary one, of a connection that went stale.
    let mut failed = losses.saturating_sub(1);
    loop {
        // The keys of a new `RandomState` are random, so that slots do not call in step.
        sleep(pause(failed, RandomState::new().hash_one(()) as u32)).await;
        let attempt = TcpStream::connect((endpoint.host(), endpoint.port()));
        let attempt = timeout(MAX_ATTEMPT, attempt).await.unwrap_or_else(|late| Err(late.into()));
        let error = match attempt.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if began.elapsed() >= PATIENCE {
            return Err(format!("no connection to {address} for {PATIENCE:?}, giving up: {error}"));
        }
        eprintln!("tokio_driver: no connection to {address}, trying again: {error}");
        failed = failed.saturating_add(1);
    }
}

fn tell(notice: &Notice<'_>) {
    eprintln!("tokio_driver: {notice}");
}

/// Memory that grows to what it has to hold, and stays.
struct Memory(Vec<u8>);

impl Storage for Memory {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn grow(&mut self, length: usize) {
        if length > self.0.len() {
            self.0.resize(length, 0);
        }
    }
}
