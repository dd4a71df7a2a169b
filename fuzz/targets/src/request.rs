//! Encodes requests, and reads them with httparse.

use lambda_proto::api::{
    ContentType, Endpoint, ErrorReport, InvocationIds, Request, ResponseLength,
};
use lambda_proto::http::BufferTooSmall;
use lambda_proto::limits::{MAX_ID, MAX_REQUEST_HEAD};

use crate::input::Input;
use crate::wire;

const PREFIX: &str = "/.rt/a%20b";
const AUTHORITY: &str = "[::1]:9001";

/// Another parser reads the same request, with every value in its place, for all ids, content types
/// and texts.
///
/// Two bytes say which request it is and whether it is streamed, eight are the length of its body.
/// The texts follow, each up to a NUL; the last is the attempt id.
pub fn request(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte() % 6;
    let is_streamed = input.flag();
    let length = u64::from_le_bytes([(); 8].map(|()| input.byte()));
    let request_id = input.text(0);
    let content_type = input.until(0);
    let [error_type, message, stack] = [(); 3].map(|()| input.text(0));
    let attempt_id = input.rest();

    let endpoint = Endpoint::parse(&format!("http://{AUTHORITY}{PREFIX}")).expect("an address");
    let endpoint = endpoint.with_user_agent("fuzz/1 (a)").expect("a user agent");
    let is_usable = (1..=MAX_ID).contains(&request_id.len());
    let Some(ids) = InvocationIds::new(&request_id, Some(attempt_id)) else {
        return assert!(!is_usable);
    };
    assert!(is_usable);
    let is_field =
        |value: &[u8]| value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    let is_kept = (1..=MAX_ID).contains(&attempt_id.len()) && is_field(attempt_id);
    assert_eq!(ids.attempt_id(), is_kept.then_some(attempt_id));
    let content_type = ContentType::from_bytes(content_type).ok();
    let report = ErrorReport::new(&error_type, &message).stack_trace(&stack);

    let request = match kind {
        0 => Request::Response {
            ids: &ids,
            content_type,
            length: match is_streamed {
                true => ResponseLength::Streamed,
                false => ResponseLength::Buffered(length),
            },
        },
        1 => Request::Error { ids: &ids, report },
        2 => Request::InitError { report },
        3 => Request::RestoreError { report },
        4 => Request::Next,
        _ => Request::RestoreNext,
    };
    let bytes = encode(|out| request.encode(&endpoint, out));
    let (head, read) = read_head(&bytes);

    let of_invocation = |call: &str| {
        let path = format!("{PREFIX}/2018-06-01/runtime/invocation/");
        let id = read.path.strip_prefix(&path).and_then(|path| path.strip_suffix(call));
        assert_eq!(wire::decode_segment(id.expect("an id")), request_id.as_bytes());
        assert!(!id.expect("an id").contains(['/', '?', '#']));
        read.path.to_owned()
    };
    let attempt = ids.attempt_id().map(|id| ("Lambda-Runtime-Invocation-Id", id));
    let mut expected = vec![("Host", AUTHORITY.as_bytes()), ("User-Agent", b"fuzz/1 (a)")];
    let (method, path) = match kind {
        0 => {
            expected.extend(attempt);
            let content_type = content_type.as_ref().map(ContentType::as_bytes);
            expected.extend(content_type.map(|value| ("Content-Type", value)));
            ("POST", of_invocation("/response"))
        }
        1 => {
            expected.extend(attempt);
            ("POST", of_invocation("/error"))
        }
        2 => ("POST", format!("{PREFIX}/2018-06-01/runtime/init/error")),
        3 => ("POST", format!("{PREFIX}/2018-06-01/runtime/restore/error")),
        4 => ("GET", format!("{PREFIX}/2018-06-01/runtime/invocation/next")),
        _ => ("GET", format!("{PREFIX}/2018-06-01/runtime/restore/next")),
    };
    assert_eq!((read.method, read.path), (method, &*path));

    let length = match kind {
        0 if is_streamed => None,
        0 => Some(length),
        1..=3 => Some((bytes.len() - head) as u64),
        _ => None,
    };
    let length = length.map(|length| length.to_string());
    if kind == 0 && is_streamed {
        expected.extend([
            ("Lambda-Runtime-Function-Response-Mode", &b"streaming"[..]),
            ("Transfer-Encoding", b"chunked"),
            ("Trailer", b"Lambda-Runtime-Function-Error-Type"),
            ("Trailer", b"Lambda-Runtime-Function-Error-Body"),
        ]);
    }
    let header_type = header_type(&error_type);
    if let 1..=3 = kind {
        expected.push(("Content-Type", b"application/vnd.aws.lambda.error+json"));
        expected.push(("Lambda-Runtime-Function-Error-Type", header_type.as_bytes()));
        serde_json::from_slice::<serde_json::Value>(&bytes[head..]).expect("JSON");
    } else {
        assert_eq!(bytes.len(), head);
        assert!(head <= MAX_REQUEST_HEAD);
    }
    expected.extend(length.as_ref().map(|length| ("Content-Length", length.as_bytes())));
    // White space around a value is not part of it.
    let expected = expected.iter().map(|(name, value)| (*name, trim(value)));
    assert!(expected.eq(read.fields.iter().copied()), "{:?}", read.fields);
}

/// Encodes into a buffer of exactly the needed length. One byte less must be refused.
pub(crate) fn encode(write: impl Fn(&mut [u8]) -> Result<usize, BufferTooSmall>) -> Vec<u8> {
    let needed = match write(&mut []) {
        Ok(length) => length,
        Err(too_small) => too_small.needed,
    };
    if let Some(less) = needed.checked_sub(1) {
        assert_eq!(write(&mut vec![0; less]), Err(BufferTooSmall { needed }));
    }
    let mut out = vec![0; needed];
    assert_eq!(write(&mut out), Ok(needed));
    let mut longer = vec![0; needed + 9];
    assert_eq!(write(&mut longer), Ok(needed));
    assert_eq!(longer[..needed], out);
    out
}

/// Parses a head, and returns it with its length.
fn read_head(bytes: &[u8]) -> (usize, Head<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).expect("a request");
    let httparse::Status::Complete(length) = parsed else { panic!("a whole head") };
    assert_eq!(request.version, Some(1));
    let head = Head {
        method: request.method.expect("a whole head has one"),
        path: request.path.expect("a whole head has one"),
        fields: request.headers.iter().map(|field| (field.name, field.value)).collect(),
    };
    (length, head)
}

struct Head<'b> {
    method: &'b str,
    path: &'b str,
    fields: Vec<(&'b str, &'b [u8])>,
}

/// The type of an error as it appears in a header.
pub(crate) fn header_type(error_type: &str) -> String {
    let error_type = if error_type.is_empty() { "Runtime.Unknown" } else { error_type };
    let visible = |character: char| if character.is_ascii_graphic() { character } else { '_' };
    error_type.chars().take(lambda_proto::limits::MAX_ERROR_TYPE).map(visible).collect()
}

fn trim(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
