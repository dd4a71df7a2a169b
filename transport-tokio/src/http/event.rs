//! The JSON of events.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use http::StatusCode;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An event of any source, borrowed where that is possible. No source has all of its members.
///
/// HTTP APIs [API Gateway Developer Guide: Lambda proxy integrations for HTTP APIs] have formats 1.0
/// and 2.0. REST APIs have the first, function URLs the second [Lambda Developer Guide: function
/// URLs]. Load balancers have their own [Application Load Balancers: Lambda functions as targets].
///
/// The types of `aws_lambda_events` for whole events are not used: they forget the order of query
/// parameters, and one header that HTTP does not allow would hide which kind of event it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'e> {
    /// Of requests that an authorizer is asked about; it answers with a policy.
    pub(super) r#type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(super) version: Option<Text<'e>>,
    #[serde(borrow)]
    pub(super) raw_path: Option<Text<'e>>,
    #[serde(borrow)]
    pub(super) raw_query_string: Option<Text<'e>>,
    #[serde(borrow)]
    pub(super) cookies: Option<Vec<Text<'e>>>,
    #[serde(borrow)]
    pub(super) http_method: Option<Text<'e>>,
    #[serde(borrow)]
    pub(super) path: Option<Text<'e>>,
    #[serde(borrow)]
    pub(super) headers: Option<Members<'e, Option<Text<'e>>>>,
    #[serde(borrow)]
    pub(super) multi_value_headers: Option<Members<'e, Option<Vec<Text<'e>>>>>,
    #[serde(borrow)]
    pub(super) query_string_parameters: Option<Members<'e, Option<Text<'e>>>>,
    #[serde(borrow)]
    pub(super) multi_value_query_string_parameters: Option<Members<'e, Option<Vec<Text<'e>>>>>,
    #[serde(borrow)]
    pub(super) request_context: Option<&'e RawValue>,
    #[serde(borrow)]
    pub(super) body: Option<Text<'e>>,
    pub(super) is_base64_encoded: Option<bool>,
}

impl<'e> Event<'e> {
    pub(super) fn parse(json: &'e [u8]) -> Result<Self, EventError> {
        serde_json::from_slice(json).map_err(EventError::Json)
    }
}

/// Text that is borrowed from the event unless it has an escape in it.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'e>(#[serde(borrow)] pub(super) Cow<'e, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The members of an object, in order.
pub(super) struct Members<'e, V>(Vec<(Text<'e>, V)>);

impl<'e, V> Deref for Members<'e, V> {
    type Target = [(Text<'e>, V)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'de: 'e, 'e, V: Deserialize<'de>> Deserialize<'de> for Members<'e, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<'e, V>(PhantomData<Members<'e, V>>);

impl<'de: 'e, 'e, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<'e, V> {
    type Value = Members<'e, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Why an event is not an HTTP request: a fault of whoever invoked the function, or of the client that
/// sent the [request](Self::status).
#[derive(Debug)]
#[non_exhaustive]
pub enum EventError {
    /// The event is not JSON, or one of its members has a type that no source gives it.
    Json(serde_json::Error),
    /// The event comes from none of the sources that are understood.
    NotHttp,
    /// The method is not one that HTTP allows, or is missing.
    Method,
    /// Path and query are longer than 65,534 bytes.
    UriTooLong,
    /// A header has a name or a value that HTTP does not allow.
    Header {
        /// Its name.
        name: String,
    },
    /// There are more headers than a map of headers can hold, which is more than 20,000.
    TooManyHeaders,
    /// The body is marked as base64, and is not base64.
    Body,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event is not an HTTP request: ")?;
        match self {
            Self::Json(error) => write!(f, "{error}; {SOURCES}"),
            Self::NotHttp => f.write_str(SOURCES),
            Self::Method => f.write_str("its method is missing or invalid"),
            Self::UriTooLong => f.write_str("its path and query are longer than 65,534 bytes"),
            Self::Header { name } => {
                write!(f, "the name or the value of its header {name:?} is invalid")
            }
            Self::TooManyHeaders => f.write_str("it has too many headers"),
            Self::Body => f.write_str("its body is marked as base64, and is not base64"),
        }
    }
}

/// What an event has to be.
const SOURCES: &str = "expected one of a function URL, an HTTP API (format 1.0 or 2.0), a REST API \
    or an Application Load Balancer";

impl EventError {
    /// The status of the response to a client whose request is invalid; `None` if the fault is that
    /// of whoever made an event of it, with which the invocation fails.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Header { .. } => Some(StatusCode::BAD_REQUEST),
            Self::UriTooLong => Some(StatusCode::URI_TOO_LONG),
            Self::TooManyHeaders => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::Json(_) | Self::NotHttp | Self::Method | Self::Body => None,
        }
    }
}

// The text of an error includes its cause.
impl std::error::Error for EventError {}
