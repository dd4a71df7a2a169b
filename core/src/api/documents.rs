//! The small JSON documents of the service, as typed views that borrow from them.

use serde::Deserialize;

use crate::json::{self, JsonError, JsonStr};

/// The body of a reply that refuses a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceError<'a> {
    /// The code for programs, such as `InvalidRequestID`.
    pub error_type: JsonStr<'a>,
    /// The text for people.
    pub error_message: JsonStr<'a>,
}

impl<'a> ServiceError<'a> {
    /// Reads the document. Absent fields are empty, unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`JsonError`] for anything else: the replies 404 and 405 carry plain text or no body
    /// (emulator: `rapi/router.go`).
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'f> {
            error_type: Option<&'f str>,
            error_message: Option<&'f str>,
        }
        let fields: Fields<'a> = json::parse(document)?;
        Ok(Self {
            error_type: JsonStr::from_field(fields.error_type),
            error_message: JsonStr::from_field(fields.error_message),
        })
    }
}

/// Who called a function through Cognito: `Lambda-Runtime-Cognito-Identity`.
///
/// ```
/// # use lambda_proto::api::CognitoIdentity;
/// let identity = CognitoIdentity::parse(br#"{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}"#)?;
/// assert_eq!(identity.identity_id, "a");
/// # Ok::<(), lambda_proto::json::JsonError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CognitoIdentity<'a> {
    /// The identity.
    pub identity_id: JsonStr<'a>,
    /// The pool that it belongs to.
    pub identity_pool_id: JsonStr<'a>,
}

impl<'a> CognitoIdentity<'a> {
    /// Reads the header value. Absent fields are empty.
    ///
    /// # Errors
    ///
    /// A [`JsonError`], which should not fail the invocation.
    pub fn parse(header: &'a [u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'f> {
            cognito_identity_id: Option<&'f str>,
            cognito_identity_pool_id: Option<&'f str>,
        }
        let fields: Fields<'a> = json::parse(header)?;
        Ok(Self {
            identity_id: JsonStr::from_field(fields.cognito_identity_id),
            identity_pool_id: JsonStr::from_field(fields.cognito_identity_pool_id),
        })
    }
}

/// What a mobile SDK says about the calling application: `Lambda-Runtime-Client-Context`.
///
/// The application defines the maps `custom` and `env`, so they are ignored here; read them from
/// the header value with a JSON library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientContext<'a> {
    /// The application.
    pub client: ClientApplication<'a>,
}

impl<'a> ClientContext<'a> {
    /// Reads the header value. Absent fields are empty.
    ///
    /// # Errors
    ///
    /// A [`JsonError`], which should not fail the invocation: callers may put anything there.
    pub fn parse(header: &'a [u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        struct Fields<'f> {
            #[serde(borrow)]
            client: Option<Client<'f>>,
        }
        #[derive(Default, Deserialize)]
        struct Client<'f> {
            installation_id: Option<&'f str>,
            app_title: Option<&'f str>,
            app_version_name: Option<&'f str>,
            app_version_code: Option<&'f str>,
            app_package_name: Option<&'f str>,
        }
        let client = json::parse::<Fields<'a>>(header)?.client.unwrap_or_default();
        Ok(Self {
            client: ClientApplication {
                installation_id: JsonStr::from_field(client.installation_id),
                app_title: JsonStr::from_field(client.app_title),
                app_version_name: JsonStr::from_field(client.app_version_name),
                app_version_code: JsonStr::from_field(client.app_version_code),
                app_package_name: JsonStr::from_field(client.app_package_name),
            },
        })
    }
}

/// The application of a [`ClientContext`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientApplication<'a> {
    /// The installation of the application.
    pub installation_id: JsonStr<'a>,
    /// Its title.
    pub app_title: JsonStr<'a>,
    /// The name of its version.
    pub app_version_name: JsonStr<'a>,
    /// The number of its version.
    pub app_version_code: JsonStr<'a>,
    /// The name of its package.
    pub app_package_name: JsonStr<'a>,
}
