//! An internal extension, which gets no SHUTDOWN.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use lambda_proto_service::{Connection, Gate, PATIENCE, Service};
use lambda_proto_std::extension::{Extension, Registered};

use super::support::{Client, LONG, function, in_, options, registers, request};
use super::transport::{Endpoint, Failure};

/// An internal extension that has subscribed, its connection, and a client of its listener.
fn subscribed(
    service: &Service,
    mut handle: impl FnMut() -> Result<(), Failure> + Send + 'static,
) -> (Registered, Connection, Client) {
    let lines = service.lines().clone();
    let extension = Extension::internal(Endpoint::parse(&service.address()).unwrap(), "inside")
        .log(move |line| lines.push(line.to_string()))
        .telemetry(options(), move |_| handle());
    let registering = thread::spawn(move || extension.register().unwrap());
    let mut api = registers(service);
    let subscription = api.request().json();
    let uri = subscription["destination"]["URI"].as_str().unwrap().to_owned();
    let port: u16 = uri.rsplit(':').next().unwrap().parse().unwrap();
    api.answer(200, "", "\"OK\"");
    let client = Client::connect(([127, 0, 0, 1], port).into());
    (registering.join().unwrap(), api, client)
}

#[test]
fn a_handle_ends_its_telemetry_and_says_once_what_was_lost() {
    let service = Service::start();
    let (registered, _api, mut client) = subscribed(&service, || Err("no space")?);
    let handle = registered.end_handle();
    // It asks for its next event, and never gets one.
    thread::spawn(move || registered.run(|_| Ok(())));
    for status in [503, 503, 200] {
        assert_eq!(client.post(&[function("a")]), status);
    }
    let lines = service.lines().clone();
    let said = || lines.all().iter().filter(|line| line.contains("telemetry at the end: ")).count();
    assert_eq!(said(), 0);
    handle.end();
    handle.clone().end();
    assert_eq!(said(), 1);
    assert!(lines.all().iter().any(|line| line.contains("given up: 1;")), "{:?}", lines.all());
    assert_eq!(client.status(), 0, "its connections are closed");
}

#[test]
fn a_batch_that_is_open_at_the_end_is_in_the_summary() {
    let service = Service::start();
    let (tell, handled) = channel();
    let (registered, _api, mut client) = subscribed(&service, move || Ok(tell.send(())?));
    let request = request(&[function("a"), function("never whole")]);
    client.send(&request[..request.len() - 3]);
    // Its first record says that the batch has begun.
    handled.recv_timeout(PATIENCE).unwrap();
    registered.end_handle().end();
    let lines = service.lines().all();
    assert!(lines.iter().any(|line| line.ends_with("were not taken: 1")), "{lines:?}");
}

#[test]
fn without_telemetry_a_handle_does_nothing() {
    let service = Service::start();
    let extension = Extension::internal(Endpoint::parse(&service.address()).unwrap(), "inside");
    let registering = thread::spawn(move || extension.register().unwrap());
    let mut api = registers(&service);
    let registered = registering.join().unwrap();
    registered.end_handle().end();
    // It goes on.
    thread::spawn(move || registered.run(|_| Ok(())));
    invoke(&mut api);
    api.expect_extension_next();
    assert!(service.lines().all().is_empty());
}

/// Gives an event whose deadline no test waits for.
fn invoke(api: &mut Connection) {
    api.expect_extension_next();
    let deadline = in_(LONG);
    let event = format!(r#"{{"eventType":"INVOKE","deadlineMs":{deadline},"requestId":"id"}}"#);
    api.answer(200, "Lambda-Extension-Event-Identifier: e824\r\n", &event);
}

#[test]
fn after_its_telemetry_has_ended_an_extension_waits_for_none_and_its_handler_is_dropped() {
    for is_waiting in [true, false] {
        let service = Service::start();
        let (tell, handled) = channel();
        let gate = Gate::default();
        let opened = gate.clone();
        let (registered, mut api, mut client) = subscribed(&service, move || {
            tell.send(())?;
            opened.wait();
            Ok(())
        });
        let handle = registered.end_handle();
        let (tell_event, events) = channel();
        thread::spawn(move || registered.run(|_| Ok(tell_event.send(())?)));
        // The handler is busy with the first record of a batch.
        client.send(&request(&[function("a"), function("b")]));
        handled.recv_timeout(PATIENCE).unwrap();
        if is_waiting {
            invoke(&mut api);
            events.recv_timeout(PATIENCE).unwrap();
        }
        handle.end();
        gate.open();
        assert_eq!(handled.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        for _ in 0..2 {
            invoke(&mut api);
        }
        api.expect_extension_next();
        let lines = service.lines().all();
        assert!(!lines.iter().any(|line| line.contains("still busy")), "{lines:?}");
        drop(handle);
    }
}
