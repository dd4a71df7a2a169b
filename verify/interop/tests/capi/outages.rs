//! Layer two without its service: when it tries again, and when it gives up.

use lambda_proto_service::{Event, Place, Service};

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
