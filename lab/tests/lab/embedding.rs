//! The lab inside another program: settings, errors, and threads of all kinds.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lambda_lab::{Event, Function, InvokeError, MAX_PAYLOAD, Output, StartError};
use lambda_proto_std::Endpoint;

use crate::support::{external, function, wait_until};

#[test]
fn a_lab_starts_answers_and_stops_listening_when_dropped() {
    let lab = function().start().unwrap();
    assert_eq!(lab.invoke("in").unwrap().body, b"in");
    let address = lab.address();
    assert!(address.ip().is_loopback());
    let url = format!("http://{address}/2015-03-31/functions/function/invocations");
    assert_eq!(lab.url(), url);
    drop(lab);
    wait_until("it no longer listens", || TcpStream::connect(address).is_err());
}

#[test]
fn a_runtime_can_run_on_a_thread_of_the_same_program() {
    let lab = external();
    let endpoint = Endpoint::parse(&lab.runtime_api()).unwrap();
    let runtime = lambda_proto_std::Runtime::new(endpoint);
    let stop = runtime.stop_handle();
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.run(|invocation, responder| Ok(responder.send(invocation.body()))).unwrap();
        });
        for event in ["1", "2"] {
            assert_eq!(lab.invoke(event).unwrap().body, event.as_bytes());
        }
        stop.stop();
    });
}

/// The test that the first page of `lambda-proto-tokio` shows.
#[tokio::test]
async fn an_async_runtime_can_run_in_the_task_of_a_test() {
    use lambda_proto_tokio::{Failure, Invocation, Responder, Runtime, Sent};

    async fn handle<'i>(
        invocation: Invocation<'i>,
        responder: Responder<'i>,
    ) -> Result<Sent<'i>, Failure> {
        Ok(responder.send(std::str::from_utf8(invocation.body())?.to_uppercase()).await)
    }

    let lab = external();
    let runtime = Runtime::new(Endpoint::parse(&lab.runtime_api()).unwrap());
    let stop = runtime.stop_handle();
    let calls = tokio::task::spawn_blocking(move || {
        let answer = lab.invoke("hello");
        stop.stop();
        answer
    });
    runtime.run(handle).await.unwrap();
    assert_eq!(calls.await.unwrap().unwrap().text(), "HELLO");
}

#[test]
fn a_lab_can_be_used_and_dropped_on_a_thread_of_another_tokio_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let lab = function().start().unwrap();
        assert_eq!(lab.invoke("in").unwrap().body, b"in");
        assert_eq!(lab.invoke_to_the_end("in", |_| ()).unwrap().body, b"");
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Function::external().listen(address).start().unwrap_err().to_string();
    assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
    assert!(error.contains("choose another port"), "{error}");
}

#[test]
fn the_error_for_an_invalid_setting_names_its_value() {
    let function = || Function::new("/bin/true").output(Output::Discarded);
    for (function, reason) in [
        (function().timeout(Duration::ZERO), "a timeout cannot be 0ns"),
        (function().timeout(Duration::MAX), "use 1 ms to 1 day, such as 3s"),
        (function().name(""), "invalid function name \"\""),
        (function().name("a b"), "invalid function name \"a b\""),
        (function().name("n".repeat(65)), "up to 64 letters"),
        (function().memory(127), "a memory size of 127 MB is out of range"),
        (function().environments(0), "0 environments"),
        (function().environments(usize::MAX), "environments"),
        (function().concurrency(0), "0 invocations at a time"),
        (function().concurrency(10_001), "10001 invocations at a time"),
        (Function::external().environments(2), "several environments apply only to a program"),
        (function().init_timeout(Duration::ZERO), "an init timeout cannot be 0ns"),
        (function().init_timeout(Duration::MAX), "use 1 ms to 1 day, such as 10s"),
        (function().shutdown_timeout(Duration::from_secs(61)), "up to 1 minute, such as 500ms"),
        (function().restore_timeout(Duration::ZERO), "a restore timeout cannot be 0ns"),
        (function().snapshot_pause(Duration::MAX), "a pause after the snapshot"),
        (function().freeze_for(Duration::MAX), "up to 366 days, such as 10m"),
        (Function::external().freeze(), "freezing applies only to a program that the lab starts"),
        (Function::external().snapstart(), "give the program"),
        (function().concurrency(2).freeze_for(Duration::ZERO), "managed instances"),
        (
            function().concurrency(2).snapstart(),
            "SnapStart is not available with managed instances",
        ),
        (function().concurrency(2).init_timeout(Duration::MAX), "use 1 ms to 1 day, such as 10s"),
        (Function::external().init_timeout(Duration::from_secs(1)), "give the program"),
        (Function::new("/nonexistent/bootstrap"), "no program /nonexistent/bootstrap"),
        (Function::new("no-such-program"), "./no-such-program"),
        (function().variable("", "x"), "\"\""),
        (function().variable("A=B", "x"), "\"A=B\""),
        (function().variable("A", "x\0y"), "\"A\""),
        (function().variable("AWS_LAMBDA_RUNTIME_API", "x"), "the lab itself sets"),
    ] {
        let error = function.start().unwrap_err();
        assert!(matches!(error, StartError::Setting(_)), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_port_is_free_again_when_the_lab_has_ended() {
    // Below the ephemeral ports, so that no connection of another test takes it.
    let own = 20_000 + (std::process::id() % 10_000) as u16;
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    let mut addresses = (own..32_000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let address = addresses.find(is_free).unwrap();
    for _ in 0..50 {
        let mut lab = None;
        // A process that another test is starting has copies of all descriptors until its exec.
        wait_until("the port is free", || {
            let function = Function::external().listen(address).output(Output::Discarded);
            lab = function.start().ok();
            lab.is_some()
        });
        drop(TcpStream::connect(address).unwrap());
        drop(lab);
    }
}

#[test]
fn an_event_that_cannot_be_delivered_is_refused() {
    let lab = external();
    let error = lab.invoke(vec![b'x'; MAX_PAYLOAD + 1]).unwrap_err();
    assert_eq!(error, InvokeError::EventTooLarge(MAX_PAYLOAD + 1));
    assert!(error.to_string().contains("6291557 bytes"), "{error}");
    for event in [
        Event::new("{}").trace_id("a\0"),
        Event::new("{}").client_context("\u{1}"),
        Event::new("{}").cognito_identity("\u{7f}"),
        Event::new("{}").tenant_id("\u{0}"),
    ] {
        assert!(matches!(lab.invoke(event).unwrap_err(), InvokeError::InvalidEvent(_)));
    }
}
