//! Events that no source sends.

use axum::Router;
use axum::http::{HeaderMap, Uri};
use lambda_proto_tokio::http::Http;
use serde_json::{Value, json};

use super::support::{Function, SOURCES, changed, document, event};

fn function() -> Function {
    Function::of(Http::new(Router::new().fallback(async || "taken")))
}

#[test]
fn an_event_of_another_kind_is_refused_with_the_sources_that_are_understood() {
    let mut function = function();
    let events: [&[u8]; 18] = [
        b"",
        b"{",
        b"null",
        b"true",
        b"17",
        b"\"text\"",
        b"[]",
        b"[1,2,3]",
        b"{}",
        b"{\"requestContext\":null}",
        b"{\"requestContext\":{}}",
        b"{\"requestContext\":[]}",
        b"{\"httpMethod\":\"GET\",\"path\":\"/\"}",
        b"{\"rawPath\":\"/\",\"requestContext\":{}}",
        br#"{"Records":[{"eventSource":"aws:sqs","body":"{}"}]}"#,
        br#"{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}"#,
        b"\xff\xfe",
        b"{\"path\":\"\xff\",\"httpMethod\":\"GET\",\"requestContext\":{\"httpMethod\":\"GET\"}}",
    ];
    for event in events {
        let answer = function.invoke(event);
        answer.assert_error("id-1", "Runtime.UnmarshalError");
        let message = answer.json()["errorMessage"].to_string();
        assert!(message.contains("the event is not an HTTP request: "), "{message}");
        assert!(message.contains("function URL"), "{message}");
    }
    function.stop();
}

#[test]
fn a_request_that_an_authorizer_is_asked_about_is_no_request_to_the_application() {
    let mut function = function();
    for source in ["rest_api", "http_api", "http_api_v1"] {
        let asked = json!({"type": "REQUEST", "methodArn": "arn:aws:execute-api:::api/prod/GET/"});
        let event = changed(&document(source)["event"], &asked);
        function.invoke(event.to_string()).assert_error("id-1", "Runtime.UnmarshalError");
    }
    function.stop();
}

#[test]
fn every_event_that_is_cut_is_refused_and_none_stops_the_runtime() {
    let mut function = function();
    for (source, _) in SOURCES {
        let event = event(source);
        for length in (0..event.len()).step_by(37) {
            function.invoke(&event[..length]).assert_error("id-1", "Runtime.UnmarshalError");
        }
        assert_eq!(function.response(event)["body"], "taken");
    }
    function.stop();
}

#[test]
fn members_of_any_other_type_are_refused_or_ignored() {
    let mut function = function();
    let others = [json!(null), json!(true), json!(-1), json!("text"), json!([0]), json!({"a": {}})];
    for (source, _) in SOURCES {
        let event: Value = document(source)["event"].clone();
        for name in event.as_object().expect("an object").keys() {
            for other in &others {
                let mut event = event.clone();
                event[name] = other.clone();
                let answer = function.invoke(event.to_string());
                if !answer.path.ends_with("/response") {
                    answer.assert_error("id-1", "Runtime.UnmarshalError");
                }
            }
        }
    }
    function.stop();
}

#[test]
fn bytes_that_are_not_text_and_a_surrogate_alone_are_refused_from_all_sources() {
    let mut function = function();
    for (source, _) in SOURCES {
        let event = document(source)["event"].to_string();
        let path = r#"ath":"/orders/17""#;
        assert!(event.contains(path), "{source}");
        for bytes in [&b"\xff"[..], br"\ud800", br"\udc00\ud800"] {
            let event = event.as_bytes();
            let at = event.windows(path.len()).position(|window| window == path.as_bytes());
            let (before, after) = event.split_at(at.expect("it is there") + path.len() - 1);
            let event = [before, bytes, after].concat();
            function.invoke(event).assert_error("id-1", "Runtime.UnmarshalError");
        }
    }
    function.stop();
}

#[test]
fn a_member_twice_is_refused() {
    let mut function = function();
    let event = br#"{"httpMethod":"GET","httpMethod":"PUT","requestContext":{"httpMethod":"GET"}}"#;
    let answer = function.invoke(event);
    answer.assert_error("id-1", "Runtime.UnmarshalError");
    assert!(answer.json()["errorMessage"].to_string().contains("duplicate field"));
    function.stop();
}

#[test]
fn more_headers_than_a_map_can_hold_are_refused() {
    let mut function = function();
    let base = document("rest_api")["event"].clone();
    let many = |count: usize| {
        let headers: serde_json::Map<_, _> =
            (0..count).map(|index| (format!("x-{index}"), json!(["1"]))).collect();
        changed(&base, &json!({"multiValueHeaders": headers})).to_string()
    };
    assert_eq!(function.response(many(10_000))["body"], "taken");
    assert_eq!(function.response(many(40_000))["statusCode"], 431);
    let log = function.stop();
    assert!(log.iter().any(|line| line.contains("too many headers")), "{log:?}");
}

#[test]
fn many_values_of_one_header_are_passed_on() {
    let count = async |headers: HeaderMap| {
        headers.get_all("x-list").iter().filter(|value| *value == "1").count().to_string()
    };
    let mut function = Function::of(Http::new(Router::new().fallback(count)));
    let base = document("rest_api")["event"].clone();
    let values = vec!["1"; 40_000];
    let event = changed(&base, &json!({"multiValueHeaders": {"x-list": values}}));
    assert_eq!(function.response(event.to_string())["body"], "40000");
    function.stop();
}

#[test]
fn a_uri_that_is_too_long_is_refused() {
    let mut function = function();
    for (source, _) in SOURCES {
        let base = document(source)["event"].clone();
        let path = "/a".repeat(40_000);
        let event = changed(&base, &json!({"rawPath": path, "path": path}));
        assert_eq!(function.response(event.to_string())["statusCode"], 414, "{source}");
    }
    let log = function.stop();
    assert_eq!(log.iter().filter(|line| line.contains("65,534")).count(), SOURCES.len());
}

#[test]
fn path_and_query_have_65_534_bytes_at_most() {
    let length = async |uri: Uri| format!("{}", uri.to_string().len());
    let mut function = Function::of(Http::new(Router::new().fallback(length)));
    let base = document("function_url")["event"].clone();
    for (path, query) in [(65_534, 0), (65_530, 3), (1, 65_532), (2, 65_531)] {
        let of = |path: usize, query: usize| {
            let path = format!("/{}", "a".repeat(path - 1));
            let longer = json!({"rawPath": path, "rawQueryString": "b".repeat(query)});
            changed(&base, &longer).to_string()
        };
        assert_eq!(function.response(of(path, query))["body"], "65534", "{path} {query}");
        let longer = if query == 0 { of(path + 1, 0) } else { of(path, query + 1) };
        assert_eq!(function.response(longer)["statusCode"], 414, "{path} {query}");
    }
    function.stop();
}

#[test]
fn a_context_that_is_nested_deeply_is_not_read() {
    let mut function = function();
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (member, taken) in [("authorizer", true), ("identity", true), ("http", false)] {
        let event = format!(r#"{{"httpMethod":"GET","requestContext":{{"{member}":{nested}}}}}"#);
        match taken {
            true => assert_eq!(function.response(event)["body"], "taken"),
            false => function.invoke(event).assert_error("id-1", "Runtime.UnmarshalError"),
        }
    }
    function.stop();
}
