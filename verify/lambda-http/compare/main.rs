//! The same events and responses through lambda_http and through `lambda_proto_tokio::http`.
//!
//! `differences.md` has every difference with its reason. The test fails if the file says anything
//! else; with `UPDATE=1` it writes the file.

mod listed;
mod ours;
mod theirs;

use std::collections::BTreeMap;

use lambda_http::Response;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;

use listed::{LATIN, Listed, NOT_UTF_8};

/// A request or an answer, as names and values that can be compared.
type Fields = BTreeMap<String, String>;

/// The vectors of each source.
const SOURCES: [(&str, &str); 6] = [
    ("function URL", include_str!("../../../transport-tokio/tests/http/vectors/function_url.json")),
    ("HTTP API 2.0", include_str!("../../../transport-tokio/tests/http/vectors/http_api.json")),
    ("HTTP API 1.0", include_str!("../../../transport-tokio/tests/http/vectors/http_api_v1.json")),
    ("REST API", include_str!("../../../transport-tokio/tests/http/vectors/rest_api.json")),
    (
        "load balancer",
        include_str!("../../../transport-tokio/tests/http/vectors/load_balancer.json"),
    ),
    (
        "load balancer with lists",
        include_str!("../../../transport-tokio/tests/http/vectors/load_balancer_multi.json"),
    ),
];

#[test]
fn requests_and_answers_differ_only_where_it_is_listed() {
    let mut listed = Listed::default();
    for (source, vectors) in SOURCES {
        let document: Value = serde_json::from_str(vectors).unwrap();
        for vector in document["vectors"].as_array().unwrap() {
            let event = changed(&document["event"], &vector["event"]).to_string();
            let case = format!("{source}: {}", vector["name"].as_str().unwrap());
            listed.compare(&case, theirs::request(&event), ours::request(&event));
        }
        let event = document["event"].to_string();
        for (name, response) in responses() {
            let case = format!("{source}: {name}");
            let theirs = theirs::answer(&event, response.clone());
            let theirs = theirs.map(|answer| effective(source, &answer));
            let ours = effective(source, &ours::answer(&event, response));
            listed.compare(&case, theirs, Ok(ours));
        }
        if ["function URL", "REST API"].contains(&source) {
            let case = format!("{source}: a streamed response");
            let [theirs, ours] =
                [theirs::streamed(&event, streamed()), ours::streamed(&event, streamed())];
            listed.compare(&case, Ok(theirs), Ok(ours));
        }
    }
    listed.check();
}

/// What an application sees of a request beside that request.
struct Told<'r> {
    /// The kind of its context.
    context: &'static str,
    stage: Option<&'r str>,
    /// The address of the client.
    client: Option<String>,
}

/// What an application sees of a request. The encoding of the query and the order of parameters
/// with different names are left out: lambda_http keeps parameters in a hash map.
fn request(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8], told: Told<'_>) -> Fields {
    let mut fields = Fields::new();
    fields.insert("context".to_owned(), told.context.to_owned());
    fields.insert("stage".to_owned(), told.stage.unwrap_or_default().to_owned());
    fields.insert("client".to_owned(), told.client.unwrap_or_default());
    fields.insert("method".to_owned(), method.to_string());
    fields.insert("path".to_owned(), uri.path().to_owned());
    fields.insert("body".to_owned(), body.escape_ascii().to_string());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        fields.entry(format!("parameter {name:?}")).or_default().push_str(&format!("{value:?} "));
    }
    for (name, value) in headers {
        let value = value.as_bytes().escape_ascii();
        fields.entry(format!("header `{name}`")).or_default().push_str(&format!("\"{value}\" "));
    }
    fields
}

/// Responses by their names.
fn responses() -> [(String, Response<Vec<u8>>); 6] {
    let of = |what: &str, headers: &[(&str, &[u8])], body: &[u8]| {
        let mut response = Response::new(body.to_vec());
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            response.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        (format!("a response {what}"), response)
    };
    let latin = b"text/plain; charset=iso-8859-1";
    [
        of("with text", &[("content-type", b"text/plain")], "Ad\u{e9}".as_bytes()),
        of("with bytes", &[("content-type", b"application/octet-stream")], &[0, 0xff]),
        of(LATIN, &[("content-type", latin)], b"Ad\xe9"),
        of("with two values of a header", &[("vary", b"accept"), ("vary", b"cookie")], b""),
        of("with two cookies", &[("set-cookie", b"a=1"), ("set-cookie", b"b=2")], b""),
        of(NOT_UTF_8, &[("x-latin", b"Ad\xe9")], b""),
    ]
}

/// The response that is streamed.
fn streamed() -> Response<Vec<u8>> {
    let mut response = Response::new(b"one\ntwo\n".to_vec());
    *response.status_mut() = StatusCode::ACCEPTED;
    for (name, value) in [
        ("content-type", "text/plain"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("vary", "accept"),
        ("vary", "cookie"),
    ] {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    response
}

/// What is in a stream: the JSON with which it begins, and the body.
fn stream(prelude: &Value, body: &[u8]) -> Fields {
    let mut fields = Fields::new();
    fields.insert("status".to_owned(), prelude["statusCode"].to_string());
    fields.insert("cookies".to_owned(), prelude["cookies"].to_string());
    for (name, value) in prelude["headers"].as_object().unwrap() {
        fields.insert(format!("response header `{name}`"), value.to_string());
    }
    fields.insert("body".to_owned(), body.escape_ascii().to_string());
    fields
}

/// What the source makes of an answer.
fn effective(source: &str, answer: &Value) -> Fields {
    let mut fields = Fields::new();
    fields.insert("status".to_owned(), answer["statusCode"].to_string());
    fields.insert("reason".to_owned(), answer["statusDescription"].to_string());
    fields.insert("base64".to_owned(), answer["isBase64Encoded"].to_string());
    fields.insert("body".to_owned(), answer["body"].as_str().unwrap_or_default().to_owned());
    let mut add = |name: &str, value: &Value| {
        let name = format!("response header `{}`", name.to_ascii_lowercase());
        fields.entry(name).or_default().push_str(&format!("{value} "));
    };
    // Format 2.0, and load balancers without multi-value headers, read one value for each name.
    let is_single = ["function URL", "HTTP API 2.0", "load balancer"].contains(&source);
    let members = |name: &str| answer[name].as_object().cloned().unwrap_or_default();
    for (name, value) in members("headers").iter().filter(|_| is_single) {
        add(name, value);
    }
    for (name, values) in members("multiValueHeaders").iter().filter(|_| !is_single) {
        values.as_array().unwrap().iter().for_each(|value| add(name, value));
    }
    for cookie in answer["cookies"].as_array().unwrap_or(&Vec::new()) {
        add("set-cookie", cookie);
    }
    fields
}

/// A JSON merge patch (RFC 7396): null removes a member.
fn changed(value: &Value, changes: &Value) -> Value {
    let Value::Object(changes) = changes else { return changes.clone() };
    let mut members = value.as_object().cloned().unwrap_or_default();
    for (name, change) in changes {
        match members.remove(name) {
            _ if change.is_null() => {}
            member => {
                members.insert(name.clone(), changed(&member.unwrap_or_default(), change));
            }
        }
    }
    members.into()
}
