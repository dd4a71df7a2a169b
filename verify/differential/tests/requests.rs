//! Every request that `lambda-proto` writes, read by hyper's server and by httparse: both read the
//! intended request, and nothing else.

use std::net::Ipv6Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_proto_differential::{Call, Fields, Parts, Request, report_of, serve};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The intended content of a request, as the documentation of the service defines it.
struct Meant {
    method: &'static str,
    path: String,
    fields: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn meant(call: Call, parts: &Parts) -> Meant {
    let runtime = |path: String| format!("/2018-06-01/runtime/{path}");
    let extension = |path: &str| format!("/2020-01-01/extension/{path}");
    let invocation = |call: &str| {
        let id = percent_encoded(&parts.request_id);
        runtime(format!("invocation/{id}/{call}"))
    };
    let mut fields = vec![];
    let (method, path) = match call {
        Call::Next => ("GET", runtime("invocation/next".to_owned())),
        Call::RestoreNext => ("GET", runtime("restore/next".to_owned())),
        Call::Metadata => ("GET", "/2026-01-15/metadata/execution-environment".to_owned()),
        Call::ExtensionNext => ("GET", extension("event/next")),
        Call::Register => ("POST", extension("register")),
        Call::ExtensionInitError => ("POST", extension("init/error")),
        Call::ExtensionExitError => ("POST", extension("exit/error")),
        Call::InitError => ("POST", runtime("init/error".to_owned())),
        Call::RestoreError => ("POST", runtime("restore/error".to_owned())),
        Call::Error | Call::ErrorAlone => ("POST", invocation("error")),
        _ => ("POST", invocation("response")),
    };
    let mut body = parts.body.concat();
    let mut length = Some(body.len());
    match call {
        Call::Next | Call::RestoreNext | Call::ExtensionNext | Call::Metadata => {
            (body, length) = (vec![], None);
        }
        Call::Register => body = br#"{"events":["INVOKE","SHUTDOWN"]}"#.to_vec(),
        Call::InitError | Call::RestoreError | Call::Error | Call::ErrorAlone => {
            fields.push(("content-type", b"application/vnd.aws.lambda.error+json".to_vec()));
            fields.push(("lambda-runtime-function-error-type", error_type(parts)));
            if let Some(cause) = &parts.xray_cause {
                fields.push(("lambda-runtime-function-xray-error-cause", cause.clone().into()));
            }
            body = report(parts);
        }
        Call::ExtensionInitError | Call::ExtensionExitError => {
            fields.push(("lambda-extension-function-error-type", error_type(parts)));
            body = report(parts);
        }
        Call::HttpStream => {
            fields.push((
                "content-type",
                b"application/vnd.awslambda.http-integration-response".to_vec(),
            ));
        }
        _ => fields.push(("content-type", parts.content_type.clone())),
    }
    match call {
        Call::Metadata => fields.push(("authorization", format!("Bearer {}", parts.token).into())),
        Call::Register => {
            fields.push(("lambda-extension-name", parts.extension.clone().into()));
            fields.push(("lambda-extension-accept-feature", b"accountId".to_vec()));
        }
        Call::ExtensionNext | Call::ExtensionInitError | Call::ExtensionExitError => {
            fields.push(("lambda-extension-identifier", parts.identifier.clone()));
        }
        _ if path.contains("/invocation/") && method == "POST" && !parts.attempt_id.is_empty() => {
            fields.push(("lambda-runtime-invocation-id", parts.attempt_id.clone()));
        }
        _ => {}
    }
    if matches!(call, Call::Register | Call::ExtensionInitError | Call::ExtensionExitError) {
        fields.push(("content-type", b"application/json".to_vec()));
    }
    if matches!(call, Call::Stream | Call::StreamWithError | Call::HttpStream) {
        fields.push(("lambda-runtime-function-response-mode", b"streaming".to_vec()));
        fields.push(("transfer-encoding", b"chunked".to_vec()));
        fields.push(("trailer", b"Lambda-Runtime-Function-Error-Type".to_vec()));
        fields.push(("trailer", b"Lambda-Runtime-Function-Error-Body".to_vec()));
    } else if length.is_some() {
        fields.push(("content-length", body.len().to_string().into()));
    }
    fields.push(("user-agent", parts.user_agent.clone().into()));
    let (authority, prefix) = address(&parts.endpoint);
    fields.push(("host", authority.into()));
    fields.sort_by_key(|(name, _)| *name);
    Meant { method, path: prefix.to_owned() + &path, fields, body }
}

/// The authority and the path of the address of a service.
fn address(endpoint: &str) -> (&str, &str) {
    let endpoint = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    endpoint.split_at(endpoint.find('/').unwrap_or(endpoint.len()))
}

fn error_type(parts: &Parts) -> Vec<u8> {
    let visible = |it: char| if it.is_ascii_graphic() { it as u8 } else { b'_' };
    parts.error_type.chars().map(visible).collect()
}

/// The JSON of a report, which `json.rs` compares with serde_json.
fn report(parts: &Parts) -> Vec<u8> {
    let mut out = vec![0; 100_000];
    let length = report_of(parts).encode_json(&mut out).expect("room");
    out.truncate(length);
    out
}

/// A path segment in which all characters are escaped except the unreserved ones [RFC 3986 section
/// 2.3] and those that the service does not escape either.
fn percent_encoded(segment: &[u8]) -> String {
    let encode = |&byte: &u8| match byte.is_ascii_alphanumeric() || b"-._~$&+,;=:@".contains(&byte)
    {
        true => (byte as char).to_string(),
        false => format!("%{byte:02X}"),
    };
    segment.iter().map(encode).collect()
}

/// Checks a request as hyper reads it.
fn check(call: Call, parts: &Parts, request: &Request) {
    let meant = meant(call, parts);
    let fields: Fields =
        meant.fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let place = format!("{call:?} {parts:?}");
    assert_eq!((&*request.method, &request.target), (meant.method, &meant.path), "{place}");
    assert_eq!(request.fields, fields, "{place}");
    match call {
        Call::HttpStream => {
            let end = request.body.windows(8).position(|end| end == [0; 8]).expect("a prelude");
            let prelude: Value = serde_json::from_slice(&request.body[..end]).expect("JSON");
            let headers: Value =
                parts.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let meant = json!({"statusCode": 200, "headers": headers, "cookies": parts.cookies});
            assert_eq!((prelude, &request.body[end + 8..]), (meant, &parts.body.concat()[..]));
        }
        _ => assert_eq!(request.body, meant.body, "{place}"),
    }
    if call == Call::StreamWithError {
        let body = request.trailer("lambda-runtime-function-error-body").expect("it is there");
        assert_eq!(STANDARD.decode(body).expect("base64"), report(parts));
        let error_type_trailer = request.trailer("lambda-runtime-function-error-type");
        assert_eq!(error_type_trailer, Some(&error_type(parts)[..]), "{place}");
        assert_eq!(request.trailers.len(), 2, "{place}");
    } else {
        assert_eq!(request.trailers, [], "{place}");
    }
}

/// Reads one request with httparse and its body according to its fields; returns the bytes after
/// it.
fn parse(bytes: &[u8]) -> (Request, &[u8]) {
    let mut room = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut room);
    let end = parsed.parse(bytes).expect("a request").unwrap();
    assert_eq!(parsed.version, Some(1));
    let mut request = Request {
        method: parsed.method.expect("complete").to_owned(),
        target: parsed.path.expect("complete").to_owned(),
        fields: fields(parsed.headers),
        body: vec![],
        trailers: vec![],
    };
    let mut rest = &bytes[end..];
    if request.field("transfer-encoding").is_none() {
        let length = request.field("content-length").map_or("0", |it| str::from_utf8(it).unwrap());
        let (body, rest) = rest.split_at(length.parse().expect("a length"));
        request.body = body.to_vec();
        return (request, rest);
    }
    loop {
        let (line, size) = httparse::parse_chunk_size(rest).expect("a chunk").unwrap();
        rest = &rest[line..];
        if size == 0 {
            break;
        }
        let (data, behind) = rest.split_at(size as usize);
        request.body.extend_from_slice(data);
        rest = behind.strip_prefix(b"\r\n").expect("the end of a chunk");
    }
    let mut room = [httparse::EMPTY_HEADER; 4];
    let (end, trailers) = httparse::parse_headers(rest, &mut room).expect("trailers").unwrap();
    request.trailers = fields(trailers);
    (request, &rest[end..])
}

fn fields(headers: &[httparse::Header<'_>]) -> Fields {
    let named = headers.iter().map(|field| (field.name.to_lowercase(), field.value.to_vec()));
    let mut fields: Fields = named.collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

/// The requests that httparse reads from these bytes.
fn parse_all(mut bytes: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let (request, rest) = parse(bytes);
        requests.push(request);
        bytes = rest;
    }
    requests
}

/// Checks all calls with these parts, each alone and after another one.
fn check_all(parts: &Parts) {
    let mut before: Option<(Call, Vec<u8>)> = None;
    for call in Call::ALL {
        let bytes =
            call.encode(parts).unwrap_or_else(|error| panic!("{call:?} {parts:?}: {error}"));
        let calls: &[Call] = match call {
            Call::ResponseAndNext => &[Call::Response, Call::Next],
            _ => &[call],
        };
        check_requests(calls, parts, &bytes);
        if let Some((earlier, bytes_before)) = before {
            let calls = [&[earlier], calls].concat();
            check_requests(&calls, parts, &[bytes_before, bytes.clone()].concat());
        }
        before = (call != Call::ResponseAndNext).then_some((call, bytes));
    }
}

fn check_requests(calls: &[Call], parts: &Parts, bytes: &[u8]) {
    let served = serve(bytes);
    assert_eq!((served.left, &served.error), (0, &None), "{calls:?} {parts:?}");
    assert_eq!(served.requests, parse_all(bytes), "{calls:?} {parts:?}");
    assert_eq!(served.requests.len(), calls.len(), "{calls:?} {parts:?}");
    for (call, request) in calls.iter().zip(&served.requests) {
        check(*call, parts, request);
    }
}

#[test]
fn harmless_requests_are_read_as_intended() {
    check_all(&Parts::harmless());
}

#[test]
fn requests_to_every_kind_of_address_are_read_as_intended() {
    for endpoint in [
        "169.254.100.1:9001",
        "localhost",
        "http://[::1]:9000",
        "[fe80::1:2]:65535",
        "http://127.0.0.1:9000/.rt/hello",
        "http://[2001:db8::7]/a%20b/c%2Fd/-._~!$&'()*+,;=:@",
    ] {
        check_all(&Parts { endpoint: endpoint.to_owned(), ..Parts::harmless() });
    }
}

#[test]
fn bodies_that_look_like_requests_are_read_as_bodies() {
    let pieces =
        ["", "\r\n", "0\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "5\r\nhello"];
    for piece in pieces {
        let body = vec![piece.into(), "x".into(), piece.into()];
        check_all(&Parts { body, ..Parts::harmless() });
    }
    check_all(&Parts { body: vec![], ..Parts::harmless() });
    check_all(&Parts { body: vec![vec![b'\n'; 1 << 20], vec![0; 70_000]], ..Parts::harmless() });
}

#[test]
fn requests_without_their_optional_parts_are_read_as_intended() {
    check_all(&Parts { attempt_id: vec![], xray_cause: None, ..Parts::harmless() });
}

/// Bytes that are allowed in a field value.
fn field_value(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let inside = prop_oneof![4 => 0x20u8..0x7f, 1 => 0x80u8.., 1 => Just(b'\t')];
    let edge = || prop_oneof![4 => 0x21u8..0x7f, 1 => 0x80u8..];
    (edge(), prop::collection::vec(inside, 0..most - 1), edge())
        .prop_map(|(first, inside, last)| [&[first][..], &inside, &[last]].concat())
}

fn parts() -> impl Strategy<Value = Parts> {
    let port = "(:[1-9][0-9]{0,3})?";
    let address = (
        prop_oneof![Just(""), Just("http://")],
        prop_oneof![
            "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?",
            any::<Ipv6Addr>().prop_map(|address| format!("[{address}]")),
        ],
        port,
        prop_oneof![
            Just(String::new()),
            "(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2}){1,8}){1,3}"
        ],
    );
    let address =
        address.prop_map(|(scheme, host, port, path)| format!("{scheme}{host}{port}{path}"));
    let ids = ("[^\\p{Cc}\\s]([^\\p{Cc}]{0,30}[^\\p{Cc}\\s])?", field_value(40));
    let answers =
        (field_value(60), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4));
    let error = (
        "[ -~]{1,60}|[^\n\r]{1,30}",
        any::<String>(),
        any::<String>(),
        prop::option::of("[!-~]([ -~]{0,30}[!-~])?"),
    );
    let http = (
        prop::collection::btree_map("[a-z0-9!#$%&'*+.^_`|~-]{1,12}", "[^\\p{Cc}]{0,20}", 0..3),
        prop::collection::vec("[^\\p{Cc}]{0,20}", 0..3),
    );
    let others = (
        "[!-~]{1,40}",
        "[^\\p{Cc}\\s]([^\\p{Cc}]{0,30}[^\\p{Cc}\\s])?",
        "[!-~]{1,64}",
        "[!-~]([ -~]{0,40}[!-~])?",
    );
    (address, ids, answers, error, http, others).prop_map(
        |(address, ids, (content_type, body), error, http, others)| Parts {
            endpoint: address,
            user_agent: others.3,
            request_id: ids.0.into(),
            attempt_id: ids.1,
            content_type,
            body,
            error_type: error.0,
            message: error.1,
            stack_trace: error.2,
            xray_cause: error.3,
            headers: http.0.into_iter().collect(),
            cookies: http.1,
            token: others.0,
            extension: others.1,
            identifier: others.2.into(),
        },
    )
}

proptest! {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..Default::default() })]

    #[test]
    fn any_requests_are_read_as_intended(parts in parts()) {
        check_all(&parts);
    }
}
