//! What the driver does when connections are lost, for each row of the phase table.

use crate::loops::DriverError;
use crate::memory::{ACCEPTED, Script, event, refusal};
use lambda_proto::api::{ContentType, ErrorReport, Outcome};
use lambda_proto::client::{End, Receipt, StreamOver};

const SENT_AGAIN: &str = "invocation a: connection lost before the reply; sending the answer again";
const UNKNOWN: &str =
    "invocation a: connection lost before the reply; whether the answer arrived is unknown";

fn known(receipt: Receipt) -> Outcome {
    let Receipt::Known(outcome) = receipt else { panic!("{receipt:?}") };
    outcome
}

#[test]
fn a_next_without_a_reply_is_sent_again() {
    let mut driver = Script::new(&[&[], &[b"HTTP/1.1 200"], &[&event("a", b"1")]]).driver();
    let seen = driver.connector().seen.clone();
    let (invocation, _) = driver.next().unwrap().unwrap();
    assert_eq!(invocation.request_id(), "a");
    assert_eq!(seen.borrow().losses, [0, 1, 2]);
    for connection in 0..3 {
        assert_eq!(seen.borrow().requests(connection), ["GET /invocation/next"]);
    }
}

#[test]
fn a_204_is_asked_again_on_the_same_connection_and_a_second_one_after_a_pause() {
    let nothing = b"HTTP/1.1 204 No Content\r\n\r\n";
    let mut driver = Script::new(&[&[nothing, nothing], &[&event("a", b"1")]]).driver();
    let seen = driver.connector().seen.clone();
    assert!(driver.next().unwrap().is_some());
    assert_eq!(seen.borrow().requests(0).len(), 2);
    assert_eq!(seen.borrow().losses, [0, 2]);
    assert!(seen.borrow().warnings.is_empty());
}

#[test]
fn after_a_503_next_is_sent_again_on_a_connection_that_the_connector_may_delay() {
    let busy = refusal(503, "Busy");
    let mut driver = Script::new(&[&[&busy], &[&busy], &[&event("a", b"1")]]).driver();
    let seen = driver.connector().seen.clone();
    assert!(driver.next().unwrap().is_some());
    assert_eq!(seen.borrow().losses, [0, 2, 3]);
}

#[test]
fn an_event_that_is_cut_is_reported_for_its_invocation() {
    let whole = event("a", b"0123456789");
    for cut in whole.len() - 10..whole.len() {
        let mut driver = Script::new(&[&[&whole[..cut]], &[ACCEPTED, &event("b", b"2")]]).driver();
        let seen = driver.connector().seen.clone();
        let (invocation, _) = driver.next().unwrap().unwrap();
        assert_eq!(invocation.request_id(), "b");
        let requests = ["POST /invocation/a/error", "GET /invocation/next"];
        assert_eq!(seen.borrow().requests(1), requests);
        assert!(seen.borrow().text(1).contains("Runtime.EventTruncated"));
    }
}

#[test]
fn an_event_with_broken_framing_is_reported_for_its_invocation() {
    let broken = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nhello!!";
    let mut driver = Script::new(&[&[broken], &[ACCEPTED, &event("b", b"2")]]).driver();
    let seen = driver.connector().seen.clone();
    let (invocation, _) = driver.next().unwrap().unwrap();
    assert_eq!(invocation.request_id(), "b");
    assert_eq!(seen.borrow().requests(1)[0], "POST /invocation/a/error");
}

#[test]
fn an_answer_without_a_reply_is_sent_again_once_and_403_then_means_accepted() {
    for end in ["closed", "reset"] {
        let refused = refusal(403, "InvalidStateTransition");
        let mut script = Script::new(&[&[&event("a", b"1")], &[&refused]]);
        if end == "reset" {
            script.connection(0).then_reset();
        }
        let mut driver = script.driver();
        let seen = driver.connector().seen.clone();
        let (_, responder) = driver.next().unwrap().unwrap();
        let outcome = known(responder.send(b"the answer").receipt());
        assert!(outcome.is_accepted(), "{outcome}");
        let (first, second) = (seen.borrow().text(0), seen.borrow().text(1));
        assert!(first.ends_with(&second) && second.ends_with("the answer"), "{second}");
        assert_eq!(seen.borrow().warnings, [SENT_AGAIN]);
    }
}

#[test]
fn a_second_loss_leaves_the_fate_of_the_answer_unknown() {
    let mut driver = Script::new(&[&[&event("a", b"1")], &[], &[&event("b", b"2")]]).driver();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    assert_eq!(responder.send(b"x").receipt(), Receipt::FateUnknown);
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
    assert_eq!(seen.borrow().warnings, [SENT_AGAIN, UNKNOWN]);
    assert_eq!(seen.borrow().requests(2), ["GET /invocation/next"]);
}

#[test]
fn one_of_several_slots_sends_again_only_with_an_attempt_id() {
    let mut driver = Script::new(&[&[&event("a", b"1")]]).driver_of_several();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    assert_eq!(responder.send(b"x").receipt(), Receipt::FateUnknown);
    assert_eq!(seen.borrow().warnings, [UNKNOWN]);

    let with_attempt = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\n\
                         Lambda-Runtime-Invocation-Id: u1\r\nContent-Length: 0\r\n\r\n";
    let mut driver = Script::new(&[&[with_attempt], &[ACCEPTED]]).driver_of_several();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    assert!(known(responder.send(b"x").receipt()).is_accepted());
    assert!(seen.borrow().text(1).contains("Lambda-Runtime-Invocation-Id: u1\r\n"));
}

#[test]
fn an_answer_of_which_nothing_was_sent_is_sent_on_a_new_connection() {
    let first = event("a", b"1");
    let asked = {
        let mut driver = Script::new(&[&[&first]]).driver();
        let seen = driver.connector().seen.clone();
        driver.next().unwrap();
        seen.borrow().written[0].len()
    };
    let mut script = Script::new(&[&[&first], &[], &[ACCEPTED]]);
    script.connection(0).breaks_after = asked;
    script.connection(1).breaks_after = 0;
    let mut driver = script.driver_of_several();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    assert!(known(responder.send(b"x").receipt()).is_accepted());
    assert_eq!(seen.borrow().requests(2), ["POST /invocation/a/response"]);
}

#[test]
fn a_refusal_that_comes_before_the_body_is_sent_is_read() {
    let large = vec![b'x'; 100_000];
    let too_large = refusal(413, "RequestEntityTooLarge");
    let mut script = Script::new(&[&[&event("a", b"1"), &too_large], &[&event("b", b"2")]]);
    script.connection(0).breaks_after = 5_000;
    let mut driver = script.driver();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    assert_eq!(known(responder.send(&large).receipt()).status(), 413);
    // The rest of the body must not be sent before the next request.
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
    assert_eq!(seen.borrow().requests(1), ["GET /invocation/next"]);
}

#[test]
fn a_pipelined_answer_is_not_sent_again_once_it_is_sent() {
    let mut driver = Script::new(&[&[&event("a", b"1")], &[&event("b", b"2")]]).driver();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    responder.send_and_next(b"x");
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
    assert_eq!(seen.borrow().requests(1), ["GET /invocation/next"]);
    assert_eq!(seen.borrow().warnings, [UNKNOWN]);
}

#[test]
fn a_pipelined_answer_that_is_cut_off_is_sent_again_without_next() {
    let large = vec![b'x'; 10_000];
    let mut script = Script::new(&[&[&event("a", b"1")], &[ACCEPTED, &event("b", b"2")]]);
    script.connection(0).breaks_after = 5_000;
    let mut driver = script.driver();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    assert!(known(responder.send_and_next(&large).receipt()).is_accepted());
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
    let requests = ["POST /invocation/a/response", "GET /invocation/next"];
    assert_eq!(seen.borrow().requests(1), requests);
}

#[test]
fn a_reply_that_closes_the_connection_is_no_loss() {
    let closing = b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for pipelined in [false, true] {
        let mut driver =
            Script::new(&[&[&event("a", b"1"), closing], &[&event("b", b"2")]]).driver();
        let seen = driver.connector().seen.clone();
        let (_, responder) = driver.next().unwrap().unwrap();
        if pipelined {
            responder.send_and_next(b"x")
        } else {
            responder.send(b"x")
        };
        assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
        assert_eq!(seen.borrow().losses, [0, 0]);
        assert!(seen.borrow().warnings.is_empty());
    }
}

#[test]
fn an_event_to_the_end_of_the_stream_is_whole_after_a_close_and_cut_after_a_reset() {
    let to_end = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\n\r\nhello";
    let mut driver = Script::new(&[&[to_end], &[ACCEPTED]]).driver();
    let (invocation, responder) = driver.next().unwrap().unwrap();
    assert_eq!(invocation.body(), b"hello");
    assert!(known(responder.send(b"x").receipt()).is_accepted());

    let mut script = Script::new(&[&[to_end], &[ACCEPTED, &event("b", b"2")]]);
    script.connection(0).then_reset();
    let mut driver = script.driver();
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
}

#[test]
fn unsolicited_bytes_cost_the_connection_and_not_the_invocation() {
    let idle = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";
    let surplus = [&event("a", b"1"), &idle[..]].concat();
    let mut driver = Script::new(&[&[&surplus], &[ACCEPTED]]).driver();
    let seen = driver.connector().seen.clone();
    let (invocation, responder) = driver.next().unwrap().unwrap();
    assert_eq!(invocation.body(), b"1");
    assert!(known(responder.send(b"x").receipt()).is_accepted());
    assert_eq!(seen.borrow().requests(1), ["POST /invocation/a/response"]);
    assert!(seen.borrow().warnings[0].contains("answer no request"));
}

#[test]
fn bytes_that_are_not_http_end_the_driver() {
    let ended = Script::new(&[&[b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]]).driver().next().map(|_| ());
    assert!(matches!(ended, Err(DriverError::Ended(End::Protocol(_)))), "{ended:?}");
}

#[test]
fn a_stream_that_loses_its_connection_is_over_and_write_says_so() {
    let first = event("a", b"1");
    let mut script = Script::new(&[&[&first], &[&event("b", b"2")]]);
    script.connection(0).breaks_after = 1_000;
    let mut driver = script.driver();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    let mut stream = responder.stream(ContentType::TEXT);
    let result = (0..100).try_for_each(|_| stream.write(&[b'x'; 100]));
    assert_eq!(result, Err(StreamOver));
    assert_eq!(stream.finish().receipt(), Receipt::FateUnknown);
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
    assert_eq!(seen.borrow().warnings, [UNKNOWN]);
}

#[test]
fn a_stream_of_which_nothing_was_sent_begins_on_a_new_connection() {
    let first = event("a", b"1");
    let mut script = Script::new(&[&[&first], &[ACCEPTED]]);
    let mut probe = Script::new(&[&[&first]]).driver();
    probe.next().unwrap();
    script.connection(0).breaks_after = probe.connector().seen.borrow().written[0].len();
    let mut driver = script.driver();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    let mut stream = responder.stream(ContentType::TEXT);
    stream.write(b"hello").unwrap();
    assert!(known(stream.finish().receipt()).is_accepted());
    assert!(seen.borrow().text(1).ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
}

#[test]
fn a_connector_that_gives_up_in_a_stream_ends_the_driver_with_its_error() {
    let mut probe = Script::new(&[&[&event("a", b"1")]]).driver();
    probe.next().unwrap();
    let asked = probe.connector().seen.borrow().written[0].len();
    for is_finished in [false, true] {
        let mut script = Script::new(&[&[&event("a", b"1")]]);
        script.connection(0).breaks_after = asked;
        let mut driver = script.driver();
        let seen = driver.connector().seen.clone();
        let (_, responder) = driver.next().unwrap().unwrap();
        let mut stream = responder.stream(ContentType::TEXT);
        assert_eq!([stream.write(b"one"), stream.write(b"two")], [Err(StreamOver); 2]);
        let mut unsent = 0;
        if is_finished {
            assert_eq!(stream.finish().receipt(), Receipt::FateUnknown);
            unsent = 1;
        }
        let ended = driver.next().map(|_| ());
        assert_eq!(ended, Err(DriverError::Connect("the script is over")));
        // There is no further warning for a report that could not be sent either.
        assert_eq!(seen.borrow().warnings.len(), unsent, "{:?}", seen.borrow().warnings);
    }
}

#[test]
fn a_report_of_a_failed_start_is_sent_again_if_nothing_of_it_was_sent() {
    let mut script = Script::new(&[&[], &[ACCEPTED]]);
    script.connection(0).breaks_after = 0;
    let mut driver = script.driver();
    let seen = driver.connector().seen.clone();
    driver.fail_init(&ErrorReport::new("Function.NoTable", "no table")).unwrap();
    assert_eq!(seen.borrow().requests(1), ["POST /init/error"]);
}

#[test]
fn unread_bytes_of_a_lost_connection_are_not_taken_for_a_reply_on_the_next() {
    let surplus = [&event("a", b"1")[..], b"HTTP/1.1 400 Bad\r\n\r\n"].concat();
    let second = [ACCEPTED, &event("b", b"2")].concat();
    let mut driver = Script::new(&[&[&surplus], &[&second]]).driver();
    let (_, responder) = driver.next().unwrap().unwrap();
    responder.send_and_next(b"x");
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "b");
}

#[test]
fn an_answer_left_unsent_when_the_driver_ends_is_warned_of() {
    let mut driver = Script::new(&[&[&event("a", b"1")]]).driver();
    let seen = driver.connector().seen.clone();
    let (_, responder) = driver.next().unwrap().unwrap();
    assert_eq!(responder.send(b"x").receipt(), Receipt::FateUnknown);
    assert!(driver.next().is_err());
    let unsent = "invocation a: the answer was not sent: the session is over";
    assert_eq!(seen.borrow().warnings, [SENT_AGAIN, unsent]);
}
