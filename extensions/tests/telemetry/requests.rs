//! The requests that a receiver answers, and how.

use lambda_proto_extension::telemetry::{Deliveries, Fate, Receiver, Refusal, Step};

use super::{
    Arrival, WHOLE, batch, event, post, post_chunked, post_with, receive, receive_cut,
    receive_cut_with, receive_ended,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn one() -> String {
    batch(&[event("function", "\"1\"")])
}

#[test]
fn a_taken_batch_is_answered_200_and_one_that_is_sent_back_503() {
    let mut deliveries = Deliveries::new();
    let mut fates = [Fate::Refused, Fate::Taken].into_iter();
    let requests = [post(one()), post(one())].concat();
    let seen = receive(&mut deliveries, 1024, &requests, &WHOLE, |_| fates.next().unwrap());
    let again = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(seen.written(), [again, OK].concat());
    assert_eq!(seen.records.len(), 2);
}

#[test]
fn a_decision_that_is_not_made_is_offered_again() {
    let mut deliveries = Deliveries::new();
    let mut memory = [0; 1024];
    let mut receiver = Receiver::new(&mut memory[..]);
    let request = post("[]");
    receiver.room()[..request.len()].copy_from_slice(&request);
    receiver.received(request.len());
    assert!(matches!(receiver.step(&mut deliveries), Step::Begin(_)));
    for _ in 0..3 {
        assert!(matches!(receiver.step(&mut deliveries), Step::Decide(_)));
        assert_eq!(receiver.unsent(), b"");
    }
    let Step::Decide(decision) = receiver.step(&mut deliveries) else { panic!() };
    decision.take();
    assert_eq!(receiver.unsent(), OK.as_bytes());
}

#[test]
fn requests_that_follow_each_other_at_once_are_answered_in_order() {
    let requests =
        [post(one()), post_chunked(5, one().as_bytes()), post("{}"), post("[]")].concat();
    let seen = receive_cut(&requests);
    assert_eq!(seen.statuses(), ["200", "200", "400", "200"]);
    assert_eq!((seen.records.len(), seen.begun, seen.is_closed), (2, 4, false));
}

#[test]
fn any_path_is_taken() {
    for target in ["/", "/telemetry", "/a?b=c", "*", "http://sandbox.localdomain:8080/x"] {
        let request = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]");
        assert_eq!(receive_cut(request.as_bytes()).written(), OK, "{target}");
    }
}

#[test]
fn any_other_method_is_not_allowed_and_its_body_skipped() {
    let refused = "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Length: 0\r\n\r\n";
    for method in ["GET", "PUT", "HEAD", "OPTIONS", "DELETE", "post", "Post", "POSTS"] {
        for body in [
            "\r\n",
            "Content-Length: 4\r\n\r\nPOST",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nPOST\r\n0\r\n\r\n",
        ] {
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n{body}");
            let seen = receive_cut(&[request.as_bytes(), &post(one())].concat());
            assert_eq!(seen.written(), [refused, OK].concat(), "{request}");
            assert_eq!((seen.refusals, seen.records.len()), (vec![Refusal::Method], 1));
        }
    }
}

#[test]
fn a_last_request_with_another_method_closes_the_connection_before_its_body() {
    let request = b"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n[";
    let seen = receive_cut(request);
    assert_eq!((seen.statuses(), seen.is_closed), (vec!["405"], true));
}

#[test]
fn the_body_is_asked_for_where_the_client_waits() {
    let request = post_with("Expect: 100-Continue\r\n", one());
    let seen = receive_cut(&request);
    assert_eq!(seen.written(), ["HTTP/1.1 100 Continue\r\n\r\n", OK].concat());
    assert_eq!(seen.records.len(), 1);
    // It comes before the body does.
    let head = &request[..request.len() - one().len()];
    assert_eq!(receive_cut(head).written(), "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn no_body_is_asked_for_without_need() {
    let seen = receive_cut(&post_with("Expect: 100-continue\r\n", ""));
    assert_eq!(seen.statuses(), ["400"], "there is no body");
    let seen = receive_cut(&post_with("Expect: something-else\r\n", "[]"));
    assert_eq!(seen.statuses(), ["200"]);
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n[]";
    assert_eq!(receive_cut(old).statuses(), ["200"]);
    let refused = b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let seen = receive_cut(refused);
    assert_eq!((seen.statuses(), seen.is_closed), (vec!["405"], true));
}

#[test]
fn a_connection_persists_if_the_client_wants_it() {
    let closes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let is_kept = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n";
    for (version, fields, written, is_closed) in [
        ("1.1", "", OK, false),
        ("1.1", "Connection: keep-alive\r\n", OK, false),
        ("1.1", "Connection: close\r\n", closes, true),
        ("1.1", "Connection: keep-alive, Close\r\n", closes, true),
        ("1.0", "", closes, true),
        ("1.0", "Connection: close\r\n", closes, true),
        ("1.0", "Connection: Keep-Alive\r\n", is_kept, false),
    ] {
        let request =
            format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}Content-Length: 2\r\n\r\n[]");
        let seen = receive_cut(request.as_bytes());
        assert_eq!((seen.written(), seen.is_closed), (written, is_closed), "{request}");
    }
}

#[test]
fn nothing_after_the_last_request_of_a_connection_counts() {
    let last = post_with("Connection: close\r\n", one());
    let seen = receive_cut(&[&last[..], &post(one())].concat());
    assert_eq!((seen.records.len(), seen.statuses(), seen.is_closed), (1, vec!["200"], true));
}

#[test]
fn a_line_end_before_a_request_is_ignored_once() {
    let seen = receive_cut(&[b"\r\n", &post("[]")[..], b"\r\n", &post("[]")].concat());
    assert_eq!(seen.statuses(), ["200", "200"]);
    let seen = receive_cut(&[b"\r\n\r\n", &post("[]")[..]].concat());
    assert_eq!((seen.statuses(), seen.is_closed), (vec!["400"], true));
}

#[test]
fn an_ended_stream_closes_the_connection_after_the_last_reply() {
    let seen = receive_ended(&post(one()));
    assert_eq!((seen.written(), seen.is_closed, seen.refusals.len()), (OK, true, 0));
    let seen = receive_ended(b"");
    assert_eq!((seen.written(), seen.is_closed, seen.refusals.len()), ("", true, 0));
}

#[test]
fn a_request_that_breaks_off_is_told_and_not_answered() {
    let request = post(one());
    let body = request.len() - one().len();
    for length in 1..request.len() {
        let arrival = Arrival { is_ended: true, ..WHOLE };
        let mut deliveries = Deliveries::new();
        let seen = receive(&mut deliveries, 1024, &request[..length], &arrival, |_| Fate::Taken);
        let refusal = if length < body { Refusal::HeadCutOff } else { Refusal::CutOff };
        assert_eq!((seen.refusals, seen.written.len()), (vec![refusal], 0), "{length}");
        assert!(seen.is_closed && seen.batches.is_empty());
        assert_eq!(deliveries.losses().broken_batches, u64::from(length >= body));
    }
}

#[test]
fn a_lost_connection_refuses_the_batch_in_every_state() {
    let request = post(batch(&[event("function", "\"1\""), event("function", "\"2\"")]));
    for steps in 1..=4 {
        let mut deliveries = Deliveries::new();
        let mut memory = [0; 1024];
        let mut receiver = Receiver::new(&mut memory[..]);
        receiver.room()[..request.len()].copy_from_slice(&request);
        receiver.received(request.len());
        for _ in 0..steps {
            let _begin_records_decide = receiver.step(&mut deliveries);
        }
        receiver.lost();
        let refused = receiver.step(&mut deliveries);
        assert!(matches!(refused, Step::Refused(Refusal::CutOff)), "{steps}: {refused:?}");
        assert!(matches!(receiver.step(&mut deliveries), Step::Close));
        assert_eq!(deliveries.losses().broken_batches, 1);
    }
}

#[test]
fn a_lost_connection_discards_the_reply() {
    let mut deliveries = Deliveries::new();
    let mut memory = [0; 1024];
    let mut receiver = Receiver::new(&mut memory[..]);
    let request = post("[]");
    receiver.room()[..request.len()].copy_from_slice(&request);
    receiver.received(request.len());
    assert!(matches!(receiver.step(&mut deliveries), Step::Begin(_)));
    let Step::Decide(decision) = receiver.step(&mut deliveries) else { panic!() };
    decision.take();
    receiver.lost();
    assert!(matches!(receiver.step(&mut deliveries), Step::Close));
    assert_eq!(deliveries.losses().broken_batches, 0);
}

#[test]
fn a_head_that_does_not_fit_the_memory_is_refused() {
    let request = post_with(&format!("X: {}\r\n", "x".repeat(500)), "[]");
    let seen = receive_cut_with(256, &request, false);
    assert_eq!(seen.refusals, [Refusal::HeadTooLong { bytes: 256 }]);
    assert_eq!((seen.statuses(), seen.is_closed), (vec!["431"], true));
    let seen = receive(&mut Deliveries::new(), 0, &request, &WHOLE, |_| Fate::Taken);
    assert_eq!((seen.refusals, seen.is_closed), (vec![Refusal::HeadTooLong { bytes: 0 }], true));
}
