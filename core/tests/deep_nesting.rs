//! Deeply nested brackets, wherever the service or a caller can put them, must not use more stack.

use std::thread;

use lambda_proto::api::{
    ClientContext, CognitoIdentity, Endpoint, ErrorReport, HttpPrelude, InvocationHead,
    ServiceError,
};
use lambda_proto::client::{Client, Step, Warning, WarningKind};
use lambda_proto::http::HeadError;
use lambda_proto::json::JsonError;
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_HEAD, MAX_JSON_DEPTH};
use lambda_proto::machine::{Event, Machine, ReceiveError};

const LEVELS: usize = 100_000;

/// A reader that recurses for each level needs megabytes. Frames are larger without optimisation.
const STACK: usize = if cfg!(debug_assertions) { 256 * 1024 } else { 64 * 1024 };

/// Returns the error of a reader for a document.
type Reader = fn(&[u8]) -> Option<JsonError>;

/// The readers of all documents.
const READERS: [Reader; 3] = [
    |document| ServiceError::parse(document).err(),
    |document| ClientContext::parse(document).err(),
    |document| CognitoIdentity::parse(document).err(),
];

/// Runs on a thread with little stack, whose overflow ends the process.
fn on_a_small_stack<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, test);
        thread.unwrap().join().unwrap()
    })
}

fn machine() -> Machine {
    Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap())
}

/// A reply with these fields and this body.
fn answer(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn event(fields: &str, body: &str) -> Vec<u8> {
    answer(200, &format!("Lambda-Runtime-Aws-Request-Id: 7b\r\n{fields}"), body)
}

/// Documents that nest `levels` deep: in each kind of bracket, closed or not, alone or as a known
/// or unknown member.
fn nested(levels: usize) -> Vec<String> {
    let pairs = [("[", "]"), ("{\"a\":", "}"), ("[{\"client\":", "}]"), (" [\n", "\t] ")];
    let of_pair = |(open, close): (&str, &str)| {
        let (opened, closed) = (open.repeat(levels), close.repeat(levels));
        [
            opened.clone(),
            format!("{opened}0{closed}"),
            format!("{{\"client\":{opened}0{closed}}}"),
            format!("{{\"client\":{{\"app_title\":{opened}0{closed}}}}}"),
            format!("{{\"errorType\":{opened}0{closed}}}"),
            format!("{{\"errorType\":\"T\",\"x\":{opened}"),
            // The string ends before the brackets.
            format!("{{\"errorType\":\"\\\\\\\"\",\"x\":{opened}"),
        ]
    };
    pairs.into_iter().flat_map(of_pair).collect()
}

/// The results of all readers for these documents.
fn read_on_a_small_stack(documents: &[String]) -> Vec<Option<JsonError>> {
    let read = |document: &String| READERS.map(|reader| reader(document.as_bytes()));
    on_a_small_stack(|| documents.iter().flat_map(read).collect())
}

#[test]
fn deeply_nested_documents_are_too_deep_for_every_reader() {
    let documents = nested(LEVELS);
    let said = read_on_a_small_stack(&documents);
    assert_eq!(said, vec![Some(JsonError::TooDeep); documents.len() * READERS.len()]);
}

#[test]
fn documents_as_deep_as_the_limit_are_read_on_the_same_stack() {
    let levels = MAX_JSON_DEPTH - 1;
    let documents = [("[", "]"), ("{\"a\":", "}")]
        .map(|(open, close)| format!("{{\"x\":{}0{}}}", open.repeat(levels), close.repeat(levels)));
    assert_eq!(read_on_a_small_stack(&documents), [None; 2 * READERS.len()]);
}

#[test]
fn a_head_full_of_brackets_is_an_invocation_whose_headers_are_too_deep() {
    let brackets = "[".repeat(MAX_HEAD / 2 - 200);
    let fields = format!(
        "Lambda-Runtime-Client-Context: {brackets}\r\nLambda-Runtime-Cognito-Identity: {brackets}\r\n"
    );
    let bytes = event(&fields, "");
    on_a_small_stack(|| {
        let (head, _) = InvocationHead::parse(&bytes).unwrap();
        let context = head.client_context().unwrap();
        assert_eq!(context, brackets.as_bytes());
        assert_eq!(ClientContext::parse(context), Err(JsonError::TooDeep));
        let identity = head.cognito_identity().unwrap();
        assert_eq!(CognitoIdentity::parse(identity), Err(JsonError::TooDeep));
    });
}

#[test]
fn a_header_with_too_many_brackets_makes_the_head_too_large() {
    let brackets = "[".repeat(LEVELS);
    let bytes = event(&format!("Lambda-Runtime-Client-Context: {brackets}\r\n"), "");
    on_a_small_stack(|| {
        let mut machine = machine();
        let length = machine.next(&mut [0; 512]).unwrap();
        machine.sent(length);
        let received = machine.receive(&mut &bytes[..]);
        assert_eq!(received, Err(ReceiveError::Head(HeadError::TooLarge)));
    });
}

#[test]
fn an_event_of_brackets_is_passed_on_unchanged() {
    let brackets = "[{".repeat(LEVELS);
    let bytes = event("", &brackets);
    on_a_small_stack(|| {
        let mut machine = machine();
        let length = machine.next(&mut [0; 512]).unwrap();
        machine.sent(length);
        let mut input = &bytes[..];
        assert!(matches!(machine.receive(&mut input), Ok(Some(Event::Invocation(_)))));
        assert_eq!(machine.receive(&mut input), Ok(Some(Event::Body(brackets.as_bytes()))));
        assert_eq!(machine.receive(&mut input), Ok(Some(Event::InvocationEnd)));
    });
}

#[test]
fn an_error_document_of_brackets_is_part_of_the_warning_and_the_slot_continues() {
    let script = [event("", "1"), answer(400, "", &"[".repeat(LEVELS)), event("", "2")];
    let mut events = vec![0; 4096];
    let mut requests = vec![0; 4096];
    let told = on_a_small_stack(|| {
        let mut client = Client::new(machine(), &mut events[..], &mut requests[..]);
        let (mut script, mut input) = (script.iter(), &[][..]);
        let (mut told, mut bodies) = (Vec::new(), Vec::new());
        while bodies.len() < 2 {
            match client.exchange().step(|warning| told.push(warning.to_string())) {
                Step::Connect { .. } => client.exchange().connected(),
                Step::Write => client.exchange().sent(usize::MAX),
                Step::Read => {
                    if input.is_empty() {
                        input = script.next().unwrap();
                    }
                    let mut exchange = client.exchange();
                    let room = exchange.room().unwrap();
                    let (piece, rest) = input.split_at(room.len().min(input.len()));
                    room[..piece.len()].copy_from_slice(piece);
                    client.exchange().received(piece.len());
                    input = rest;
                }
                Step::Idle => client.ask().unwrap(),
                Step::Answer => {
                    bodies.push(client.invocation().unwrap().body().to_vec());
                    client.exchange().respond(None, 0, false).unwrap();
                }
                Step::Settled(_) => {}
                Step::End(end) => panic!("{end}"),
            }
        }
        assert_eq!(bodies, [b"1", b"2"]);
        told
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(&format!("({})", "[".repeat(512))), "{told:?}");
}

#[test]
fn a_warning_with_a_detail_of_any_length_is_one_line() {
    let detail = "[".repeat(LEVELS);
    let outcome = lambda_proto::api::Outcome::new(lambda_proto::api::Call::Response, 400);
    let line = on_a_small_stack(|| {
        let kind = WarningKind::Refused { outcome, detail: detail.as_bytes() };
        Warning { request_id: "7b", kind }.to_string()
    });
    assert!(line.starts_with("invocation 7b: ") && line.ends_with("[[[)"));
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn a_prelude_with_brackets_is_written_unchanged() {
    let brackets = "[{".repeat(LEVELS / 2);
    let mut out = vec![0; 4 * LEVELS];
    let length = on_a_small_stack(|| {
        let headers = [("x-brackets", &*brackets)];
        let cookies = [&*brackets];
        HttpPrelude::new(200, &headers, &cookies).unwrap().encode(&mut out).unwrap()
    });
    let json = out[..length].strip_suffix(&[0; 8]).unwrap();
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["headers"]["x-brackets"], brackets);
    assert_eq!(json["cookies"][0], brackets);
}

#[test]
fn a_report_with_brackets_is_written_unchanged() {
    let brackets = "[{".repeat(LEVELS / 2);
    let mut out = vec![0; MAX_ERROR_BODY];
    let length = on_a_small_stack(|| {
        let report = ErrorReport::new("Function.Deep", &brackets);
        report.stack_trace(&brackets).xray_cause(&brackets).encode_json(&mut out).unwrap()
    });
    let json: serde_json::Value = serde_json::from_slice(&out[..length]).unwrap();
    assert_eq!(json["errorMessage"], brackets);
    assert_eq!(json["stackTrace"][0], brackets);
}
