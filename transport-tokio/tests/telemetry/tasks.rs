//! What only an extension in a task does.

use std::sync::mpsc::channel;
use std::thread;

use lambda_proto_service::{Event, Gate, PATIENCE, Service};
use lambda_proto_tokio::Runtime;

use crate::barrier::SHORT;
use crate::support::{
    Client, LONG, Run, function, options, registers, request, runtime_done, takes_all, text,
};
use crate::transport::{Endpoint, Extension, block_on};

#[test]
fn an_internal_extension_with_telemetry_runs_in_the_task_of_the_runtime() {
    let service = Service::start();
    let endpoint = Endpoint::parse(&service.address()).unwrap();
    let runtime = Runtime::new(endpoint.clone());
    let stop = runtime.stop_handle();
    let lines = service.lines().clone();
    let extension =
        Extension::internal(endpoint, "inside").log(move |line| lines.push(line.to_string()));
    let (tell, seen) = channel();
    let thread = thread::spawn(move || {
        block_on(async {
            let extension = extension.telemetry(options(), async |telemetry| {
                tell.send(text(&telemetry)).unwrap();
                Ok(())
            });
            let extension = runtime.init(async || Ok(extension.register().await?)).await.unwrap();
            let echo = runtime.run(async |event, responder| Ok(responder.send(event.body()).await));
            tokio::select! {
                ended = echo => ended.unwrap(),
                ended = extension.run(async |_| Ok(())) => panic!("it has ended: {ended:?}"),
            }
        });
    });
    let mut api = registers(&service);
    let document = api.request().json();
    let uri = document["destination"]["URI"].as_str().unwrap();
    let port: u16 = uri.rsplit(':').next().unwrap().parse().unwrap();
    api.answer(200, "", "\"OK\"");
    let mut runtime = service.connection();
    let mut client = Client::connect(([127, 0, 0, 1], port).into());
    for id in ["id-1", "id-2"] {
        api.expect_extension_next();
        runtime.invoke(Event::new(id, "ping"));
        assert_eq!(runtime.request().body, b"ping");
        runtime.take_answer();
        let invoke = format!(r#"{{"eventType":"INVOKE","requestId":"{id}"}}"#);
        api.answer(200, "", &invoke);
        assert_eq!(client.post(&[function(id), runtime_done(id)]), 200);
        for expected in [function(id), runtime_done(id)] {
            assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), expected);
        }
        assert!(seen.recv_timeout(PATIENCE).unwrap().starts_with("flush "));
    }
    api.expect_extension_next();
    stop.stop();
    thread.join().unwrap();
    // What is outstanding is told when the future of the extension is dropped.
    service.lines().wait_for("telemetry at the end: no platform.report of id-1, id-2; ");
}

#[test]
fn events_are_handled_while_a_delivery_is_slow() {
    let mut run = Run::start(options(), takes_all());
    let mut slow = run.client();
    let request = request(&[function("a"), function("b")]);
    let (most, rest) = request.split_at(request.len() - 5);
    slow.send(most);
    run.expect(&function("a"));
    run.invoke("id", LONG);
    assert_eq!(run.post(&[runtime_done("id")]), 200);
    run.expect_all(&[runtime_done("id"), "flush RuntimeDone".to_owned()]);
    run.api.expect_extension_next();
    slow.send(rest);
    assert_eq!(slow.status(), 200);
    run.expect(&function("b"));
}

#[test]
fn a_flush_that_does_not_end_is_dropped_before_the_deadline() {
    let gate = Gate::default();
    let closed = gate.clone();
    let handle = move |text: &str| Ok(text.starts_with("flush ").then(|| closed.clone()));
    let mut run = Run::start(options(), Box::new(handle));
    run.invoke("id", SHORT);
    run.expect("flush DeadlineNear");
    run.api.expect_extension_next();
    assert!(!gate.is_open());
    let lines = run.service.lines().clone();
    lines.wait_for("the telemetry handler did not flush in time");
    run.api.answer(200, "", r#"{"eventType":"SHUTDOWN","deadlineMs":7}"#);
    run.expect("SHUTDOWN");
    assert!(run.received().starts_with("flush "));
    run.end().unwrap();
    lines.wait_for("failed flushes: 2");
}
