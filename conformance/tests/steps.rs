//! What the player of vectors for clients accepts and refuses, step by step, without a client.

use lambda_conformance::client::{Deviation, Player, Todo, Vector};
use serde_json::{Value, json};

const NEXT: &[u8] = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: here:1\r\n\r\n";

fn vector(steps: Value) -> Vector {
    let vector = json!({ "name": "a test", "source": ["this test"], "steps": steps });
    serde_json::from_value(vector).expect("the test's vector is one")
}

/// Whether the player accepts this request, and otherwise why not.
fn reads(wanted: &Value, request: &[u8]) -> Result<(), String> {
    let vector = vector(json!([{ "read": wanted }]));
    let mut player = Player::new(&vector, "here:1");
    let connection = player.opened();
    player.received(connection, request);
    match player.step() {
        Ok(Todo::Done) => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(Deviation { step, what }) => {
            assert_eq!(step, 1);
            Err(what)
        }
    }
}

fn post(path: &str, rest: &str) -> Vec<u8> {
    format!("POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: here:1\r\n{rest}").into_bytes()
}

fn response(rest: &str) -> Vec<u8> {
    post("invocation/7/response", rest)
}

#[test]
fn a_call_is_recognised_by_its_method_and_its_path() {
    let length = "Content-Length: 0\r\n\r\n";
    for (call, request) in [
        (json!({ "call": "next" }), NEXT.to_vec()),
        (json!({ "call": "response", "id": "7" }), response(length)),
        (json!({ "call": "error", "id": "7" }), post("invocation/7/error", length)),
        (json!({ "call": "init/error" }), post("init/error", length)),
        (json!({ "call": "restore/error" }), post("restore/error", length)),
    ] {
        assert_eq!(reads(&call, &request), Ok(()));
        let other = json!({ "call": "response", "id": "8" });
        let what = reads(&other, &request).unwrap_err();
        assert!(what.contains("/8/response, got "), "{what}");
    }
}

#[test]
fn the_path_begins_with_the_prefix_after_the_address() {
    let mut vector = vector(json!([{ "read": { "call": "next" } }]));
    vector.api = "http://{address}/.rt".to_owned();
    let mut player = Player::new(&vector, "here:1");
    let connection = player.opened();
    player.received(
        connection,
        b"GET /.rt/2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(player.step(), Ok(Todo::Done));
}

#[test]
fn headers_are_compared_by_name_in_any_case_and_by_value_byte_by_byte() {
    let request =
        response("X-A: b\r\nX-E: \u{e9}\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n");
    let with = |headers: Value| {
        reads(&json!({ "call": "response", "id": "7", "headers": headers }), &request)
    };
    assert_eq!(with(json!({ "x-a": "b", "host": "{address}", "x-none": null })), Ok(()));
    assert_eq!(with(json!({ "x-a": "*" })), Ok(()));
    // The request is UTF-8, so this is two bytes, which a vector writes as two characters.
    assert_eq!(with(json!({ "x-e": "\u{c3}\u{a9}" })), Ok(()));
    for wrong in [
        json!({ "x-a": "B" }),
        json!({ "x-a": null }),
        json!({ "x-none": "b" }),
        json!({ "x-none": "*" }),
        json!({ "x-two": "1" }),
        json!({ "x-e": "\u{e9}" }),
    ] {
        assert!(with(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_body_is_compared_without_its_framing() {
    for rest in [
        "Content-Length: 7\r\n\r\n{\"a\":1}",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\n\r\n",
    ] {
        let with = |name: &str, wanted: Value| {
            let mut request = json!({ "call": "response", "id": "7" });
            request[name] = wanted;
            reads(&request, &response(rest))
        };
        assert_eq!(with("body", json!("{\"a\":1}")), Ok(()));
        assert!(with("body", json!("{\"a\": 1}")).is_err());
        assert_eq!(with("json", json!({ "a": 1 })), Ok(()));
        assert_eq!(with("json", json!({ "a": "*" })), Ok(()));
        assert_eq!(with("json", json!({ "a": 1, "b": null })), Ok(()));
        assert!(with("json", json!({ "a": 2 })).is_err());
        assert!(with("json", json!({ "a": 1, "b": 2 })).is_err());
    }
    let what = reads(
        &json!({ "call": "response", "id": "7", "json": {} }),
        &response("Content-Length: 1\r\n\r\n{"),
    );
    assert!(what.unwrap_err().contains("not JSON"));
}

#[test]
fn trailers_are_compared() {
    let request = response("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Error: b\r\n\r\n");
    let with = |trailers: Value| {
        reads(&json!({ "call": "response", "id": "7", "trailers": trailers }), &request)
    };
    assert_eq!(with(json!({ "x-error": "b", "x-other": null })), Ok(()));
    assert!(with(json!({ "x-error": "c" })).is_err());
    assert!(with(json!({ "x-error": null })).is_err());
}

#[test]
fn a_request_that_violates_http_is_refused() {
    let wanted = json!({ "call": "response", "id": "7" });
    for (rest, reason) in [
        ("Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "length"),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", "length"),
        ("Content-Length: one\r\n\r\na", "not a number"),
        ("Host: b\r\nContent-Length: 0\r\n\r\n", "Host"),
        ("A: b\0c\r\nContent-Length: 0\r\n\r\n", "not an HTTP request"),
        ("Transfer-Encoding: chunked\r\n\r\nx\r\n", "not a chunk"),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nabc", "after a chunk"),
    ] {
        let what = reads(&wanted, &response(rest)).unwrap_err();
        assert!(what.contains(reason), "{rest:?}: {what}");
    }
    let old = b"GET /2018-06-01/runtime/invocation/next HTTP/1.0\r\nHost: a\r\n\r\n";
    assert!(reads(&json!({ "call": "next" }), old).unwrap_err().contains("HTTP/1.1"));
}

#[test]
fn the_player_waits_for_the_rest_of_a_request_wherever_it_is_split() {
    let wanted = json!({ "call": "response", "id": "7", "body": "abc", "trailers": { "t": "u" } });
    let whole = response("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n");
    let vector = vector(json!([{ "read": wanted }]));
    for cut in 0..whole.len() {
        let mut player = Player::new(&vector, "here:1");
        let connection = player.opened();
        player.received(connection, &whole[..cut]);
        assert_eq!(player.step(), Ok(Todo::Input), "{cut}");
        player.received(connection, &whole[cut..]);
        assert_eq!(player.step(), Ok(Todo::Done), "{cut}");
    }
}

#[test]
fn after_read_head_the_rest_is_skipped_whenever_it_comes() {
    let vector = vector(json!([
        { "read_head": { "call": "response", "id": "7" } },
        { "write": "early" },
        { "read": { "call": "next" } },
    ]));
    let mut player = Player::new(&vector, "here:1");
    let connection = player.opened();
    player.received(connection, &response("Content-Length: 3\r\n\r\n"));
    assert_eq!(player.step(), Ok(Todo::Write { connection, bytes: b"early", every: None }));
    assert_eq!(player.step(), Ok(Todo::Input));
    player.received(connection, b"abc");
    assert_eq!(player.step(), Ok(Todo::Input));
    player.received(connection, NEXT);
    assert_eq!(player.step(), Ok(Todo::Done));
}

#[test]
fn a_request_must_come_on_the_demanded_connection() {
    let steps = |connection: &str| {
        vector(json!([
            { "read": { "call": "next", "connection": "new" } },
            { "read": { "call": "next", "connection": connection } },
        ]))
    };
    for (wanted, is_same, is_right) in
        [("same", true, true), ("same", false, false), ("new", true, false), ("new", false, true)]
    {
        let vector = steps(wanted);
        let mut player = Player::new(&vector, "here:1");
        let first = player.opened();
        player.received(first, NEXT);
        assert_eq!(player.step(), Ok(Todo::Input));
        let second = if is_same { first } else { player.opened() };
        player.received(second, NEXT);
        assert_eq!(player.step().is_ok(), is_right, "{wanted}, {is_same}");
    }
}

#[test]
fn a_step_can_name_the_connection_of_an_earlier_request() {
    let vector = vector(json!([
        { "read": { "call": "next", "as": "a" } },
        { "read": { "call": "next", "as": "b" } },
        { "write": { "bytes": "x", "on": "a" } },
        { "close": { "on": "a" } },
        { "write": { "bytes": "y", "on": "b", "every_ms": 3 } },
        { "half_close": {} },
        { "reset": { "on": "b" } },
        { "pause": 7 },
        { "away": 8 },
        { "write": { "bytes": "z", "on": "c" } },
    ]));
    let mut player = Player::new(&vector, "here:1");
    for _ in 0..2 {
        let connection = player.opened();
        player.received(connection, NEXT);
    }
    let millis = std::time::Duration::from_millis;
    assert_eq!(player.step(), Ok(Todo::Write { connection: 0, bytes: b"x", every: None }));
    assert_eq!(player.step(), Ok(Todo::Close(0)));
    let every = Some(millis(3));
    assert_eq!(player.step(), Ok(Todo::Write { connection: 1, bytes: b"y", every }));
    assert_eq!(player.step(), Ok(Todo::HalfClose(1)));
    assert_eq!(player.step(), Ok(Todo::Reset(1)));
    assert_eq!(player.step(), Ok(Todo::Pause(millis(7))));
    assert_eq!(player.step(), Ok(Todo::Away(millis(8))));
    let deviation = player.step().unwrap_err();
    assert_eq!((deviation.step, deviation.what.contains("\"c\"")), (10, true), "{deviation}");
}

#[test]
fn the_client_chooses_the_alternative_by_what_it_does() {
    let vector = vector(json!([
        { "read": { "call": "next" } },
        { "either": [
            [{ "read": { "call": "next", "connection": "same" } }, { "write": "asked again" }],
            [{ "hung_up": {} }, { "write": "closed" }],
            [{ "exits": "non_zero" }, { "write": "ended" }],
            [{ "waits": {} }, { "write": "waited" }],
        ]},
        { "write": "behind" },
    ]));
    type Way = fn(&mut Player<'_>);
    let ways: [(Way, &[u8]); 4] = [
        (|player| player.received(0, NEXT), b"asked again"),
        (|player| player.ended(0), b"closed"),
        (|player| player.exited(Some(1)), b"ended"),
        (|player| player.is_late().expect("it may wait"), b"waited"),
    ];
    for (way, bytes) in ways {
        let mut player = Player::new(&vector, "here:1");
        let connection = player.opened();
        player.received(connection, NEXT);
        assert_eq!(player.step(), Ok(Todo::Input));
        way(&mut player);
        let mut step = player.step();
        if step == Ok(Todo::Quiet) {
            player.is_late().expect("nothing has come");
            step = player.step();
        }
        assert_eq!(step, Ok(Todo::Write { connection, bytes, every: None }));
        assert!(matches!(player.step(), Ok(Todo::Write { bytes: b"behind", .. })));
    }
    let mut player = Player::new(&vector, "here:1");
    let connection = player.opened();
    player.received(connection, NEXT);
    assert_eq!(player.step(), Ok(Todo::Input));
    player.exited(Some(0));
    assert!(player.step().is_err(), "no alternative begins with this");
}

#[test]
fn a_client_that_has_to_wait_must_stay_alive_and_silent() {
    let vector = vector(json!([{ "read": { "call": "next" } }, { "waits": {} }]));
    let start = || {
        let mut player = Player::new(&vector, "here:1");
        let connection = player.opened();
        player.received(connection, NEXT);
        assert_eq!(player.step(), Ok(Todo::Quiet));
        player
    };
    let mut player = start();
    assert_eq!(player.is_late(), Ok(()));
    assert_eq!(player.step(), Ok(Todo::Done));
    for wrong in [
        |player: &mut Player<'_>| player.received(0, b"G"),
        |player: &mut Player<'_>| player.ended(0),
        |player: &mut Player<'_>| player.exited(Some(0)),
    ] {
        let mut player = start();
        wrong(&mut player);
        assert_eq!(player.step().unwrap_err().step, 2);
    }
}

#[test]
fn exits_checks_the_exit_code() {
    for (exit, code, is_right) in [
        ("zero", Some(0), true),
        ("zero", Some(1), false),
        ("non_zero", Some(1), true),
        ("non_zero", Some(0), false),
        ("non_zero", None, false),
        ("any", Some(0), true),
        ("any", Some(7), true),
        ("any", None, false),
    ] {
        let vector = vector(json!([{ "exits": exit }]));
        let mut player = Player::new(&vector, "here:1");
        assert_eq!(player.step(), Ok(Todo::Exit));
        player.exited(code);
        assert_eq!(player.step() == Ok(Todo::Done), is_right, "{exit}, {code:?}");
    }
}

#[test]
fn the_deviation_of_an_idle_client_says_what_was_expected() {
    for (step, text) in [
        (json!({ "read": { "call": "init/error" } }), "/init/error; "),
        (json!({ "hung_up": {} }), "not closed"),
        (json!({ "exits": "any" }), "still running"),
    ] {
        let vector = vector(json!([step]));
        let mut player = Player::new(&vector, "here:1");
        let _connection = player.opened();
        player.step().unwrap();
        let deviation = player.is_late().unwrap_err();
        assert!(deviation.what.contains(text), "{deviation}");
    }
}

/// The vector of an extension that has subscribed, up to these steps.
fn subscribed(steps: Value) -> Vector {
    let mut all = vec![json!({"read": {"call": "telemetry"}})];
    all.extend(steps.as_array().expect("a list").clone());
    vector(json!(all))
}

const SUBSCRIPTION: &str =
    r#"{"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080/a"}}"#;

/// A player that has read a subscription.
fn listening(vector: &Vector) -> Player<'_> {
    let mut player = Player::new(vector, "here:1");
    let connection = player.opened();
    let length = SUBSCRIPTION.len();
    let request = format!(
        "PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: here:1\r\nContent-Length: {length}\r\n\r\n{SUBSCRIPTION}"
    );
    player.received(connection, request.as_bytes());
    player
}

#[test]
fn deliveries_go_to_the_port_of_the_subscription() {
    let steps = json!([{"deliver": "a"}, {"deliver": {"bytes": "b", "on": "x"}}, {"deliver": "c"}]);
    let vector = subscribed(steps);
    let mut player = listening(&vector);
    for (connection, bytes) in [(0, b"a"), (1, b"b"), (0, b"c")] {
        assert_eq!(player.step(), Ok(Todo::Deliver { connection, port: 8080, bytes }));
    }
    assert_eq!(player.step(), Ok(Todo::Done));
}

#[test]
fn nothing_can_be_delivered_without_a_subscription() {
    let vector = vector(json!([{"deliver": "a"}]));
    let error = Player::new(&vector, "here:1").step().unwrap_err();
    assert_eq!(error.to_string(), "step 1: no request has named a port to deliver to");
}

#[test]
fn a_reply_to_a_delivery_is_checked_once_it_is_whole() {
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok";
    let outcome = |wanted: Value, bytes: &[u8], is_ended: bool| {
        let vector = subscribed(json!([{"deliver": "a"}, {"replied": wanted}]));
        let mut player = listening(&vector);
        assert!(matches!(player.step(), Ok(Todo::Deliver { .. })));
        for byte in bytes {
            assert_eq!(player.step(), Ok(Todo::Input));
            player.received_reply(0, &[*byte]);
        }
        if is_ended {
            player.ended_delivery(0);
        }
        player.step().map(|todo| todo == Todo::Done).map_err(|deviation| deviation.to_string())
    };
    assert_eq!(
        outcome(json!({"status": 200, "headers": {"x": "y", "z": null}}), reply, false),
        Ok(true)
    );
    for end in 0..reply.len() {
        assert_eq!(outcome(json!({"status": 200}), &reply[..end], false), Ok(false), "{end}");
    }
    for (wanted, bytes, what) in [
        (json!({"status": 503}), &reply[..], "step 3: expected a reply with 503, got 200"),
        (json!({"status": 200, "headers": {"x": "z"}}), reply, "step 3: expected the header x"),
        (json!({"status": 200}), &reply[..9], "but the client closed the connection"),
        (json!({"status": 200, "on": "x"}), reply, "nothing was delivered on a connection \"x\""),
    ] {
        let vector = subscribed(json!([{"deliver": "a"}, {"replied": wanted}]));
        let mut player = listening(&vector);
        assert!(matches!(player.step(), Ok(Todo::Deliver { .. })));
        player.received_reply(0, bytes);
        player.ended_delivery(0);
        let error = player.step().unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_delivery_ends_when_the_client_closes_its_connection_and_sends_nothing_more() {
    let vector = subscribed(json!([{"deliver": "a"}, {"end_delivery": {}}, {"delivery_ends": {}}]));
    let mut player = listening(&vector);
    assert!(matches!(player.step(), Ok(Todo::Deliver { .. })));
    assert_eq!(player.step(), Ok(Todo::EndDelivery(0)));
    assert_eq!(player.step(), Ok(Todo::Input));
    let late = player.is_late().unwrap_err().to_string();
    assert!(late.contains("expected the end of the delivery's connection"), "{late}");
    player.ended_delivery(0);
    assert_eq!(player.step(), Ok(Todo::Done));

    let mut player = listening(&vector);
    while player.step() != Ok(Todo::Input) {}
    player.received_reply(0, b"HTTP");
    let error = player.step().unwrap_err().to_string();
    assert!(error.contains("expected the end of the connection, got \"HTTP\""), "{error}");
}

#[test]
fn lines_that_the_client_prints_are_checked_in_order() {
    let vector = vector(json!([{"told": [{"a": 1}, {"b": "*"}]}, {"exits": "zero"}]));
    let mut player = Player::new(&vector, "here:1");
    player.printed("starting");
    player.printed("{\"a\":1,\"more\":2}");
    assert_eq!(player.step(), Ok(Todo::Input));
    player.printed("{\"b\":[]}\n");
    assert_eq!(player.step(), Ok(Todo::Exit));

    let mut player = Player::new(&vector, "here:1");
    player.printed("{\"b\":1}");
    let error = player.step().unwrap_err().to_string();
    assert_eq!(error, "step 1: expected the line {\"a\":1}, got {\"b\":1}");

    let mut player = Player::new(&vector, "here:1");
    player.exited(Some(0));
    let error = player.step().unwrap_err().to_string();
    assert!(
        error.contains("expected the line {\"a\":1}, {\"b\":\"*\"}; the client exited"),
        "{error}"
    );
}
