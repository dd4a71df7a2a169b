//! Hooks before the first and after the last invocation of a runtime.

#[path = "support/lifecycle.rs"]
mod support;

use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use lambda_proto_host::lifecycle::Lifecycle as PlainLifecycle;
use lambda_proto_tokio::{Error, Failure, Lifecycle, Options, cancelled};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use support::{Event, Gate, Kind, PATIENCE, Request, Service};

struct Table(&'static str);

/// Runs a start that fails; returns the report, the error and the service.
fn fail_start(lifecycle: Lifecycle) -> (Request, Error, Service) {
    fail_start_on(Kind::CurrentThread, lifecycle)
}

fn fail_start_on(kind: Kind, lifecycle: Lifecycle) -> (Request, Error, Service) {
    let service = Service::of(kind);
    let run = service.run(lifecycle, async |_, responder, _| Ok(responder.send("").await));
    let mut connection = service.connection();
    let request = connection.request();
    connection.take_answer();
    let error = run.end().expect_err("the start has failed");
    // No `next` follows, on this connection or another.
    connection.expect_end();
    service.expect_no_connection();
    (request, error, service)
}

fn message(request: &Request) -> String {
    request.json()["errorMessage"].as_str().expect("a text").to_owned()
}

fn init_timeout(timeout: Duration) -> Lifecycle {
    Lifecycle::new().options(Options::new().with_init_timeout(timeout).expect("it is valid"))
}

const FOREVER: Duration = Options::MAX_TIMEOUT;

/// Connects to itself, and sends a byte there and back.
async fn use_sockets() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    let (far, _) = listener.accept().await?;
    for (from, to) in [(&near, &far), (&far, &near)] {
        from.writable().await?;
        assert_eq!(from.try_write(b"x")?, 1);
        to.readable().await?;
        assert_eq!(to.try_read(&mut [0; 2])?, 1);
    }
    Ok(())
}

#[test]
fn hooks_await_timers_sockets_and_each_other_concurrently() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let (sends, receives) = oneshot::channel();
        let moment = Duration::from_millis(200);
        let lifecycle = Lifecycle::new()
            .on_init("receiver", async move |init| {
                init.put_named("received", receives.await.expect("the other sends"));
            })
            .on_init("sockets", async |_| use_sockets().await)
            .on_init("timer", async move |_| sleep(moment).await)
            .on_init("another timer", async move |_| sleep(moment).await)
            .on_init("blocks", async move |_| std::thread::sleep(moment))
            .on_init("sender", async move |_| {
                tokio::task::yield_now().await;
                sends.send(17_u32).is_ok()
            });
        let began = Instant::now();
        let run = service.run(lifecycle, async |_, responder, context| {
            let received = context.get_named::<u32>("received").expect("a hook has put it");
            Ok(responder.send(received.to_string()).await)
        });
        let mut connection = service.connection();
        assert!(began.elapsed() >= moment, "{:?}", began.elapsed());
        connection.invoke(Event::new("id-1", ""));
        assert_eq!(connection.request().body, b"17", "{kind:?}");
        connection.take_answer();
        connection.expect_next();
        run.stop();
    }
}

/// Sends events to a task that sends them back.
type Sender = mpsc::Sender<(Vec<u8>, oneshot::Sender<Vec<u8>>)>;

#[test]
fn a_hook_may_hold_what_is_not_send_and_spawn_tasks_that_outlive_it() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let lifecycle = Lifecycle::new().on_init("echo", async |init| {
            let not_send = Rc::new(17);
            sleep(Duration::from_millis(1)).await;
            let (sender, mut events): (Sender, _) = mpsc::channel(1);
            tokio::spawn(async move {
                while let Some((event, answer)) = events.recv().await {
                    sleep(Duration::from_millis(1)).await;
                    let _the_test_has_failed = answer.send(event);
                }
            });
            init.put(sender);
            assert_eq!(*not_send, 17);
        });
        let run = service.run(lifecycle, async |invocation, responder, context| {
            let (answers, answer) = oneshot::channel();
            let task: &Sender = context.get().expect("the hook has put it");
            task.send((invocation.body().to_owned(), answers)).await?;
            Ok(responder.send(answer.await?).await)
        });
        let mut connection = service.connection();
        connection.invoke(Event::new("id-1", "hello"));
        assert_eq!(connection.request().body, b"hello", "{kind:?}");
        connection.take_answer();
        run.stop();
    }
}

#[test]
fn a_failed_hook_cancels_the_others_and_every_failure_and_panic_is_reported() {
    for kind in Kind::BOTH {
        let lifecycle = init_timeout(FOREVER)
            .on_init("table", async |init| -> Result<(), Failure> {
                cancelled(init.cancellation()).await;
                panic!("no disk")
            })
            .on_init("secret", async |_| -> Result<(), Failure> {
                sleep(Duration::from_millis(1)).await;
                Err(Failure::new("Function.NoSecret", "it is gone"))
            })
            .on_init("fine", async |_| {});
        let (request, error, service) = fail_start_on(kind, lifecycle);
        request.assert_init_error("Runtime.InitError");
        let expected = "init hook \"secret\" failed: Function.NoSecret: it is gone; \
            init hook \"table\" failed: Function.Panic: no disk";
        assert_eq!(message(&request), expected);
        assert!(matches!(error, Error::Init { .. }), "{error}");
        assert!(error.to_string().ends_with(expected), "{error}");
        service.lines().wait_for("init hook \"secret\" failed: Function.NoSecret: it is gone");
    }
}

#[test]
fn a_hook_that_aborts_after_an_await_is_reported_as_such() {
    let lifecycle = Lifecycle::new().on_init("licence", async |_| {
        sleep(Duration::from_millis(1)).await;
        false
    });
    let (request, error, _) = fail_start(lifecycle);
    request.assert_init_error("Runtime.InitAborted");
    assert_eq!(message(&request), "init hook \"licence\" aborted the start");
    assert!(matches!(error, Error::Init { .. }), "{error}");
}

#[test]
fn hooks_that_never_end_time_out_and_do_not_hold_up_the_runtime() {
    for kind in Kind::BOTH {
        let never = Gate::default();
        let blocked = never.clone();
        let lifecycle = init_timeout(Duration::from_millis(200))
            .on_init("waits", async |_| sleep(FOREVER).await)
            .on_init("blocks", async move |_| blocked.wait())
            .on_init("hangs", async |_| std::future::pending::<()>().await);
        let (request, error, _) = fail_start_on(kind, lifecycle);
        assert!(!never.is_open());
        never.open();
        request.assert_init_error("Runtime.InitTimeout");
        let expected = "init hook \"waits\" had not ended after 200ms; \
            init hook \"blocks\" had not ended after 200ms; \
            init hook \"hangs\" had not ended after 200ms";
        assert_eq!(message(&request), expected);
        assert!(matches!(error, Error::Init { .. }), "{error}");
    }
}

#[test]
fn a_cancelled_hook_ends_at_the_end_of_the_init_time_and_counts_as_unfinished() {
    let lifecycle = init_timeout(Duration::from_millis(50))
        .on_init("obedient", async |init| cancelled(init.cancellation()).await);
    let (request, ..) = fail_start(lifecycle);
    assert_eq!(message(&request), "init hook \"obedient\" had not ended after 50ms");
}

#[test]
fn shutdown_hooks_do_not_run_after_a_start_that_failed() {
    let is_shut_down = Gate::default();
    let opens = is_shut_down.clone();
    let lifecycle = Lifecycle::new().on_init("no", async |_| false).signals(false).on_shutdown(
        "end",
        async move |_| {
            opens.open();
            Ok(())
        },
    );
    fail_start(lifecycle);
    assert!(!is_shut_down.is_open());
}

#[test]
fn no_invocation_is_asked_for_before_the_last_hook_has_ended() {
    let service = Service::start();
    let (ends, may_end) = oneshot::channel::<()>();
    let lifecycle =
        Lifecycle::new().on_init("slow", async move |_| may_end.await.expect("the test sends"));
    let run = service.run(lifecycle, async |_, responder, _| Ok(responder.send("").await));
    service.expect_no_connection();
    ends.send(()).expect("the hook waits");
    service.connection().expect_next();
    run.stop();
}

#[test]
fn the_task_of_the_runtime_serves_other_tasks_while_it_starts() {
    let service = Service::start();
    let (ends, may_end) = oneshot::channel::<()>();
    let lifecycle =
        Lifecycle::new().on_init("slow", async move |_| may_end.await.expect("a task sends"));
    let runtime = service.runtime().lifecycle(lifecycle);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        // On the only thread.
        let other = async {
            use_sockets().await.expect("sockets work");
            ends.send(()).expect("the hook waits");
        };
        let run = runtime.run(async |_, responder, _| Ok(responder.send("").await));
        tokio::join!(run, other).0
    });
    service.connection().expect_next();
    run.stop();
}

#[test]
fn values_of_init_hooks_are_available_to_invocations_and_shutdown_hooks() {
    for kind in Kind::BOTH {
        let service = Service::of(kind);
        let (sender, told) = channel();
        let lifecycle = Lifecycle::new()
            .on_init("table", async |init| init.put(Table("users")))
            .on_init("number", async |init| init.put(17_u32))
            .signals(false)
            .on_shutdown("end", async move |shutdown| {
                sleep(Duration::from_millis(1)).await;
                use_sockets().await?;
                let Table(name) = shutdown.get().expect("the table");
                sender.send((*name, shutdown.get::<u32>().copied()))?;
                Ok(())
            });
        let run = service.run(lifecycle, async |_, responder, context| {
            let Table(name) = context.get().expect("the table");
            assert!(context.get::<String>().is_none());
            let number = context.get::<u32>().expect("a number");
            Ok(responder.send(format!("{name} {number}")).await)
        });
        let mut connection = service.connection();
        for id in ["id-1", "id-2"] {
            connection.invoke(Event::new(id, ""));
            assert_eq!(connection.request().body, b"users 17");
            connection.take_answer();
        }
        connection.expect_next();
        assert!(told.try_recv().is_err(), "it is not over");
        run.stop();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(("users", Some(17))));
    }
}

#[test]
fn a_runtime_that_ends_with_an_error_runs_its_shutdown_hooks_and_logs_those_that_fail() {
    let service = Service::start();
    let is_shut_down = Gate::default();
    let opens = is_shut_down.clone();
    let lifecycle = Lifecycle::new()
        .signals(false)
        .on_shutdown("fails", async |_| Err(Failure::new("Function.Flush", "no space")))
        .on_shutdown("ends", async move |_| {
            opens.open();
            Ok(())
        });
    let run = service.run(lifecycle, async |_, responder, _| Ok(responder.send("").await));
    let mut connection = service.connection();
    connection.expect_next();
    connection.refuse(500, "InternalServerError", "no");
    assert!(matches!(run.end(), Err(Error::Service(_))));
    assert!(is_shut_down.is_open());
    let lines = service.lines().all();
    let line = "shutdown hook \"fails\" failed: Function.Flush: no space";
    assert_eq!(lines.iter().filter(|other| *other == line).count(), 1, "{lines:?}");
}

#[test]
fn shutdown_hooks_are_cancelled_when_their_time_is_over() {
    let service = Service::start();
    let options = Options::new().with_stop_timeout(Duration::from_millis(200));
    let (sender, told) = channel();
    let lifecycle = Lifecycle::new()
        .options(options.expect("it is valid"))
        .signals(false)
        .on_shutdown("obedient", async move |shutdown| {
            cancelled(shutdown.cancellation()).await;
            Ok(sender.send(())?)
        });
    let run = service.run(lifecycle, async |_, responder, _| Ok(responder.send("").await));
    service.connection().expect_next();
    run.tell_to_stop();
    let error = run.error();
    assert!(error.contains("\"obedient\" had not ended when its time was over"), "{error}");
    told.recv_timeout(PATIENCE).expect("it has been cancelled");
}

#[test]
fn a_future_that_is_dropped_during_the_start_cancels_it_and_runs_the_shutdown_hooks() {
    let service = Service::start();
    let (begun, has_begun) = channel();
    let (ended, has_ended) = channel();
    let (drops, may_drop) = oneshot::channel::<()>();
    let lifecycle = init_timeout(FOREVER)
        .signals(false)
        .on_init("slow", async move |init| {
            begun.send(()).expect("the test waits");
            cancelled(init.cancellation()).await;
        })
        .on_shutdown("end", async move |_| Ok(ended.send(())?));
    let runtime = service.runtime().lifecycle(lifecycle);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let run = runtime.run(async |_, responder, _| Ok(responder.send("").await));
        tokio::select! {
            result = run => result,
            _ = may_drop => {
                // The tokio runtime continues.
                sleep(PATIENCE).await;
                Ok(())
            }
        }
    });
    has_begun.recv_timeout(PATIENCE).expect("the hook begins");
    drops.send(()).expect("the loop waits");
    has_ended.recv_timeout(PATIENCE).expect("the shutdown hooks run");
    service.lines().wait_for("the start was cancelled");
    service.expect_no_connection();
    drop(run);
}

#[test]
fn a_future_that_is_dropped_while_it_runs_runs_the_shutdown_hooks() {
    let service = Service::start();
    let is_shut_down = Gate::default();
    let opens = is_shut_down.clone();
    let lifecycle = Lifecycle::new().signals(false).on_shutdown("end", async move |_| {
        opens.open();
        Ok(())
    });
    let (drops, may_drop) = oneshot::channel::<()>();
    let runtime = service.runtime().lifecycle(lifecycle);
    let run = service.run_loop(runtime.stop_handle(), async move || {
        let run = runtime.run(async |_, responder, _| Ok(responder.send("").await));
        tokio::select! {
            result = run => result,
            _ = may_drop => Ok(()),
        }
    });
    let mut connection = service.connection();
    connection.expect_next();
    assert!(!is_shut_down.is_open());
    drops.send(()).expect("the loop waits");
    run.expect_end();
    assert!(is_shut_down.is_open());
    connection.expect_end();
}

#[test]
fn hooks_that_are_plain_functions_run_beside_async_hooks() {
    let service = Service::start();
    let plain = PlainLifecycle::new().on_init("plain", |init| init.put(Table("plain")));
    let lifecycle = Lifecycle::from(plain).on_init("async", async |init| {
        sleep(Duration::from_millis(1)).await;
        init.put(17_u32);
    });
    let run = service.run(lifecycle, async |_, responder, context| {
        let Table(name) = context.get().expect("the table");
        let number = context.get::<u32>().expect("a number");
        Ok(responder.send(format!("{name} {number}")).await)
    });
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    assert_eq!(connection.request().body, b"plain 17");
    connection.take_answer();
    run.stop();
}

#[test]
fn a_hook_before_each_invocation_sees_its_head_and_may_panic() {
    let service = Service::start();
    let (sender, seen) = channel();
    let lifecycle = Lifecycle::new().before_invocation("trace", move |invocation| {
        sender.send(invocation.request_id().to_owned()).expect("the test waits");
        assert!(invocation.request_id() != "id-2", "not this one");
    });
    let run = service.run(lifecycle, async |_, responder, _| Ok(responder.send("").await));
    let mut connection = service.connection();
    for id in ["id-1", "id-2", "id-3"] {
        connection.invoke(Event::new(id, ""));
        connection.request().assert_response(id);
        assert_eq!(seen.try_recv().as_deref(), Ok(id));
        connection.take_answer();
    }
    connection.expect_next();
    service.lines().wait_for("before-invocation hook \"trace\" failed");
    run.stop();
}

#[test]
fn the_future_of_a_runtime_does_nothing_before_it_is_polled() {
    let service = Service::start();
    let (sender, begun) = channel();
    let lifecycle =
        Lifecycle::new().on_init("hook", async move |_| sender.send(()).expect("the test waits"));
    let runtime = service.runtime().lifecycle(lifecycle);
    let run = runtime.run(async |_, responder, _| Ok(responder.send("").await));
    assert!(begun.try_recv().is_err());
    Kind::CurrentThread.block_on(async {
        let mut run = pin!(run);
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(run.as_mut().poll(&mut context), Poll::Pending));
        begun.recv_timeout(PATIENCE).expect("the hook begins");
    });
}

#[test]
fn a_lifecycle_that_handles_no_signals_registers_no_extension() {
    let service = Service::start();
    let run = service.run(Lifecycle::new(), async |_, responder, _| Ok(responder.send("").await));
    let mut connection = service.connection();
    connection.expect_next();
    service.expect_no_connection();
    run.stop();
}

#[test]
fn an_extension_that_is_refused_is_logged_and_the_runtime_continues() {
    let service = Service::start();
    let lifecycle = Lifecycle::new().signals(true);
    let run = service.run(lifecycle, async |_, responder, _| Ok(responder.send("fine").await));
    let mut extension = service.connection();
    assert_eq!(extension.request().path, "/2020-01-01/extension/register");
    extension.answer(404, "", "no such page");
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    let lines = run.stop();
    assert!(lines.iter().any(|line| line.contains("Lambda would not send SIGTERM")), "{lines:?}");
}
