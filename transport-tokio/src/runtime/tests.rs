//! What many slots in one task cost: how often they are polled, and their memory.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lambda_proto_service::{Connection, Event, Running, Service};

use super::*;

const SLOTS: usize = 64;

/// How often each slot has been polled.
struct Polls([AtomicUsize; SLOTS]);

impl Polls {
    fn now(&self) -> Vec<usize> {
        self.0.iter().map(|polls| polls.load(SeqCst)).collect()
    }

    /// The slots that were polled since then.
    fn polled_since(&self, before: &[usize]) -> usize {
        self.now().iter().zip(before).filter(|(now, before)| now != before).count()
    }
}

/// An echo with 64 slots in one task, and its connections, on each of which `next` is open.
fn start(service: &Service) -> (Running<Error>, Arc<Polls>, Vec<Connection>) {
    let endpoint = Endpoint::parse(&service.address()).expect("the service's address is one");
    let runtime = Runtime::new(endpoint).slots(SLOTS);
    let stop = runtime.stop_handle();
    let polls = Arc::new(Polls([const { AtomicUsize::new(0) }; SLOTS]));
    let counted = polls.clone();
    let run = async move || {
        let begun = AtomicUsize::new(0);
        let run = async || {
            let polls = &counted.0[begun.fetch_add(1, SeqCst)];
            let mut worker = runtime.worker();
            let mut slot = pin!(worker.run(&echo));
            poll_fn(|context| {
                polls.fetch_add(1, SeqCst);
                slot.as_mut().poll(context)
            })
            .await
        };
        runtime.run_slots(&run).await
    };
    let running = Running::new(
        service.lines(),
        move || stop.stop(),
        move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
            tokio.expect("a tokio runtime").block_on(run())
        },
    );
    (running, polls, service.open_slots(SLOTS))
}

async fn echo<'i>(
    invocation: Invocation<'i>,
    responder: Responder<'i>,
) -> Result<Sent<'i>, Failure> {
    Ok(responder.send(invocation.body()).await)
}

fn invoke(connection: &mut Connection, number: usize) {
    connection.send(Event::new(&format!("id-{number}"), b"hi").bytes());
    let answer = connection.request();
    assert_eq!(answer.body, b"hi");
    connection.take_answer();
    connection.expect_next();
}

#[test]
fn an_event_polls_the_slot_that_gets_it_and_no_other() {
    let service = Service::start();
    let (running, polls, mut connections) = start(&service);
    // While all slots connect at once, they use up the budget that tokio gives a task, and the last
    // ones are polled once more.
    for connection in &mut connections {
        invoke(connection, 0);
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let before = polls.now();
        invoke(connection, number + 1);
        assert_eq!(polls.polled_since(&before), 1, "{before:?}, then {:?}", polls.now());
    }
    running.stop();
}

#[test]
fn the_future_of_a_slot_has_room_for_one_worker() {
    let runtime = Runtime::new(Endpoint::parse("127.0.0.1:9001").expect("an address"));
    let worker = size_of_val(&runtime.worker());
    let run = async || runtime.worker().run(&echo).await;
    let slot = size_of_val(&runtime.run_slot(0, &run));
    assert!(slot < worker + worker * 3 / 4, "{slot} bytes for a worker of {worker}");
}

#[test]
fn slots_that_always_have_work_leave_turns_to_the_others() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    // Many more than the budget that tokio gives a task for one poll.
    const SLOTS: usize = 300;
    const ROUNDS: usize = 100;

    let endpoint = Endpoint::parse("127.0.0.1:9001").expect("an address");
    let runtime = Runtime::new(endpoint).slots(SLOTS);
    let rounds = Vec::from_iter((0..SLOTS).map(|_| AtomicUsize::new(0)));
    let begun = AtomicUsize::new(0);
    let fastest = AtomicUsize::new(0);
    // Each slot sends itself a byte, so the next one is there as soon as tokio looks for it.
    let run = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::Thread)?;
        let address = listener.local_addr().map_err(Error::Thread)?;
        let mut near = TcpStream::connect(address).await.map_err(Error::Thread)?;
        let (mut far, _) = listener.accept().await.map_err(Error::Thread)?;
        let rounds = &rounds[begun.fetch_add(1, SeqCst)];
        while fastest.load(SeqCst) < ROUNDS {
            near.write_all(&[0]).await.map_err(Error::Thread)?;
            far.read_exact(&mut [0]).await.map_err(Error::Thread)?;
            fastest.fetch_max(rounds.fetch_add(1, SeqCst) + 1, SeqCst);
        }
        Ok(())
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.expect("a tokio runtime").block_on(runtime.run_slots(&run)).expect("they end");
    let slowest = rounds.iter().map(|rounds| rounds.load(SeqCst)).min();
    assert!(slowest > Some(ROUNDS / 2), "{slowest:?} of {ROUNDS} rounds");
}
