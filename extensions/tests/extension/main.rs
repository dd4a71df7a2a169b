//! The Extensions API: protocol.md 6.

mod commands;
mod documents;
mod losses;
#[path = "../phase_table/mod.rs"]
mod phase_table;
mod recorded;
mod refusals;
mod replies;
mod subscriptions;
mod table;

use lambda_proto::api::{Endpoint, ErrorReport};
use lambda_proto_extension::{
    Call, CommandError, Event, Extension, ExtensionName, InternalEvents, Phase, ReceiveError,
    Registrant,
};
use phase_table::Command;

const REGISTERED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Lambda-Extension-Identifier: c7d2\r\nContent-Length: 2\r\n\r\n{}";
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}";
const SHUTDOWN: &str = r#"{"eventType":"SHUTDOWN","deadlineMs":7,"shutdownReason":"spindown"}"#;
const EVENT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"eventType\":\"INVOKE\"}";

fn name(name: &str) -> ExtensionName<'_> {
    ExtensionName::new(name).expect("a name")
}

fn report() -> ErrorReport<'static> {
    ErrorReport::new("Extension.NoSuchTable", "it broke")
}

fn fresh() -> Extension {
    let endpoint = Endpoint::parse("127.0.0.1").expect("an address");
    Extension::new(endpoint.with_user_agent("test").expect("a visible word"))
}

/// Gives a command, sends the whole request, and returns its text.
fn send(
    extension: &mut Extension,
    command: impl FnOnce(&mut Extension, &mut [u8]) -> Result<usize, CommandError>,
) -> String {
    let mut out = [0; 1024];
    let length = command(extension, &mut out).expect("it is allowed");
    assert_eq!(extension.unsent(&out), &out[..length]);
    extension.sent(length);
    assert_eq!(extension.unsent(&out), b"");
    String::from_utf8(out[..length].to_vec()).expect("text")
}

fn register(extension: &mut Extension) -> String {
    let registrant = Registrant::internal(name("inproc"), InternalEvents::None);
    send(extension, |extension, out| extension.register(&registrant, out))
}

fn next(extension: &mut Extension) -> String {
    send(extension, Extension::next)
}

/// An extension in this phase.
fn in_phase(phase: Phase) -> Extension {
    let mut extension = fresh();
    if phase == Phase::Unregistered {
        return extension;
    }
    register(&mut extension);
    if phase == Phase::Registering {
        return extension;
    }
    answer(&mut extension, REGISTERED);
    match phase {
        Phase::Subscribing => {
            send(&mut extension, |extension, out| Command::Subscribe.give(extension, out));
        }
        Phase::Asking => drop(next(&mut extension)),
        Phase::Ready => {
            next(&mut extension);
            answer(&mut extension, EVENT);
        }
        Phase::ShuttingDown => {
            next(&mut extension);
            answer(&mut extension, EVENT);
            extension.read_event(SHUTDOWN.as_bytes()).expect("an event");
        }
        Phase::Reporting { call: Call::InitError } => {
            send(&mut extension, |extension, out| Command::FailInit.give(extension, out));
        }
        Phase::Reporting { .. } => {
            send(&mut extension, |extension, out| Command::Fail.give(extension, out));
        }
        Phase::Over => extension.shut_down(),
        _ => {}
    }
    assert_eq!(extension.phase(), phase);
    extension
}

/// Receives bytes in pieces ending at `cuts`; returns the call, status and document of each reply.
fn replies(
    extension: &mut Extension,
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<Vec<(Call, u16, Vec<u8>)>, ReceiveError> {
    let mut replies = Vec::new();
    let mut document = Vec::new();
    let mut consumed = 0;
    for arrived in cuts.into_iter().chain([bytes.len()]) {
        let mut input = &bytes[consumed..arrived];
        while let Some(event) = extension.receive(&mut input)? {
            match event {
                Event::Document(piece) => {
                    assert!(!piece.is_empty());
                    document.extend_from_slice(piece);
                }
                Event::Reply(reply) => {
                    let document = std::mem::take(&mut document);
                    replies.push((reply.call(), reply.status(), document));
                }
            }
        }
        consumed = arrived - input.len();
    }
    assert_eq!((consumed, document), (bytes.len(), Vec::new()), "all of it is read");
    Ok(replies)
}

/// Feeds one whole reply and returns its document.
fn answer(extension: &mut Extension, bytes: &str) -> Vec<u8> {
    let mut replies = replies(extension, bytes.as_bytes(), []).expect("a reply");
    assert_eq!(replies.len(), 1);
    replies.remove(0).2
}
