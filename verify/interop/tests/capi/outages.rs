//! Layer two without its service: when it tries again, when it gives up, and what slots share.

use std::thread;
use std::time::Duration;

use lambda_interop::Process;
use lambda_proto_service::{Connection, Event, Place, Service};

use crate::player::{asking, assert_played, play};

/// The last body is freed before the last call, so a client that still used it would be reported.
#[test]
fn a_service_that_stays_away_ends_the_session_and_the_body_of_the_answer_is_free() {
    let place = Place::deserted();
    let service = Service::start_on(&place);
    let mut process = play(place.address(), "open patience=1500 next respond=body next respond=x");
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    connection.request().assert_response("1");
    // First nobody listens any more, then the connection ends.
    drop(service);
    drop(connection);
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "patience LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "respond LAMBDA_PROTO_ERROR_UNREACHABLE refused",
            "next LAMBDA_PROTO_ERROR_ENDED",
            "respond LAMBDA_PROTO_ERROR_PHASE",
        ],
    );
    for line in [
        "lambda_proto: invocation 1: connection lost before the reply; sending the answer again",
        "; trying again",
        ", giving up: Connection refused",
    ] {
        assert!(process.output().contains(line), "{line}: {}", process.output());
    }
}

#[test]
fn a_lost_connection_is_made_again_and_an_outage_is_logged_with_its_end() {
    let place = Place::deserted();
    let mut process = play(place.address(), "open next echo");
    process.wait_for_output("; trying again").unwrap();
    let service = Service::start_on(&place);
    asking(&service).close();
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    connection.request().assert_response("1");
    connection.close();
    let mut connection = service.connection();
    connection.request().assert_response("1");
    connection.take_answer();
    assert_played(
        &mut process,
        &["open LAMBDA_PROTO_OK", "next LAMBDA_PROTO_OK event", "echo LAMBDA_PROTO_OK"],
    );
    let output = process.output();
    assert!(output.contains("lambda_proto: connected to the Runtime API at 127."), "{output}");
}

#[test]
fn a_host_whose_name_is_unknown_is_unreachable_and_the_log_says_why() {
    // A label of 64 characters, which is refused before anybody is asked for it.
    let host = "n".repeat(64);
    let mut process = play(&format!("{host}:80"), "open patience=1 next");
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "patience LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_ERROR_UNREACHABLE other",
        ],
    );
    let output = process.output();
    let said = format!("{host} port 80, giving up: ");
    let line = output.lines().find(|line| line.contains(&said));
    let line = line.unwrap_or_else(|| panic!("{output}"));
    assert!(!line.ends_with("No route to host") && !line.ends_with(": "), "{line}");
}

#[test]
fn a_log_that_is_turned_off_is_silent() {
    let mut process = play("127.0.0.1:9", "open patience=100 log=-1 next");
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "patience LAMBDA_PROTO_OK",
            "log LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_ERROR_UNREACHABLE refused",
        ],
    );
    assert!(!process.output().contains("lambda_proto: "), "{}", process.output());
}

/// Opens two slots, of which only the first one connects, and lets the second one do this; returns
/// the connection of the first.
fn two_slots(place: &Place, calls: &str) -> (Process, Connection) {
    let service = Service::start_on(place);
    let calls = format!("slots=2 open patience=200 next another slots=2 open patience=200 {calls}");
    let process = play(place.address(), &calls);
    let mut connection = asking(&service);
    // Only then does the first slot return from `next`, so the second finds nobody.
    drop(service);
    connection.send(Event::new("1", "event").bytes());
    (process, connection)
}

const TWO_SLOTS: [&str; 8] = [
    "slots LAMBDA_PROTO_OK",
    "open LAMBDA_PROTO_OK",
    "patience LAMBDA_PROTO_OK",
    "next LAMBDA_PROTO_OK event",
    "another LAMBDA_PROTO_OK",
    "slots LAMBDA_PROTO_OK",
    "open LAMBDA_PROTO_OK",
    "patience LAMBDA_PROTO_OK",
];

#[test]
fn a_slot_that_shares_an_outage_does_not_give_up_while_another_is_connected() {
    let place = Place::deserted();
    let (mut process, mut first) = two_slots(&place, "share next echo another echo");
    process.wait_for_output("; trying again").unwrap();
    // Longer than the patience.
    thread::sleep(Duration::from_millis(600));
    let service = Service::start_on(&place);
    let mut second = asking(&service);
    second.send(Event::new("2", "more").bytes());
    second.request().assert_response("2");
    second.take_answer();
    first.request().assert_response("1");
    first.take_answer();
    let rest = [
        "share LAMBDA_PROTO_OK",
        "next LAMBDA_PROTO_OK more",
        "echo LAMBDA_PROTO_OK",
        "another LAMBDA_PROTO_OK",
        "echo LAMBDA_PROTO_OK",
    ];
    assert_played(&mut process, &[&TWO_SLOTS[..], &rest].concat());
}

#[test]
fn a_slot_alone_gives_up_alone() {
    let place = Place::deserted();
    let (mut process, _connection) = two_slots(&place, "next");
    let rest = ["next LAMBDA_PROTO_ERROR_UNREACHABLE refused"];
    assert_played(&mut process, &[&TWO_SLOTS[..], &rest].concat());
}

#[test]
fn a_closed_slot_has_no_connection_and_an_outage_outlives_it() {
    let place = Place::deserted();
    let calls = "share another share close another next";
    let (mut process, _connection) = two_slots(&place, calls);
    let rest = [
        "share LAMBDA_PROTO_OK",
        "another LAMBDA_PROTO_OK",
        // It has connected already.
        "share LAMBDA_PROTO_ERROR_PHASE",
        "close LAMBDA_PROTO_OK",
        "another LAMBDA_PROTO_OK",
        "next LAMBDA_PROTO_ERROR_UNREACHABLE refused",
    ];
    assert_played(&mut process, &[&TWO_SLOTS[..], &rest].concat());
}

#[test]
fn slots_that_share_an_outage_log_it_once() {
    let calls = "slots=2 open patience=300 another open patience=300 share next another next";
    let mut process = play("127.0.0.1:9", calls);
    let expected = [
        "slots LAMBDA_PROTO_OK",
        "open LAMBDA_PROTO_OK",
        "patience LAMBDA_PROTO_OK",
        "another LAMBDA_PROTO_OK",
        "open LAMBDA_PROTO_OK",
        "patience LAMBDA_PROTO_OK",
        "share LAMBDA_PROTO_OK",
        "next LAMBDA_PROTO_ERROR_UNREACHABLE refused",
        "another LAMBDA_PROTO_OK",
        "next LAMBDA_PROTO_ERROR_UNREACHABLE refused",
    ];
    assert_played(&mut process, &expected);
    let output = process.output();
    // On a busy machine, the patience may be over with the first attempt.
    assert!(output.matches("; trying again").count() <= 1, "{output}");
    assert_eq!(output.matches(", giving up: ").count(), 1, "{output}");
}
