//! The player of vectors for clients: which actions of a client it accepts, and how it reads files.

use std::path::PathBuf;

use lambda_conformance::client::{File, Player, Todo, Vector, load_file};

const NEXT: &[u8] = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n";
const HALF: &[u8] = b"POST /2018-06-01/runtime/invocation/1/response HTTP/1.1\r\nHost: a\r\n\
                      Content-Length: 4\r\n\r\nab";

fn vector(steps: &str) -> Vector {
    serde_json::from_str(&format!(r#"{{"name": "it", "source": [], "steps": {steps}}}"#)).unwrap()
}

/// Reads a file of one vector with these parts and steps.
fn file(name: &str, parts: &str, steps: &str) -> Result<File, String> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let vector = format!(r#"{{"name": "it", "source": [], "steps": {steps}}}"#);
    let text = format!(r#"{{"about": "a test", "parts": {parts}, "vectors": [{vector}]}}"#);
    std::fs::write(&path, text).unwrap();
    load_file(&path)
}

#[test]
fn a_connection_without_a_request_counts_as_a_connection_and_as_new() {
    let vector = vector(
        r#"[{"connects": {}}, {"close": {}}, {"connects": {}},
            {"read": {"call": "next", "connection": "new"}}]"#,
    );
    let mut player = Player::new(&vector, "a:1");
    assert_eq!(player.step(), Ok(Todo::Input));
    assert_eq!(player.opened(), 0);
    assert_eq!(player.step(), Ok(Todo::Close(0)));
    assert_eq!(player.step(), Ok(Todo::Input), "the same connection is not made twice");
    assert_eq!(player.opened(), 1);
    player.received(1, NEXT);
    assert_eq!(player.step(), Ok(Todo::Done));
}

#[test]
fn a_client_that_does_not_connect_deviates() {
    let vector = vector(r#"[{"connects": {}}]"#);
    let deviation = Player::new(&vector, "a:1").is_late().unwrap_err();
    assert_eq!(deviation.to_string(), "step 1: the client has not connected");
}

#[test]
fn the_deviation_names_all_alternatives_if_none_is_chosen() {
    let vector = vector(
        r#"[{"read": {"call": "next"}},
            {"either": [[{"exits": "non_zero"}], [{"hung_up": {}}], [{"waits": {}}, {"exits": "zero"}],
                        [{"read": {"call": "error", "id": "1", "connection": "new"}}]]}]"#,
    );
    let mut player = Player::new(&vector, "a:1");
    let connection = player.opened();
    player.received(connection, NEXT);
    assert_eq!(player.step(), Ok(Todo::Input));
    player.received(connection, HALF);
    assert_eq!(player.step(), Ok(Todo::Input));
    let told = player.is_late().unwrap_err().to_string();
    let ways = "step 2: expected the end of the process with an error, or the end of the connection, \
                or nothing, or POST /2018-06-01/runtime/invocation/1/error on a new connection; \
                the client sent";
    assert!(told.starts_with(ways), "{told}");
}

#[test]
fn the_rest_of_a_request_after_read_head_is_not_checked() {
    let vector = vector(
        r#"[{"read_head": {"call": "response", "id": "1"}}, {"waits": {}},
            {"either": [[{"exits": "any"}], [{"read": {"call": "next", "connection": "same"}}]]}]"#,
    );
    let mut player = Player::new(&vector, "a:1");
    let connection = player.opened();
    player.received(connection, HALF);
    assert_eq!(player.step(), Ok(Todo::Quiet));
    assert_eq!(player.is_late(), Ok(()), "half of a body does not count as a request");
    player.received(connection, b"cd");
    assert_eq!(player.step(), Ok(Todo::Input));
    player.received(connection, NEXT);
    assert_eq!(player.step(), Ok(Todo::Done));
}

#[test]
fn a_request_after_that_rest_is_noticed() {
    let vector = vector(r#"[{"read_head": {"call": "response", "id": "1"}}, {"waits": {}}]"#);
    let mut player = Player::new(&vector, "a:1");
    let connection = player.opened();
    player.received(connection, HALF);
    player.received(connection, b"cd");
    assert_eq!(player.step(), Ok(Todo::Quiet));
    player.received(connection, NEXT);
    assert!(player.is_late().is_err());
}

#[test]
fn bytes_on_a_connection_that_the_service_closed_are_lost() {
    for end in [r#"{"close": {}}"#, r#"{"reset": {}}"#, r#"{"away": 1}"#] {
        let vector = vector(&format!(
            r#"[{{"read_head": {{"call": "response", "id": "1"}}}}, {end},
                {{"read": {{"call": "next", "connection": "new"}}}}]"#
        ));
        let mut player = Player::new(&vector, "a:1");
        let connection = player.opened();
        player.received(connection, HALF);
        assert_ne!(player.step(), Ok(Todo::Input));
        player.received(connection, b"cd");
        player.received(connection, NEXT);
        assert_eq!(player.step(), Ok(Todo::Input), "{end}");
        let connection = player.opened();
        player.received(connection, NEXT);
        assert_eq!(player.step(), Ok(Todo::Done), "{end}");
    }
}

#[test]
fn an_alternative_on_another_connection_is_not_chosen() {
    let vector = vector(
        r#"[{"read": {"call": "next"}},
            {"either": [[{"read": {"call": "next", "connection": "new"}}, {"exits": "any"}],
                        [{"read": {"call": "next", "connection": "same"}}]]}]"#,
    );
    let mut player = Player::new(&vector, "a:1");
    let connection = player.opened();
    player.received(connection, NEXT);
    player.received(connection, NEXT);
    assert_eq!(player.step(), Ok(Todo::Done));
}

#[test]
fn a_part_stands_for_its_steps_wherever_steps_may_be() {
    let parts = r#"{"asks": [{"read": {"call": "next"}}], "asks twice": [{"part": "asks"}, {"part": "asks"}]}"#;
    let steps = r#"[{"part": "asks"}, {"either": [[{"exits": "any"}], [{"part": "asks twice"}]]}]"#;
    let file = file("parts.json", parts, steps).unwrap();
    let mut player = Player::new(&file.vectors[0], "a:1");
    let connection = player.opened();
    for asked in 0..3 {
        assert_eq!(player.step(), Ok(Todo::Input), "{asked}");
        player.received(connection, NEXT);
    }
    assert_eq!(player.step(), Ok(Todo::Done));
}

#[test]
fn the_error_for_a_missing_or_recursive_part_names_the_vector() {
    for (name, parts) in [("missing.json", "{}"), ("itself.json", r#"{"a": [{"part": "a"}]}"#)] {
        let error = file(name, parts, r#"[{"part": "a"}]"#).unwrap_err();
        assert_eq!(error, r#""it": there is no part "a""#);
    }
}

#[test]
fn two_vectors_of_one_name_are_refused() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("twice.json");
    let vector = r#"{"name": "it", "source": [], "steps": []}"#;
    let text = format!(r#"{{"about": "a test", "vectors": [{vector}, {vector}]}}"#);
    std::fs::write(&path, text).unwrap();
    assert_eq!(load_file(&path).unwrap_err(), r#"two vectors are called "it""#);
}

#[test]
fn the_error_for_an_unknown_step_names_the_vector() {
    let error = file("unknown.json", "{}", r#"[{"sings": {}}]"#).unwrap_err();
    assert!(error.starts_with(r#""it": unknown variant `sings`"#), "{error}");
    let error = file("more.json", "{}", r#"[{"connects": {"on": "a"}}]"#).unwrap_err();
    assert!(error.contains("unknown field"), "{error}");
    for (name, step) in [
        ("write.json", r#"[{"write": {"bytes": "a", "every": 10}}]"#),
        (
            "field.json",
            r#"[{"read": {"call": "next", "headers": {"a": {"base64": 1, "hex": 2}}}}]"#,
        ),
    ] {
        assert!(file(name, "{}", step).is_err(), "{step}");
    }
}

#[test]
fn bytes_in_flight_when_the_service_resets_the_connection_are_not_checked() {
    let vector: Vector = serde_json::from_value(serde_json::json!({
        "name": "", "source": [], "steps": [
            {"read_head": {"call": "response", "id": "a1"}},
            {"reset": {}},
            {"read": {"call": "next", "connection": "new"}},
        ],
    }))
    .unwrap();
    let mut player = Player::new(&vector, "a:1");
    let line = "POST /2018-06-01/runtime/invocation/a1/response HTTP/1.1\r\nHost: a:1";
    let first = player.opened();
    player.received(first, format!("{line}\r\nContent-Length: 9\r\n\r\n123").as_bytes());
    assert_eq!(player.step().unwrap(), Todo::Reset(first));
    player.received(first, b"456");
    assert_eq!(player.step().unwrap(), Todo::Input);
    let second = player.opened();
    let next = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a:1\r\n\r\n";
    player.received(second, next);
    assert_eq!(player.step().unwrap(), Todo::Done);
}
