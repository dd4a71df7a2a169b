//! Subscriptions to telemetry and logs.

use std::time::Duration;

use lambda_proto_extension::subscription::{
    Buffering, Destination, InvalidSubscription, Listener, LogsSchema, Subscription,
    TelemetrySchema, TelemetryTypes,
};
use lambda_proto_extension::{
    CommandError, Event, ExternalEvents, ManagedEvents, Phase, Refusal, RefusalKind, Registrant,
    Remedy,
};
use proptest::prelude::*;

use super::phase_table::Command;
use super::{REGISTERED, answer, fresh, in_phase, name, next, send};

fn listener() -> Listener<'static> {
    Listener::on_port(8099).expect("a port")
}

fn http() -> Destination<'static> {
    Destination::http(listener())
}

/// The request that subscribes.
fn request(subscription: &Subscription<'_>) -> String {
    let mut extension = in_phase(Phase::Registered);
    send(&mut extension, |extension, out| extension.subscribe(subscription, out))
}

/// The document of the request.
fn document(subscription: &Subscription<'_>) -> String {
    request(subscription).split_once("\r\n\r\n").expect("a head").1.to_owned()
}

#[test]
fn the_request_is_what_the_service_documents() {
    let types = TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION);
    let buffering = Buffering::DEFAULT
        .with_max_items(1_000)
        .and_then(|buffering| buffering.with_max_bytes(262_144))
        .and_then(|buffering| buffering.with_timeout(Duration::from_millis(100)))
        .expect("in range");
    let subscription = Subscription::telemetry(types, http()).with_buffering(buffering);
    let document = "{\"schemaVersion\":\"2025-01-29\",\"types\":[\"platform\",\"function\"],\
        \"buffering\":{\"maxItems\":1000,\"maxBytes\":262144,\"timeoutMs\":100},\
        \"destination\":{\"protocol\":\"HTTP\",\"URI\":\"http://sandbox.localdomain:8099\"}}";
    assert_eq!(
        request(&subscription),
        format!(
            "PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: test\r\n\
             Lambda-Extension-Identifier: c7d2\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{document}",
            document.len()
        )
    );
}

#[test]
fn each_api_has_its_path_and_its_schemas() {
    let types = TelemetryTypes::EXTENSION;
    for (schema, text) in [
        (TelemetrySchema::V2022_07_01, "2022-07-01"),
        (TelemetrySchema::V2022_12_13, "2022-12-13"),
        (TelemetrySchema::V2025_01_29, "2025-01-29"),
    ] {
        let request = request(&Subscription::telemetry_in(schema, types, http()));
        assert!(request.starts_with("PUT /2022-07-01/telemetry HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains(&format!("{{\"schemaVersion\":\"{text}\",\"types\"")),
            "{request}"
        );
    }
    for (schema, text) in
        [(LogsSchema::V2020_08_15, "2020-08-15"), (LogsSchema::V2021_03_18, "2021-03-18")]
    {
        let request = request(&Subscription::logs(schema, types, http()));
        assert!(request.starts_with("PUT /2020-08-15/logs HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains(&format!("{{\"schemaVersion\":\"{text}\",\"types\"")),
            "{request}"
        );
    }
    assert_eq!(TelemetrySchema::default(), TelemetrySchema::V2025_01_29);
    assert_eq!(LogsSchema::default(), LogsSchema::V2021_03_18);
}

#[test]
fn every_set_of_types_is_written_in_one_order() {
    use TelemetryTypes as Types;
    let all = [Types::PLATFORM, Types::FUNCTION, Types::EXTENSION];
    let names = ["\"platform\"", "\"function\"", "\"extension\""];
    for chosen in 1..8usize {
        let is_chosen = |at: &usize| chosen & (1 << at) != 0;
        let types = (0..3).rev().filter(is_chosen).map(|at| all[at]).reduce(Types::and);
        let list: Vec<_> = (0..3).filter(is_chosen).map(|at| names[at]).collect();
        let types = types.expect("at least one is chosen");
        let document = document(&Subscription::telemetry(types, http()));
        assert!(document.contains(&format!("\"types\":[{}],", list.join(","))), "{document}");
        for (at, one) in all.into_iter().enumerate() {
            assert_eq!(types.contains(one), is_chosen(&at));
        }
    }
}

#[test]
fn the_address_is_always_the_sandbox_and_the_port_that_of_the_listener() {
    let types = TelemetryTypes::PLATFORM;
    let at_path = |path| Destination::http_at(listener(), path).expect("a path");
    for (destination, end) in [
        (http(), r#""destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8099"}}"#),
        (
            at_path("/"),
            r#""destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8099/"}}"#,
        ),
        (
            at_path("/a/b?c=%20"),
            r#""destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8099/a/b?c=%20"}}"#,
        ),
        (Destination::tcp(listener()), r#""destination":{"protocol":"TCP","port":8099}}"#),
    ] {
        let document = document(&Subscription::telemetry(types, destination));
        assert!(document.ends_with(end), "{document}");
        assert!(!document.contains("buffering"), "{document}");
    }
}

#[test]
fn what_the_service_would_refuse_is_refused_before_it_is_sent() {
    for path in ["", "a", "//\u{e9}", "/ ", "/\"", "/\\", "/#a", "/\r\n", "http://x"] {
        assert_eq!(
            Destination::http_at(listener(), path),
            Err(InvalidSubscription::Path),
            "{path:?}"
        );
    }
    assert_eq!(Listener::on_port(0), Err(InvalidSubscription::NoPort));
    assert_eq!(Listener::on_port(9001), Err(InvalidSubscription::ReservedPort));
    let millis = Duration::from_millis;
    for (items, is_allowed) in
        [(0, false), (999, false), (1_000, true), (10_000, true), (10_001, false)]
    {
        assert_eq!(Buffering::DEFAULT.with_max_items(items).is_ok(), is_allowed, "{items}");
    }
    for (bytes, is_allowed) in [
        (262_143, false),
        (262_144, true),
        (1_048_576, true),
        (1_048_577, false),
        (u32::MAX, false),
    ] {
        assert_eq!(Buffering::DEFAULT.with_max_bytes(bytes).is_ok(), is_allowed, "{bytes}");
    }
    for (timeout, is_allowed) in [
        (Duration::ZERO, false),
        (Duration::from_micros(24_999), false),
        (millis(25), true),
        (millis(30_000), true),
        (Duration::from_micros(30_000_001), false),
        (Duration::MAX, false),
    ] {
        assert_eq!(Buffering::DEFAULT.with_timeout(timeout).is_ok(), is_allowed, "{timeout:?}");
    }
}

#[test]
fn an_invalid_subscription_names_the_value_and_what_is_allowed() {
    for (error, text) in [
        (InvalidSubscription::NoPort, "port 0 is not the port of a listener"),
        (
            InvalidSubscription::ReservedPort,
            "port 9001 is reserved by Lambda; listen on another one",
        ),
        (InvalidSubscription::MaxItems(7), "a batch of 7 records: 1000 to 10000 are allowed"),
        (InvalidSubscription::MaxBytes(7), "a batch of 7 bytes: 262144 to 1048576 are allowed"),
        (
            InvalidSubscription::Timeout(Duration::from_millis(7)),
            "a batch after 7 ms: 25 to 30000 ms are allowed",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn managed_instances_take_the_newest_telemetry_only() {
    let types = TelemetryTypes::PLATFORM;
    for (subscription, is_taken) in [
        (Subscription::telemetry(types, http()), true),
        (Subscription::telemetry_in(TelemetrySchema::V2022_12_13, types, http()), false),
        (Subscription::telemetry_in(TelemetrySchema::V2022_07_01, types, http()), false),
        (Subscription::logs(LogsSchema::V2021_03_18, types, http()), false),
    ] {
        assert_eq!(subscription.is_for_managed_instances(), is_taken);
        for (registrant, is_managed) in [
            (Registrant::external(name("ext"), ExternalEvents::Invoke), false),
            (Registrant::managed_external(name("ext"), ManagedEvents::Shutdown), true),
            (Registrant::managed_internal(name("ext")), true),
        ] {
            let mut extension = fresh();
            send(&mut extension, |extension, out| extension.register(&registrant, out));
            answer(&mut extension, REGISTERED);
            let before = format!("{extension:?}");
            let result = extension.subscribe(&subscription, &mut [0; 1024]);
            if is_taken || !is_managed {
                assert!(result.is_ok(), "{result:?}");
            } else {
                assert_eq!(result, Err(CommandError::NotOnManagedInstances));
                assert_eq!(format!("{extension:?}"), before);
            }
        }
    }
}

/// The refusal of a subscription by this reply, or `None` if it is accepted.
fn refusal(status: u16, document: &str) -> Option<(RefusalKind<'_>, Remedy, String)> {
    let mut extension = in_phase(Phase::Subscribing);
    let length = document.len();
    let bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{document}");
    let mut input = bytes.as_bytes();
    let reply = loop {
        match extension.receive(&mut input).expect("a reply") {
            Some(Event::Reply(reply)) => break reply,
            Some(Event::Document(_)) => {}
            None => panic!("the reply is whole"),
        }
    };
    assert_eq!(extension.phase(), Phase::Registered);
    // The extension goes on, whatever the reply was.
    next(&mut extension);
    if reply.is_accepted() {
        return None;
    }
    let refusal = Refusal::parse(reply, document.as_bytes());
    Some((refusal.kind(), refusal.remedy(), refusal.message().to_string()))
}

#[test]
fn only_200_means_that_telemetry_comes() {
    assert_eq!(refusal(200, "\"OK\""), None);
    assert_eq!(refusal(200, ""), None);
    for (status, document, kind, remedy, message) in [
        (
            202,
            r#"{"errorMessage":"Telemetry API is not supported","errorType":"Telemetry.NotSupported"}"#,
            RefusalKind::NotSupported,
            Remedy::GoWithout,
            "Telemetry API is not supported",
        ),
        (
            202,
            r#"{"errorMessage":"Logs API is not supported","errorType":"Logs.NotSupported"}"#,
            RefusalKind::NotSupported,
            Remedy::GoWithout,
            "Logs API is not supported",
        ),
        (202, "\"OK\"", RefusalKind::NotSupported, Remedy::GoWithout, ""),
        (204, "", RefusalKind::NotSupported, Remedy::GoWithout, ""),
        (
            400,
            r#"{"errorType":"ValidationError","errorMessage":"URI port is not provided"}"#,
            RefusalKind::ValidationError,
            Remedy::FixProgram,
            "URI port is not provided",
        ),
        (
            400,
            r#"{"errorType":"Logs.ValidationError","errorMessage":"types"}"#,
            RefusalKind::ValidationError,
            Remedy::FixProgram,
            "types",
        ),
        (
            403,
            r#"{"errorType":"Telemetry.SubscriptionClosed","errorMessage":"closed already"}"#,
            RefusalKind::SubscriptionClosed,
            Remedy::GoWithout,
            "closed already",
        ),
        (
            403,
            r#"{"errorType":"Logs.SubscriptionClosed","errorMessage":""}"#,
            RefusalKind::SubscriptionClosed,
            Remedy::GoWithout,
            "",
        ),
        (
            403,
            r#"{"errorType":"Extension.UnknownExtensionIdentifier","errorMessage":"who?"}"#,
            RefusalKind::UnknownExtensionIdentifier,
            Remedy::Exit,
            "who?",
        ),
        (404, "404 page not found\n", RefusalKind::NoSuchCall, Remedy::GoWithout, ""),
        (
            500,
            r#"{"errorType":"ValidationError","errorMessage":"twice"}"#,
            RefusalKind::ValidationError,
            Remedy::Exit,
            "twice",
        ),
    ] {
        let refusal = refusal(status, document).expect("it is refused");
        assert_eq!(refusal, (kind, remedy, message.to_owned()), "{status} {document}");
    }
}

#[test]
fn it_is_refused_once_the_extension_has_asked_for_an_event() {
    for phase in [Phase::Unregistered, Phase::Asking, Phase::Ready, Phase::ShuttingDown] {
        let result = Command::Subscribe.give(&mut in_phase(phase), &mut [0; 1024]);
        assert_eq!(result, Err(CommandError::WrongPhase(phase)));
    }
}

#[cfg(feature = "std")]
#[test]
fn a_listener_of_the_standard_library_gives_its_own_port() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    assert_eq!(Listener::of(&listener).expect("it is bound").port(), port);
}

/// The number after `key` in a document.
fn number(document: &str, key: &str) -> Option<u32> {
    let rest = document.split_once(&format!("\"{key}\":"))?.1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    assert!(digits == "0" || !digits.starts_with('0'), "{document}");
    digits.parse().ok()
}

proptest! {
    #[test]
    fn any_limits_are_written_as_they_were_given(
        items in prop::option::of(1_000..=10_000u32),
        bytes in prop::option::of(262_144..=1_048_576u32),
        timeout in prop::option::of(25..=30_000u32),
        port in 1..=u16::MAX,
    ) {
        prop_assume!(port != 9001);
        let mut buffering = Buffering::default();
        if let Some(items) = items {
            buffering = buffering.with_max_items(items).expect("in range");
        }
        if let Some(bytes) = bytes {
            buffering = buffering.with_max_bytes(bytes).expect("in range");
        }
        if let Some(timeout) = timeout {
            let timeout = Duration::from_millis(timeout.into());
            buffering = buffering.with_timeout(timeout).expect("in range");
        }
        let destination = Destination::tcp(Listener::on_port(port).expect("a port"));
        let subscription = Subscription::telemetry(TelemetryTypes::PLATFORM, destination);
        let document = document(&subscription.with_buffering(buffering));
        prop_assert_eq!(number(&document, "maxItems"), items);
        prop_assert_eq!(number(&document, "maxBytes"), bytes);
        prop_assert_eq!(number(&document, "timeoutMs"), timeout);
        prop_assert_eq!(number(&document, "port"), Some(port.into()));
        let is_any = items.is_some() || bytes.is_some() || timeout.is_some();
        prop_assert_eq!(document.contains("\"buffering\":{\""), is_any);
        // No comma is missing or too much.
        let parsed: Result<Whole, _> = lambda_proto::json::parse(document.as_bytes());
        prop_assert!(parsed.is_ok(), "{document}");
        prop_assert!(!document.contains(",}") && !document.contains("{,"), "{document}");
    }
}

#[derive(serde::Deserialize)]
struct Whole {}
