//! Endlessly nested brackets in a document need no more stack than a document without brackets.

use std::thread;

use lambda_proto::api::Endpoint;
use lambda_proto::json::JsonError;
use lambda_proto::limits::MAX_JSON_DEPTH;
use lambda_proto_extension::metadata::ExecutionEnvironment;
use lambda_proto_extension::telemetry::{Deliveries, Reason, Receiver, Record, Step};
use lambda_proto_extension::{
    EnvironmentEvent, Event, Extension, ExtensionName, InternalEvents, Registrant, Registration,
};

const LEVELS: usize = 100_000;

/// A recursive reader would need megabytes. Without optimization, stack frames are larger.
const STACK: usize = if cfg!(debug_assertions) { 256 * 1024 } else { 64 * 1024 };

/// The error of each reader for this document.
fn read(document: &[u8]) -> [Option<JsonError>; 3] {
    [
        Registration::parse(document).err(),
        EnvironmentEvent::parse(document).err(),
        ExecutionEnvironment::parse(document).err(),
    ]
}

/// Runs the test on a thread with a small stack; an overflow ends the process.
fn on_a_small_stack<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, test);
        thread.unwrap().join().unwrap()
    })
}

/// A reply with these fields and this body.
fn answer(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Documents nested this deep in brackets of each kind: alone, and as a known or unknown member.
fn nested(levels: usize) -> [String; 6] {
    let (arrays, objects) = ("[".repeat(levels), "{\"a\":".repeat(levels));
    [
        arrays.clone(),
        objects.clone(),
        format!("{arrays}0{}", "]".repeat(levels)),
        format!("{{\"x\":{objects}0{}}}", "}".repeat(levels)),
        format!("{{\"eventType\":{arrays}"),
        format!("{{\"tracing\":{{\"value\":{objects}"),
    ]
}

#[test]
fn every_reader_refuses_endless_nesting_as_too_deep() {
    for document in nested(LEVELS) {
        let said = on_a_small_stack(|| read(document.as_bytes()));
        assert_eq!(said, [Some(JsonError::TooDeep); 3], "{document:.20}");
    }
}

#[test]
fn nesting_up_to_the_limit_is_read_on_the_same_stack() {
    let levels = MAX_JSON_DEPTH - 1;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let document = format!("{{\"x\":{}0{}}}", open.repeat(levels), close.repeat(levels));
        assert_eq!(on_a_small_stack(|| read(document.as_bytes())), [None; 3]);
    }
}

#[test]
fn an_extension_receives_an_endlessly_nested_event_which_is_too_deep_to_parse() {
    let brackets = "[".repeat(LEVELS);
    let registered = answer(200, "Lambda-Extension-Identifier: c7d2\r\n", "{}");
    let event = answer(200, "", &format!("{{\"eventType\":{brackets}"));
    on_a_small_stack(|| {
        let mut extension = Extension::new(Endpoint::parse("127.0.0.1:9001").unwrap());
        let mut out = [0; 512];
        let name = ExtensionName::new("deep").unwrap();
        let registrant = Registrant::internal(name, InternalEvents::Invoke);
        let length = extension.register(&registrant, &mut out).unwrap();
        extension.sent(length);
        let mut input = &registered[..];
        while let Some(_part) = extension.receive(&mut input).unwrap() {}
        let length = extension.next(&mut out).unwrap();
        extension.sent(length);
        let mut input = &event[..];
        let Ok(Some(Event::Document(document))) = extension.receive(&mut input) else {
            panic!("no document");
        };
        assert_eq!(document.len(), LEVELS + "{\"eventType\":".len());
        assert_eq!(EnvironmentEvent::parse(document), Err(JsonError::TooDeep));
        assert!(matches!(extension.receive(&mut input), Ok(Some(Event::Reply(_)))));
    });
}

#[test]
fn a_telemetry_record_may_nest_endlessly_and_its_neighbours_arrive() {
    let good = "{\"type\":\"function\",\"record\":\"good\"}";
    for document in nested(LEVELS).into_iter().take(4).filter(|document| document.contains('0')) {
        let deep = format!("{{\"type\":\"function\",\"record\":{document}}}");
        let body = format!("[{good},{deep},{good}]");
        let length = body.len();
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        let mut memory = vec![0; request.len()];
        on_a_small_stack(|| {
            assert_eq!(Record::parse(deep.as_bytes()).unwrap_err().reason, Reason::TooDeep);
            let mut deliveries = Deliveries::new();
            let mut receiver = Receiver::new(&mut memory[..]);
            receiver.room().copy_from_slice(request.as_bytes());
            receiver.received(request.len());
            assert!(matches!(receiver.step(&mut deliveries), Step::Begin(_)));
            assert!(matches!(receiver.step(&mut deliveries), Step::Record(_)));
            let Step::Unread(unread) = receiver.step(&mut deliveries) else { panic!() };
            assert_eq!((unread.raw, unread.reason), (deep.as_bytes(), Reason::TooDeep));
            assert!(matches!(receiver.step(&mut deliveries), Step::Record(_)));
            assert!(matches!(receiver.step(&mut deliveries), Step::Decide(_)));
        });
    }
}
