//! The lifecycle around invocations: hooks, contexts, and work after answers.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_proto_mio::{
    ContentType, Context, Error, Event, Failure, Invocation, Lifecycle, Policy, Receipt, Responder,
    Sent, Task,
};
use lambda_proto_service::{
    Connection, Event as Incoming, Gate, MOMENT, PATIENCE, Place, Running, Service,
};
use mio::Token;
use support::{Turner, runtime};

/// A value that an init hook makes.
struct Table(&'static str);

/// A lifecycle without signals: it registers no extension, and no signal ends the test process.
fn lifecycle() -> Lifecycle {
    Lifecycle::new().signals(false)
}

/// Runs a runtime with this lifecycle and a handler on its own thread.
fn run(
    place: &Place,
    slots: usize,
    lifecycle: Lifecycle,
    handler: impl FnMut(Invocation, Responder, Context) -> Result<Sent, Failure> + Send + 'static,
) -> Running<Error> {
    let runtime = runtime(place, slots).lifecycle(lifecycle);
    let stop = runtime.stop_handle();
    Running::new(place.lines(), move || stop.stop(), move || runtime.run(handler))
}

/// A loop that the test turns.
fn turner(service: &Service, slots: usize, lifecycle: Lifecycle) -> Turner {
    let runtime = runtime(service.place(), slots).lifecycle(lifecycle);
    Turner::of(|registry| runtime.register(registry, Token(0)))
}

/// Takes an invocation with its context.
#[track_caller]
fn invocation(turner: &mut Turner) -> (Invocation, Responder, Context) {
    let (mut invocation, responder) = turner.invocation();
    let context = invocation.take_context().expect("it comes with the invocation");
    (invocation, responder, context)
}

/// Turns the loop until the service has taken an answer.
#[track_caller]
fn answered(turner: &mut Turner, connection: &mut Connection) -> Receipt {
    // The answer is sent in the turn that finds it.
    assert!(turner.slots.next_event(Instant::now()).is_none());
    connection.request().assert_response("id-1");
    connection.take_answer();
    match turner.event() {
        Event::Settled { receipt, .. } => receipt,
        other => panic!("not a receipt: {other:?}"),
    }
}

/// An event whose deadline is this far away.
fn due_in(left: Duration) -> Incoming {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + left;
    Incoming::new("id-1", "").header("Lambda-Runtime-Deadline-Ms", deadline.as_millis().to_string())
}

/// A loop with an invocation that is answered, and work that is still running.
fn working(service: &Service, policy: Policy, event: Incoming) -> (Turner, Connection, Task) {
    let mut turner = turner(service, 1, lifecycle().work(policy));
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connection = service.connection();
    connection.invoke(event);
    let (invocation, responder, context) = invocation(&mut turner);
    let work = context.begin_work(&invocation, "books");
    responder.send("");
    answered(&mut turner, &mut connection);
    (turner, connection, work)
}

#[test]
fn the_context_moves_to_another_thread_with_the_responder() {
    let service = Service::start();
    let lifecycle = lifecycle().on_init("table", |init| init.put(Table("from the hook")));
    let run = run(service.place(), 1, lifecycle, |mut invocation, responder, context| {
        assert!(invocation.take_context().is_none(), "the handler has it");
        let (responder, sent) = responder.defer();
        thread::spawn(move || {
            assert!(!context.cancellation().is_cancelled());
            assert!(context.remaining().unwrap() > Duration::from_secs(50));
            let &Table(text) = context.get().unwrap();
            // The runtime may end after the answer, and warns of values that are still used.
            drop(context);
            responder.send(text);
        });
        Ok(sent)
    });
    let mut connection = service.connection();
    connection.invoke(due_in(Duration::from_secs(60)));
    assert_eq!(connection.request().body, b"from the hook");
    connection.take_answer();
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn without_a_lifecycle_there_is_no_context() {
    let service = Service::start();
    let run = support::run(service.place(), 1, |mut invocation, responder| {
        Ok(responder.send(if invocation.take_context().is_some() { "one" } else { "none" }))
    });
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    assert_eq!(connection.request().body, b"none");
    connection.take_answer();
    run.stop();
}

#[test]
fn the_init_hooks_have_run_before_an_invocation_is_asked_for() {
    let service = Service::start();
    let (begun, go_on) = (Gate::default(), Gate::default());
    let (tell, wait) = (begun.clone(), go_on.clone());
    let lifecycle = lifecycle().on_init("slow", move |_| {
        tell.open();
        wait.wait();
    });
    let run = run(service.place(), 2, lifecycle, |_, responder, _| Ok(responder.send("")));
    begun.wait();
    service.expect_no_connection();
    go_on.open();
    service.open_slots(2);
    run.stop();
}

#[test]
fn a_failed_init_hook_is_reported_and_nothing_else_is_sent() {
    let gone = || Err::<(), _>(Failure::new("Function.NoTable", "gone"));
    for is_own_loop in [false, true] {
        let service = Service::start();
        let (sender, hooks) = channel();
        let lifecycle =
            lifecycle().on_init("table", move |_| gone()).on_shutdown("never", move |_| {
                sender.send(()).unwrap();
                Ok(())
            });
        let runtime = runtime(service.place(), 3).lifecycle(lifecycle);
        let run = move || {
            if !is_own_loop {
                return runtime.run(|_, responder, _| Ok(responder.send("")));
            }
            let poll = mio::Poll::new().unwrap();
            runtime.register(poll.registry(), Token(0)).map(drop)
        };
        let run = Running::new(service.lines(), || {}, run);
        let mut connection = service.connection();
        let request = connection.request();
        request.assert_init_error("Runtime.InitError");
        assert!(request.json()["errorMessage"].as_str().unwrap().contains("table"));
        connection.take_answer();
        let error = run.error();
        assert!(error.contains("table") && error.contains("gone"), "{error}");
        service.expect_no_connection();
        assert!(hooks.try_recv().is_err(), "no shutdown hook runs after a failed start");
    }
}

#[test]
fn the_shutdown_hooks_run_after_the_last_answer() {
    let service = Service::start();
    let said = Arc::new(Mutex::new(Vec::new()));
    let (by_hook, by_handler) = (said.clone(), said.clone());
    let lifecycle = lifecycle().on_shutdown("flush", move |_| {
        by_hook.lock().unwrap().push("flushed");
        Ok(())
    });
    let stop = Arc::new(Mutex::new(None::<lambda_proto_mio::StopHandle>));
    let runtime = runtime(service.place(), 1).lifecycle(lifecycle);
    *stop.lock().unwrap() = Some(runtime.stop_handle());
    let handler = move |_: Invocation, responder: Responder, _: Context| {
        stop.lock().unwrap().as_ref().unwrap().stop();
        by_handler.lock().unwrap().push("answered");
        Ok(responder.send(""))
    };
    let run = Running::new(service.lines(), || {}, move || runtime.run(handler));
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    connection.request();
    // The runtime does not end before the outcome of the answer is known.
    connection.expect_silence();
    assert_eq!(*said.lock().unwrap(), ["answered"]);
    connection.take_answer();
    run.expect_end();
    assert_eq!(*said.lock().unwrap(), ["answered", "flushed"]);
}

#[test]
fn the_programs_own_loop_finishes_its_slots_when_they_have_ended() {
    let service = Service::start();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let lifecycle = lifecycle().on_shutdown("flush", move |shutdown| {
        assert!(shutdown.remaining() <= Duration::from_secs(2));
        counted.fetch_add(1, SeqCst);
        Ok(())
    });
    let mut turner = turner(&service, 2, lifecycle);
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connections = service.open_slots(2);
    turner.slots.stop_handle().stop();
    assert!(matches!(turner.event(), Event::Ended(Ok(()))));
    connections.iter_mut().for_each(Connection::expect_end);
    assert_eq!(count.load(SeqCst), 0, "the hooks run in `finish`");
    turner.slots.finish().unwrap();
    assert_eq!(count.load(SeqCst), 1);
}

#[test]
fn finishing_the_slots_returns_the_failures_of_the_shutdown_hooks() {
    let service = Service::start();
    let lifecycle =
        lifecycle().on_shutdown("flush", |_| Err(Failure::new("Function.Flush", "no space")));
    let error = turner(&service, 1, lifecycle).slots.finish().unwrap_err();
    assert!(matches!(error, Error::Shutdown { .. }));
    assert_eq!(error.to_string(), "shutdown hook \"flush\" failed: Function.Flush: no space");
}

#[test]
fn dropping_the_slots_runs_the_shutdown_hooks() {
    let service = Service::start();
    let (sender, hooks) = channel();
    let lifecycle = lifecycle().on_init("value", |init| init.put(17_u8));
    let lifecycle = lifecycle.on_shutdown("flush", move |shutdown| {
        sender.send(shutdown.get::<u8>().copied())?;
        Ok(())
    });
    drop(turner(&service, 1, lifecycle));
    assert_eq!(hooks.recv_timeout(PATIENCE).unwrap(), Some(17));
}

#[test]
fn finishing_slots_without_a_lifecycle_returns_immediately() {
    let service = Service::start();
    let turner = Turner::new(runtime(service.place(), 1));
    turner.slots.finish().unwrap();
}

#[test]
fn a_runtime_that_was_stopped_before_it_starts_runs_its_hooks_and_asks_for_no_invocation() {
    let service = Service::start();
    let (sender, hooks) = channel();
    let lifecycle = lifecycle().on_shutdown("flush", move |_| {
        sender.send(()).unwrap();
        Ok(())
    });
    let runtime = runtime(service.place(), 2).lifecycle(lifecycle);
    runtime.stop_handle().stop();
    Running::new(service.lines(), || {}, || runtime.run(|_, responder, _| Ok(responder.defer().1)))
        .expect_end();
    hooks.recv_timeout(PATIENCE).unwrap();
    while let Some(mut connection) = service.connection_within(Duration::ZERO) {
        connection.expect_end();
    }
}

#[test]
fn the_next_invocation_is_asked_for_when_the_work_is_over() {
    let service = Service::start();
    let (mut turner, mut connection, work) =
        working(&service, Policy::default(), due_in(Duration::from_secs(60)));
    turner.idle(MOMENT);
    connection.expect_silence();
    // The task ends on another thread, which wakes the loop.
    let ended = thread::spawn(move || drop(work));
    let began = Instant::now();
    turner.turn(PATIENCE);
    ended.join().unwrap();
    turner.until(|slots| slots.next_timeout().is_none());
    connection.expect_next();
    assert!(began.elapsed() < PATIENCE / 2, "by the waker, not by the timer");
    assert_eq!(service.lines().all(), [""; 0]);
}

#[test]
fn a_loop_that_waits_for_work_sleeps() {
    let service = Service::start();
    let (mut turner, _connection, _work) =
        working(&service, Policy::default(), Incoming::new("id-1", ""));
    // Handles the events that arrived before.
    while turner.turn(Duration::ZERO) > 0 {}
    assert_eq!(turner.turn(MOMENT), 0);
    let left = turner.slots.next_timeout().unwrap().saturating_duration_since(Instant::now());
    assert!(left > Duration::from_secs(2), "a deadline that is not known is 3 s away: {left:?}");
}

#[test]
fn work_that_does_not_end_is_awaited_until_one_reserve_before_the_deadline() {
    let service = Service::start();
    let reserve = Duration::from_secs(30);
    let left = reserve + Duration::from_millis(400);
    let began = Instant::now();
    let (mut turner, mut connection, work) =
        working(&service, Policy::Drain { reserve }, due_in(left));
    let due = turner.slots.next_timeout().expect("it does not wait forever");
    assert!(due <= began + Duration::from_millis(400));
    turner.until(|slots| slots.next_timeout().is_none());
    // A little less, since the deadline is in whole milliseconds.
    assert!(began.elapsed() >= Duration::from_millis(398), "{:?}", began.elapsed());
    connection.expect_next();
    service.lines().wait_for("still runs");
    // The runtime has waited for this task once; from now on it only blames the task.
    connection.send(Incoming::new("id-1", "").bytes());
    let (_, responder, _) = invocation(&mut turner);
    responder.send("");
    answered(&mut turner, &mut connection);
    turner.until(|slots| slots.next_timeout().is_none());
    connection.expect_next();
    drop(work);
    service.lines().wait_for("has ended");
}

#[test]
fn work_is_reported_before_the_next_invocation_is_asked_for() {
    let service = Service::start();
    let (mut turner, mut connection, _work) =
        working(&service, Policy::Report, Incoming::new("id-1", ""));
    turner.until(|slots| slots.next_timeout().is_none());
    connection.expect_next();
    assert_eq!(service.lines().all().len(), 1);
    service.lines().wait_for("books");
}

#[test]
fn remaining_work_ends_a_strict_runtime_with_an_error() {
    let service = Service::start();
    let (sender, hooks) = channel();
    let lifecycle = lifecycle().work(Policy::Strict).on_shutdown("flush", move |_| {
        sender.send(()).unwrap();
        Ok(())
    });
    let mut kept = Vec::new();
    let run = run(service.place(), 1, lifecycle, move |invocation, responder, context| {
        kept.push(context.begin_work(&invocation, "books"));
        Ok(responder.send(""))
    });
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    let error = run.error();
    assert!(error.contains("still runs"), "{error}");
    connection.expect_end();
    hooks.recv_timeout(PATIENCE).expect("the shutdown hooks run in this case, too");
}

#[test]
fn work_that_was_over_at_its_answer_costs_no_time() {
    let service = Service::start();
    let run = run(
        service.place(),
        1,
        lifecycle().work(Policy::Strict),
        |invocation, responder, context| {
            drop(context.begin_work(&invocation, "books"));
            Ok(responder.send(""))
        },
    );
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    connection.request();
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

/// Ways to ask for the next invocation together with the answer.
const PIPELINED: [fn(Responder) -> Sent; 2] = [
    |responder| responder.send_and_next("x"),
    |responder| {
        let mut stream = responder.stream(ContentType::TEXT);
        stream.try_write(b"x").unwrap();
        stream.finish_and_next()
    },
];

#[test]
fn an_answer_is_sent_without_next_while_work_is_running_and_with_it_otherwise() {
    for answer in PIPELINED {
        let service = Service::start();
        let mut turner = turner(&service, 1, lifecycle());
        turner.until(|slots| slots.next_timeout().is_none());
        let mut connection = service.connection();
        connection.invoke(Incoming::new("id-1", ""));
        let (first, responder, context) = invocation(&mut turner);
        assert!(context.idle_gap().is_none());
        let work = context.begin_work(&first, "books");
        answer(responder);
        let fate = answered(&mut turner, &mut connection);
        assert!(matches!(fate, Receipt::Known(_)), "{fate:?}");
        turner.idle(MOMENT);
        connection.expect_silence();
        drop(work);
        turner.until(|slots| slots.next_timeout().is_none());
        connection.expect_next();

        connection.send(Incoming::new("id-2", "").bytes());
        let (_, responder, context) = invocation(&mut turner);
        assert!(context.idle_gap().is_some());
        answer(responder);
        assert!(matches!(turner.event(), Event::Settled { receipt: Receipt::Pipelined, .. }));
        connection.request().assert_response("id-2");
        connection.expect_next();
        thread::sleep(Duration::from_millis(20));
        connection.take_answer();
        connection.send(Incoming::new("id-3", "").bytes());
        let (_, _reply, context) = invocation(&mut turner);
        let gap = context.idle_gap().expect("it was asked for with the answer");
        assert!(gap.length() >= Duration::from_millis(20), "{gap:?}");
    }
}

#[test]
fn with_several_slots_there_is_no_boundary_and_work_is_reported_at_the_end() {
    let service = Service::start();
    for answer in
        [(|responder| responder.send("x")) as fn(Responder) -> Sent, PIPELINED[0], PIPELINED[1]]
    {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        let lifecycle = lifecycle().work(Policy::Strict);
        let run = run(service.place(), 2, lifecycle, move |invocation, responder, context| {
            keep.lock().unwrap().push(context.begin_work(&invocation, "books"));
            Ok(answer(responder))
        });
        let mut connections = service.open_slots(2);
        connections[0].send(Incoming::new("id-1", "").bytes());
        connections[0].request().assert_response("id-1");
        connections[0].take_answer();
        connections[0].expect_next();
        run.stop();
        service.lines().wait_for("still runs at the end of the process");
    }
}

#[test]
fn a_runtime_that_waits_for_work_can_be_stopped_immediately() {
    let service = Service::start();
    let (mut turner, mut connection, work) =
        working(&service, Policy::default(), due_in(Duration::from_secs(60)));
    turner.slots.stop_handle().stop();
    assert!(matches!(turner.event(), Event::Ended(Ok(()))));
    assert_eq!(turner.slots.next_timeout(), None);
    connection.expect_end();
    turner.slots.finish().unwrap();
    service.lines().wait_for("still runs at the end of the process");
    // The task ends after its runtime, which is not reported.
    drop(work);
}

#[test]
fn a_connection_that_is_lost_while_work_is_running_is_replaced_when_the_work_is_over() {
    let service = Service::start();
    let (mut turner, connection, work) =
        working(&service, Policy::default(), Incoming::new("id-1", ""));
    connection.close();
    turner.idle(MOMENT);
    service.expect_no_connection();
    drop(work);
    turner.idle(MOMENT);
    service.connection().expect_next();
}

#[test]
fn a_held_slot_waits_for_both_the_hold_and_the_work() {
    let service = Service::start();
    let mut turner = turner(&service, 1, lifecycle());
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let (first, responder, context) = invocation(&mut turner);
    let work = context.begin_work(&first, "books");
    let hold = responder.send_and_hold("");
    answered(&mut turner, &mut connection);
    drop(hold);
    turner.idle(MOMENT);
    connection.expect_silence();
    drop(work);
    turner.until(|slots| slots.next_timeout().is_none());
    connection.expect_next();
}

#[test]
fn the_idle_gap_is_the_time_between_asking_for_next_and_the_event() {
    let service = Service::start();
    let mut turner = turner(&service, 1, lifecycle());
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connection = service.connection();
    connection.invoke(Incoming::new("id-1", ""));
    let (_, responder, context) = invocation(&mut turner);
    assert!(context.idle_gap().is_none(), "the first invocation has no idle gap");
    responder.send("");
    answered(&mut turner, &mut connection);
    turner.until(|slots| slots.next_timeout().is_none());
    connection.expect_next();
    turner.idle(MOMENT);
    connection.send(Incoming::new("id-2", "").bytes());
    let (_, _reply, context) = invocation(&mut turner);
    let gap = context.idle_gap().unwrap();
    assert!(gap.length() >= MOMENT && gap.length() < PATIENCE, "{gap:?}");
    assert_eq!(gap.thawed_after(PATIENCE), None);
}

#[test]
fn an_event_without_time_left_arrives_with_its_cancellation_due() {
    let service = Service::start();
    let mut turner = turner(&service, 1, lifecycle());
    turner.until(|slots| slots.next_timeout().is_none());
    let mut connection = service.connection();
    // Less than the buffer of 500 ms.
    connection.invoke(due_in(Duration::from_millis(100)));
    let (_, _reply, context) = invocation(&mut turner);
    assert!(context.cancellation().is_cancelled());
}
