//! From responses to the answers that each source expects.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use lambda_proto_tokio::http::Http;
use serde_json::{Value, json};

use super::support::{Function, changed, document, event};

/// A response with text, two cookies, and a header with two values.
fn rich() -> Response<Body> {
    Response::builder()
        .status(201)
        .header("content-type", "text/plain; charset=utf-8")
        .header("set-cookie", "a=1; Path=/")
        .header("set-cookie", "b=2")
        .header("vary", "accept")
        .header("vary", "cookie")
        .body(Body::from("created \u{e9}\n"))
        .expect("a response")
}

/// What a function that answers each request with this response answers to each of these events.
fn answers<const N: usize>(
    response: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static,
    events: [Vec<u8>; N],
) -> [Value; N] {
    let mut function = Function::answering(|http| http, response);
    let answers = events.map(|event| function.response(event));
    function.stop();
    answers
}

#[test]
fn format_2_0_has_a_list_of_cookies_and_joins_other_headers() {
    for answer in answers(rich, [event("function_url"), event("http_api")]) {
        let expected = json!({
            "statusCode": 201,
            "headers": {
                "content-length": "11",
                "content-type": "text/plain; charset=utf-8",
                "vary": "accept, cookie"
            },
            "cookies": ["a=1; Path=/", "b=2"],
            "isBase64Encoded": false,
            "body": "created \u{e9}\n"
        });
        assert_eq!(answer, expected);
    }
}

#[test]
fn format_1_0_has_lists_of_values() {
    for answer in answers(rich, [event("http_api_v1"), event("rest_api")]) {
        let expected = json!({
            "statusCode": 201,
            "multiValueHeaders": {
                "content-length": ["11"],
                "content-type": ["text/plain; charset=utf-8"],
                "set-cookie": ["a=1; Path=/", "b=2"],
                "vary": ["accept", "cookie"]
            },
            "isBase64Encoded": false,
            "body": "created \u{e9}\n"
        });
        assert_eq!(answer, expected);
    }
}

#[test]
fn a_load_balancer_gets_one_value_or_lists_as_it_has_sent_them() {
    let [single, multi] = answers(rich, [event("load_balancer"), event("load_balancer_multi")]);
    let expected = json!({
        "statusCode": 201,
        "statusDescription": "201 Created",
        "headers": {
            "content-length": "11",
            "content-type": "text/plain; charset=utf-8",
            "set-cookie": "a=1; Path=/",
            "Set-cookie": "b=2",
            "vary": "accept, cookie"
        },
        "isBase64Encoded": false,
        "body": "created \u{e9}\n"
    });
    assert_eq!(single, expected);
    let expected = json!({
        "statusCode": 201,
        "statusDescription": "201 Created",
        "multiValueHeaders": {
            "content-length": ["11"],
            "content-type": ["text/plain; charset=utf-8"],
            "set-cookie": ["a=1; Path=/", "b=2"],
            "vary": ["accept", "cookie"]
        },
        "isBase64Encoded": false,
        "body": "created \u{e9}\n"
    });
    assert_eq!(multi, expected);
}

#[test]
fn a_load_balancer_gets_lists_if_it_has_sent_any() {
    let base = document("load_balancer")["event"].clone();
    let lists = json!({"multiValueQueryStringParameters": {"pieces": ["2", "3"]}});
    for lists in [lists, json!({"multiValueHeaders": {}})] {
        let event = changed(&base, &lists).to_string().into_bytes();
        let [answer] = answers(rich, [event]);
        assert_eq!(answer["multiValueHeaders"]["set-cookie"], json!(["a=1; Path=/", "b=2"]));
        assert_eq!(answer.get("headers"), None);
    }
}

#[test]
fn every_cookie_for_a_load_balancer_has_a_name_of_its_own() {
    let many = || {
        let mut response = Response::new(Body::empty());
        for index in 0..600 {
            let cookie = HeaderValue::from_str(&format!("c{index}=1")).expect("a value");
            response.headers_mut().append("set-cookie", cookie);
        }
        response
    };
    let [answer] = answers(many, [event("load_balancer")]);
    let headers = answer["headers"].as_object().expect("an object");
    let mut cookies: Vec<_> = headers.iter().collect();
    cookies.retain(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    cookies.sort_by_key(|(_, cookie)| cookie.as_str().map(|it| (it.len(), it.to_owned())));
    // There are no more names. The first cookies are sent.
    assert_eq!(cookies.len(), 512);
    assert_eq!(cookies.last().map(|(_, cookie)| *cookie), Some(&json!("c511=1")));
}

#[test]
fn a_body_that_is_not_utf_8_is_base64() {
    let bytes = || Response::new(Body::from(&[0x1f, 0x8b, 0, 0xff][..]));
    for answer in answers(bytes, [event("function_url"), event("rest_api"), event("load_balancer")])
    {
        assert_eq!(answer["isBase64Encoded"], true);
        assert_eq!(answer["body"], "H4sA/w==");
    }
}

#[test]
fn an_empty_body_is_text_and_a_status_without_a_reason_has_a_description() {
    let unusual = || {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(599).expect("a status");
        response
    };
    let [answer] = answers(unusual, [event("load_balancer")]);
    assert_eq!(answer["statusCode"], 599);
    assert_eq!(answer["statusDescription"], "599 Unknown");
    assert_eq!((&answer["isBase64Encoded"], &answer["body"]), (&json!(false), &json!("")));
}

#[test]
fn a_header_that_is_not_utf_8_is_read_as_iso_8859_1() {
    let latin = || {
        let mut response = Response::new(Body::empty());
        let name = HeaderValue::from_bytes(b"Ad\xe9").expect("a value");
        response.headers_mut().append("x-latin", name);
        response.headers_mut().append("x-utf-8", HeaderValue::from_static("tab\there"));
        response
    };
    let [answer] = answers(latin, [event("function_url")]);
    assert_eq!(answer["headers"]["x-latin"], "Ad\u{e9}");
    assert_eq!(answer["headers"]["x-utf-8"], "tab\there");
    assert_eq!(answer.get("cookies"), None);
}

#[test]
fn a_large_response_is_left_to_the_service_to_refuse() {
    let large = || Response::new(Body::from("x".repeat(7 << 20)));
    let [answer] = answers(large, [event("function_url")]);
    assert_eq!(answer["body"].as_str().map(str::len), Some(7 << 20));
}

#[test]
fn the_pieces_of_a_body_are_put_together() {
    let pieces = || {
        let pieces = ["one, ", "", "two \u{e9}"].map(Ok::<_, std::io::Error>);
        Response::new(Body::from_stream(futures_util::stream::iter(pieces)))
    };
    let [answer] = answers(pieces, [event("rest_api")]);
    assert_eq!(answer["body"], "one, two \u{e9}");
}

#[test]
fn what_does_not_stream_is_the_same_with_streaming() {
    for event in [event("http_api"), event("http_api_v1"), event("load_balancer")] {
        let mut function = Function::answering(|http: Http<_>| http.streaming(true), rich);
        assert_eq!(function.response(event)["statusCode"], 201);
        function.stop();
    }
}
