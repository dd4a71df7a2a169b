//! Every path and header name of the Runtime API, and nothing else.

/// Prepends the version of the API to the path of a call.
macro_rules! path {
    ($call:literal) => {
        concat!("/2018-06-01/runtime/", $call)
    };
}

pub(super) const NEXT: &str = path!("invocation/next");
pub(super) const INVOCATION: &str = path!("invocation/");
pub(super) const RESPONSE: &str = "/response";
pub(super) const ERROR: &str = "/error";
pub(super) const INIT_ERROR: &str = path!("init/error");
pub(super) const RESTORE_NEXT: &str = path!("restore/next");
pub(super) const RESTORE_ERROR: &str = path!("restore/error");

pub(super) const REQUEST_ID: &str = "Lambda-Runtime-Aws-Request-Id";
pub(super) const INVOCATION_ID: &str = "Lambda-Runtime-Invocation-Id";
pub(super) const DEADLINE_MS: &str = "Lambda-Runtime-Deadline-Ms";
pub(super) const FUNCTION_ARN: &str = "Lambda-Runtime-Invoked-Function-Arn";
pub(super) const TRACE_ID: &str = "Lambda-Runtime-Trace-Id";
pub(super) const CLIENT_CONTEXT: &str = "Lambda-Runtime-Client-Context";
pub(super) const COGNITO_IDENTITY: &str = "Lambda-Runtime-Cognito-Identity";
pub(super) const TENANT_ID: &str = "Lambda-Runtime-Aws-Tenant-Id";
pub(super) const CONTENT_TYPE: &str = "Content-Type";

pub(super) const RESPONSE_MODE: &str = "Lambda-Runtime-Function-Response-Mode";
pub(super) const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";
pub(super) const ERROR_BODY: &str = "Lambda-Runtime-Function-Error-Body";
pub(super) const XRAY_ERROR_CAUSE: &str = "Lambda-Runtime-Function-XRay-Error-Cause";

/// The media type of error reports [OpenAPI file of the Runtime API].
pub(super) const ERROR_CONTENT_TYPE: &str = "application/vnd.aws.lambda.error+json";
