//! An answer whose body is gone, at every byte of it.

mod event_loop;

use event_loop::{ACCEPTED, Memory, REPORT, client_of, event, feed, refusal};
use lambda_proto::api::ContentType;
use lambda_proto::client::{Client, Exchange, Receipt, Step};

const BODY: &[u8] = b"the answer";
const UNKNOWN: &str =
    "invocation a: connection lost before the reply; whether the answer arrived is unknown";

type Exchanging<'e> = Exchange<'e, Memory>;

/// Takes steps and connects, up to a step that the test decides.
fn step(client: &mut Client<Memory>, warnings: &mut Vec<String>) -> Step {
    loop {
        match client.exchange().step(|warning| warnings.push(warning.to_string())) {
            Step::Connect { .. } => client.exchange().connected(),
            step => return step,
        }
    }
}

/// The next step, which must come without a warning.
fn quiet_step(client: &mut Client<Memory>) -> Step {
    let mut warnings = Vec::new();
    let step = step(client, &mut warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    step
}

/// Writes up to `most` bytes of the request and returns what was written.
fn write(client: &mut Client<Memory>, body: &[u8], mut most: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while most > 0 && quiet_step(client) == Step::Write {
        let unsent = client.exchange().unsent(body).concat();
        let length = unsent.len().min(most);
        written.extend(&unsent[..length]);
        client.exchange().sent(length);
        most -= length;
    }
    written
}

fn in_flight() -> Client<Memory> {
    let mut client = client_of(4096, 4096);
    client.ask().unwrap();
    write(&mut client, b"", usize::MAX);
    feed(&mut client, &event("a", b"1", 0));
    assert_eq!(quiet_step(&mut client), Step::Answer);
    client
}

/// The number of bytes of an answer.
fn length_of(begin: fn(&mut Exchanging<'_>)) -> usize {
    let mut client = in_flight();
    begin(&mut client.exchange());
    write(&mut client, BODY, usize::MAX).len()
}

fn respond(exchange: &mut Exchanging<'_>) {
    exchange.respond(None, BODY.len(), false).unwrap();
}

fn respond_and_next(exchange: &mut Exchanging<'_>) {
    exchange.respond(None, BODY.len(), true).unwrap();
}

fn stream(exchange: &mut Exchanging<'_>) {
    exchange.stream(ContentType::TEXT).unwrap();
    exchange.chunk(BODY.len()).unwrap();
}

fn empty_stream(exchange: &mut Exchanging<'_>) {
    exchange.stream(ContentType::TEXT).unwrap();
    exchange.finish(true).unwrap();
}

/// The client reports that the invocation is unanswered, and nothing else was sent.
fn assert_reported(client: &mut Client<Memory>, call: &str) {
    let mut warnings = Vec::new();
    client.give_up(|warning| warnings.push(warning.to_string())).unwrap();
    assert_eq!(warnings, ["invocation a: the handler gave no answer"]);
    let written = String::from_utf8(write(client, b"", usize::MAX)).unwrap();
    assert!(written.contains(call), "{written}");
    feed(client, ACCEPTED);
    assert!(matches!(quiet_step(client), Step::Settled(Receipt::Known(_))));
    assert_eq!(quiet_step(client), Step::Idle);
}

/// The client closes the connection, and does not know what became of the answer.
fn assert_given_up(client: &mut Client<Memory>) {
    let mut warnings = Vec::new();
    assert_eq!(step(client, &mut warnings), Step::Settled(Receipt::FateUnknown));
    assert!(!client.is_connected());
    assert_eq!(step(client, &mut warnings), Step::Idle);
    assert_eq!(warnings, [UNKNOWN]);
    client.ask().unwrap();
    assert!(write(client, b"", usize::MAX).starts_with(b"GET "));
}

#[test]
fn a_response_is_unanswered_given_up_or_awaited() {
    let all = length_of(respond);
    for sent in 0..=all {
        let mut client = in_flight();
        respond(&mut client.exchange());
        write(&mut client, BODY, sent);
        client.exchange().withdraw();
        match sent {
            0 => {
                assert_eq!(quiet_step(&mut client), Step::Answer);
                assert_eq!(client.invocation().unwrap().body(), b"1");
                assert_reported(&mut client, "/a/error ");
            }
            _ if sent < all => assert_given_up(&mut client),
            _ => {
                assert_eq!(quiet_step(&mut client), Step::Read);
                feed(&mut client, ACCEPTED);
                assert!(matches!(quiet_step(&mut client), Step::Settled(Receipt::Known(_))));
            }
        }
    }
}

#[test]
fn a_withdrawn_response_can_be_given_again() {
    let mut client = in_flight();
    respond_and_next(&mut client.exchange());
    client.exchange().withdraw();
    client.exchange().respond(None, 3, false).unwrap();
    let written = write(&mut client, b"abc", usize::MAX);
    assert!(written.starts_with(b"POST ") && written.ends_with(b"\r\n\r\nabc"));
    assert_eq!(quiet_step(&mut client), Step::Read);
}

#[test]
fn a_whole_response_is_not_sent_again_and_its_fate_is_unknown() {
    let all = length_of(respond);
    for sent in all..length_of(respond_and_next) {
        let mut client = in_flight();
        respond_and_next(&mut client.exchange());
        write(&mut client, BODY, sent);
        client.exchange().withdraw();
        // The rest of `next` is still sent.
        assert_eq!(quiet_step(&mut client), Step::Write, "{sent}");
        client.exchange().lost();
        let mut warnings = Vec::new();
        assert_eq!(step(&mut client, &mut warnings), Step::Settled(Receipt::FateUnknown));
        assert_eq!(step(&mut client, &mut warnings), Step::Idle);
        assert_eq!(warnings, [UNKNOWN]);
    }
}

#[test]
fn the_rest_of_a_pipelined_next_needs_no_body() {
    let (all, with_next) = (length_of(respond), length_of(respond_and_next));
    for sent in all..=with_next {
        let mut client = in_flight();
        respond_and_next(&mut client.exchange());
        write(&mut client, BODY, sent);
        client.exchange().withdraw();
        assert_eq!(write(&mut client, b"", with_next - sent).len(), with_next - sent);
        assert_eq!(quiet_step(&mut client), Step::Settled(Receipt::Pipelined));
        feed(&mut client, &[ACCEPTED, &event("b", b"2", 0)].concat());
        assert_eq!(quiet_step(&mut client), Step::Answer);
        assert_eq!(client.invocation().unwrap().request_id(), "b");
    }
}

#[test]
fn the_second_copy_of_a_response_is_unanswered_only_if_the_first_was_cut() {
    let all = length_of(respond);
    for sent in 1..=all {
        let mut client = in_flight();
        respond(&mut client.exchange());
        write(&mut client, BODY, sent);
        client.exchange().lost();
        let mut warnings = Vec::new();
        assert_eq!(step(&mut client, &mut warnings), Step::Write);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        client.exchange().withdraw();
        if sent < all {
            assert_reported(&mut client, "/a/error ");
        } else {
            assert_given_up(&mut client);
        }
    }
}

#[test]
fn a_piece_of_a_stream_is_taken_back_or_given_up() {
    let all = length_of(stream);
    let piece = b"a\r\n".len() + BODY.len();
    for sent in 0..=all {
        let mut client = in_flight();
        stream(&mut client.exchange());
        write(&mut client, BODY, sent);
        client.exchange().withdraw();
        if sent > all - piece && sent < all {
            assert!(!client.is_streaming());
            assert_given_up(&mut client);
            continue;
        }
        // What was sent of the head goes on, and the stream is as before.
        assert!(client.is_streaming());
        let rest = write(&mut client, b"", usize::MAX).len();
        let is_open = sent != 0;
        assert_eq!(rest, if is_open { (all - piece).saturating_sub(sent) } else { 0 });
        assert_eq!(quiet_step(&mut client), Step::Answer);
        if sent % 2 == 0 {
            client.exchange().chunk(2).unwrap();
            let written = write(&mut client, b"xy", usize::MAX);
            let line_end = if sent == all { "\r\n" } else { "" };
            assert!(written.ends_with(format!("{line_end}2\r\nxy").as_bytes()));
            assert_eq!(written.starts_with(b"POST "), !is_open);
            assert_eq!(quiet_step(&mut client), Step::Answer);
        } else {
            assert_reported(&mut client, "0\r\nLambda-Runtime-Function-Error-Type: ");
        }
    }
}

#[test]
fn a_later_piece_is_taken_back_alone() {
    let piece = b"\r\na\r\n".len() + BODY.len();
    for sent in 0..=piece {
        let mut client = in_flight();
        stream(&mut client.exchange());
        write(&mut client, BODY, usize::MAX);
        client.exchange().chunk(BODY.len()).unwrap();
        write(&mut client, BODY, sent);
        client.exchange().withdraw();
        if sent > 0 && sent < piece {
            assert_given_up(&mut client);
        } else {
            client.exchange().finish(false).unwrap();
            assert_eq!(write(&mut client, b"", usize::MAX), b"\r\n0\r\n\r\n");
            feed(&mut client, ACCEPTED);
            assert!(matches!(quiet_step(&mut client), Step::Settled(Receipt::Known(_))));
        }
    }
}

#[test]
fn the_end_of_a_stream_is_taken_back_or_sent() {
    let end = b"\r\n0\r\n\r\n".len();
    for sent in 0..=end {
        let mut client = in_flight();
        stream(&mut client.exchange());
        write(&mut client, BODY, usize::MAX);
        client.exchange().finish(true).unwrap();
        write(&mut client, b"", sent);
        client.exchange().withdraw();
        assert_eq!(client.is_streaming(), sent == 0);
        if sent == 0 {
            assert_reported(&mut client, "\r\n0\r\nLambda-Runtime-Function-Error-Type: ");
        } else {
            let rest = client.machine().unsent_len();
            let rest = write(&mut client, b"", rest);
            assert!(rest.ends_with(b"\r\n\r\n"));
            assert_eq!(quiet_step(&mut client), Step::Settled(Receipt::Pipelined));
        }
    }
}

#[test]
fn the_end_of_a_stream_without_a_piece_is_taken_back_before_it_is_encoded() {
    let all = length_of(empty_stream);
    for sent in [0, 1, 50] {
        assert!(sent < all);
        let mut client = in_flight();
        empty_stream(&mut client.exchange());
        write(&mut client, b"", sent);
        client.exchange().withdraw();
        assert!(client.is_streaming());
        write(&mut client, b"", usize::MAX);
        let call =
            if sent == 0 { "/a/error " } else { "0\r\nLambda-Runtime-Function-Error-Type: " };
        assert_reported(&mut client, call);
    }
}

#[test]
fn a_stream_without_a_piece_is_as_before() {
    let mut client = in_flight();
    client.exchange().stream(ContentType::TEXT).unwrap();
    client.exchange().withdraw();
    assert!(client.is_streaming());
    assert_reported(&mut client, "/a/error ");
}

#[test]
fn a_report_is_still_sent() {
    for sent in [0, 1, 100] {
        let mut client = in_flight();
        client.exchange().fail(&REPORT, |_| {}).unwrap();
        let unsent = client.exchange().unsent(b"").concat();
        let mut written = write(&mut client, b"", sent);
        client.exchange().withdraw();
        written.extend(write(&mut client, b"", usize::MAX));
        assert_eq!(written, unsent);
    }
}

#[test]
fn a_refusal_that_has_begun_to_arrive_is_read_to_its_end() {
    let refused = refusal(413);
    for begin in [respond, stream] {
        let all = length_of(begin);
        for cut in 1..=refused.len() {
            let mut client = in_flight();
            begin(&mut client.exchange());
            write(&mut client, BODY, all - 1);
            feed(&mut client, &refused[..cut]);
            let mut warnings = Vec::new();
            let first = step(&mut client, &mut warnings);
            client.exchange().withdraw();
            let settled = match first {
                Step::Settled(_) => first,
                _ => {
                    assert_eq!(quiet_step(&mut client), Step::Read);
                    feed(&mut client, &refused[cut..]);
                    step(&mut client, &mut warnings)
                }
            };
            assert!(
                matches!(settled, Step::Settled(Receipt::Known(outcome)) if outcome.status() == 413)
            );
            assert!(!client.is_connected());
            assert_eq!(step(&mut client, &mut warnings), Step::Idle);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
        }
    }
}

#[test]
fn a_connection_that_takes_no_more_bytes_is_given_up() {
    let all = length_of(respond);
    for sent in [1, all - 1] {
        let mut client = in_flight();
        respond(&mut client.exchange());
        write(&mut client, BODY, sent);
        client.exchange().write_failed();
        assert_eq!(quiet_step(&mut client), Step::Read);
        client.exchange().withdraw();
        assert_given_up(&mut client);
    }
}

#[test]
fn what_needs_no_body_is_not_touched() {
    let mut client = client_of(4096, 4096);
    client.exchange().withdraw();
    assert_eq!(quiet_step(&mut client), Step::Idle);
    client.ask().unwrap();
    client.exchange().withdraw();
    assert!(write(&mut client, b"", usize::MAX).starts_with(b"GET "));
    client.exchange().withdraw();
    feed(&mut client, &event("a", b"1", 0));
    assert_eq!(quiet_step(&mut client), Step::Answer);
    client.exchange().withdraw();
    assert_eq!(client.invocation().unwrap().body(), b"1");
    client.exchange().shut_down();
    client.exchange().withdraw();
    assert!(matches!(quiet_step(&mut client), Step::End(_)));
}
