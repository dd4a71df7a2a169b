//! From a response to the JSON of an answer.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode, response};
use serde::ser::{Serialize, Serializer};

/// The form of an answer, which its source expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Format 2.0; may be streamed.
    FunctionUrl,
    /// Format 2.0.
    HttpApi,
    /// Format 1.0.
    HttpApiV1,
    /// Format 1.0; may be streamed [API Gateway Developer Guide: response streaming].
    RestApi,
    /// With one value for each header.
    LoadBalancer,
    /// With several values for each header.
    LoadBalancerMulti,
}

impl Form {
    /// Whether the source takes a streamed response, if it is configured for that.
    pub(super) fn can_stream(self) -> bool {
        matches!(self, Self::FunctionUrl | Self::RestApi)
    }

    /// The answer as JSON.
    pub(super) fn encode(self, head: &response::Parts, body: &[u8]) -> serde_json::Result<Vec<u8>> {
        let headers = &head.headers;
        let text = std::str::from_utf8(body);
        let mut answer = Answer {
            status_code: head.status.as_u16(),
            status_description: None,
            headers: None,
            multi_value_headers: None,
            cookies: Vec::new(),
            is_base64_encoded: text.is_err(),
            body: text.map_or_else(|_| BASE64_STANDARD.encode(body).into(), Cow::Borrowed),
        };
        match self {
            Self::FunctionUrl | Self::HttpApi => {
                answer.headers = Some(Object(joined(headers)));
                answer.cookies = cookies(headers);
            }
            Self::HttpApiV1 | Self::RestApi => {
                answer.multi_value_headers = Some(Object(listed(headers)));
            }
            Self::LoadBalancer => {
                answer.status_description = Some(description(head.status));
                let cookies = cookies(headers).into_iter().take(MAX_COOKIES).enumerate();
                let cookies = cookies.map(|(index, cookie)| (set_cookie(index).into(), cookie));
                answer.headers = Some(Object(joined(headers).into_iter().chain(cookies).collect()));
            }
            Self::LoadBalancerMulti => {
                answer.status_description = Some(description(head.status));
                answer.multi_value_headers = Some(Object(listed(headers)));
            }
        }
        serde_json::to_vec(&answer)
    }
}

/// The members of an answer; each source reads some of them.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'r> {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Object<'r, Cow<'r, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<Object<'r, Vec<Cow<'r, str>>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<Cow<'r, str>>,
    is_base64_encoded: bool,
    body: Cow<'r, str>,
}

struct Object<'r, V>(Vec<(Cow<'r, str>, V)>);

impl<V: Serialize> Serialize for Object<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The headers without cookies, and with the values of each joined (RFC 9110 section 5.3).
pub(super) fn joined(headers: &HeaderMap) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let names = headers.keys().filter(|name| *name != SET_COOKIE);
    let join = |name| {
        let mut values = headers.get_all(name).iter().map(text);
        let first = values.next().unwrap_or_default();
        values.fold(first, |joined, value| format!("{joined}, {value}").into())
    };
    names.map(|name| (name.as_str().into(), join(name))).collect()
}

/// The cookies, of which each has a value of its own (RFC 6265 section 3).
pub(super) fn cookies(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    headers.get_all(SET_COOKIE).iter().map(text).collect()
}

fn listed(headers: &HeaderMap) -> Vec<(Cow<'_, str>, Vec<Cow<'_, str>>)> {
    let values = |name| headers.get_all(name).iter().map(text).collect();
    headers.keys().map(|name| (name.as_str().into(), values(name))).collect()
}

/// The value as text: UTF-8, or else ISO 8859-1, which every sequence of bytes is.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

/// How many names [`set_cookie`] has: two for each letter.
const MAX_COOKIES: usize = 512;

/// `set-cookie` in upper and lower case, different for each cookie of a response: an object has one
/// value for each name, and names of headers do not depend on their case.
fn set_cookie(index: usize) -> String {
    let mut bits = index;
    let mut flip = |letter: char| {
        if !letter.is_ascii_alphabetic() {
            return letter;
        }
        let is_upper = bits % 2 == 1;
        bits /= 2;
        if is_upper { letter.to_ascii_uppercase() } else { letter }
    };
    SET_COOKIE.as_str().chars().map(&mut flip).collect()
}

/// Code and reason, which load balancers want.
fn description(status: StatusCode) -> String {
    format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or("Unknown"))
}
