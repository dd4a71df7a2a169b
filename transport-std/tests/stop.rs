//! The handle that stops a runtime.

mod support;

use support::{Event, Gate, Service};

#[test]
fn a_panic_is_reported_even_while_the_runtime_stops() {
    let service = Service::start();
    let (has_begun, may_answer) = (Gate::default(), Gate::default());
    let (begins, waits) = (has_begun.clone(), may_answer.clone());
    let run = service.run(move |_, _| {
        begins.open();
        waits.wait();
        panic!("at the end");
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    has_begun.wait();
    run.tell_to_stop();
    may_answer.open();
    connection.request().assert_error("id-1", "Function.Panic");
    connection.take_answer();
    run.end().unwrap();
}

#[test]
fn a_runtime_that_was_stopped_before_it_ran_asks_for_nothing() {
    let service = Service::start();
    for slots in [1, 3] {
        let runtime = service.runtime().slots(slots);
        runtime.stop_handle().stop();
        let run = service.run_as(runtime, |_, responder| Ok(responder.send("")));
        run.end().unwrap();
        service.expect_no_connection();
    }
}

#[test]
fn stopping_twice_is_the_same_as_stopping_once() {
    let service = Service::start();
    let runtime = service.runtime();
    let handle = runtime.stop_handle();
    let run = service.run_as(runtime, |_, responder| Ok(responder.send("")));
    service.connection().expect_next();
    assert!(!handle.is_stopping());
    handle.stop();
    handle.stop();
    assert!(handle.is_stopping());
    run.end().unwrap();
    handle.stop();
}
