//! What commands write: ids and their echo, streams, buffer sizes, short writes.

mod support;

use base64::Engine;
use lambda_proto::api::{Call, Concurrency, ContentType, Endpoint, ErrorReport, HttpPrelude};
use lambda_proto::http::BufferTooSmall;
use lambda_proto::limits::MAX_ID;
use lambda_proto::machine::{CommandError, Machine, Phase, Recovery};
use support::Command::{
    Chunk, Fail, FailInit, FailRestore, Finish, FinishWithError, Next, Respond, RestoreNext, Stream,
};
use support::Step::{self, Do, Event, Lost, Say, Status};
use support::{
    ACCEPTED, ATTEMPT_ID, BODY, Command, Seen, answer, event, flush, halves, machine, receive,
    send, text, walk,
};

fn invoking() -> Machine {
    walk(Concurrency::Single, &[Do(Next), Event])
}

fn answers_to(fields: &str) -> Vec<Vec<u8>> {
    let mut machine = walk(Concurrency::Single, &[Do(Next)]);
    receive(&mut machine, &event("7b3c", fields, "{}")).expect("an event");
    [Respond, Fail, Stream].map(|command| send(&mut machine.clone(), command)).into()
}

#[test]
fn the_attempt_id_of_an_event_is_sent_with_every_answer_to_it_and_with_nothing_else() {
    for wire in answers_to("lambda-runtime-invocation-id: attempt-1\r\n") {
        let head = halves(&wire).0;
        assert_eq!(head.matches("\r\nLambda-Runtime-Invocation-Id: attempt-1\r\n").count(), 1);
    }
    let mut machine =
        walk(Concurrency::Single, &[Do(Next), Step::Attempt, Do(Respond), Status(202)]);
    assert!(!text(&send(&mut machine, Next)).contains(ATTEMPT_ID), "next belongs to no attempt");
}

#[test]
fn an_attempt_id_that_is_absent_empty_or_too_long_is_not_sent() {
    let too_long = format!("Lambda-Runtime-Invocation-Id: {}\r\n", "a".repeat(MAX_ID + 1));
    for fields in ["", "Lambda-Runtime-Invocation-Id:\r\n", &too_long] {
        for wire in answers_to(fields) {
            assert!(!halves(&wire).0.contains("Invocation-Id"), "{fields}");
        }
    }
    let longest = format!("Lambda-Runtime-Invocation-Id: {}\r\n", "a".repeat(MAX_ID));
    for wire in answers_to(&longest) {
        assert!(halves(&wire).0.contains(&longest));
    }
}

#[test]
fn two_attempts_with_one_request_id_are_told_apart_by_their_attempt_ids() {
    let mut machine = machine();
    for attempt in ["first", "second", ""] {
        send(&mut machine, Next);
        let field = format!("Lambda-Runtime-Invocation-Id: {attempt}\r\n");
        receive(&mut machine, &event("same", &field, "{}")).expect("an event");
        let ids = machine.invocation().expect("an invocation in flight");
        assert_eq!(ids.request_id(), "same");
        assert_eq!(ids.attempt_id(), Some(attempt.as_bytes()).filter(|id| !id.is_empty()));
        let wire = send(&mut machine, Respond);
        assert!(text(&wire).starts_with("POST /2018-06-01/runtime/invocation/same/response "));
        assert_eq!(text(&wire).contains("Lambda-Runtime-Invocation-Id"), !attempt.is_empty());
        assert_eq!(text(&wire).contains(&format!(": {attempt}\r\n")), !attempt.is_empty());
        receive(&mut machine, ACCEPTED).expect("an answer");
    }
}

#[test]
fn a_request_id_cannot_leave_its_place_in_the_path() {
    let rows = [
        ("../../init/error?x=#y", "..%2F..%2Finit%2Ferror%3Fx=%23y"),
        ("a b%20\"<>", "a%20b%2520%22%3C%3E"),
        ("é", "%C3%A9"),
        ("-._~$&+,;=:@", "-._~$&+,;=:@"),
        // Escaped as by Go's `EscapedPath`, so that Go's router decodes the path.
        ("!'()*", "%21%27%28%29%2A"),
    ];
    for (id, segment) in rows {
        let mut machine = walk(Concurrency::Single, &[Do(Next)]);
        receive(&mut machine, &event(id, "", "{}")).expect("an event");
        let line = format!("POST /2018-06-01/runtime/invocation/{segment}/response HTTP/1.1\r\n");
        assert!(text(&send(&mut machine, Respond)).starts_with(&line), "{id}");
    }
}

#[test]
fn the_endpoint_decides_host_prefix_and_user_agent_of_every_request() {
    let endpoint = Endpoint::parse("http://[::1]:9000/.rt/hello/").expect("an address");
    let endpoint = endpoint.with_user_agent("mine/2 (x y)").expect("a user agent");
    let mut machine = Machine::new(endpoint);
    let wire = send(&mut machine, Next);
    let expected = "GET /.rt/hello/2018-06-01/runtime/invocation/next HTTP/1.1\r\n\
                    Host: [::1]:9000\r\nUser-Agent: mine/2 (x y)\r\n\r\n";
    assert_eq!(text(&wire), expected);
    receive(&mut machine, &event("1", "", "{}")).expect("an event");
    let wire = send(&mut machine, Respond);
    let expected = "POST /.rt/hello/2018-06-01/runtime/invocation/1/response HTTP/1.1\r\n\
                    Host: [::1]:9000\r\nUser-Agent: mine/2 (x y)\r\n";
    assert!(text(&wire).starts_with(expected));
}

#[test]
fn a_raw_stream_is_chunks_after_a_head_that_declares_the_trailers() {
    let mut machine = invoking();
    let wire = [Stream, Chunk, Chunk, Finish].map(|command| send(&mut machine, command)).concat();
    assert_eq!(machine.phase(), Phase::Reporting);
    let (head, body) = halves(&wire);
    for field in [
        "Content-Type: text/plain; charset=utf-8",
        "Lambda-Runtime-Function-Response-Mode: streaming",
        "Transfer-Encoding: chunked",
        "Trailer: Lambda-Runtime-Function-Error-Type",
        "Trailer: Lambda-Runtime-Function-Error-Body",
    ] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} in {head}");
    }
    assert!(!head.contains("Content-Length"));
    assert_eq!(body, "b\r\n{\"ok\":true}\r\nb\r\n{\"ok\":true}\r\n0\r\n\r\n");
    let seen = receive(&mut machine, ACCEPTED);
    assert_eq!(seen, Ok(vec![Seen::reply(Call::Response, 202)]));
}

#[test]
fn an_empty_stream_is_the_last_chunk_alone() {
    let mut machine = invoking();
    let wire = [Stream, Command::EmptyChunk, Finish].map(|command| send(&mut machine, command));
    assert_eq!(halves(&wire.concat()).1, "0\r\n\r\n");
}

#[test]
fn an_http_stream_begins_with_its_prelude() {
    let mut machine = invoking();
    let mut out = [0; 1024];
    let prelude = HttpPrelude::new(201, &[("x-a", "b")], &[]).expect("a valid prelude");
    let mut body = [0; 256];
    let prelude = prelude.encode(&mut body).expect("room");

    let length = machine.stream(ContentType::HTTP_INTEGRATION, &mut out).expect("room");
    let mut wire = flush(&mut machine, &out[..length], b"");
    let length = machine.chunk(prelude, &mut out).expect("room");
    wire.extend(flush(&mut machine, &out[..length], &body[..prelude]));
    wire.extend([Chunk, Finish].map(|command| send(&mut machine, command)).concat());

    let (head, body) = halves(&wire);
    assert!(
        head.contains("\r\nContent-Type: application/vnd.awslambda.http-integration-response\r\n")
    );
    let json = r#"{"statusCode":201,"headers":{"x-a":"b"},"cookies":[]}"#;
    let expected = format!(
        "{:x}\r\n{json}\0\0\0\0\0\0\0\0\r\nb\r\n{{\"ok\":true}}\r\n0\r\n\r\n",
        json.len() + 8,
    );
    assert_eq!(body, expected);
}

#[test]
fn a_mid_stream_error_is_sent_in_trailers_and_not_in_the_body() {
    let mut machine = invoking();
    let wire = [Stream, Chunk, FinishWithError].map(|command| send(&mut machine, command)).concat();
    let (head, body) = halves(&wire);
    let trailers = body.strip_prefix("b\r\n{\"ok\":true}\r\n0\r\n").expect("the body ends cleanly");
    let lines: Vec<_> = trailers.split("\r\n").collect();
    let [error_type, error_body, "", ""] = lines[..] else { panic!("{lines:?}") };
    assert_eq!(error_type, "Lambda-Runtime-Function-Error-Type: Function.Broken");
    let (name, encoded) = error_body.split_once(": ").expect("a field");
    assert!(head.contains(&format!("\r\nTrailer: {name}\r\n")), "the trailer was declared");
    let json = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["errorType"], "Function.Broken");
    assert_eq!(json["errorMessage"], "it broke");
}

#[test]
fn a_stream_that_is_refused_between_two_chunks_needs_another_connection() {
    // The request is incomplete, so the service would take `next` for a chunk.
    for way in [
        &[Do(Stream)][..],
        &[Do(Stream), Do(Chunk)],
        &[Do(Stream), Say(Chunk)],
        &[Do(Stream), Say(Finish)],
    ] {
        let mut machine = invoking();
        way.iter().for_each(|step| step.take(&mut machine));
        receive(&mut machine, &answer(413, "")).expect("a reply");
        assert_eq!((machine.phase(), machine.unsent_len()), (Phase::Ready, 0));
        let result = Chunk.give(&mut machine, &mut [0; 64]);
        assert_eq!(result, Err(CommandError::WrongPhase(Phase::Ready)));
        assert!(machine.must_reconnect(), "{way:?}");
        assert_eq!(machine.on_disconnect(), Recovery::Reconnect);
    }
}

#[test]
fn a_stream_may_end_while_its_refusal_arrives() {
    let mut machine = walk(Concurrency::Single, &[Do(Next), Event, Do(Stream), Do(Chunk)]);
    let refusal = answer(413, "too large");
    receive(&mut machine, &refusal[..refusal.len() - 3]).expect("most of a reply");
    assert_eq!(machine.phase(), Phase::Invoking);
    send(&mut machine, Finish);
    assert_eq!(machine.phase(), Phase::Reporting);
    let seen = receive(&mut machine, &refusal[refusal.len() - 3..]).expect("the rest");
    assert_eq!(seen.last(), Some(&Seen::reply(Call::Response, 413)));
    assert_eq!((machine.phase(), machine.must_reconnect()), (Phase::Ready, false));
}

#[test]
fn a_finished_stream_and_next_go_in_one_write() {
    let mut machine = walk(Concurrency::Single, &[Do(Next), Event, Do(Stream), Do(Chunk)]);
    let mut out = [0; 512];
    let finish = machine.finish(&mut out).expect("room");
    let next = machine.next(&mut out[finish..]).expect("room");
    let wire = flush(&mut machine, &out[..finish + next], b"");
    assert!(text(&wire).starts_with("\r\n0\r\n\r\nGET /2018-06-01/runtime/invocation/next "));
    let both = [ACCEPTED, &event("2", "", "{}")].concat();
    let seen = receive(&mut machine, &both).expect("two answers");
    assert_eq!(seen[0], Seen::reply(Call::Response, 202));
    assert_eq!(machine.phase(), Phase::Invoking);
}

/// A way to a state that allows each command, with everything before it sent.
const PLACES: &[(Command, &[Step])] = &[
    (Next, &[]),
    (Next, &[Do(Next), Event, Do(Respond)]),
    (Next, &[Do(Next), Event, Say(Respond)]),
    (Respond, &[Do(Next), Step::Attempt]),
    (Fail, &[Do(Next), Step::Attempt]),
    (Stream, &[Do(Next), Event]),
    (Chunk, &[Do(Next), Event, Do(Stream)]),
    (Chunk, &[Do(Next), Event, Do(Stream), Do(Chunk)]),
    (Finish, &[Do(Next), Event, Do(Stream)]),
    (Finish, &[Do(Next), Event, Do(Stream), Do(Chunk)]),
    (FinishWithError, &[Do(Next), Event, Do(Stream), Do(Chunk)]),
    (FailInit, &[]),
    (RestoreNext, &[]),
    (FailRestore, &[Do(RestoreNext), Status(200), Lost(Recovery::Reconnect)]),
];

#[test]
fn a_buffer_that_is_too_small_changes_nothing_and_the_size_it_asks_for_is_exact() {
    for (command, way) in PLACES {
        let mut machine = walk(Concurrency::Single, way);
        let before = format!("{machine:?}");
        let mut large = [0; 1024];
        let length = command.give(&mut machine.clone(), &mut large).expect("room");

        for size in 0..length {
            let result = command.give(&mut machine, &mut vec![0; size]);
            let error = CommandError::BufferTooSmall(BufferTooSmall { needed: length });
            assert_eq!(result, Err(error), "{command:?} into {size} bytes");
            assert_eq!(format!("{machine:?}"), before, "{command:?} into {size} bytes");
        }
        let mut exact = vec![0; length];
        assert_eq!(command.give(&mut machine, &mut exact), Ok(length));
        assert_eq!(exact, large[..length], "{command:?}");
    }
}

#[test]
fn a_long_report_needs_exactly_the_room_that_it_asks_for() {
    let message = "a \"quoted\" line\n".repeat(500);
    let report = ErrorReport::new("Function.Broken", &message).stack_trace("one\ntwo");
    let mut machine = invoking();
    let Err(CommandError::BufferTooSmall(error)) = machine.fail(&report, &mut []) else {
        panic!("the buffer is too small")
    };
    let mut exact = vec![0; error.needed];
    assert_eq!(machine.fail(&report, &mut exact), Ok(error.needed));
    let json: serde_json::Value = serde_json::from_str(halves(&exact).1).expect("JSON");
    assert_eq!(json["errorMessage"], message);
    assert_eq!(json["stackTrace"], serde_json::json!(["one", "two"]));
}

/// Sends the unsent bytes in writes of the given sizes, the last of which is repeated.
fn written(machine: &mut Machine, head: &[u8], body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut sizes = sizes.iter().copied();
    let mut size = 1;
    while machine.unsent_len() > 0 {
        size = sizes.next().unwrap_or(size);
        let all = machine.unsent(head, body).concat();
        let taken = size.min(all.len());
        wire.extend_from_slice(&all[..taken]);
        machine.sent(taken);
    }
    wire
}

#[test]
fn every_split_into_short_writes_sends_head_body_and_next_in_order() {
    let mut out = [0; 512];
    let mut machine = invoking();
    let head = machine.respond(Some(ContentType::JSON), BODY.len(), &mut out).expect("room");
    let next = machine.next(&mut out[head..]).expect("room");
    let out = &out[..head + next];
    let whole = [&out[..head], BODY, &out[head..]].concat();
    assert_eq!(machine.unsent(out, BODY), [&out[..head], BODY, &out[head..]]);

    assert_eq!(written(&mut machine.clone(), out, BODY, &[1]), whole, "byte by byte");
    for first in 1..=whole.len() {
        for second in 1..=whole.len() - first + 1 {
            let sizes = [first, second, whole.len()];
            let mut machine = machine.clone();
            assert_eq!(written(&mut machine, out, BODY, &sizes), whole, "{sizes:?}");
            assert!(receive(&mut machine, ACCEPTED).is_ok() && !machine.must_reconnect());
        }
    }
}

#[test]
fn next_may_be_added_after_a_part_of_the_answer_has_been_sent() {
    let mut out = [0; 512];
    let mut answered = invoking();
    let head = answered.respond(Some(ContentType::JSON), BODY.len(), &mut out).expect("room");
    for sent in 0..=head + BODY.len() {
        let mut machine = answered.clone();
        machine.sent(sent);
        let next = machine.next(&mut out[head..]).expect("room");
        let whole = [&out[..head], BODY, &out[head..head + next]].concat();
        let wire = written(&mut machine, &out[..head + next], BODY, &[40, 3]);
        assert_eq!(wire, whole[sent..], "{sent} bytes were sent before");
    }
}

#[test]
fn slices_that_are_too_short_yield_only_the_bytes_they_have() {
    let mut out = [0; 512];
    let mut machine = invoking();
    let head = machine.respond(None, 10, &mut out).expect("room");
    machine.next(&mut out[head..]).expect("room");
    assert_eq!(machine.unsent(&[], &[]).concat(), b"");
    assert_eq!(machine.unsent(&out[..7], b"ab"), [&out[..7], b"ab", b""]);
    machine.sent(head + 3);
    assert_eq!(machine.unsent(&out[..head], b"abcde"), [&b""[..], b"de", b""]);
    assert_eq!(machine.unsent(&out[..head], b"ab").concat(), b"");
}

#[test]
fn sent_never_counts_more_bytes_than_there_are() {
    let mut machine = walk(Concurrency::Single, &[Say(Next)]);
    machine.sent(usize::MAX);
    machine.sent(usize::MAX);
    assert_eq!(machine.unsent_len(), 0);
    receive(&mut machine, &event("1", "", "")).expect("an event");
    let mut out = [0; 512];
    machine.respond(None, usize::MAX, &mut out).expect("room");
    assert_eq!(machine.unsent_len(), usize::MAX, "a length over usize::MAX saturates");
}
