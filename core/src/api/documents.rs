//! The small JSON documents of the service, as typed views that borrow from them.

use serde::Deserialize;

use crate::json::{self, JsonError, JsonStr};

/// The body of an answer that is not a success: what the service has against the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceError<'a> {
    /// For programs, such as `InvalidRequestID`.
    #[serde(borrow, rename = "errorType")]
    pub error_type: JsonStr<'a>,
    /// For people.
    #[serde(borrow, rename = "errorMessage")]
    pub error_message: JsonStr<'a>,
}

impl<'a> ServiceError<'a> {
    /// Reads the document; fields that are absent are empty, unknown ones are passed over.
    ///
    /// # Errors
    ///
    /// A [`JsonError`] if it is something else: 404 and 405 come as text or without a body
    /// (emulator: `rapi/router.go`).
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        json::parse(document)
    }
}

/// Who called a function through Cognito: `Lambda-Runtime-Cognito-Identity`.
///
/// ```
/// # use lambda_proto::api::CognitoIdentity;
/// let identity = CognitoIdentity::parse(br#"{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}"#)?;
/// assert_eq!(identity.identity_id, "a");
/// # Ok::<(), lambda_proto::JsonError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CognitoIdentity<'a> {
    /// The identity.
    #[serde(borrow, rename = "cognitoIdentityId")]
    pub identity_id: JsonStr<'a>,
    /// The pool that it belongs to.
    #[serde(borrow, rename = "cognitoIdentityPoolId")]
    pub identity_pool_id: JsonStr<'a>,
}

impl<'a> CognitoIdentity<'a> {
    /// Reads the header value; fields that are absent are empty.
    ///
    /// # Errors
    ///
    /// A [`JsonError`], which is no reason to fail the invocation.
    pub fn parse(header: &'a [u8]) -> Result<Self, JsonError> {
        json::parse(header)
    }
}

/// What a mobile SDK tells of the application that calls: `Lambda-Runtime-Client-Context`.
///
/// The maps `custom` and `env` have a form of the application's own and are passed over; read them
/// from the header value with a JSON library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClientContext<'a> {
    /// The application.
    #[serde(borrow)]
    pub client: ClientApplication<'a>,
}

impl<'a> ClientContext<'a> {
    /// Reads the header value; fields that are absent are empty.
    ///
    /// # Errors
    ///
    /// A [`JsonError`], which is no reason to fail the invocation: callers may put anything there.
    pub fn parse(header: &'a [u8]) -> Result<Self, JsonError> {
        json::parse(header)
    }
}

/// The application of a [`ClientContext`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClientApplication<'a> {
    /// The installation of the application.
    #[serde(borrow)]
    pub installation_id: JsonStr<'a>,
    /// Its title.
    #[serde(borrow)]
    pub app_title: JsonStr<'a>,
    /// The name of its version.
    #[serde(borrow)]
    pub app_version_name: JsonStr<'a>,
    /// The number of its version.
    #[serde(borrow)]
    pub app_version_code: JsonStr<'a>,
    /// The name of its package.
    #[serde(borrow)]
    pub app_package_name: JsonStr<'a>,
}
