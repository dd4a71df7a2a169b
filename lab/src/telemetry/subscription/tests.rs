use super::*;

const ON_DEMAND: Rules = Rules { is_managed: false, runtime_api: 9005 };
const MANAGED: Rules = Rules { is_managed: true, runtime_api: 9005 };

fn read(api: Api, document: &str) -> Result<Subscription, String> {
    Subscription::read(api, document.as_bytes(), ON_DEMAND)
}

/// A document whose members are replaced by these.
fn document(changes: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("schemaVersion", r#""2022-12-13""#),
        ("destination", r#"{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080/a?b=c"}"#),
        ("types", r#"["platform","function"]"#),
    ];
    for (name, value) in changes {
        members.retain(|(known, _)| known != name);
        if !value.is_empty() {
            members.push((name, value));
        }
    }
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn destination(value: &str) -> Result<Destination, String> {
    read(Api::Telemetry, &document(&[("destination", value)])).map(|it| it.destination)
}

fn uri(uri: &str) -> Result<Destination, String> {
    destination(&format!(r#"{{"protocol":"HTTP","URI":"{uri}"}}"#))
}

#[test]
fn a_subscription_has_defaults_for_its_buffering() {
    let subscription = read(Api::Telemetry, &document(&[])).unwrap();
    let path = "/a?b=c".to_owned();
    assert_eq!(
        subscription,
        Subscription {
            schema: Schema::Telemetry20221213,
            types: vec![Kind::Platform, Kind::Function],
            destination: Destination::Http { port: 8080, path, is_put: false },
            limits: Limits { items: 10_000, bytes: 262_144, time: Duration::from_millis(1000) },
        }
    );
    for buffering in ["{}", "null", r#"{"maxItems":null}"#] {
        let document = document(&[("buffering", buffering)]);
        assert_eq!(read(Api::Telemetry, &document).unwrap(), subscription);
    }
}

#[test]
fn each_limit_of_the_buffering_has_its_range() {
    for (name, least, most) in
        [("maxItems", 1000, 10_000), ("maxBytes", 262_144, 1_048_576), ("timeoutMs", 25, 30_000)]
    {
        let limits = |value: &str| {
            let buffering = format!("{{\"{name}\":{value}}}");
            read(Api::Telemetry, &document(&[("buffering", &buffering)])).map(|it| it.limits)
        };
        for value in [least, most] {
            let Limits { items, bytes, time } = limits(&value.to_string()).unwrap();
            let numbers = [items, bytes, time.as_millis() as usize];
            assert!(numbers.contains(&value), "{name} {value}");
        }
        let refused = format!("buffering.{name} should be an integer from {least} to {most}");
        for value in [least - 1, most + 1] {
            assert_eq!(limits(&value.to_string()), Err(refused.clone()));
        }
        for value in ["-1", "1e3", "1000.0", "\"1000\"", "true", "[]", "99999999999999999999"] {
            assert_eq!(limits(value), Err(refused.clone()), "{value}");
        }
    }
}

#[test]
fn each_api_has_its_schemas() {
    for (api, name, schema) in [
        (Api::Telemetry, "2022-07-01", Schema::Telemetry20220701),
        (Api::Telemetry, "2022-12-13", Schema::Telemetry20221213),
        (Api::Telemetry, "2025-01-29", Schema::Telemetry20250129),
        (Api::Logs, "2020-08-15", Schema::Logs20200815),
        (Api::Logs, "2021-03-18", Schema::Logs20210318),
    ] {
        let document = document(&[("schemaVersion", &format!("\"{name}\""))]);
        assert_eq!(read(api, &document).unwrap().schema, schema);
        let managed = Subscription::read(api, document.as_bytes(), MANAGED);
        assert_eq!(managed.is_ok(), schema == Schema::Telemetry20250129, "{name}");
        let other = if api == Api::Logs { Api::Telemetry } else { Api::Logs };
        assert!(read(other, &document).is_err());
    }
    let without = document(&[("schemaVersion", "")]);
    assert_eq!(read(Api::Logs, &without).unwrap().schema, Schema::Logs20200815);
    assert_eq!(read(Api::Telemetry, &without), Err("schemaVersion is not provided".to_owned()));
    for (version, text) in [
        ("\"2021-03-18\"", "one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ("\"\"", "one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ("1", "a string"),
    ] {
        let refused = read(Api::Telemetry, &document(&[("schemaVersion", version)]));
        assert_eq!(refused, Err(format!("schemaVersion should be {text}")));
    }
}

#[test]
fn only_the_extension_itself_can_be_the_destination() {
    let http =
        |port, path: &str| Ok(Destination::Http { port, path: path.to_owned(), is_put: false });
    assert_eq!(uri("http://sandbox.localdomain:1"), http(1, "/"));
    assert_eq!(uri("http://sandbox:65535/x"), http(65_535, "/x"));
    assert_eq!(uri("HTTP://sandbox.localdomain:80/"), http(80, "/"));
    let host = Err("destination.URI host must be sandbox.localdomain".to_owned());
    for foreign in [
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://sandbox.localdomain.example:8080",
        "http://xsandbox.localdomain:8080",
        "http://sandbox.localdomain@example.com:8080",
        "http://sandbox.localdomain:8080@example.com",
        "http://a@sandbox.localdomain:8080",
        "http://example.com:80#@sandbox.localdomain:8080",
        "http://169.254.169.254:80/latest",
        "http://SANDBOX.localdomain:8080",
        "http://sandbox.localdomain.:8080",
    ] {
        let refused = uri(foreign);
        assert!(refused == host || refused == Err("URI is not valid".into()), "{refused:?}");
    }
    for (text, problem) in [
        ("https://sandbox.localdomain:8080", "URI scheme should be http"),
        ("file:///etc/passwd", "URI is not valid"),
        ("/path", "URI scheme should be http"),
        ("sandbox.localdomain:8080", "URI scheme should be http"),
        ("http://sandbox.localdomain", "URI port is not provided"),
        ("http://sandbox.localdomain:", "URI port is not provided"),
        ("http://sandbox.localdomain/8080", "URI port is not provided"),
        ("http://sandbox.localdomain:0", "URI port should be an integer from 1 to 65535"),
        ("http://sandbox.localdomain:9001/x", "URI port 9001 is reserved"),
        ("http://sandbox.localdomain:9005/x", "URI port 9005 is reserved"),
        ("http://sandbox.localdomain:80 80", "URI is not valid"),
        ("", "URI is not provided"),
    ] {
        assert_eq!(uri(text), Err(problem.to_owned()), "{text}");
    }
    for port in ["65536", "+80", "x"] {
        assert!(uri(&format!("http://sandbox.localdomain:{port}")).is_err(), "{port}");
    }
}

#[test]
fn a_destination_has_a_protocol_and_what_it_needs() {
    assert_eq!(
        destination(r#"{"protocol":"TCP","port":7000}"#),
        Ok(Destination::Tcp { port: 7000 })
    );
    for (value, problem) in [
        ("null", "destination is not provided"),
        ("\"HTTP\"", "destination should be an object"),
        ("{}", "protocol is not provided"),
        (r#"{"protocol":"UDP","port":1}"#, "protocol should be HTTP or TCP"),
        (r#"{"protocol":"http","URI":"x"}"#, "protocol should be HTTP or TCP"),
        (r#"{"protocol":"HTTP"}"#, "URI is not provided"),
        (r#"{"protocol":"HTTP","URI":8080}"#, "URI should be a string"),
        (r#"{"protocol":"TCP"}"#, "port is not provided"),
        (r#"{"protocol":"TCP","port":0}"#, "port should be an integer from 1 to 65535"),
        (r#"{"protocol":"TCP","port":65536}"#, "port should be an integer from 1 to 65535"),
        (r#"{"protocol":"TCP","port":"7000"}"#, "port should be an integer from 1 to 65535"),
        (r#"{"protocol":"TCP","port":9001}"#, "port 9001 is reserved"),
    ] {
        assert_eq!(destination(value), Err(problem.to_owned()), "{value}");
    }
}

#[test]
fn the_logs_api_lets_the_subscriber_choose_the_method() {
    for (method, is_put) in
        [("\"POST\"", Some(false)), ("\"PUT\"", Some(true)), ("\"GET\"", None), ("1", None)]
    {
        let destination =
            format!(r#"{{"protocol":"HTTP","URI":"http://sandbox:1/","method":{method}}}"#);
        let changes = [("destination", destination.as_str()), ("schemaVersion", "")];
        let logs = read(Api::Logs, &document(&changes)).map(|it| it.destination);
        let path = "/".to_owned();
        let expected = is_put.map(|is_put| Destination::Http { port: 1, path, is_put });
        assert_eq!(logs.ok(), expected, "{method}");
        assert!(read(Api::Telemetry, &document(&changes[..1])).is_ok());
    }
}

#[test]
fn all_that_is_wrong_is_named_in_the_words_of_the_documentation() {
    let changes = [
        ("destination", r#"{"protocol":"HTTP","URI":"http://sandbox.localdomain"}"#),
        ("types", "[]"),
    ];
    let problems = "URI port is not provided; types should not be empty";
    assert_eq!(read(Api::Telemetry, &document(&changes)), Err(problems.to_owned()));
    let changes = [&changes[..], &[("schemaVersion", r#""2025-01-29""#)]].concat();
    let managed = Subscription::read(Api::Telemetry, document(&changes).as_bytes(), MANAGED);
    let problems = "types should not be empty";
    assert_eq!(managed, Err(format!("schema validation error: {problems}")));
    let changes = [changes[0], changes[2]];
    let managed = Subscription::read(Api::Telemetry, document(&changes).as_bytes(), MANAGED);
    assert_eq!(managed, Err("Invalid destination: URI port is not provided".to_owned()));
    for (types, problem) in [
        ("", "types should not be empty"),
        ("null", "types should not be empty"),
        ("\"platform\"", "types should be an array"),
        ("[\"platform\",\"PLATFORM\"]", "types should be platform, function or extension"),
        ("[1]", "types should be platform, function or extension"),
    ] {
        let refused = read(Api::Telemetry, &document(&[("types", types)]));
        assert_eq!(refused, Err(problem.to_owned()), "{types}");
    }
    for (text, problem) in [
        ("", "unexpected end of JSON input"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("[]", "the document should be an object"),
        ("null", "the document should be an object"),
    ] {
        assert_eq!(read(Api::Telemetry, text), Err(problem.to_owned()));
    }
    let managed = Subscription::read(Api::Telemetry, b"{", MANAGED).unwrap_err();
    assert_eq!(managed, "failed to parse JSON: unexpected end of JSON input");
}

#[test]
fn the_case_of_keys_matters_for_managed_instances_only() {
    let document = document(&[("schemaVersion", r#""2025-01-29""#)]);
    let document = document.replace("\"types\"", "\"Types\"").replace("\"URI\"", "\"uri\"");
    assert!(read(Api::Telemetry, &document).is_ok());
    let managed = Subscription::read(Api::Telemetry, document.as_bytes(), MANAGED);
    let problems = "schema validation error: URI is not provided; types should not be empty";
    assert_eq!(managed, Err(problems.to_owned()));
}
