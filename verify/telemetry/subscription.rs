//! The way to a subscription, and what follows where there is none.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use lambda_proto_extension::subscription::Buffering;
use lambda_proto_service::Service;

use crate::transport::{self, Endpoint, Error, Extension, TelemetrySchema, TelemetryTypes};

use super::support::{
    Client, LONG, Run, external, function, options, port, registers, report, request, runtime_done,
    takes_all,
};

#[test]
fn an_extension_listens_before_it_subscribes_and_subscribes_before_it_asks() {
    let service = Service::start();
    let extension = external(&service);
    let mut run = Run::begin(service, extension, options(), takes_all());
    let document = run.subscribes();
    assert_eq!(document["schemaVersion"], "2025-01-29");
    assert_eq!(document["types"], serde_json::json!(["platform", "function", "extension"]));
    assert_eq!(document["buffering"]["timeoutMs"], 25);
    // Lambda may post before the extension has read the reply.
    let mut client = Client::connect(run.listener);
    client.send(&request(&[function("early")]));
    run.api.answer(200, "", "\"OK\"");
    assert_eq!(client.status(), 200);
    run.expect(&function("early"));
    run.api.expect_extension_next();
}

#[test]
fn types_alone_are_options() {
    let service = Service::start();
    let extension = external(&service);
    let types = TelemetryTypes::FUNCTION;
    let run = thread::spawn(move || transport::run(extension, types, |_| Ok(None), |_| Ok(())));
    let mut api = registers(&service);
    assert_eq!(api.request().json()["types"], serde_json::json!(["function"]));
    api.answer(200, "", "\"OK\"");
    api.expect_extension_next();
    api.answer(200, "", r#"{"eventType":"SHUTDOWN"}"#);
    run.join().unwrap().unwrap();
}

#[test]
fn a_port_that_is_taken_is_reported_as_a_failed_init() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (port, reason) in [(port, "cannot listen for telemetry at 127.0.0.1:"), (9001, "")] {
        let service = Service::start();
        let extension = external(&service);
        let run = thread::spawn(move || {
            transport::run(extension, options().port(port), |_| Ok(None), |_| Ok(()))
        });
        let mut api = registers(&service);
        let report = api.request();
        assert_eq!(&*report.path, "/2020-01-01/extension/init/error");
        let error_type = report.header("Lambda-Extension-Function-Error-Type");
        assert_eq!(error_type, Some("Extension.CannotListen"));
        let message = report.json()["errorMessage"].to_string();
        assert!(message.contains(reason), "{message}");
        api.take_answer();
        let error = run.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Failed(_)), "{error}");
    }
}

#[test]
fn without_telemetry_the_extension_goes_on_and_waits_for_nothing() {
    for (status, error_type) in [
        (202, "Telemetry.NotSupported"),
        (400, "ValidationError"),
        (403, "Telemetry.SubscriptionClosed"),
        (404, "x"),
    ] {
        let service = Service::start();
        let extension = external(&service);
        let mut run = Run::begin(service, extension, options(), takes_all());
        run.subscribes();
        run.api.refuse(status, error_type, "none here");
        run.invoke("id", LONG);
        run.expect("flush NoTelemetry");
        run.shut_down(LONG);
        run.expect("flush NoTelemetry");
        let lines = run.service.lines().clone();
        run.end().unwrap();
        let start = format!(
            "no telemetry comes: telemetry subscription was answered with {status} ({error_type}: \
             none here)"
        );
        let lines = lines.all();
        assert!(lines.len() == 1 && lines[0].contains(&start), "{lines:?}");
    }
}

#[test]
fn a_service_that_fails_at_the_subscription_ends_the_extension() {
    let service = Service::start();
    let extension = external(&service);
    let mut run = Run::begin(service, extension, options(), takes_all());
    run.subscribes();
    run.api.refuse(500, "Oops", "go");
    let error = run.end().unwrap_err();
    assert!(error.to_string().ends_with("the process must end"), "{error}");
}

#[test]
fn a_subscription_whose_connection_is_lost_is_asked_for_again() {
    let service = Service::start();
    let extension = external(&service);
    let mut run = Run::begin(service, extension, options(), takes_all());
    run.subscribes();
    run.api = {
        let lost = std::mem::replace(&mut run.api, no_connection());
        drop(lost);
        run.service.connection()
    };
    run.subscribes();
    run.api.answer(200, "", "\"OK\"");
    assert_eq!(run.post(&[function("a")]), 200);
    run.api.expect_extension_next();
}

/// One end of a connection in memory.
fn no_connection() -> lambda_proto_service::Connection {
    lambda_proto_service::Connection::over(lambda_proto_service::Pipe::pair().0)
}

#[test]
fn a_refused_registration_ends_the_extension_and_frees_its_port() {
    let service = Service::start();
    let port = port();
    let (extension, options) = (external(&service), options().port(port));
    let run = thread::spawn(move || transport::run(extension, options, |_| Ok(None), |_| Ok(())));
    let mut api = service.connection();
    api.request();
    api.refuse(403, "Extension.RegistrationClosed", "too late");
    let error = run.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
fn managed_instances_have_telemetry_without_events_of_invocations() {
    let extension = |service: &Service| external(service).on_managed_instances();
    let mut run = Run::with(extension, options(), takes_all());
    assert_eq!(run.post(&[function("a"), report("id")]), 200);
    run.expect_all(&[function("a"), report("id")]);
    run.shut_down(LONG);
    run.expect("flush Quiet");
    run.end().unwrap();
}

#[test]
fn what_managed_instances_were_about_to_send_arrives_after_shutdown() {
    let extension = |service: &Service| external(service).on_managed_instances();
    // Records may wait for their batch for so long that a slow client is not late.
    let buffering = Buffering::DEFAULT.with_timeout(Duration::from_secs(30)).unwrap();
    let mut run = Run::with(extension, options().buffering(buffering), takes_all());
    run.shut_down(LONG);
    assert_eq!(run.post(&[function("last")]), 200);
    run.expect(&function("last"));
}

#[test]
fn a_subscription_that_managed_instances_do_not_have_is_reported_as_a_failed_init() {
    let service = Service::start();
    let options = options().schema(TelemetrySchema::V2022_12_13);
    let extension = external(&service).on_managed_instances();
    let run = thread::spawn(move || transport::run(extension, options, |_| Ok(None), |_| Ok(())));
    let mut api = registers(&service);
    let report = api.request();
    assert_eq!(&*report.path, "/2020-01-01/extension/init/error");
    assert_eq!(report.json()["errorType"], "Extension.InvalidSubscription");
    api.take_answer();
    assert!(matches!(run.join().unwrap(), Err(Error::Failed(_))));
}

#[test]
fn an_internal_extension_waits_for_the_end_of_each_invocation() {
    let extension = |service: &Service| {
        Extension::internal(Endpoint::parse(&service.address()).unwrap(), "inside")
    };
    let mut run = Run::with(extension, options(), takes_all());
    for id in ["id-1", "id-2"] {
        run.invoke(id, LONG);
        run.api.expect_silence();
        assert_eq!(run.post(&[runtime_done(id)]), 200);
        run.expect_all(&[runtime_done(id), "flush RuntimeDone".to_owned()]);
    }
}
