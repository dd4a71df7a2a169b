//! A caller that sees the whole reply: status, headers, trailers, and the start of a body that is
//! cut off.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request to send.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// The reply to it.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: String,
    /// Names in lower case, in alphabetical order, without [`NOT_COMPARED`].
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The connection ended before the reply did.
    pub(crate) is_cut_off: bool,
}

/// How long to wait: no request here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Headers that describe only how the body is sent, and the time, which always differs.
const NOT_COMPARED: [&str; 4] = ["connection", "content-length", "date", "transfer-encoding"];

/// Sends a request on a new connection, and reads until the connection ends.
pub(crate) fn send(address: SocketAddr, request: &Request) -> Response {
    let Request { method, path, headers, body } = request;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));

    let mut stream = TcpStream::connect(address).expect("the service listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    // A service may reply and close the connection before it has read the whole request.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let is_over = error.kind() == ErrorKind::ConnectionReset;
        assert!(is_over, "no reply to {method} {path}: {error}");
    }
    parse(&bytes, *method == "HEAD")
}

fn parse(bytes: &[u8], is_without_body: bool) -> Response {
    let Some((head, rest)) = split(bytes, b"\r\n\r\n") else {
        return Response { is_cut_off: true, ..Response::default() };
    };
    let head = String::from_utf8_lossy(head);
    let (status, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
    let fields = fields_of(fields);
    let field = |name: &str| fields.iter().find(|(it, _)| it == name).map(|(_, it)| it.as_str());
    let length = field("content-length").and_then(|length| length.parse::<usize>().ok());
    let mut response = match (field("transfer-encoding"), length) {
        _ if is_without_body => Response::default(),
        (Some("chunked"), _) => dechunk(rest),
        (_, Some(length)) => {
            let is_cut_off = rest.len() < length;
            Response { body: rest.to_vec(), is_cut_off, ..Response::default() }
        }
        _ => Response { body: rest.to_vec(), ..Response::default() },
    };
    response.status = status.split(' ').nth(1).unwrap_or_default().to_owned();
    response.headers =
        fields.into_iter().filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str())).collect();
    response
}

fn dechunk(mut rest: &[u8]) -> Response {
    let mut response = Response { is_cut_off: true, ..Response::default() };
    while let Some((size, data)) = split(rest, b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(size), 16);
        let size = size.expect("a size in hexadecimal digits before every chunk");
        if size == 0 {
            if let Some((trailers, _)) = split(rest, b"\r\n\r\n") {
                let trailers = String::from_utf8_lossy(trailers);
                response.trailers = fields_of(trailers.split_once("\r\n").unwrap_or_default().1);
                response.is_cut_off = false;
            }
            return response;
        }
        response.body.extend_from_slice(&data[..size.min(data.len())]);
        rest = data.get(size + 2..).unwrap_or_default();
    }
    response
}

/// Names in lower case with their values, sorted.
fn fields_of(lines: &str) -> Vec<(String, String)> {
    let fields = lines.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut fields: Vec<_> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    fields.sort();
    fields
}

fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let position = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..position], &bytes[position + at.len()..]))
}

#[test]
fn replies_with_a_length_in_chunks_with_trailers_and_cut_off_are_read() {
    let head = "HTTP/1.1 200 OK\r\nDate: now\r\nX-B: 2\r\nx-a: 1\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (rest, body, trailers, is_cut_off) in [
        ("Content-Length: 3\r\n\r\nabc".to_owned(), "abc", 0, false),
        ("Content-Length: 4\r\n\r\nabc".to_owned(), "abc", 0, true),
        (format!("{chunked}3\r\nabc\r\n0\r\n\r\n"), "abc", 0, false),
        (format!("{chunked}3\r\nabc\r\n1\r\nd\r\n0\r\nX-C: 3\r\n\r\n"), "abcd", 1, false),
        (format!("{chunked}3\r\nabc\r\n"), "abc", 0, true),
        (format!("{chunked}4\r\nabc"), "abc", 0, true),
        (chunked.to_owned(), "", 0, true),
    ] {
        let response = parse(format!("{head}{rest}").as_bytes(), false);
        assert_eq!(response.status, "200");
        assert_eq!(response.headers, [("x-a".into(), "1".into()), ("x-b".into(), "2".into())]);
        let seen = (response.body, response.trailers.len(), response.is_cut_off);
        assert_eq!(seen, (body.into(), trailers, is_cut_off), "{rest}");
    }
    assert!(parse(b"HTTP/1.1 200 OK\r\n", false).is_cut_off);
}
