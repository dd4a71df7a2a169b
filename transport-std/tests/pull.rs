//! Programs that pull their invocations, with a lifecycle around them or without a responder.
#![cfg(unix)]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::channel;

use lambda_proto_service::Running;
use lambda_proto_std::{
    ContentType, Error, Failure, HttpPrelude, InLifecycle, Lifecycle, Policy, Receipt, Runtime,
    StreamOver, Worker,
};

use lambda_proto_service::program::{Program, Signal, behaviour, say, wait_for_test};
use support::{Event, PATIENCE, Service};

struct Table;

fn lifecycle() -> Lifecycle {
    Lifecycle::new().on_init("table", |init| init.put(Table)).on_shutdown("end", |shutdown| {
        say(if shutdown.get::<Table>().is_some() { "shutdown" } else { "no table" });
        Ok(())
    })
}

/// The program of the tests below, which run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() -> Result<(), Error> {
    let Some(behaviour) = behaviour() else { return Ok(()) };
    let lifecycle = lifecycle()
        .before_snapshot("before", |_| {
            say("before the snapshot");
            Ok(())
        })
        .after_restore("after", |_| {
            say("after the restore");
            Ok(())
        });
    let worker = Runtime::from_env()?.lifecycle(lifecycle).into_worker()?;
    let mut worker = worker.expect("it is not stopped before");
    while let Some((invocation, responder, context)) = worker.next()? {
        assert!(context.get::<Table>().is_some());
        if behaviour == "answers when told" {
            say("in flight");
            wait_for_test();
        }
        responder.send(invocation.body());
    }
    say("no more");
    drop(worker);
    say("the end of main");
    Ok(())
}

fn start(behaviour: &str, service: &Service) -> (Program, support::Connection) {
    let program = Program::start(&service.address(), behaviour, &[]);
    (program, service.register_extension())
}

/// Checks that the program has printed exactly these lines, in this order.
#[track_caller]
fn assert_said(program: &Program, expected: &[&str]) {
    let lines = program.lines().all();
    let said: Vec<_> = lines.iter().filter(|line| !line.contains("lambda-proto: ")).collect();
    assert_eq!(said, expected);
}

#[test]
fn sigterm_ends_the_wait_of_a_pulling_program_and_its_hooks_run_when_the_worker_is_dropped() {
    let service = Service::start();
    let (mut program, _extension) = start("pulls", &service);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "one"));
    assert_eq!(connection.request().body, b"one");
    connection.take_answer();
    connection.expect_next();
    program.signal(Signal::TERM);
    program.expect_end();
    assert_said(&program, &["no more", "shutdown", "the end of main"]);
}

#[test]
fn sigterm_lets_a_pulling_program_answer_its_invocation_in_flight() {
    let service = Service::start();
    let (mut program, _extension) = start("answers when told", &service);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "one"));
    program.lines().wait_for("in flight");
    program.signal(Signal::TERM);
    program.lines().wait_for("SIGTERM");
    program.go_on();
    connection.request().assert_response("id-1");
    connection.take_answer();
    program.expect_end();
    assert_said(&program, &["in flight", "no more", "shutdown", "the end of main"]);
}

#[test]
fn a_pulling_program_is_snapshotted_and_restored_on_its_worker() {
    let service = Service::start();
    let variables = [("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
    let mut program = Program::start(&service.address(), "pulls", &variables);
    let _extension = service.register_extension();
    let mut connection = service.connection();
    let request = connection.request();
    assert_eq!(request.path, "/2018-06-01/runtime/restore/next");
    program.lines().wait_for("before the snapshot");
    connection.answer(200, "", "");
    let mut extension = service.connection();
    assert_eq!(extension.request().path, "/2020-01-01/extension/event/next");
    let mut connection = service.connection();
    connection.expect_next();
    program.lines().wait_for("after the restore");
    program.signal(Signal::TERM);
    program.expect_end();
}

/// Runs a loop around a worker with a lifecycle.
fn pull(
    service: &Service,
    lifecycle: Lifecycle,
    run: impl FnOnce(Worker<InLifecycle>) -> Result<(), Error> + Send + 'static,
) -> Running<Error> {
    let runtime = service.runtime().lifecycle(lifecycle.signals(false));
    let stop = runtime.stop_handle();
    service.run_loop(stop, move || match runtime.into_worker()? {
        Some(worker) => run(worker),
        None => Ok(()),
    })
}

#[test]
fn a_pulling_program_waits_for_the_work_after_an_answer_before_it_asks() {
    let service = Service::start();
    let (sender, tasks) = channel();
    let run = pull(&service, Lifecycle::new(), move |mut worker| {
        while let Some((invocation, responder, context)) = worker.next()? {
            sender.send(context.begin_work(&invocation, "the books")).expect("the test holds it");
            responder.send("");
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    let task = tasks.recv_timeout(PATIENCE).unwrap();
    connection.expect_silence();
    drop(task);
    connection.expect_next();
    run.stop();
}

#[test]
fn remaining_work_ends_a_pulling_program_if_the_policy_says_so() {
    let service = Service::start();
    let run = pull(&service, Lifecycle::new().work(Policy::Strict), |mut worker| {
        while let Some((invocation, responder, context)) = worker.next()? {
            std::mem::forget(context.begin_work(&invocation, "the books"));
            responder.send("");
        }
        Ok(())
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    let error = run.end().unwrap_err();
    assert!(matches!(error, Error::LeftBehind(_)), "{error}");
}

#[test]
fn a_failed_init_hook_is_reported_and_no_worker_is_returned() {
    let service = Service::start();
    let lifecycle = Lifecycle::new()
        .on_init("table", |_| Err::<(), _>(Failure::new("Function.NoTable", "none")));
    let run = pull(&service, lifecycle, |_| panic!("there is a worker"));
    let mut connection = service.connection();
    let request = connection.request();
    assert_eq!(request.path, "/2018-06-01/runtime/init/error");
    connection.take_answer();
    assert!(matches!(run.end(), Err(Error::Init { .. })));
}

#[test]
fn workers_of_several_slots_share_one_lifecycle_which_ends_with_the_last() {
    let service = Service::start();
    let (sender, ended) = channel();
    let lifecycle = Lifecycle::new().signals(false).on_shutdown("end", move |_| {
        sender.send(()).expect("the test listens");
        Ok(())
    });
    let runtime = service.runtime().slots(2).lifecycle(lifecycle);
    let mut workers = runtime.into_workers().unwrap();
    assert_eq!(workers.len(), 2);
    drop(workers.pop());
    assert!(ended.try_recv().is_err());
    drop(workers.pop());
    ended.try_recv().unwrap();
}

#[test]
fn the_end_of_the_last_worker_returns_the_result_of_the_shutdown_hooks() {
    let service = Service::start();
    let lifecycle = Lifecycle::new()
        .signals(false)
        .on_shutdown("flush", |_| Err(Failure::new("Function.Flush", "no space")));
    let mut workers = service.runtime().slots(2).lifecycle(lifecycle).into_workers().unwrap();
    workers.pop().unwrap().end().unwrap();
    let error = workers.pop().unwrap().end().unwrap_err();
    assert!(matches!(error, Error::Shutdown { .. }));
    assert_eq!(error.to_string(), "shutdown hook \"flush\" failed: Function.Flush: no space");
}

/// A worker that the functions of an interpreter share.
#[derive(Clone)]
struct Lambda(Rc<RefCell<Worker<InLifecycle>>>);

impl Lambda {
    fn next(&self) -> Result<Option<String>, Error> {
        let mut worker = self.0.borrow_mut();
        Ok(worker.next()?.map(|(invocation, ..)| invocation.request_id().to_owned()))
    }
}

/// Calls the functions that an interpreter would keep, once for each invocation, until the end.
fn script(
    service: &Service,
    script: impl Fn(&mut Worker<InLifecycle>) + Send + 'static,
) -> Running<Error> {
    pull(service, Lifecycle::new(), move |worker| {
        let lambda = Lambda(Rc::new(RefCell::new(worker)));
        let on = lambda.clone();
        let script: Box<dyn Fn()> = Box::new(move || script(&mut on.0.borrow_mut()));
        while lambda.next()?.is_some() {
            script();
        }
        Ok(())
    })
}

#[test]
fn a_worker_streams_without_a_responder() {
    let service = Service::start();
    let run = script(&service, |worker| {
        assert_eq!(worker.write(b"too early"), Err(StreamOver));
        assert!(worker.finish().is_none());
        assert!(worker.stream(ContentType::TEXT));
        assert!(!worker.stream(ContentType::TEXT), "it has begun");
        assert!(worker.send("instead").is_none());
        assert_eq!(worker.write(b"one"), Ok(()));
        assert_eq!(worker.write(b"two"), Ok(()));
        let receipt = worker.finish().expect("there is a stream");
        assert!(matches!(receipt, Receipt::Known(outcome) if outcome.is_accepted()));
        assert!(worker.finish().is_none());
        assert_eq!(worker.write(b"too late"), Err(StreamOver));
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        let request = connection.request();
        request.assert_response(id);
        assert_eq!(request.chunks, [b"one", b"two"]);
        connection.take_answer();
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_stream_of_a_worker_ends_with_its_failure() {
    let service = Service::start();
    let run = script(&service, |worker| {
        assert!(worker.stream(ContentType::TEXT));
        assert_eq!(worker.write(b"half"), Ok(()));
        worker.fail(Failure::new("Function.Half", "no more"));
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    let request = connection.request();
    assert_eq!(request.chunks, [b"half"]);
    assert_eq!(request.trailer("Lambda-Runtime-Function-Error-Type"), Some("Function.Half"));
    connection.take_answer();
    connection.expect_next();
    run.stop();
}

#[test]
fn when_the_service_closes_the_connection_a_stream_is_over_and_the_worker_continues() {
    let service = Service::start();
    let run = script(&service, |worker| {
        assert!(worker.stream(ContentType::TEXT));
        while worker.write(&[b'x'; 100_000]).is_ok() {}
        assert_eq!(worker.write(b"x"), Err(StreamOver));
        assert!(worker.finish().is_none());
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.head().assert_response("id-1");
    connection.close();
    service.connection().expect_next();
    run.stop();
}

#[test]
fn the_invocation_and_its_responder_are_available_again_until_it_is_answered() {
    let service = Service::start();
    let run = script(&service, |worker| {
        assert_eq!(worker.invocation().expect("it is in flight").body(), b"event");
        let prelude = HttpPrelude::new(418, &[], &[]).expect("a status");
        let responder = worker.responder().expect("it is not answered");
        responder.stream_http(&prelude).finish();
        assert!(worker.responder().is_none());
        assert!(worker.invocation().is_none());
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", "event"));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    run.stop();
}
