//! Several invocations at the same time, in one task.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lambda_proto_service::Running;
use lambda_proto_tokio::{Error, Failure};
use support::{Connection, Event, Gate, Service, block_on, is_open};
use tokio::sync::Barrier;

/// Sends each connection an event that is named after its place.
fn invoke_all(connections: &mut [Connection]) {
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.send(Event::new(&format!("id-{slot}"), format!("event {slot}")).bytes());
    }
}

#[test]
fn handlers_of_one_task_run_at_the_same_time_and_each_answers_its_own_invocation() {
    let service = Service::start();
    let barrier = Barrier::new(4);
    let run = service.run_as(service.runtime().slots(4), async move |invocation, responder| {
        barrier.wait().await;
        Ok(responder.send(invocation.body()).await)
    });
    let mut connections = service.open_slots(4);
    for _ in 0..3 {
        invoke_all(&mut connections);
        for (slot, connection) in connections.iter_mut().enumerate() {
            let request = connection.request();
            request.assert_response(&format!("id-{slot}"));
            assert_eq!(request.body, format!("event {slot}").as_bytes());
            connection.take_answer();
            connection.expect_next();
        }
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn handlers_share_what_only_one_thread_may_use() {
    let service = Service::start();
    let runtime = service.runtime().slots(2);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        // Neither `Send` nor `'static`.
        let (count, text) = (Rc::new(Cell::new(0)), String::from("borrowed"));
        let seen = RefCell::new(Vec::new());
        let run = runtime.run(async |invocation, responder| {
            count.set(count.get() + 1);
            seen.borrow_mut().push(invocation.request_id().to_owned());
            Ok(responder.send(&text).await)
        });
        run.await?;
        assert_eq!(count.get(), 2);
        assert_eq!(*seen.borrow(), ["id-0", "id-1"]);
        Ok(())
    });
    let mut connections = service.open_slots(2);
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.send(Event::new(&format!("id-{slot}"), "").bytes());
        assert_eq!(connection.request().body, b"borrowed");
        connection.take_answer();
        connection.expect_next();
    }
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_slot_whose_handler_awaits_holds_up_no_other() {
    let service = Service::start();
    let may_answer = Gate::default();
    let waits = may_answer.clone();
    let run = service.run_as(service.runtime().slots(2), async move |invocation, responder| {
        if invocation.body() == b"slow" {
            is_open(&waits).await;
        }
        Ok(responder.send(invocation.body()).await)
    });
    let mut connections = service.open_slots(2);
    connections[0].send(Event::new("id-1", "slow").bytes());
    for _ in 0..100 {
        connections[1].send(Event::new("id-2", "fast").bytes());
        connections[1].request().assert_response("id-2");
        connections[1].take_answer();
        connections[1].expect_next();
    }
    may_answer.open();
    connections[0].request().assert_response("id-1");
    connections[0].take_answer();
    connections[0].expect_next();
    run.stop();
}

#[test]
fn sixty_four_slots_work_in_one_task() {
    let service = Service::start();
    let barrier = Barrier::new(64);
    let run = service.run_as(service.runtime().slots(64), async move |invocation, responder| {
        barrier.wait().await;
        Ok(responder.send(invocation.body()).await)
    });
    let mut connections = service.open_slots(64);
    invoke_all(&mut connections);
    for (slot, connection) in connections.iter_mut().enumerate() {
        connection.request().assert_response(&format!("id-{slot}"));
        connection.take_answer();
        connection.expect_next();
    }
    run.stop();
}

#[test]
fn a_panic_on_one_slot_leaves_the_others_alone_while_they_await() {
    let service = Service::start();
    let (panicked, waits) = (Gate::default(), Gate::default());
    let (panics, awaits) = (panicked.clone(), waits.clone());
    let run = service.run_as(service.runtime().slots(2), async move |invocation, responder| {
        if invocation.body() == b"panic" {
            tokio::task::yield_now().await;
            panics.open();
            panic!("told to");
        }
        is_open(&awaits).await;
        Ok(responder.send(invocation.body()).await)
    });
    let mut connections = service.open_slots(2);
    connections[1].send(Event::new("id-2", "fine").bytes());
    connections[0].send(Event::new("id-1", "panic").bytes());
    panicked.wait();
    connections[0].request().assert_error("id-1", "Function.Panic");
    connections[0].take_answer();
    connections[0].expect_next();
    waits.open();
    connections[1].request().assert_response("id-2");
    connections[1].take_answer();
    connections[1].expect_next();
    let lines = run.stop();
    assert_eq!(lines, ["invocation id-1: failed: Function.Panic: told to"]);
}

#[test]
fn panics_of_several_slots_at_the_same_time_are_each_reported_for_their_invocation() {
    let service = Service::start();
    let barrier = Barrier::new(3);
    let run = service.run_as(service.runtime().slots(3), async move |invocation, _| {
        barrier.wait().await;
        let id = invocation.request_id();
        panic!("panic of {id}");
    });
    let mut connections = service.open_slots(3);
    for _ in 0..2 {
        invoke_all(&mut connections);
        for (slot, connection) in connections.iter_mut().enumerate() {
            let request = connection.request();
            request.assert_error(&format!("id-{slot}"), "Function.Panic");
            assert_eq!(request.json()["errorMessage"], format!("panic of id-{slot}"));
            connection.take_answer();
            connection.expect_next();
        }
    }
    let mut lines = run.stop();
    lines.sort();
    let line = |slot| format!("invocation id-{slot}: failed: Function.Panic: panic of id-{slot}");
    assert_eq!(lines, [line(0), line(0), line(1), line(1), line(2), line(2)]);
}

/// A run with two slots, both of which have asked, whose handler answers when the gate opens.
fn two_slots(service: &Service, may_answer: &Gate) -> (Running<Error>, Vec<Connection>) {
    let waits = may_answer.clone();
    let run = service.run_as(service.runtime().slots(2), async move |_, responder| {
        is_open(&waits).await;
        Ok(responder.send("").await)
    });
    let connections = service.open_slots(2);
    (run, connections)
}

#[test]
fn a_slot_that_the_service_ends_ends_the_others_when_they_have_answered() {
    let (service, may_answer) = (Service::start(), Gate::default());
    let (run, mut connections) = two_slots(&service, &may_answer);
    connections[1].send(Event::new("id-1", "").bytes());
    connections[0].refuse(500, "InternalServerError", "no");
    service.lines().wait_for("slot ");
    may_answer.open();
    connections[1].request().assert_response("id-1");
    connections[1].take_answer();
    connections[1].expect_end();
    assert!(matches!(run.end(), Err(Error::Service(_))));
    let lines = service.lines().all();
    assert!(lines.iter().any(|line| line.contains(" has ended: ")), "{lines:?}");
}

#[test]
fn a_protocol_error_restarts_its_slot_and_leaves_the_other_alone() {
    let (service, may_answer) = (Service::start(), Gate::default());
    may_answer.open();
    let (run, mut connections) = two_slots(&service, &may_answer);
    connections[0].send("220 mail.example.com ESMTP\r\n");
    connections[0].expect_end();
    service.lines().wait_for("starts over: ");
    connections[1].send(Event::new("id-1", "").bytes());
    connections[1].request().assert_response("id-1");
    connections[1].take_answer();
    connections[1].expect_next();
    let mut restarted = service.connection();
    restarted.invoke(Event::new("id-2", ""));
    restarted.request().assert_response("id-2");
    restarted.take_answer();
    restarted.expect_next();
    run.stop();
}

#[test]
fn a_slot_that_starts_over_asks_for_nothing_after_a_stop() {
    let (service, may_answer) = (Service::start(), Gate::default());
    let (run, mut connections) = two_slots(&service, &may_answer);
    connections[0].send("220 mail.example.com ESMTP\r\n");
    service.lines().wait_for("starts over: ");
    run.tell_to_stop();
    connections[1].expect_end();
    run.expect_end();
    service.expect_no_connection();
}

#[test]
fn a_failure_of_init_keeps_all_slots_from_starting() {
    let service = Service::start();
    let runtime = service.runtime().slots(3);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        runtime.init(async || Err(Failure::new("Function.NoTable", "none"))).await
    });
    let mut connection = service.connection();
    connection.request().assert_init_error("Function.NoTable");
    connection.take_answer();
    assert!(matches!(run.end(), Err(Error::Init { .. })));
    service.expect_no_connection();
}

#[test]
fn runs_of_two_runtimes_share_one_task() {
    let (first, second) = (Service::start(), Service::start());
    let runtimes = [first.runtime(), second.runtime().slots(2)];
    let [one, two] = [runtimes[0].stop_handle(), runtimes[1].stop_handle()];
    let thread = std::thread::spawn(move || {
        let [left, right] = runtimes;
        block_on(async {
            tokio::join!(
                left.run(async |_, responder| Ok(responder.send("left").await)),
                right.run(async |_, responder| Ok(responder.send("right").await)),
            )
        })
    });
    for (service, body, slots) in [(&first, "left", 1), (&second, "right", 2)] {
        for connection in &mut service.open_slots(slots) {
            connection.send(Event::new("id-1", "").bytes());
            assert_eq!(connection.request().body, body.as_bytes());
            connection.take_answer();
        }
    }
    one.stop();
    two.stop();
    let (left, right) = thread.join().unwrap();
    left.unwrap();
    right.unwrap();
}
