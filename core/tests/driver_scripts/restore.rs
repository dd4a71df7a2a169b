//! Snapshots: the driver tells the service that it is ready for one, and continues after the
//! restore.

use crate::loops::DriverError;
use crate::memory::{ACCEPTED, Script, event, refusal};
use lambda_proto::api::{ErrorReport, Outcome};
use lambda_proto::client::{End, Receipt};
use lambda_proto::machine::Phase;

const RESTORED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const REPORT: ErrorReport<'static> = ErrorReport::new("Runtime.AfterRestoreError", "no pool");

fn known(answer: Option<Receipt>) -> Outcome {
    match answer {
        Some(Receipt::Known(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_a_restore_the_first_event_comes_on_a_new_connection() {
    let script = Script::new(&[&[RESTORED], &[&event("a", b"1"), ACCEPTED]]);
    let seen = script.seen.clone();
    let mut driver = script.driver();
    assert!(known(driver.restore_next().unwrap()).is_accepted());
    let (invocation, responder) = driver.next().unwrap().unwrap();
    assert_eq!(invocation.body(), b"1");
    responder.send(b"x");
    let seen = seen.borrow();
    assert_eq!(seen.requests(0), ["GET /restore/next"]);
    assert_eq!(seen.requests(1), ["GET /invocation/next", "POST /invocation/a/response"]);
    assert!(seen.warnings.is_empty(), "{:?}", seen.warnings);
}

#[test]
fn a_reply_to_restore_next_that_is_cut_anywhere_counts_as_a_restore() {
    for cut in 0..=RESTORED.len() {
        let (first, second) = RESTORED.split_at(cut);
        let pieces: Vec<&[u8]> =
            [first, second].into_iter().filter(|piece| !piece.is_empty()).collect();
        let script = Script::new(&[&pieces, &[&event("a", b"1")]]);
        let mut driver = script.driver();
        assert!(known(driver.restore_next().unwrap()).is_accepted(), "{cut}");
        assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "a", "{cut}");
    }
}

#[test]
fn a_connection_that_is_gone_after_the_restore_means_the_same_and_causes_no_warning() {
    for is_reset in [false, true] {
        let mut script = Script::new(&[&[], &[&event("a", b"1")]]);
        if is_reset {
            script.connection(0).then_reset();
        }
        let seen = script.seen.clone();
        let mut driver = script.driver();
        assert_eq!(driver.restore_next(), Ok(Some(Receipt::FateUnknown)));
        assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "a");
        assert!(seen.borrow().warnings.is_empty(), "{:?}", seen.borrow().warnings);
    }
}

#[test]
fn restore_next_is_sent_again_if_no_byte_of_it_was_sent() {
    let mut script = Script::new(&[&[], &[RESTORED]]);
    script.connection(0).breaks_after = 0;
    let seen = script.seen.clone();
    let mut driver = script.driver();
    assert!(known(driver.restore_next().unwrap()).is_accepted());
    assert_eq!(seen.borrow().requests(1), ["GET /restore/next"]);
}

#[test]
fn after_a_refusal_by_a_service_without_snapshots_invocations_can_still_be_asked_for() {
    let refused = refusal(404, "NotFound");
    let script = Script::new(&[&[&refused], &[&event("a", b"1")]]);
    let mut driver = script.driver();
    let outcome = known(driver.restore_next().unwrap());
    assert_eq!((outcome.status(), outcome.is_accepted()), (404, false));
    assert_eq!(driver.machine().phase(), Phase::Init);
    assert_eq!(driver.next().unwrap().unwrap().0.request_id(), "a");
}

#[test]
fn a_service_that_fails_a_restore_ends_the_driver() {
    let mut driver = Script::new(&[&[&refusal(500, "InternalServerError")]]).driver();
    assert!(matches!(driver.restore_next(), Err(DriverError::Ended(End::Service(_)))));
}

#[test]
fn a_function_that_cannot_resume_reports_that_and_the_session_is_over() {
    let script = Script::new(&[&[RESTORED], &[ACCEPTED]]);
    let seen = script.seen.clone();
    let mut driver = script.driver();
    driver.restore_next().unwrap();
    driver.fail_restore(&REPORT).unwrap();
    let text = seen.borrow().text(1);
    assert!(text.starts_with("POST /2018-06-01/runtime/restore/error HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("Error-Type: Runtime.AfterRestoreError\r\n"), "{text}");
    assert!(driver.next().unwrap().is_none());
}

#[test]
fn fail_restore_is_refused_before_a_restore() {
    let mut driver = Script::new(&[&[]]).driver();
    assert!(matches!(driver.fail_restore(&REPORT), Err(DriverError::Ended(End::Command(_)))));
}

#[test]
fn a_stopping_connector_is_not_taken_for_a_restore() {
    let script = Script::new(&[&[]]);
    script.is_stopping.set(true);
    let mut driver = script.driver();
    // The stream ends because the connector has shut it down.
    assert_eq!(driver.restore_next(), Ok(None));
}
