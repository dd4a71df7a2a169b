//! The documents of the service, and how both readers read them.

use lambda_proto::api::{ClientContext, CognitoIdentity, ServiceError};
use lambda_proto::json::JsonError;
use lambda_proto_extension::metadata::ExecutionEnvironment;
use lambda_proto_extension::{EnvironmentEvent, Registration};
use serde::Deserialize;

/// The strings of a document, in the order of its fields; numbers in decimal.
pub(crate) type Strings = Vec<String>;

/// A document of the service, as ours reads it and as serde_json does.
pub(crate) struct Document {
    /// The names of its fields, and of the objects that contain them.
    pub(crate) names: &'static [&'static str],
    pub(crate) ours: fn(&[u8]) -> Result<Strings, JsonError>,
    pub(crate) theirs: fn(&[u8]) -> serde_json::Result<Strings>,
}

pub(crate) const DOCUMENTS: [Document; 6] = [
    Document {
        names: &["errorType", "errorMessage"],
        ours: |document| {
            let error = ServiceError::parse(document)?;
            Ok(vec![error.error_type.to_string(), error.error_message.to_string()])
        },
        theirs: |document| {
            #[derive(Deserialize)]
            #[serde(rename_all = "camelCase")]
            struct Theirs {
                error_type: Option<String>,
                error_message: Option<String>,
            }
            let theirs: Theirs = serde_json::from_slice(document)?;
            Ok([theirs.error_type, theirs.error_message].map(Option::unwrap_or_default).into())
        },
    },
    Document {
        names: &["cognitoIdentityId", "cognitoIdentityPoolId"],
        ours: |document| {
            let identity = CognitoIdentity::parse(document)?;
            Ok(vec![identity.identity_id.to_string(), identity.identity_pool_id.to_string()])
        },
        theirs: |document| {
            #[derive(Deserialize)]
            #[serde(rename_all = "camelCase")]
            struct Theirs {
                cognito_identity_id: Option<String>,
                cognito_identity_pool_id: Option<String>,
            }
            let theirs: Theirs = serde_json::from_slice(document)?;
            let fields = [theirs.cognito_identity_id, theirs.cognito_identity_pool_id];
            Ok(fields.map(Option::unwrap_or_default).into())
        },
    },
    Document {
        names: &["client", "installation_id", "app_title", "app_version_name", "app_version_code"],
        ours: |document| {
            let client = ClientContext::parse(document)?.client;
            let (version, package) = (client.app_version_code, client.app_package_name);
            let fields = [client.installation_id, client.app_title, client.app_version_name];
            Ok(fields.into_iter().chain([version, package]).map(|it| it.to_string()).collect())
        },
        theirs: |document| {
            #[derive(Deserialize)]
            struct Theirs {
                client: Option<Client>,
            }
            #[derive(Default, Deserialize)]
            struct Client {
                installation_id: Option<String>,
                app_title: Option<String>,
                app_version_name: Option<String>,
                app_version_code: Option<String>,
                app_package_name: Option<String>,
            }
            let theirs: Theirs = serde_json::from_slice(document)?;
            let client = theirs.client.unwrap_or_default();
            let (version, package) = (client.app_version_code, client.app_package_name);
            let fields = [client.installation_id, client.app_title, client.app_version_name];
            Ok(fields
                .into_iter()
                .chain([version, package])
                .map(Option::unwrap_or_default)
                .collect())
        },
    },
    Document {
        names: &["functionName", "functionVersion", "handler", "accountId"],
        ours: |document| {
            let Registration { function_name, function_version, handler, account_id } =
                Registration::parse(document)?;
            let strings = [function_name, function_version, handler, account_id];
            Ok(strings.map(|it| it.to_string()).into())
        },
        theirs: |document| {
            #[derive(Deserialize)]
            #[serde(rename_all = "camelCase")]
            struct Theirs {
                function_name: Option<String>,
                function_version: Option<String>,
                handler: Option<String>,
                account_id: Option<String>,
            }
            let theirs: Theirs = serde_json::from_slice(document)?;
            let Theirs { function_name, function_version, handler, account_id } = theirs;
            let fields = [function_name, function_version, handler, account_id];
            Ok(fields.map(Option::unwrap_or_default).into())
        },
    },
    Document {
        names: &["AvailabilityZoneID"],
        ours: |document| {
            Ok(vec![ExecutionEnvironment::parse(document)?.availability_zone_id.to_string()])
        },
        theirs: |document| {
            #[derive(Deserialize)]
            struct Theirs {
                #[serde(rename = "AvailabilityZoneID")]
                availability_zone_id: Option<String>,
            }
            let theirs: Theirs = serde_json::from_slice(document)?;
            Ok(vec![theirs.availability_zone_id.unwrap_or_default()])
        },
    },
    Document {
        names: &["eventType", "deadlineMs", "requestId", "tracing", "value", "shutdownReason"],
        ours: |document| {
            let millis = |it: Option<lambda_proto::api::Deadline>| it.map(|it| it.as_unix_millis());
            Ok(match EnvironmentEvent::parse(document)? {
                EnvironmentEvent::Invoke(invoke) => vec![
                    "INVOKE".to_owned(),
                    format!("{:?}", millis(invoke.deadline)),
                    invoke.request_id.to_string(),
                    invoke.invoked_function_arn.to_string(),
                    invoke.trace_id.to_string(),
                ],
                EnvironmentEvent::Shutdown(shutdown) => vec![
                    "SHUTDOWN".to_owned(),
                    format!("{:?}", millis(shutdown.deadline)),
                    shutdown.reason.to_string(),
                ],
                EnvironmentEvent::Other { event_type, .. } => vec![event_type.to_string()],
                _ => panic!("there is no other event"),
            })
        },
        theirs: |document| {
            #[derive(Deserialize)]
            #[serde(rename_all = "camelCase")]
            struct Theirs {
                event_type: Option<String>,
                deadline_ms: Option<u64>,
                request_id: Option<String>,
                invoked_function_arn: Option<String>,
                tracing: Option<Tracing>,
                shutdown_reason: Option<String>,
            }
            #[derive(Deserialize)]
            struct Tracing {
                value: Option<String>,
            }
            let theirs: Theirs = serde_json::from_slice(document)?;
            let event = theirs.event_type.unwrap_or_default();
            let deadline = format!("{:?}", theirs.deadline_ms);
            let text = Option::unwrap_or_default;
            Ok(match event.as_str() {
                "INVOKE" => vec![
                    event,
                    deadline,
                    text(theirs.request_id),
                    text(theirs.invoked_function_arn),
                    text(theirs.tracing.and_then(|it| it.value)),
                ],
                "SHUTDOWN" => vec![event, deadline, text(theirs.shutdown_reason)],
                _ => vec![event],
            })
        },
    },
];
