//! Web pages: which of them may invoke the function, and that none reaches the Runtime API.

use lambda_lab::Function;

use crate::support::{Connection, NEXT, Response, external, function, of, request};

const LINE: &str = "POST /2015-03-31/functions/function/invocations";
const PREFLIGHT: &str = "OPTIONS /2015-03-31/functions/function/invocations";
const FOREIGN: (&str, &str) = ("Origin", "http://page.example");

/// A request with exactly these headers besides the length of its body.
fn sent(address: impl ToString, line: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut head = format!("{line} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str("Host: 127.0.0.1\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut connection = Connection::open(address.to_string());
    connection.send(format!("{head}\r\n{body}"));
    connection.response()
}

#[test]
fn requests_of_foreign_pages_do_not_reach_the_function() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    runtime.send(request(NEXT, &[], ""));
    let cross = ("Sec-Fetch-Site", "cross-site");
    for (headers, reason) in [
        (
            &[FOREIGN, cross, ("Content-Type", "text/plain")][..],
            "--allow-origin http://page.example",
        ),
        (&[FOREIGN], "--allow-origin http://page.example"),
        (&[("Origin", "null"), cross], "--allow-origin null"),
        (&[("Origin", "http://localhost.page.example")], "--allow-origin"),
        (&[cross], "Sec-Fetch-Site: cross-site"),
        (&[("Host", "page.example:9000"), ("Origin", "http://page.example:9000")], "rebinding"),
        (&[("Host", "page.example")], "call the function at localhost"),
    ] {
        for line in [LINE, PREFLIGHT] {
            let refused = sent(lab.address(), line, headers, "1");
            assert_eq!(refused.status, 403, "{line} {headers:?}");
            assert!(refused.text().contains(reason), "{}", refused.text());
            assert_eq!(refused.header("x-amzn-errortype"), Some("AccessDeniedException"));
            assert_eq!(refused.header("access-control-allow-origin"), None);
        }
    }
    // The event that the runtime gets is that of a caller that is not a browser.
    let mut caller = Connection::open(lab.address());
    caller.send(request(LINE, &[("Sec-Fetch-Mode", "cors")], "2"));
    let next = runtime.response();
    assert_eq!(next.text(), "2");
    runtime.post(&of(&next.id(), "response"), "3").assert_accepted();
    let answer = caller.response();
    assert_eq!(answer.text(), "3");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn a_preflight_of_an_allowed_page_is_answered() {
    let lab = function().allow_origin("https://app.example/").start().unwrap();
    for origin in ["http://localhost:3000", "http://127.0.0.1:5173", "https://app.example"] {
        let wish = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type,x-amz-invocation-type"),
            ("Access-Control-Request-Private-Network", "true"),
        ];
        let reply = sent(lab.address(), PREFLIGHT, &wish, "");
        assert_eq!((reply.status, reply.text().as_str()), (204, ""));
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type,x-amz-invocation-type"),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        let vary: Vec<_> = reply.headers.iter().filter(|(name, _)| name == "vary").collect();
        assert!(format!("{vary:?}").contains("Origin"), "{vary:?}");
    }
    // Without an origin it is no preflight.
    assert_eq!(sent(lab.address(), PREFLIGHT, &[], "").status, 405);
    let elsewhere = [("Origin", "http://localhost")];
    assert_eq!(sent(lab.address(), "OPTIONS /", &elsewhere, "").status, 404);
}

#[test]
fn an_allowed_page_may_read_every_answer() {
    let lab = function().allow_origin("https://app.example").start().unwrap();
    for (line, event, status) in [
        (LINE, "1", 200),
        (LINE, r#""fail me""#, 200),
        (LINE, r#""exit 3""#, 502),
        (LINE, "no JSON", 400),
        ("POST /nowhere", "1", 404),
        ("PUT /2015-03-31/functions/f/invocations", "1", 405),
    ] {
        let origin = ("Origin", "https://app.example");
        let answer = sent(lab.address(), line, &[origin], event);
        assert_eq!(answer.status, status, "{line} {event}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let readable = answer.header("access-control-expose-headers").unwrap();
        for name in ["x-amz-function-error", "x-amzn-requestid", "x-amz-executed-version"] {
            assert!(readable.contains(name), "{readable}");
        }
    }
}

#[test]
fn all_pages_may_be_allowed() {
    let lab = function().allow_origin("*").start().unwrap();
    for headers in [
        &[FOREIGN][..],
        &[("Origin", "null")],
        &[("Host", "page.example"), ("Origin", "http://page.example")],
    ] {
        let answer = sent(lab.address(), LINE, headers, "1");
        assert_eq!((answer.status, answer.text().as_str()), (200, "1"), "{headers:?}");
    }
}

#[test]
fn names_that_cannot_be_rebound_reach_the_function() {
    let lab = function().start().unwrap();
    let port = lab.address().port();
    for host in ["127.0.0.1", "localhost", "[::1]", "me.localhost", "host.docker.internal"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let answer = sent(lab.address(), LINE, &[("Host", &host)], "1");
            assert_eq!(answer.text(), "1", "{host}");
        }
    }
}

#[test]
fn the_runtime_api_refuses_browsers_and_gives_them_no_event() {
    let lab = external();
    let mut caller = Connection::open(lab.address());
    caller.send(request(LINE, &[], "\"secret\""));
    let register = "POST /2020-01-01/extension/register";
    let image = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "image")];
    for (headers, reason) in [
        (&image[..], "sec-fetch-site"),
        (&[("Sec-Fetch-Site", "none")], "sec-fetch-site"),
        (&[("Origin", "http://localhost")], "origin"),
        (&[("Host", "page.example")], "DNS rebinding"),
    ] {
        for line in [NEXT, register, "GET /2018-06-01/ping", "POST /2018-06-01/runtime/init/error"]
        {
            let refused = sent(lab.runtime_api(), line, headers, "{}");
            assert_eq!(refused.status, 403, "{line} {headers:?}");
            assert!(refused.text().contains(reason), "{}", refused.text());
            assert!(refused.text().contains("\"errorType\":\"BrowserRequest\""));
        }
    }
    let mut runtime = Connection::open(lab.runtime_api());
    // `fetch` of Node.js sends this header, and no other of its kind.
    let next = runtime.request(NEXT, &[("Sec-Fetch-Mode", "cors")], "");
    assert_eq!(next.text(), "\"secret\"");
    runtime.post(&of(&next.id(), "response"), "1").assert_accepted();
    assert_eq!(caller.response().text(), "1");
}

#[test]
fn an_origin_that_browsers_cannot_send_is_refused_at_the_start() {
    for origin in ["app.example", "https://app.example/path", "https://*.example", ""] {
        let error = Function::external().allow_origin(origin).start().unwrap_err().to_string();
        assert!(error.contains(&format!("invalid origin {origin:?}")), "{error}");
    }
}
