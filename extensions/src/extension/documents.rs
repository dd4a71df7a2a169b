//! The JSON documents in the replies.

use core::fmt;

use lambda_proto::api::Deadline;
use lambda_proto::json::{self, JsonError, JsonStr};
use serde::Deserialize;

/// The function that an extension is registered with: the reply to `register`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registration<'a> {
    /// Its name.
    pub function_name: JsonStr<'a>,
    /// Its version, `$LATEST` or a number.
    pub function_version: JsonStr<'a>,
    /// Its handler, possibly empty.
    pub handler: JsonStr<'a>,
    /// The id of its account; empty unless the extension
    /// [asked for it](super::Registrant::with_account_id).
    pub account_id: JsonStr<'a>,
}

impl<'a> Registration<'a> {
    /// Reads the document. Absent fields are empty, unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`JsonError`]; the extension is registered all the same.
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'f> {
            function_name: Option<&'f str>,
            function_version: Option<&'f str>,
            handler: Option<&'f str>,
            account_id: Option<&'f str>,
        }
        let fields: Fields<'a> = json::parse(document)?;
        Ok(Self {
            function_name: JsonStr::from_field(fields.function_name),
            function_version: JsonStr::from_field(fields.function_version),
            handler: JsonStr::from_field(fields.handler),
            account_id: JsonStr::from_field(fields.account_id),
        })
    }
}

/// An event of the environment: the reply to `next`.
///
/// ```
/// use lambda_proto_extension::{EnvironmentEvent, ShutdownCause};
///
/// let document = br#"{"eventType":"SHUTDOWN","deadlineMs":1795252820229,"shutdownReason":"spindown"}"#;
/// let EnvironmentEvent::Shutdown(shutdown) = EnvironmentEvent::parse(document)? else { panic!() };
/// assert_eq!(shutdown.reason.cause(), Some(ShutdownCause::Spindown));
/// # Ok::<(), lambda_proto::json::JsonError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvironmentEvent<'a> {
    /// An invocation begins.
    Invoke(Invoke<'a>),
    /// The environment is about to end.
    Shutdown(Shutdown<'a>),
    /// An event unknown to this crate.
    Other {
        /// Its `eventType`; empty if it has none.
        event_type: JsonStr<'a>,
        /// The whole document.
        document: &'a [u8],
    },
}

/// An invocation that begins, as an extension sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invoke<'a> {
    /// When it times out.
    pub deadline: Option<Deadline>,
    /// Its request id.
    pub request_id: JsonStr<'a>,
    /// The ARN that the caller used.
    pub invoked_function_arn: JsonStr<'a>,
    /// The X-Ray trace header; empty if there is none.
    pub trace_id: JsonStr<'a>,
}

/// The end of the environment, as an extension sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown<'a> {
    /// When the extension is killed.
    pub deadline: Option<Deadline>,
    /// Why.
    pub reason: ShutdownReason<'a>,
}

impl<'a> EnvironmentEvent<'a> {
    /// Reads the document. Absent fields are empty or `None`, unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`JsonError`] if it is anything else.
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'f> {
            event_type: Option<&'f str>,
            deadline_ms: Option<u64>,
            request_id: Option<&'f str>,
            invoked_function_arn: Option<&'f str>,
            #[serde(borrow)]
            tracing: Option<Tracing<'f>>,
            shutdown_reason: Option<&'f str>,
        }
        #[derive(Deserialize)]
        struct Tracing<'f> {
            value: Option<&'f str>,
        }
        let fields: Fields<'a> = json::parse(document)?;
        let event_type = JsonStr::from_field(fields.event_type);
        let deadline = fields.deadline_ms.map(Deadline::from_unix_millis);
        Ok(if event_type == "INVOKE" {
            Self::Invoke(Invoke {
                deadline,
                request_id: JsonStr::from_field(fields.request_id),
                invoked_function_arn: JsonStr::from_field(fields.invoked_function_arn),
                trace_id: JsonStr::from_field(fields.tracing.and_then(|tracing| tracing.value)),
            })
        } else if event_type == "SHUTDOWN" {
            let reason = ShutdownReason(JsonStr::from_field(fields.shutdown_reason));
            Self::Shutdown(Shutdown { deadline, reason })
        } else {
            Self::Other { event_type, document }
        })
    }
}

/// Why an environment ends, as the service wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReason<'a>(JsonStr<'a>);

impl<'a> ShutdownReason<'a> {
    /// The text.
    pub const fn text(&self) -> JsonStr<'a> {
        self.0
    }

    /// The documented cause that it names, or `None`. Letter case does not matter: the
    /// documentation uses upper case, the service lower case. AWS's emulator also sends
    /// undocumented reasons (`SandboxTerminated`).
    pub fn cause(&self) -> Option<ShutdownCause> {
        let is = |word: &str| {
            self.0.chars().map(|character| character.to_ascii_lowercase()).eq(word.chars())
        };
        [
            ("spindown", ShutdownCause::Spindown),
            ("timeout", ShutdownCause::Timeout),
            ("failure", ShutdownCause::Failure),
        ]
        .into_iter()
        .find_map(|(word, cause)| is(word).then_some(cause))
    }
}

impl fmt::Display for ShutdownReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A documented cause of a shutdown [Lambda Developer Guide: Extensions API].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShutdownCause {
    /// The environment is no longer needed.
    Spindown,
    /// An invocation has timed out.
    Timeout,
    /// Something in the environment has failed.
    Failure,
}
