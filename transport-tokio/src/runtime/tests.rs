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
