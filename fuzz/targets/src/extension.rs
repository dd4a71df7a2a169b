//! An extension with arbitrary operations.

use std::mem;

use lambda_proto::api::{Endpoint, ErrorReport};
use lambda_proto_extension::subscription::{
    Destination, Listener, LogsSchema, Subscription, TelemetryTypes,
};
use lambda_proto_extension::{
    Event, Extension, ExtensionName, ExternalEvents, InternalEvents, Phase, ReceiveError, Refusal,
    Registrant,
};

use crate::input::Input;
use crate::wire;

/// Runs commands in any order, writes of any length, replies of the service and arbitrary bytes,
/// and lost connections. Received bytes are read as a whole and byte by byte.
///
/// A refused command changes nothing, and the extension sends well-formed requests, the last of
/// which may be cut off.
pub fn extension(data: &[u8]) {
    let mut input = Input::new(data);
    let endpoint = Endpoint::parse("lab:9001").expect("an address");
    let mut extension = Extension::new(endpoint);
    let mut out = vec![0; 4096];
    let (mut wire, mut pending) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        let operation = input.byte();
        let before = format!("{extension:?}");
        let given = match operation % 16 {
            0 => extension.next(&mut out),
            1 => {
                let name = String::from_utf8_lossy(input.piece()).into_owned();
                let Ok(name) = ExtensionName::new(&name) else { continue };
                let registrant = match operation >> 4 {
                    0 => Registrant::external(name, ExternalEvents::InvokeAndShutdown),
                    1 => Registrant::external(name, ExternalEvents::Invoke).with_account_id(),
                    2 => Registrant::internal(name, InternalEvents::Invoke),
                    _ => Registrant::managed_internal(name),
                };
                extension.register(&registrant, &mut out)
            }
            2 => {
                let name = ExtensionName::new("a").expect("a name");
                let registrant = Registrant::internal(name, InternalEvents::None);
                extension.register(&registrant, &mut out)
            }
            14 => {
                let path = String::from_utf8_lossy(input.piece()).into_owned();
                let port = u16::from(operation >> 4) * 3_000;
                let Ok(listener) = Listener::on_port(port) else { continue };
                let destination = match Destination::http_at(listener, &path) {
                    Ok(destination) => destination,
                    Err(_) if path.is_empty() => Destination::http(listener),
                    Err(_) => Destination::tcp(listener),
                };
                let subscription = match operation >> 6 {
                    0 => Subscription::logs(LogsSchema::default(), TYPES, destination),
                    _ => Subscription::telemetry(TYPES, destination),
                };
                extension.subscribe(&subscription, &mut out)
            }
            3 => extension.fail_init(&REPORT, &mut out),
            4 => extension.fail(&REPORT, &mut out),
            5 => extension.next(&mut out[..usize::from(operation)]),
            6 => {
                extension.shut_down();
                assert_eq!(extension.phase(), Phase::Over);
                continue;
            }
            7 => {
                let _any_will_do = extension.end_of_stream();
                lose(&mut extension, &mut wire, &mut pending);
                continue;
            }
            8 => {
                lose(&mut extension, &mut wire, &mut pending);
                continue;
            }
            9 => {
                send(&mut extension, &out, &mut wire, usize::from(operation >> 4));
                continue;
            }
            10..=13 => {
                let answer = ANSWERS[usize::from(operation >> 4) % ANSWERS.len()];
                pending.extend_from_slice(answer);
                receive(&mut extension, &mut pending);
                continue;
            }
            _ => {
                pending.extend_from_slice(input.piece());
                receive(&mut extension, &mut pending);
                continue;
            }
        };
        match given {
            Ok(_) => send(
                &mut extension,
                &out,
                &mut wire,
                match operation % 16 {
                    5 => 0,
                    _ => usize::MAX,
                },
            ),
            Err(error) => {
                wire::check_line(error);
                assert_eq!(format!("{extension:?}"), before);
            }
        }
        let identifier = extension.identifier();
        assert!(identifier.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    wire::requests(&wire);
}

const TYPES: TelemetryTypes = TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION);

const REPORT: ErrorReport<'static> =
    ErrorReport::new("Extension.\r\nBroken\u{e9}", "it \"broke\"\r\n\0");

const ANSWERS: [&[u8]; 8] = [
    b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: c7d2\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nLambda-Extension-Event-Identifier: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\nto the end",
    b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier:  \r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: c7d2\r\nContent-Length: 9999\r\n\r\n{",
];

fn send(extension: &mut Extension, out: &[u8], wire: &mut Vec<u8>, most: usize) {
    let unsent = extension.unsent(out);
    let length = unsent.len().min(most);
    wire.extend_from_slice(&unsent[..length]);
    extension.sent(length);
}

fn lose(extension: &mut Extension, wire: &mut Vec<u8>, pending: &mut Vec<u8>) {
    let was_over = extension.phase() == Phase::Over;
    let _recovery = extension.on_disconnect();
    assert!(!was_over || extension.phase() == Phase::Over);
    assert!(!extension.must_reconnect() && extension.unsent(&[0; 9999]).is_empty());
    wire::requests(wire);
    wire.clear();
    pending.clear();
}

/// Replies, joined documents, and the error if there was one.
type Seen = (Vec<String>, Vec<u8>, Option<ReceiveError>);

fn receive(extension: &mut Extension, pending: &mut Vec<u8>) {
    let mut copy = extension.clone();
    let (seen, left) = take(extension, pending, [pending.len()]);
    let (slowly, left_slowly) = take(&mut copy, pending, 1..=pending.len());
    assert_eq!(slowly, seen);
    assert_eq!(left_slowly, left);
    assert_eq!(format!("{copy:?}"), format!("{extension:?}"));
    pending.drain(..pending.len() - left);
}

/// Receives bytes that arrive up to each of these ends; returns the events and how many bytes are
/// left.
fn take(
    extension: &mut Extension,
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
) -> (Seen, usize) {
    let (mut replies, mut document) = (Vec::new(), Vec::new());
    let (mut consumed, mut begin) = (0, 0);
    for end in ends {
        let mut input = &bytes[consumed..end];
        loop {
            match extension.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Document(piece))) => {
                    assert!(!piece.is_empty());
                    assert_eq!(piece.as_ptr_range().end, input.as_ptr());
                    document.extend_from_slice(piece);
                }
                Ok(Some(Event::Reply(reply))) => {
                    replies.push(format!("{reply} after {} bytes", document.len()));
                    let of_reply = &document[mem::replace(&mut begin, document.len())..];
                    if reply.is_accepted() {
                        let _event_or_error = extension.read_event(of_reply);
                    } else {
                        let shown = &of_reply[..of_reply.len().min(4096)];
                        wire::check_line(Refusal::parse(reply, shown));
                    }
                }
                Err(error) => {
                    wire::check_line(error);
                    return ((replies, document, Some(error)), 0);
                }
            }
        }
        consumed = end - input.len();
    }
    ((replies, document, None), bytes.len() - consumed)
}
