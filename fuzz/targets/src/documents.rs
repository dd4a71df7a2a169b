//! Parses the small JSON documents of the service, and compares with serde_json.

use lambda_proto::api::{ClientContext, CognitoIdentity, ServiceError};
use lambda_proto::json::{JsonError, JsonStr};
use lambda_proto::limits::MAX_JSON_DEPTH;
use lambda_proto_extension::metadata::ExecutionEnvironment;
use lambda_proto_extension::{EnvironmentEvent, Registration};
use serde_json::Value;

use crate::input::Input;
use crate::wire;

/// A document of the right form that is JSON for serde_json is read alike, unless it nests too
/// deep.
///
/// The first byte says which document it is, the second how often its second half is repeated.
pub fn documents(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let document = &input.halves(100_000)[..];
    match kind % 6 {
        0 => check(document, ServiceError::parse(document), |it| {
            vec![(&["errorType"][..], it.error_type), (&["errorMessage"], it.error_message)]
        }),
        1 => check(document, CognitoIdentity::parse(document), |it| {
            vec![
                (&["cognitoIdentityId"][..], it.identity_id),
                (&["cognitoIdentityPoolId"], it.identity_pool_id),
            ]
        }),
        2 => check(document, ClientContext::parse(document), |it| {
            vec![
                (&["client", "installation_id"][..], it.client.installation_id),
                (&["client", "app_title"], it.client.app_title),
                (&["client", "app_version_name"], it.client.app_version_name),
                (&["client", "app_version_code"], it.client.app_version_code),
                (&["client", "app_package_name"], it.client.app_package_name),
            ]
        }),
        3 => check(document, Registration::parse(document), |it| {
            vec![
                (&["functionName"][..], it.function_name),
                (&["functionVersion"], it.function_version),
                (&["handler"], it.handler),
                (&["accountId"], it.account_id),
            ]
        }),
        4 => check(document, ExecutionEnvironment::parse(document), |it| {
            vec![(&["AvailabilityZoneID"][..], it.availability_zone_id)]
        }),
        _ => check(document, EnvironmentEvent::parse(document), |it| match it {
            EnvironmentEvent::Invoke(invoke) => {
                let deadline = serde_json::from_slice::<Value>(document)
                    .ok()
                    .map(|value| value["deadlineMs"].as_u64());
                let read = invoke.deadline.map(|deadline| deadline.as_unix_millis());
                let is_escaped = document.contains(&b'\\');
                assert!(is_escaped || deadline.is_none_or(|deadline| deadline == read));
                vec![
                    (&["requestId"][..], invoke.request_id),
                    (&["invokedFunctionArn"], invoke.invoked_function_arn),
                    (&["tracing", "value"], invoke.trace_id),
                ]
            }
            EnvironmentEvent::Shutdown(shutdown) => {
                let _one_of_them_or_none = shutdown.reason.cause();
                vec![(&["shutdownReason"][..], shutdown.reason.text())]
            }
            EnvironmentEvent::Other { event_type, document: raw } => {
                assert_eq!(raw, document);
                vec![(&["eventType"][..], event_type)]
            }
            _ => Vec::new(),
        }),
    }
}

/// A string of a document, and the keys that lead to it.
type Found<'a> = (&'static [&'static str], JsonStr<'a>);

fn check<'a, T>(
    document: &[u8],
    read: Result<T, JsonError>,
    strings: impl FnOnce(T) -> Vec<Found<'a>>,
) {
    let theirs = serde_json::from_slice::<Value>(document).ok();
    match read {
        Ok(read) => {
            for (keys, string) in strings(read) {
                let text = string.to_string();
                assert_eq!(string.is_empty(), text.is_empty());
                assert!(string == *text);
                // This project also reads documents that are not valid JSON; these are not
                // compared.
                let Some(theirs) = &theirs else { continue };
                let theirs = keys.iter().fold(theirs, |value, key| &value[key]);
                // This project compares keys without resolving escapes.
                if !document.contains(&b'\\') {
                    assert_eq!(theirs.as_str().unwrap_or_default(), text);
                }
            }
        }
        Err(error @ JsonError::TooDeep) => {
            wire::check_line(error);
            let brackets = document.iter().filter(|byte| b"[{".contains(byte)).count();
            assert!(brackets > MAX_JSON_DEPTH);
        }
        Err(error) => {
            wire::check_line(error);
            // An object of strings is always read, unless a key occurs twice.
            let Some(Value::Object(members)) = theirs else { return };
            let is_plain = members.values().all(|value| value.is_string());
            let quotes = document.iter().filter(|byte| **byte == b'"').count();
            let is_twice = quotes != 4 * members.len();
            let has_nested = members.contains_key("client") || members.contains_key("tracing");
            let has_number = members.contains_key("deadlineMs");
            let is_read = is_plain && !is_twice && !has_nested && !has_number;
            assert!(!is_read || document.contains(&b'\\'), "{}", document.escape_ascii());
        }
    }
}
