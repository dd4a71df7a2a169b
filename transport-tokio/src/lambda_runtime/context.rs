use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_proto::api::InvocationHead;
use lambda_proto_host::environment::Environment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What an invocation says about itself.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The request id.
    pub request_id: String,
    /// When the invocation times out, in milliseconds since the Unix epoch; 0 if the service does
    /// not say. [`deadline`](Self::deadline) has it as a time.
    pub deadline: u64,
    /// The ARN that the caller used; empty if the service does not say.
    pub invoked_function_arn: String,
    /// The X-Ray trace header.
    pub xray_trace_id: Option<String>,
    /// What a mobile SDK says about its application; `None` also if it cannot be read, since callers
    /// may put anything there.
    pub client_context: Option<ClientContext>,
    /// Who called the function through Cognito; `None` also if it cannot be read.
    pub identity: Option<CognitoIdentity>,
    /// The tenant of a function with tenant isolation.
    pub tenant_id: Option<String>,
    /// What the environment says about the function.
    pub env_config: Arc<Config>,
}

impl Context {
    pub(super) fn of(head: &InvocationHead<'_>, config: &Arc<Config>) -> Self {
        Self {
            request_id: head.request_id().to_owned(),
            deadline: head.deadline().map_or(0, |deadline| deadline.as_unix_millis()),
            invoked_function_arn: head.invoked_function_arn().unwrap_or_default().to_owned(),
            xray_trace_id: head.trace_id().map(str::to_owned),
            client_context: head.client_context().and_then(read),
            identity: head.cognito_identity().and_then(read),
            tenant_id: head.tenant_id().map(str::to_owned),
            env_config: config.clone(),
        }
    }

    /// When the invocation times out; the Unix epoch if the service does not say.
    pub fn deadline(&self) -> SystemTime {
        let since_epoch = Duration::from_millis(self.deadline);
        // A time that the system cannot express never comes.
        SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Reads the JSON of a header.
fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// What a mobile SDK says about the calling application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientContext {
    /// The application.
    pub client: ClientApplication,
    /// Values that the application has added.
    pub custom: HashMap<String, String>,
    /// The environment of the application.
    #[serde(alias = "env")]
    pub environment: HashMap<String, String>,
}

/// The application of a [`ClientContext`]. What it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientApplication {
    /// The id of the installation.
    #[serde(alias = "installation_id")]
    pub installation_id: String,
    /// The title of the application.
    #[serde(alias = "app_title")]
    pub app_title: String,
    /// The name of its version.
    #[serde(alias = "app_version_name")]
    pub app_version_name: String,
    /// The code of its version.
    #[serde(alias = "app_version_code")]
    pub app_version_code: String,
    /// The name of its package.
    #[serde(alias = "app_package_name")]
    pub app_package_name: String,
}

/// Who called the function through Cognito.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CognitoIdentity {
    /// The identity.
    #[serde(alias = "cognitoIdentityId", alias = "identity_id")]
    pub identity_id: String,
    /// The pool that it belongs to.
    #[serde(alias = "cognitoIdentityPoolId", alias = "identity_pool_id")]
    pub identity_pool_id: String,
}

/// What the environment says about the function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The function's name.
    pub function_name: String,
    /// The memory that it may use, in MB.
    pub memory: i32,
    /// Its version: a number, or `$LATEST`.
    pub version: String,
    /// The CloudWatch log stream.
    pub log_stream: String,
    /// The CloudWatch log group.
    pub log_group: String,
}

impl Config {
    /// Reads the variables of the environment. What they do not say is empty or 0.
    pub fn from_env() -> Self {
        let environment = Environment::of_process();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let memory = environment.memory_size_mb().and_then(|memory| memory.try_into().ok());
        Self {
            function_name: text(environment.function_name()),
            memory: memory.unwrap_or_default(),
            version: text(environment.function_version()),
            log_stream: text(environment.log_stream()),
            log_group: text(environment.log_group()),
        }
    }
}
