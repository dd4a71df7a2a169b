//! The address of the Runtime API and the user agent.

use lambda_proto::api::{Endpoint, EndpointProblem, InvalidUserAgent};
use lambda_proto::limits::{MAX_AUTHORITY, MAX_PATH_PREFIX, MAX_USER_AGENT};
use proptest::prelude::*;

fn problem(value: &str) -> EndpointProblem {
    Endpoint::parse(value).expect_err(value).problem()
}

#[test]
fn addresses_are_read_with_and_without_scheme_port_and_path() {
    let table = [
        // value, authority, host, port, path prefix
        ("127.0.0.1:9001", "127.0.0.1:9001", "127.0.0.1", 9001, ""),
        ("169.254.100.1:9001", "169.254.100.1:9001", "169.254.100.1", 9001, ""),
        ("localhost:9001", "localhost:9001", "localhost", 9001, ""),
        ("localhost", "localhost", "localhost", 80, ""),
        ("host.docker.internal:1", "host.docker.internal:1", "host.docker.internal", 1, ""),
        ("my_host-2:65535", "my_host-2:65535", "my_host-2", 65535, ""),
        ("[::1]:9001", "[::1]:9001", "::1", 9001, ""),
        ("[fd00::1:2]", "[fd00::1:2]", "fd00::1:2", 80, ""),
        ("[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, ""),
        ("http://127.0.0.1:9001", "127.0.0.1:9001", "127.0.0.1", 9001, ""),
        ("HTTP://localhost", "localhost", "localhost", 80, ""),
        ("http://127.0.0.1:9001/", "127.0.0.1:9001", "127.0.0.1", 9001, ""),
        ("http://[::1]:9000/.rt/hello", "[::1]:9000", "::1", 9000, "/.rt/hello"),
        ("http://[::1]:9000/.rt/hello/", "[::1]:9000", "::1", 9000, "/.rt/hello"),
        ("127.0.0.1:9000/a%20b/c;d=e", "127.0.0.1:9000", "127.0.0.1", 9000, "/a%20b/c;d=e"),
        ("localhost/.rt///", "localhost", "localhost", 80, "/.rt"),
    ];
    for (value, authority, host, port, path_prefix) in table {
        let endpoint = Endpoint::parse(value).expect(value);
        assert_eq!(endpoint.authority(), authority, "{value}");
        assert_eq!(endpoint.host(), host, "{value}");
        assert_eq!(endpoint.port(), port, "{value}");
        assert_eq!(endpoint.path_prefix(), path_prefix, "{value}");
    }
}

#[test]
fn another_scheme_is_refused() {
    for value in
        ["https://example.com", "HTTPS://example.com:443", "ftp://a", "://a", "unix:///run/a"]
    {
        assert_eq!(problem(value), EndpointProblem::NotPlainHttp, "{value:?}");
    }
}

#[test]
fn a_host_that_is_missing_or_malformed_is_refused() {
    for value in [
        "",
        ":9001",
        "http://",
        "http://:9001",
        "/path",
        "::1",
        "[::1",
        "[]:1",
        "[127.0.0.1]:1",
        "[::1%eth0]:1",
        "[::g]:1",
        "a b:1",
        " localhost:1",
        "user@localhost:1",
        "h\u{e9}:1",
        "a?b",
        "a#b",
        "a%20b:1",
        "a\r\nX: 1",
        "a\0:1",
    ] {
        assert_eq!(problem(value), EndpointProblem::BadHost, "{value:?}");
    }
}

#[test]
fn a_port_that_is_not_1_to_65535_is_refused() {
    for value in [
        "localhost:",
        "localhost:0",
        "localhost:00",
        "localhost:65536",
        "localhost:99999999999999999999",
        "localhost:-1",
        "localhost:+80",
        "localhost:80 ",
        "localhost:8o",
        "localhost:80:80",
        "localhost:80?query",
        "localhost:\u{668}",
        "user:password@localhost:80",
        "[::1]80",
        "[::1]:",
        "[::1]:0",
        "localhost:80\r\nX: 1",
        "localhost:80\n",
    ] {
        assert_eq!(problem(value), EndpointProblem::BadPort, "{value:?}");
    }
}

#[test]
fn a_path_with_characters_that_a_path_may_not_hold_is_refused() {
    for path in [
        "/a b",
        "/?query",
        "/a?b",
        "/#f",
        "/a\r\nX: 1",
        "/a\nb",
        "/\0",
        "/\u{e9}",
        "/a\"b",
        "/<>",
        "/a\tb",
    ] {
        assert_eq!(problem(&format!("localhost:1{path}")), EndpointProblem::BadPath, "{path:?}");
    }
}

#[test]
fn an_authority_as_long_as_the_limit_is_accepted() {
    let authority = format!("{}:65535", "a".repeat(MAX_AUTHORITY - 6));
    let endpoint = Endpoint::parse(&authority).unwrap();
    assert_eq!((endpoint.authority(), endpoint.port()), (&authority[..], 65535));
}

#[test]
fn an_authority_one_byte_over_the_limit_is_too_long() {
    let authority = format!("{}:65535", "a".repeat(MAX_AUTHORITY - 5));
    assert_eq!(problem(&authority), EndpointProblem::TooLong);
}

#[test]
fn a_path_prefix_as_long_as_the_limit_is_accepted() {
    let path = format!("/{}", "p".repeat(MAX_PATH_PREFIX - 1));
    assert_eq!(Endpoint::parse(&format!("a{path}")).unwrap().path_prefix(), path);
    // The slash at the end is dropped first.
    assert_eq!(Endpoint::parse(&format!("a{path}/")).unwrap().path_prefix(), path);
}

#[test]
fn a_path_prefix_one_byte_over_the_limit_is_too_long() {
    assert_eq!(problem(&format!("a/{}", "p".repeat(MAX_PATH_PREFIX))), EndpointProblem::TooLong);
}

#[test]
fn the_user_agent_names_this_crate_unless_another_is_set() {
    let endpoint = Endpoint::parse("localhost").unwrap();
    assert_eq!(endpoint.user_agent(), Endpoint::DEFAULT_USER_AGENT);
    assert!(Endpoint::DEFAULT_USER_AGENT.starts_with("lambda-proto/0"));
    let endpoint = endpoint.with_user_agent("my-runtime/1.0 (x; y)").unwrap();
    assert_eq!(endpoint.user_agent(), "my-runtime/1.0 (x; y)");
}

#[test]
fn a_user_agent_as_long_as_the_limit_is_accepted() {
    let user_agent = "u".repeat(MAX_USER_AGENT);
    let endpoint = Endpoint::parse("a").unwrap().with_user_agent(&user_agent).unwrap();
    assert_eq!(endpoint.user_agent(), user_agent);
}

#[test]
fn a_user_agent_that_is_empty_too_long_or_not_visible_ascii_is_refused() {
    let too_long = "u".repeat(MAX_USER_AGENT + 1);
    for user_agent in [
        "",
        " ",
        " a",
        "a ",
        "a\tb",
        "a\r\nX: 1",
        "a\n",
        "\0",
        "a\u{7f}",
        "\u{e9}",
        "a\u{2028}b",
        &too_long,
    ] {
        let refused = Endpoint::parse("a").unwrap().with_user_agent(user_agent);
        assert_eq!(refused, Err(InvalidUserAgent), "{user_agent:?}");
    }
}

#[test]
fn every_error_shows_the_value_and_says_what_is_wrong() {
    let too_long = format!("{}:80", "h".repeat(MAX_AUTHORITY));
    for (value, word) in [
        ("https://example.com", "plain HTTP"),
        ("::1", "[v6-address]"),
        ("localhost:port", "65535"),
        ("localhost/a b", "path"),
        (&too_long, "261"),
    ] {
        let shown = Endpoint::parse(value).unwrap_err().to_string();
        assert!(shown.contains(word), "{shown}");
        assert!(shown.starts_with(&format!("\"{}", &value[..value.len().min(40)])), "{shown}");
    }
    assert!(InvalidUserAgent.to_string().contains("128"));
}

#[test]
fn an_error_shows_a_value_of_any_length_on_one_line_of_bounded_length() {
    for value in ["\r\n\0\"", &"\u{1f375}".repeat(100_000), &format!("a{}", "\u{e9}".repeat(1_000))]
    {
        let shown = Endpoint::parse(value).unwrap_err().to_string();
        assert!(shown.len() < 1_000 && !shown.contains(char::is_control), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..Default::default() })]

    #[test]
    fn what_is_accepted_is_safe_in_a_request_line_and_a_header(
        value in prop_oneof![any::<String>(), "(http://)?[a-c.\\[\\]:]{0,9}(:[0-9]{0,6})?(/[ -~\r\n\u{e9}]{0,9})?"],
    ) {
        let Ok(endpoint) = Endpoint::parse(&value) else { return Ok(()) };
        prop_assert!(endpoint.authority().bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(endpoint.path_prefix().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?'));
        prop_assert!(endpoint.path_prefix().is_empty() || endpoint.path_prefix().starts_with('/'));
        prop_assert!(!endpoint.path_prefix().ends_with('/'));
        prop_assert!(!endpoint.host().is_empty() && endpoint.port() > 0);
        prop_assert!(endpoint.authority().contains(endpoint.host()));
    }

    #[test]
    fn a_user_agent_that_is_accepted_is_safe_in_a_header(value in "[ -~\t\r\n\u{e9}]{0,12}") {
        let Ok(endpoint) = Endpoint::parse("a").unwrap().with_user_agent(&value) else { return Ok(()) };
        prop_assert!(endpoint.user_agent().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(endpoint.user_agent(), value);
    }
}

#[test]
fn a_scheme_is_recognised_only_before_the_path() {
    let endpoint = Endpoint::parse("127.0.0.1:9001/a://b").unwrap();
    assert_eq!(endpoint.path_prefix(), "/a://b");
}

#[test]
fn a_percent_sign_in_the_path_must_begin_a_whole_escape() {
    assert_eq!(Endpoint::parse("h:1/%2F%c3").unwrap().path_prefix(), "/%2F%c3");
    for value in ["h:1/%", "h:1/%2", "h:1/%zz", "h:1/%2g/x"] {
        assert!(Endpoint::parse(value).is_err(), "{value}");
    }
}
