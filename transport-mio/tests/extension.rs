//! An extension: registration, events, failures, lost connections.

#[path = "support/transport.rs"]
#[allow(unused_imports, dead_code, reason = "only a part of it is needed")]
mod transport;

use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lambda_proto_mio::extension::{
    EnvironmentEvent, Error, Event, Extension, Function, Registered,
};
use lambda_proto_mio::{self as runtime, Endpoint, Failure, Runtime};
use lambda_proto_service::{Connection, PATIENCE, Place, Request, Service};
use mio::{Events, Poll, Token};

/// Runs an extension without telemetry in a loop of its own.
fn run(
    extension: Extension,
    mut handler: impl FnMut(EnvironmentEvent<'_>) -> Result<(), Failure>,
) -> Result<(), Error> {
    transport::run_loop(extension, |event| match event {
        Event::Environment(event) => handler(event),
        other => unreachable!("{other:?}"),
    })
}

fn register(extension: Extension) -> Result<Registered, Error> {
    extension.register(Poll::new().unwrap().registry(), Token(0))
}

const REGISTER: &str = "/2020-01-01/extension/register";
const INIT_ERROR: &str = "/2020-01-01/extension/init/error";
const EXIT_ERROR: &str = "/2020-01-01/extension/exit/error";
const INVOKE: &str =
    r#"{"eventType":"INVOKE","deadlineMs":7,"requestId":"id-1","invokedFunctionArn":"arn"}"#;
const SHUTDOWN: &str = r#"{"eventType":"SHUTDOWN","deadlineMs":7,"shutdownReason":"spindown"}"#;

fn endpoint(service: &Service) -> Endpoint {
    Endpoint::parse(&service.address()).unwrap()
}

fn external(service: &Service) -> Extension {
    Extension::new(endpoint(service), "audit")
}

/// An extension that runs on a thread of its own and tells what its handler sees.
struct Run {
    seen: Receiver<String>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Run {
    fn start(extension: Extension) -> Self {
        Self::with(extension, |_| Ok(()))
    }

    fn with(
        extension: Extension,
        result: impl Fn(&str) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        let (tell, seen) = channel();
        let thread = thread::spawn(move || {
            run(extension, |event| {
                let text = match event {
                    EnvironmentEvent::Invoke(invoke) => format!("INVOKE {}", invoke.request_id),
                    EnvironmentEvent::Shutdown(shutdown) => format!("SHUTDOWN {}", shutdown.reason),
                    EnvironmentEvent::Other { event_type, .. } => event_type.to_string(),
                    _ => unreachable!("there are no other kinds"),
                };
                let result = result(&text);
                let _the_test_may_have_ended = tell.send(text);
                result
            })
        });
        Self { seen, thread }
    }

    #[track_caller]
    fn expect(&self, event: &str) {
        assert_eq!(self.seen.recv_timeout(PATIENCE).expect("an event"), event);
    }

    fn end(self) -> Result<(), Error> {
        self.thread.join().expect("it does not panic")
    }
}

/// Takes the registration; returns it with the connection.
fn registers(service: &Service) -> (Request, Connection) {
    let mut connection = service.connection();
    let request = connection.request();
    assert_eq!((&*request.method, &*request.path), ("POST", REGISTER));
    connection.answer(
        200,
        "Lambda-Extension-Identifier: c7d2\r\n",
        r#"{"functionName":"f","functionVersion":"3","handler":"h","accountId":"012345678912"}"#,
    );
    (request, connection)
}

fn give(connection: &mut Connection, event: &str) {
    connection.expect_extension_next();
    connection.answer(200, "Lambda-Extension-Event-Identifier: e824\r\n", event);
}

#[test]
fn it_handles_every_event_on_one_connection_until_the_shutdown() {
    let service = Service::start();
    let run = Run::start(external(&service));
    let (request, mut connection) = registers(&service);
    assert_eq!(request.header("Lambda-Extension-Name"), Some("audit"));
    assert_eq!(request.body, br#"{"events":["INVOKE","SHUTDOWN"]}"#);
    for (document, text) in [
        (INVOKE, "INVOKE id-1"),
        (r#"{"eventType":"RESUME"}"#, "RESUME"),
        (INVOKE, "INVOKE id-1"),
        (SHUTDOWN, "SHUTDOWN spindown"),
    ] {
        give(&mut connection, document);
        run.expect(text);
    }
    // It does not ask again.
    connection.expect_end();
    run.end().unwrap();
}

#[test]
fn each_kind_of_extension_registers_for_its_events() {
    let service = Service::start();
    let internal = || Extension::internal(endpoint(&service), "audit");
    for (extension, events) in [
        (external(&service), &br#"{"events":["INVOKE","SHUTDOWN"]}"#[..]),
        (external(&service).without_invocations(), br#"{"events":["SHUTDOWN"]}"#),
        (external(&service).on_managed_instances(), br#"{"events":["SHUTDOWN"]}"#),
        (internal(), br#"{"events":["INVOKE"]}"#),
        (internal().without_invocations(), br#"{"events":[]}"#),
        (internal().on_managed_instances(), br#"{"events":[]}"#),
    ] {
        let registers_it = thread::spawn(move || register(extension).map(drop));
        let (request, _connection) = registers(&service);
        assert_eq!(request.body, events);
        registers_it.join().unwrap().unwrap();
    }
}

#[test]
fn a_registered_extension_knows_its_function() {
    let service = Service::start();
    let extension = external(&service);
    let registering = thread::spawn(move || register(extension).map(|it| it.function().clone()));
    let (request, _connection) = registers(&service);
    assert_eq!(request.header("Lambda-Extension-Accept-Feature"), Some("accountId"));
    let registered = registering.join().unwrap().unwrap();
    let [name, version, handler, account_id] = ["f", "3", "h", "012345678912"].map(str::to_owned);
    assert_eq!(registered, Function { name, version, handler, account_id });
}

#[test]
fn a_failing_handler_is_reported_and_ends_the_extension() {
    let service = Service::start();
    let run = Run::with(external(&service), |_| Err(Failure::new("Extension.Full", "no space")));
    let (_, mut connection) = registers(&service);
    give(&mut connection, INVOKE);
    let report = connection.request();
    assert_eq!((&*report.method, &*report.path), ("POST", EXIT_ERROR));
    assert_eq!(report.header("Lambda-Extension-Function-Error-Type"), Some("Extension.Full"));
    assert_eq!(report.header("Lambda-Extension-Identifier"), Some("c7d2"));
    assert_eq!(report.json()["errorMessage"], "no space");
    connection.take_answer();
    let error = run.end().unwrap_err();
    assert_eq!(error.to_string(), "the extension failed: Extension.Full: no space");
    service.expect_no_connection();
}

#[test]
fn a_panicking_handler_is_reported_and_ends_the_extension() {
    let service = Service::start();
    let run = Run::with(external(&service), |_| panic!("told to"));
    let (_, mut connection) = registers(&service);
    give(&mut connection, SHUTDOWN);
    let report = connection.request();
    assert_eq!(&*report.path, EXIT_ERROR);
    assert_eq!(report.json()["errorMessage"], "told to");
    connection.take_answer();
    assert!(matches!(run.end(), Err(Error::Failed(_))));
}

#[test]
fn an_extension_that_cannot_start_reports_it() {
    let service = Service::start();
    let extension = external(&service);
    let run = thread::spawn(move || {
        let registered = register(extension)?;
        Ok::<_, Error>(registered.fail_init(Failure::new("Extension.NoDisk", "there is no disk")))
    });
    let (_, mut connection) = registers(&service);
    let report = connection.request();
    assert_eq!((&*report.method, &*report.path), ("POST", INIT_ERROR));
    assert_eq!(report.header("Lambda-Extension-Function-Error-Type"), Some("Extension.NoDisk"));
    connection.take_answer();
    assert!(matches!(run.join().unwrap(), Ok(Error::Failed(_))));
}

#[test]
fn a_failure_that_cannot_be_reported_is_returned_all_the_same() {
    let service = Service::start();
    let run = Run::with(external(&service), |_| Err("broken")?);
    let (_, mut connection) = registers(&service);
    give(&mut connection, INVOKE);
    connection.request();
    drop(connection);
    assert!(run.end().unwrap_err().to_string().ends_with("broken"));
}

#[test]
fn a_refused_registration_ends_the_extension_and_says_why() {
    let service = Service::start();
    let run = Run::start(external(&service));
    let mut connection = service.connection();
    connection.request();
    connection.refuse(403, "Extension.TooManyExtensions", "Extension limit (10) reached");
    let error = run.end().unwrap_err();
    assert_eq!(
        error.to_string(),
        "extension/register was answered with 403 (Extension.TooManyExtensions: Extension limit (10) \
         reached); the program or its deployment must change"
    );
    service.expect_no_connection();
}

#[test]
fn a_service_that_does_not_answer_a_registration_is_not_waited_for_longer_than_5_s() {
    let service = Service::start();
    let begun = Instant::now();
    let run = Run::start(external(&service));
    let mut connection = service.connection();
    connection.request();
    let error = run.end().unwrap_err();
    assert!(matches!(error, Error::Registration { .. }), "{error}");
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    connection.expect_end();
}

#[test]
fn a_service_that_is_not_there_fails_the_registration() {
    let place = Place::deserted();
    let extension = Extension::new(Endpoint::parse(place.address()).unwrap(), "audit");
    let error = run(extension, |_| Ok(())).unwrap_err();
    let start = format!("the extension could not register at {}: ", place.address());
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[test]
fn a_name_that_cannot_be_sent_is_refused_before_connecting() {
    let service = Service::start();
    let error = run(Extension::new(endpoint(&service), "a\r\nb"), |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Name(_)), "{error}");
    service.expect_no_connection();
}

#[test]
fn it_asks_again_if_its_connection_is_lost() {
    let service = Service::start();
    let run = Run::start(external(&service));
    let (_, mut connection) = registers(&service);
    give(&mut connection, INVOKE);
    run.expect("INVOKE id-1");
    connection.expect_extension_next();
    for _ in 0..3 {
        drop(connection);
        connection = service.connection();
        connection.expect_extension_next();
    }
    connection.answer(200, "", SHUTDOWN);
    run.expect("SHUTDOWN spindown");
    run.end().unwrap();
}

#[test]
fn an_event_that_was_cut_off_is_not_handled() {
    let service = Service::start();
    let run = Run::start(external(&service));
    let (_, mut connection) = registers(&service);
    connection.expect_extension_next();
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"eventType\":\"INVOKE\"");
    drop(connection);
    let mut connection = service.connection();
    give(&mut connection, SHUTDOWN);
    run.expect("SHUTDOWN spindown");
    run.end().unwrap();
}

#[test]
fn it_asks_again_while_the_service_believes_in_its_lost_connection() {
    let service = Service::start();
    let run = Run::start(external(&service));
    let (_, mut connection) = registers(&service);
    for _ in 0..3 {
        connection.expect_extension_next();
        connection.refuse(403, "Extension.InvalidExtensionState", "another next is open");
    }
    give(&mut connection, SHUTDOWN);
    run.end().unwrap();
}

#[test]
fn a_refused_next_ends_the_extension() {
    let service = Service::start();
    for (status, error_type) in [(403, "Extension.UnknownExtensionIdentifier"), (500, "Oops")] {
        let run = Run::start(external(&service));
        let (_, mut connection) = registers(&service);
        connection.expect_extension_next();
        connection.refuse(status, error_type, "go");
        let error = run.end().unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().ends_with("the process must end"), "{error}");
    }
}

#[test]
fn an_event_that_is_not_json_does_not_end_the_extension() {
    let service = Service::start();
    let run = Run::start(external(&service).log(|_| {}));
    let (_, mut connection) = registers(&service);
    give(&mut connection, "not JSON");
    give(&mut connection, SHUTDOWN);
    run.expect("SHUTDOWN spindown");
    run.end().unwrap();
}

#[test]
fn without_a_connection_it_gives_up_when_its_patience_is_over() {
    let service = Service::start_on(&Place::deserted());
    let run = Run::start(external(&service).give_up_after(Duration::from_millis(300)));
    let (_, mut connection) = registers(&service);
    connection.expect_extension_next();
    drop((service, connection));
    let error = run.end().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn an_internal_extension_shares_the_loop_of_the_slots() {
    let service = Service::start();
    let (extension, runtime) =
        (Extension::internal(endpoint(&service), "after"), Runtime::new(endpoint(&service)));
    let stop = runtime.stop_handle();
    let (tell, seen) = channel();
    let thread = thread::spawn(move || {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(64);
        let mut extension = extension.register(poll.registry(), Token(1)).unwrap();
        let first = Token(extension.tokens().end);
        let mut slots = runtime.register(poll.registry(), first).unwrap();
        loop {
            while let Some(event) = slots.next_event(Instant::now()) {
                match event {
                    runtime::Event::Invocation(event, responder) => {
                        responder.send(event.body());
                    }
                    runtime::Event::Ended(result) => return result.unwrap(),
                    _ => {}
                }
            }
            let turn = extension.dispatch(Instant::now(), |event| {
                if let Event::Environment(EnvironmentEvent::Invoke(invoke)) = event {
                    tell.send(invoke.request_id.to_string()).unwrap();
                }
                Ok(())
            });
            assert!(turn.is_continue(), "{turn:?}");
            let now = Instant::now();
            let until = [slots.next_timeout(), extension.next_timeout(now)];
            let until = until.into_iter().flatten().min();
            poll.poll(&mut events, until.map(|at| at.saturating_duration_since(now))).unwrap();
            let now = Instant::now();
            for event in &events {
                assert!(extension.handle_event(event) != slots.handle_event(event, now));
            }
            slots.handle_timeout(now);
        }
    });
    let (_, mut extension) = registers(&service);
    let mut slot = service.connection();
    for id in ["id-1", "id-2"] {
        slot.invoke(lambda_proto_service::Event::new(id, "ping"));
        assert_eq!(slot.request().body, b"ping");
        slot.take_answer();
        give(&mut extension, &INVOKE.replace("id-1", id));
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), id);
    }
    extension.expect_extension_next();
    stop.stop();
    thread.join().unwrap();
}
