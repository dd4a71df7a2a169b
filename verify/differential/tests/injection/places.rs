//! The places of a request that hold values of a handler, its callers or the service.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_ERROR_TYPE};
use lambda_proto_differential::{Call, Parts, Request};
use serde_json::Value;

/// A place for a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    /// The requests that have it.
    pub(crate) calls: &'static [Call],
    /// Puts a value there; `false` if it has to be text and is not.
    pub(crate) put: fn(&mut Parts, &[u8]) -> bool,
    /// Whether a request has the intended value in this place.
    pub(crate) is_meant: fn(Call, &Request, &[u8]) -> bool,
    /// The field that is left out if it cannot hold the value.
    pub(crate) may_be_left_out: Option<&'static str>,
}

impl Place {
    /// Whether two places exclude each other: they are the same part, which exists once, or parts
    /// of one reply of the service, where the first value may end the reply before the second.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        let part = |name: &'static str| name.split(',').next();
        let is_of_service = |it: &Self| it.name.ends_with(", of the service");
        part(self.name) == part(other.name) || (is_of_service(self) && is_of_service(other))
    }
}

const REPORTS: &[Call] = &[
    Call::InitError,
    Call::Error,
    Call::ErrorAlone,
    Call::RestoreError,
    Call::ExtensionInitError,
    Call::ExtensionExitError,
    Call::StreamWithError,
];
const RESPONSES: &[Call] =
    &[Call::Response, Call::ResponseAlone, Call::Stream, Call::StreamWithError];
const OF_SERVICE: &[Call] =
    &[Call::Response, Call::Error, Call::Stream, Call::StreamWithError, Call::HttpStream];
const OF_PROGRAM: &[Call] = &[Call::ResponseAlone, Call::ErrorAlone];
const XRAY: &str = "lambda-runtime-function-xray-error-cause";
const ATTEMPT_ID: &str = "lambda-runtime-invocation-id";

pub(crate) static PLACES: &[Place] = &[
    Place {
        name: "error type",
        calls: REPORTS,
        put: |parts, value| put_text(&mut parts.error_type, value),
        is_meant: |call, request, value| {
            let header = match call {
                Call::StreamWithError => request.trailer("lambda-runtime-function-error-type"),
                Call::ExtensionInitError | Call::ExtensionExitError => {
                    request.field("lambda-extension-function-error-type")
                }
                _ => request.field("lambda-runtime-function-error-type"),
            };
            let value = if value.is_empty() { b"Runtime.Unknown" } else { value };
            let visible = |it: char| if it.is_ascii_graphic() { it as u8 } else { b'_' };
            let shown: Vec<u8> = text(value).chars().map(visible).take(MAX_ERROR_TYPE).collect();
            header == Some(&*shown)
                && is_start(&report(call, request)["errorType"], value, MAX_ERROR_TYPE)
        },
        may_be_left_out: None,
    },
    Place {
        name: "message",
        calls: REPORTS,
        put: |parts, value| put_text(&mut parts.message, value),
        is_meant: |call, request, value| {
            is_start(&report(call, request)["errorMessage"], value, room(call))
        },
        may_be_left_out: None,
    },
    Place {
        name: "stack trace",
        calls: REPORTS,
        put: |parts, value| put_text(&mut parts.stack_trace, value),
        is_meant: |call, request, value| {
            let report = report(call, request);
            let frames = report["stackTrace"].as_array().map(Vec::as_slice).unwrap_or_default();
            let lines: Vec<_> = text(value).lines().filter(|line| !line.is_empty()).collect();
            let is_whole = frames.len() == lines.len() || value.len() * 6 > room(call);
            is_whole && frames.iter().zip(lines).all(|(frame, line)| frame == line)
        },
        may_be_left_out: None,
    },
    Place {
        name: "cause for X-Ray",
        calls: &[Call::InitError, Call::Error, Call::ErrorAlone, Call::RestoreError],
        put: |parts, value| put_text(parts.xray_cause.insert(String::new()), value),
        is_meant: |_, request, value| {
            let Some(header) = request.field(XRAY) else { return value.len() * 6 > MAX_ERROR_BODY };
            let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
            let plain =
                |bytes: &[u8]| bytes.trim_ascii().iter().all(|it| (b' '..=b'~').contains(it));
            // ASCII without control characters is written as it is.
            let is_same = !plain(value) || header == value.trim_ascii();
            plain(header) && is_same && (json(value).is_none() || json(header) == json(value))
        },
        may_be_left_out: Some(XRAY),
    },
    Place {
        name: "content type",
        calls: RESPONSES,
        put: |parts, value| put_bytes(&mut parts.content_type, value),
        is_meant: |_, request, value| request.field("content-type") == Some(trimmed(value)),
        may_be_left_out: None,
    },
    Place {
        name: "body",
        calls: RESPONSES,
        put: |parts, value| {
            parts.body = vec![value.to_vec(), b"end".to_vec()];
            true
        },
        is_meant: |_, request, value| request.body == [value, b"end"].concat(),
        may_be_left_out: None,
    },
    Place {
        name: "request id, of the service",
        calls: OF_SERVICE,
        put: |parts, value| put_bytes(&mut parts.request_id, value),
        is_meant: |_, request, value| request_id(request).as_deref() == Some(first_line(value)),
        // The value may end the head of the event before the other id.
        may_be_left_out: Some(ATTEMPT_ID),
    },
    Place {
        name: "request id, of the program",
        calls: OF_PROGRAM,
        put: |parts, value| put_bytes(&mut parts.request_id, value),
        is_meant: |_, request, value| request_id(request).as_deref() == Some(value),
        may_be_left_out: None,
    },
    Place {
        name: "attempt id, of the service",
        calls: OF_SERVICE,
        put: |parts, value| put_bytes(&mut parts.attempt_id, value),
        is_meant: |_, request, value| is_attempt_id(request, first_line(value)),
        may_be_left_out: Some(ATTEMPT_ID),
    },
    Place {
        name: "attempt id, of the program",
        calls: OF_PROGRAM,
        put: |parts, value| put_bytes(&mut parts.attempt_id, value),
        is_meant: |_, request, value| is_attempt_id(request, value),
        may_be_left_out: Some(ATTEMPT_ID),
    },
    Place {
        name: "token of the metadata",
        calls: &[Call::Metadata],
        put: |parts, value| put_text(&mut parts.token, value),
        is_meant: |_, request, value| {
            request.field("authorization") == Some(&[b"Bearer ", value].concat())
        },
        may_be_left_out: None,
    },
    Place {
        name: "name of an extension",
        calls: &[Call::Register],
        put: |parts, value| put_text(&mut parts.extension, value),
        is_meant: |_, request, value| request.field("lambda-extension-name") == Some(value),
        may_be_left_out: None,
    },
    Place {
        name: "identifier of an extension",
        calls: &[Call::ExtensionNext, Call::ExtensionInitError, Call::ExtensionExitError],
        put: |parts, value| put_bytes(&mut parts.identifier, value),
        is_meant: |_, request, value| {
            request.field("lambda-extension-identifier") == Some(first_line(value))
        },
        may_be_left_out: None,
    },
    Place {
        name: "name of a header of an HTTP response",
        calls: &[Call::HttpStream],
        put: |parts, value| put_text(&mut parts.headers[0].0, value),
        is_meant: |_, request, value| {
            let prelude = prelude(request);
            let headers = prelude["headers"].as_object().expect("an object");
            headers.len() == 1 && headers.contains_key(text(value))
        },
        may_be_left_out: None,
    },
    Place {
        name: "value of a header of an HTTP response",
        calls: &[Call::HttpStream],
        put: |parts, value| put_text(&mut parts.headers[0].1, value),
        is_meant: |_, request, value| {
            let prelude = prelude(request);
            let headers = prelude["headers"].as_object().expect("an object");
            headers.len() == 1 && headers.values().all(|it| it == text(value))
        },
        may_be_left_out: None,
    },
    Place {
        name: "cookie of an HTTP response",
        calls: &[Call::HttpStream],
        put: |parts, value| put_text(&mut parts.cookies[0], value),
        is_meant: |_, request, value| {
            prelude(request)["cookies"] == serde_json::json!([text(value)])
        },
        may_be_left_out: None,
    },
    Place {
        name: "user agent",
        calls: &[Call::Next, Call::RestoreNext, Call::Error, Call::Register],
        put: |parts, value| put_text(&mut parts.user_agent, value),
        is_meant: |_, request, value| request.field("user-agent") == Some(value),
        may_be_left_out: None,
    },
    Place {
        name: "endpoint, its host",
        calls: &[Call::Next, Call::Error],
        put: |parts, value| put_text(&mut parts.endpoint, value),
        is_meant: |_, request, value| {
            let value = text(value);
            let scheme = value.get(..7).filter(|it| it.eq_ignore_ascii_case("http://"));
            let rest = &value[scheme.map_or(0, str::len)..];
            let authority = rest.split('/').next().unwrap_or_default();
            request.field("host") == Some(authority.as_bytes())
        },
        may_be_left_out: None,
    },
    Place {
        name: "endpoint, its path prefix",
        calls: &[Call::Next, Call::Error],
        put: |parts, value| {
            parts.endpoint = "127.0.0.1:9001/".to_owned();
            str::from_utf8(value).map(|value| parts.endpoint += value).is_ok()
        },
        is_meant: |_, request, value| {
            let prefix = format!("/{}", text(value));
            request.target.starts_with(&format!("{}/2018-06-01/", prefix.trim_end_matches('/')))
        },
        may_be_left_out: None,
    },
];

fn put_text(place: &mut String, value: &[u8]) -> bool {
    str::from_utf8(value).map(|value| *place = value.to_owned()).is_ok()
}

fn put_bytes(place: &mut Vec<u8>, value: &[u8]) -> bool {
    *place = value.to_vec();
    true
}

fn text(value: &[u8]) -> &str {
    str::from_utf8(value).expect("it was put there as text")
}

/// A field value as it arrives: without the blanks around it [RFC 9112 section 5].
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The field value that results if a service writes a value without any checks.
fn first_line(value: &[u8]) -> &[u8] {
    let end = value.windows(2).position(|it| it == b"\r\n").unwrap_or(value.len());
    trimmed(&value[..end])
}

/// The id in the path of an answer.
fn request_id(request: &Request) -> Option<Vec<u8>> {
    let segment = request.target.rsplit('/').nth(1)?;
    let mut parts = segment.split('%');
    let mut id = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        id.push(u8::from_str_radix(digits, 16).ok()?);
        id.extend_from_slice(rest.as_bytes());
    }
    Some(id)
}

/// Checks that the attempt id is echoed unchanged, or left out if it is not valid in a header or
/// longer than any id.
fn is_attempt_id(request: &Request, value: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let is_usable = (1..=256).contains(&value.len()) && !value.iter().any(is_control);
    match request.field(ATTEMPT_ID) {
        Some(field) => is_usable && field == trimmed(value),
        None => !is_usable,
    }
}

/// The JSON of an error.
fn report(call: Call, request: &Request) -> Value {
    let trailer = request.trailer("lambda-runtime-function-error-body");
    let decoded = trailer.map(|it| STANDARD.decode(it).expect("base64"));
    let json = if call == Call::StreamWithError {
        decoded.expect("it is there")
    } else {
        request.body.clone()
    };
    serde_json::from_slice(&json).expect("JSON")
}

/// The least number of bytes that a report has for its message.
fn room(call: Call) -> usize {
    if call == Call::StreamWithError { 2_500 } else { MAX_ERROR_BODY - 1_000 }
}

/// Whether this is the value, or its beginning if it may be cut for lack of room.
fn is_start(json: &Value, value: &[u8], room: usize) -> bool {
    let Some(start) = json.as_str() else { return false };
    let is_cut = start.len() < value.len();
    // An escape has at most six bytes.
    text(value).starts_with(start) && (!is_cut || value.len() * 6 > room)
}

fn prelude(request: &Request) -> Value {
    let end = request.body.windows(8).position(|it| it == [0; 8]).expect("the end of a prelude");
    serde_json::from_slice(&request.body[..end]).expect("JSON")
}
