//! From an event to a request.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::context::is_in_paths;
use super::event::{Event, EventError, Text};
use super::response::Form;
use super::source::{Origin, Source};
use super::{Body, ClientAddress};
use crate::parallel::Invocation;

/// An event that is no request, and the form of an answer if the source is known.
pub(super) struct Refused {
    pub(super) error: EventError,
    pub(super) form: Option<Form>,
}

/// The request of an invocation, and the form of its answer.
pub(super) fn read(invocation: &Invocation) -> Result<(Request<Body>, Form), Refused> {
    let unknown = |error| Refused { error, form: None };
    let mut event = Event::parse(invocation.body()).map_err(unknown)?;
    let origin = Origin::of(&event).map_err(unknown)?;
    let body = event.body.take();
    let (form, path, query) = form_and_target(&event, &origin);
    let request = uri(path, &query).and_then(|uri| {
        let body = self::body(body, event.is_base64_encoded);
        request(uri, body, &event, &origin, invocation.trace_id())
    });
    match request {
        Ok(request) => Ok((request, form)),
        Err(error) => Err(Refused { error, form: Some(form) }),
    }
}

fn request(
    uri: Uri,
    body: Result<Body, EventError>,
    event: &Event<'_>,
    origin: &Origin<'_>,
    trace_id: Option<&str>,
) -> Result<Request<Body>, EventError> {
    let method = method(event, origin)?;
    let headers = headers(event, origin, trace_id)?;
    let mut request = Request::new(body?);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    if let Some(client) = client(request.headers(), origin) {
        request.extensions_mut().insert(client);
    }
    request.extensions_mut().insert(origin.context());
    Ok(request)
}

/// What each source does in its own way: the form of the answer, path and query.
fn form_and_target<'e>(event: &'e Event<'_>, origin: &Origin<'_>) -> (Form, &'e str, String) {
    match origin.source {
        Source::FunctionUrl => (Form::FunctionUrl, text(&event.raw_path), raw_query(event)),
        Source::HttpApi => {
            let path = without_stage(text(&event.raw_path), origin);
            (Form::HttpApi, path, raw_query(event))
        }
        Source::HttpApiV1 => {
            let path = without_stage(text(&event.path), origin);
            (Form::HttpApiV1, path, parameters(event, COMPONENT))
        }
        Source::RestApi => (Form::RestApi, text(&event.path), parameters(event, COMPONENT)),
        Source::LoadBalancer => {
            // The balancer sends both lists or none. A request built by hand may have one.
            let has_lists = event.multi_value_headers.is_some()
                || event.multi_value_query_string_parameters.is_some();
            let form = if has_lists { Form::LoadBalancerMulti } else { Form::LoadBalancer };
            // They are as the client has encoded them.
            (form, text(&event.path), parameters(event, QUERY))
        }
    }
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_deref().unwrap_or_default()
}

/// The path without the stage, with which an HTTP API begins it under the domain name that every API
/// has. Another domain name is mapped to a stage, which its paths do not have.
fn without_stage<'p>(path: &'p str, origin: &Origin<'_>) -> &'p str {
    let has_stage = origin.domain_name().is_some_and(|name| name.contains(EXECUTE_API));
    let stage = origin.stage().filter(|stage| has_stage && is_in_paths(stage));
    let Some(stage) = stage else { return path };
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage));
    rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

/// In the domain name that every API has [API Gateway Developer Guide: custom domain names].
const EXECUTE_API: &str = ".execute-api.";

fn raw_query(event: &Event<'_>) -> String {
    utf8_percent_encode(text(&event.raw_query_string), QUERY).to_string()
}

/// The query of parameters in which these characters are still to be encoded.
fn parameters(event: &Event<'_>, encoded: &'static AsciiSet) -> String {
    let mut query = String::new();
    let mut add = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.extend(utf8_percent_encode(name, encoded));
        query.push('=');
        query.extend(utf8_percent_encode(value, encoded));
    };
    match event.multi_value_query_string_parameters.as_deref() {
        Some(parameters) if !parameters.is_empty() => {
            for (name, values) in parameters {
                values.iter().flatten().for_each(|value| add(name, value));
            }
        }
        _ => {
            for (name, value) in event.query_string_parameters.as_deref().unwrap_or_default() {
                add(name, value.as_deref().unwrap_or_default());
            }
        }
    }
    query
}

/// Whatever path and query are, they have no character that a URI must not have.
fn uri(path: &str, query: &str) -> Result<Uri, EventError> {
    let mut text = String::with_capacity(path.len() + query.len() + 2);
    if !path.starts_with('/') {
        text.push('/');
    }
    push_path(&mut text, path);
    if !query.is_empty() {
        text.push('?');
        text.push_str(query);
    }
    // Older versions of `http` accept more, and lose the place of the query.
    if text.len() > MAX_TARGET {
        return Err(EventError::UriTooLong);
    }
    let path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(text));
    path_and_query.map(Uri::from).map_err(|_| EventError::UriTooLong)
}

/// What a URI of the crate `http` can hold of path and query, in bytes.
const MAX_TARGET: usize = 65_534;

/// Adds a path that is encoded already, or that a gateway has decoded. What cannot be part of an
/// encoded path is encoded, also a `%` that begins no escape.
fn push_path(text: &mut String, path: &str) {
    let mut pieces = path.split('%');
    text.extend(utf8_percent_encode(pieces.next().unwrap_or_default(), PATH));
    for piece in pieces {
        let digits = piece.as_bytes().get(..2);
        let is_escape = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        text.push_str(if is_escape { "%" } else { "%25" });
        text.extend(utf8_percent_encode(piece, PATH));
    }
}

/// What cannot be in an encoded query (RFC 3986 section 3.4, and what browsers leave as it is).
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// What cannot be in an encoded path (RFC 3986 section 3.3).
const PATH: &AsciiSet = &QUERY
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// All but the unreserved characters (RFC 3986 section 2.3).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn method(event: &Event<'_>, origin: &Origin<'_>) -> Result<Method, EventError> {
    let method = match origin.source {
        Source::FunctionUrl | Source::HttpApi => origin.method(),
        Source::HttpApiV1 | Source::RestApi | Source::LoadBalancer => event.http_method.as_deref(),
    };
    method.and_then(|method| method.parse().ok()).ok_or(EventError::Method)
}

fn headers(
    event: &Event<'_>,
    origin: &Origin<'_>,
    trace_id: Option<&str>,
) -> Result<HeaderMap, EventError> {
    let mut headers = HeaderMap::new();
    match event.multi_value_headers.as_deref() {
        Some(multi) if !multi.is_empty() => {
            for (name, values) in multi {
                values.iter().flatten().try_for_each(|value| append(&mut headers, name, value))?;
            }
        }
        _ => {
            for (name, value) in event.headers.as_deref().unwrap_or_default() {
                value.iter().try_for_each(|value| append(&mut headers, name, value))?;
            }
        }
    }
    if let Some(cookies) = event.cookies.as_deref().filter(|cookies| !cookies.is_empty()) {
        let cookies: Vec<_> = cookies.iter().map(|cookie| &**cookie).collect();
        let cookies = HeaderValue::from_str(&cookies.join("; ")).map_err(|_| invalid(COOKIE))?;
        set(&mut headers, COOKIE, cookies)?;
    }
    // The client sends neither of these, so it is not to blame if one cannot be a header.
    if let Some(name) = origin.domain_name().filter(|_| !headers.contains_key(HOST))
        && let Ok(name) = HeaderValue::from_str(name)
    {
        set(&mut headers, HOST, name)?;
    }
    if let Some(trace_id) = trace_id.and_then(|trace_id| HeaderValue::from_str(trace_id).ok()) {
        set(&mut headers, TRACE_ID, trace_id)?;
    }
    Ok(headers)
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), EventError> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(name))?;
    let value = HeaderValue::from_str(value).map_err(|_| invalid(name))?;
    headers.try_append(header, value).map(drop).map_err(|_| EventError::TooManyHeaders)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), EventError> {
    headers.try_insert(name, value).map(drop).map_err(|_| EventError::TooManyHeaders)
}

fn invalid(name: impl AsRef<str>) -> EventError {
    EventError::Header { name: name.as_ref().chars().take(MAX_NAME).collect() }
}

/// How much of the name of a header is in an error, in characters.
const MAX_NAME: usize = 100;

/// The header that gateways and load balancers set, and X-Ray reads.
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The header to which a load balancer adds the address of its client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn client(headers: &HeaderMap, origin: &Origin<'_>) -> Option<ClientAddress> {
    if origin.source != Source::LoadBalancer {
        return ClientAddress::parse(origin.source_ip()?);
    }
    let forwarded = headers.get_all(FORWARDED_FOR).iter().next_back()?;
    ClientAddress::parse(forwarded.to_str().ok()?.rsplit(',').next()?)
}

fn body(body: Option<Text<'_>>, is_base64: Option<bool>) -> Result<Body, EventError> {
    let Some(Text(body)) = body else { return Ok(Body::default()) };
    if is_base64 == Some(true) {
        return BASE64_STANDARD.decode(&*body).map(Body::from).map_err(|_| EventError::Body);
    }
    Ok(body.into_owned().into())
}
