//! Subscriptions to telemetry and logs, and what is refused.

use lambda_lab::{Function, Output};

use crate::listener::{Extension, Listener, Reserved, document};
use crate::served::{Served, TELL};
use crate::support::{Connection, NEXT, external, request, wait_until};

const TELEMETRY: &str = "/2022-07-01/telemetry";
const LOGS: &str = "/2020-08-15/logs";
const ID: &str = "Lambda-Extension-Identifier";

#[test]
fn without_telemetry_subscriptions_are_answered_with_202_and_are_not_supported() {
    let lab = Function::external().without_telemetry().output(Output::Discarded).start().unwrap();
    let mut extension = Connection::open(lab.runtime_api());
    for (path, name) in [(TELEMETRY, "Telemetry"), (LOGS, "Logs")] {
        // On demand the emulator checks neither the identifier nor the body.
        for headers in [&[][..], &[(ID, "me")]] {
            let line = format!("PUT {path}");
            let response = extension.request(&line, headers, r#"{"schemaVersion":"2022-07-01"}"#);
            let document = format!(
                "{{\"errorMessage\":\"{name} API is not supported\",\
                 \"errorType\":\"{name}.NotSupported\"}}\n"
            );
            assert_eq!((response.status, response.text()), (202, document));
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
        for method in ["GET", "POST", "DELETE", "HEAD"] {
            let refused = extension.request(&format!("{method} {path}"), &[], "");
            assert_eq!((refused.status, refused.header("allow")), (405, Some("PUT")));
        }
        for path in [format!("{path}/"), path.to_uppercase(), path.replace("20", "/20")] {
            assert_eq!(extension.request(&format!("PUT {path}"), &[], "").status, 404, "{path}");
        }
    }
}

#[test]
fn managed_instances_have_no_logs_api_and_check_the_identifier_of_a_subscriber() {
    let function = Function::external().concurrency(2).output(Output::Discarded);
    let lab = function.without_telemetry().start().unwrap();
    let mut extension = Connection::open(lab.runtime_api());
    assert_eq!(extension.request(&format!("PUT {LOGS}"), &[], "{}").status, 404);
    let line = format!("PUT {TELEMETRY}");
    let nobody = "00000000-0000-0000-0000-000000000000";
    for (headers, error_type, message) in [
        (&[][..], "Missing", "Missing Lambda-Extension-Identifier header".to_owned()),
        (&[(ID, "me")], "Invalid", "Invalid Lambda-Extension-Identifier".into()),
        (&[(ID, nobody)], "Unknown", format!("Unknown extension {nobody}")),
    ] {
        let error_type = format!("Extension.{error_type}ExtensionIdentifier");
        extension.request(&line, headers, "{}").assert_refused(403, &error_type, &message);
    }
    let name = [("Lambda-Extension-Name", "mine")];
    let registered = extension.request("POST /2020-01-01/extension/register", &name, "{}");
    let id = registered.header("lambda-extension-identifier").unwrap();
    let response = extension.request(&line, &[(ID, id)], "{}");
    response.assert_refused(202, "Telemetry.NotSupported", "Telemetry API is not supported");
}

#[test]
fn the_option_for_no_telemetry_says_what_it_does() {
    for (options, status) in [(&["--no-telemetry"][..], 202), (&[], 403)] {
        let mut served = Served::start(options, &format!("{TELL}exec sleep 1000"));
        let _caller = served.invoke("1");
        let mut extension = served.told().0;
        for path in [TELEMETRY, LOGS] {
            assert_eq!(extension.request(&format!("PUT {path}"), &[], "{}").status, status);
        }
    }
}

#[test]
fn a_subscription_needs_a_registered_extension() {
    let lab = external();
    let nobody = "00000000-0000-0000-0000-000000000000";
    for path in [TELEMETRY, LOGS] {
        let line = format!("PUT {path}");
        for (headers, error_type, message) in [
            (&[][..], "Missing", "Missing Lambda-Extension-Identifier header".to_owned()),
            (&[(ID, "me")], "Invalid", "Invalid Lambda-Extension-Identifier".into()),
            (&[(ID, nobody)], "Unknown", format!("Unknown extension {nobody}")),
        ] {
            let error_type = format!("Extension.{error_type}ExtensionIdentifier");
            let refused = Connection::open(lab.runtime_api()).request(&line, headers, "{}");
            refused.assert_refused(403, &error_type, &message);
        }
        for method in ["GET", "POST", "DELETE", "HEAD"] {
            let mut connection = Connection::open(lab.runtime_api());
            let refused = connection.request(&format!("{method} {path}"), &[], "");
            assert_eq!((refused.status, refused.header("allow")), (405, Some("PUT")));
        }
    }
}

#[test]
fn an_invalid_document_is_refused_in_the_words_of_the_documentation() {
    let lab = external();
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    let wrong = r#"{"schemaVersion":"2022-12-13","types":[],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain"}}"#;
    let problems = "URI port is not provided; types should not be empty";
    let refused = extension.subscribe(&format!("PUT {TELEMETRY}"), wrong);
    refused.assert_refused(400, "ValidationError", problems);
    let wrong = wrong.replace("2022-12-13", "2021-03-18");
    let refused = extension.subscribe(&format!("PUT {LOGS}"), &wrong);
    refused.assert_refused(400, "Logs.ValidationError", problems);
    let foreign = document("2022-12-13", 80, 25).replace("sandbox.localdomain", "169.254.169.254");
    let refused = extension.subscribe(&format!("PUT {TELEMETRY}"), &foreign);
    let problem = "destination.URI host must be sandbox.localdomain";
    refused.assert_refused(400, "ValidationError", problem);
    let port = lab.runtime_api().rsplit(':').next().unwrap().parse().unwrap();
    let refused =
        extension.subscribe(&format!("PUT {TELEMETRY}"), &document("2022-12-13", port, 25));
    refused.assert_refused(400, "ValidationError", &format!("URI port {port} is reserved"));
}

#[test]
fn a_tcp_port_without_a_listener_is_refused() {
    let lab = external();
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    let reserved = Reserved::new();
    let port = reserved.port();
    let document = format!(
        r#"{{"schemaVersion":"2022-12-13","types":["platform"],"destination":{{"protocol":"TCP","port":{port}}}}}"#
    );
    let refused = extension.subscribe(&format!("PUT {TELEMETRY}"), &document);
    let reason = format!(
        "Invalid destination: could not TCP dial provided address 127.0.0.1:{port}: \
         dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    refused.assert_refused(400, "ValidationError", &reason);
}

#[test]
fn subscriptions_are_closed_when_the_runtime_and_all_extensions_have_asked() {
    for (function, text) in [
        (Function::external(), "subscription is closed already"),
        (Function::external().concurrency(2), "subscription is closed"),
    ] {
        let is_managed = !text.ends_with("already");
        let lab = function.output(Output::Discarded).start().unwrap();
        let listener = Listener::start();
        let mut extension = Extension::register(&lab.runtime_api(), "mine", "[]");
        let line = format!("PUT {TELEMETRY}");
        let mut runtime = Connection::open(lab.runtime_api());
        // Otherwise the second registration would be that of another runtime.
        assert_eq!(runtime.request("GET /2018-06-01/ping", &[], "").text(), "pong");
        runtime.send(request(NEXT, &[], ""));
        let document = document("2025-01-29", listener.port, 25);
        wait_until("registration is closed", || {
            // The name is taken, so this never registers anything.
            let name = [("Lambda-Extension-Name", "mine")];
            let mut connection = Connection::open(lab.runtime_api());
            let line = crate::external::REGISTER;
            connection.request(line, &name, "{}").text().contains("closed")
        });
        // The extension has not asked yet.
        extension.is_subscribed(&line, &document);
        extension.asks();
        listener.until("platform.initReport");
        let refused = extension.subscribe(&line, &document);
        refused.assert_refused(
            403,
            "Telemetry.SubscriptionClosed",
            &format!("Telemetry API {text}"),
        );
        if !is_managed {
            extension
                .subscribe(&format!("PUT {LOGS}"), &document.replace("2025-01-29", "2020-08-15"))
                .assert_refused(403, "Logs.SubscriptionClosed", &format!("Logs API {text}"));
        }
    }
}

#[test]
fn a_second_subscription_replaces_the_first_and_the_same_one_changes_nothing() {
    let lab = external();
    let (first, second) = (Listener::start(), Listener::start());
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    let other = Extension::register(&lab.runtime_api(), "other", "[]");
    let line = format!("PUT {TELEMETRY}");
    for _ in 0..2 {
        extension.listens("2022-12-13", &first);
    }
    first.until("platform.telemetrySubscription");
    extension.listens("2022-12-13", &second);
    let seen = second.until("platform.telemetrySubscription");
    // What happened since the start is replayed.
    assert_eq!(seen[0]["type"], "platform.initStart");
    let mut before = first.records().len();
    other.listens("2022-12-13", &second);
    wait_until("the subscription of the other is told", || {
        let records = second.records();
        records.iter().filter(|it| it["record"]["name"] == "other").count() == 2
    });
    assert_eq!(first.records().len(), before);
    before = first.records().iter().filter(|it| it["record"]["name"] == "mine").count();
    assert_eq!(before, 1, "{:?}", first.records());
    // With the other API it is an error.
    let logs = document("2020-08-15", first.port, 25);
    let refused = extension.subscribe(&format!("PUT {LOGS}"), &logs);
    let reason = "the extension has subscribed with the Telemetry API";
    refused.assert_refused(400, "Logs.ValidationError", reason);
    let third = Extension::register(&lab.runtime_api(), "third", "[]");
    third.is_subscribed(&format!("PUT {LOGS}"), &logs);
    let refused = third.subscribe(&line, &document("2022-12-13", first.port, 25));
    let reason = "the extension has subscribed with the Logs API";
    refused.assert_refused(400, "ValidationError", reason);
}

#[test]
fn managed_instances_refuse_other_schemas_and_second_subscriptions() {
    let lab = Function::external().concurrency(2).output(Output::Discarded).start().unwrap();
    let listener = Listener::start();
    let extension = Extension::register(&lab.runtime_api(), "mine", "[]");
    let line = format!("PUT {TELEMETRY}");
    let refused = extension.subscribe(&line, &document("2022-12-13", listener.port, 25));
    let reason = "schema validation error: schemaVersion should be one of 2025-01-29";
    refused.assert_refused(400, "ValidationError", reason);
    let valid = document("2025-01-29", listener.port, 25);
    extension.is_subscribed(&line, &valid);
    let refused = extension.subscribe(&line, &valid);
    refused.assert_refused(500, "InternalServerError", "Internal Server Error");
}
