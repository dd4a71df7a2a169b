//! Services that get a context with each invocation.

#[path = "../support/lifecycle.rs"]
mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::tower::service_fn;
use lambda_proto_tokio::{Context, Error, Failure, Lifecycle};
use tokio::sync::oneshot;
use tower::ServiceBuilder;

use support::{Event, Gate, Kind, PATIENCE, Service};

/// What a service gets with a lifecycle.
type Call = (Invocation, Context);

#[test]
fn a_service_has_the_values_of_init_hooks_and_the_shutdown_hooks_run_last() {
    for kind in Kind::BOTH {
        let lambda = Service::of(kind);
        let is_shut_down = Gate::default();
        let shuts_down = is_shut_down.clone();
        let lifecycle = Lifecycle::new()
            .signals(false)
            .on_init("number", async |init| init.put(17_u32))
            .on_shutdown("end", async move |_| {
                shuts_down.open();
                Ok(())
            });
        let runtime = lambda.runtime().slots(2).lifecycle(lifecycle);
        let run = lambda.run_loop(runtime.stop_handle(), async move || {
            let layers = ServiceBuilder::new().timeout(Duration::from_secs(30));
            let service = service_fn(async |(invocation, context): Call| {
                let number = context.get::<u32>().ok_or("there is no number")?;
                Ok(format!("{} {number}", invocation.request_id()))
            });
            runtime.run_service(layers.service(service)).await
        });
        let mut connections = lambda.open_slots(2);
        for connection in &mut connections {
            connection.send(Event::new("id-1", "").bytes());
            assert_eq!(connection.request().body, b"id-1 17", "{kind:?}");
            connection.take_answer();
            connection.expect_next();
        }
        assert!(!is_shut_down.is_open());
        assert_eq!(run.stop(), [""; 0]);
        assert!(is_shut_down.is_open());
    }
}

#[test]
fn next_is_not_asked_for_before_the_work_of_a_service_has_ended() {
    let lambda = Service::of(Kind::MultiThread);
    let runtime = lambda.runtime().lifecycle(Lifecycle::new().signals(false));
    let (sender, works) = channel();
    let run = lambda.run_loop(runtime.stop_handle(), async move || {
        let service = service_fn(move |(invocation, context): Call| {
            let sender = sender.clone();
            async move {
                let (ends, end) = oneshot::channel::<()>();
                sender.send(ends).expect("the test waits");
                context.spawn_work(&invocation, "the books", async move {
                    end.await.expect("the test ends it");
                });
                Ok("answer")
            }
        });
        runtime.run_service(service).await
    });
    let mut connection = lambda.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        connection.request().assert_response(id);
        connection.take_answer();
        let ends = works.recv_timeout(PATIENCE).expect("work");
        connection.expect_silence();
        ends.send(()).expect("it waits");
    }
    connection.expect_next();
    assert_eq!(run.stop(), [""; 0]);
}

#[test]
fn a_failure_is_reported_and_a_failed_start_calls_no_service() {
    let lambda = Service::of(Kind::CurrentThread);
    let runtime = lambda.runtime().lifecycle(Lifecycle::new().signals(false));
    let run = lambda.run_loop(runtime.stop_handle(), async move || {
        let fail = async |_: Call| Err::<&str, _>(Failure::new("Function.Sad", "no luck"));
        runtime.run_service(service_fn(fail)).await
    });
    let mut connection = lambda.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_error("id-1", "Function.Sad");
    connection.take_answer();
    connection.expect_next();
    run.stop();

    let lambda = Service::of(Kind::CurrentThread);
    let lifecycle = Lifecycle::new().on_init("no", async |_| -> Result<(), Failure> {
        Err(Failure::new("Function.No", "not today"))
    });
    let runtime = lambda.runtime().lifecycle(lifecycle);
    let run = lambda.run_loop(runtime.stop_handle(), async move || {
        runtime.run_service(service_fn(async |_: Call| Ok("never"))).await
    });
    let mut connection = lambda.connection();
    connection.request().assert_init_error("Runtime.InitError");
    connection.take_answer();
    assert!(matches!(run.end(), Err(Error::Init { .. })));
}
