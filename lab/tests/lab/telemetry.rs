//! Subscriptions to telemetry and logs, which the lab answers as AWS's emulator does.

use lambda_lab::{Function, Output};

use crate::support::{Connection, external};

const TELEMETRY: &str = "/2022-07-01/telemetry";
const LOGS: &str = "/2020-08-15/logs";
const ID: &str = "Lambda-Extension-Identifier";

#[test]
fn subscriptions_are_answered_with_202_and_are_not_supported() {
    let lab = external();
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
    let lab = Function::external().concurrency(2).output(Output::Discarded).start().unwrap();
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
