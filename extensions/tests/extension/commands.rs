//! Requests, and the phases that allow them.

use lambda_proto::api::Endpoint;
use lambda_proto::http::BufferTooSmall;
use lambda_proto_extension::{
    CommandError, Extension, ExternalEvents, InternalEvents, ManagedEvents, Phase, Registrant,
};
use proptest::prelude::*;

use super::phase_table::{Command, PHASES, follow_command};
use super::{
    ACCEPTED, EVENT, REFUSED, REGISTERED, answer, fresh, in_phase, name, next, register, report,
    send,
};

#[test]
fn the_requests_are_what_the_service_documents() {
    let mut extension = fresh();
    let registrant =
        Registrant::external(name("my extension.py"), ExternalEvents::InvokeAndShutdown);
    let request = send(&mut extension, |extension, out| extension.register(&registrant, out));
    assert_eq!(
        request,
        "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: test\r\n\
         Lambda-Extension-Name: my extension.py\r\nContent-Type: application/json\r\n\
         Content-Length: 32\r\n\r\n{\"events\":[\"INVOKE\",\"SHUTDOWN\"]}"
    );
    answer(&mut extension, REGISTERED);
    assert_eq!(
        next(&mut extension),
        "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: test\r\n\
         Lambda-Extension-Identifier: c7d2\r\n\r\n"
    );
    answer(&mut extension, EVENT);
    let tail = "Host: 127.0.0.1\r\nUser-Agent: test\r\nLambda-Extension-Identifier: c7d2\r\n\
        Lambda-Extension-Function-Error-Type: Extension.NoSuchTable\r\nContent-Type: application/json\r\n\
        Content-Length: 63\r\n\r\n{\"errorType\":\"Extension.NoSuchTable\",\"errorMessage\":\"it broke\"}";
    let request = send(&mut extension, |extension, out| extension.fail(&report(), out));
    assert_eq!(request, format!("POST /2020-01-01/extension/exit/error HTTP/1.1\r\n{tail}"));
    let mut extension = in_phase(Phase::Registered);
    let request = send(&mut extension, |extension, out| extension.fail_init(&report(), out));
    assert_eq!(request, format!("POST /2020-01-01/extension/init/error HTTP/1.1\r\n{tail}"));
}

#[test]
fn a_path_in_front_of_the_api_is_kept() {
    let mut extension = Extension::new(Endpoint::parse("http://[::]:9000/.rt").expect("a URL"));
    assert!(register(&mut extension).starts_with("POST /.rt/2020-01-01/extension/register HTTP"));
}

#[test]
fn each_kind_of_extension_asks_for_its_events_only() {
    let name = name("ext");
    for (registrant, events) in [
        (Registrant::external(name, ExternalEvents::None), "[]"),
        (Registrant::external(name, ExternalEvents::Invoke), "[\"INVOKE\"]"),
        (Registrant::external(name, ExternalEvents::Shutdown), "[\"SHUTDOWN\"]"),
        (
            Registrant::external(name, ExternalEvents::InvokeAndShutdown),
            "[\"INVOKE\",\"SHUTDOWN\"]",
        ),
        (Registrant::internal(name, InternalEvents::None), "[]"),
        (Registrant::internal(name, InternalEvents::Invoke), "[\"INVOKE\"]"),
        (Registrant::managed_external(name, ManagedEvents::None), "[]"),
        (Registrant::managed_external(name, ManagedEvents::Shutdown), "[\"SHUTDOWN\"]"),
        (Registrant::managed_internal(name), "[]"),
    ] {
        assert_eq!(registrant.name(), name);
        let request = send(&mut fresh(), |extension, out| extension.register(&registrant, out));
        assert!(request.ends_with(&format!("\r\n\r\n{{\"events\":{events}}}")), "{request}");
        assert!(request.contains("\r\nLambda-Extension-Name: ext\r\n"), "{request}");
        assert!(!request.contains("Accept-Feature"), "{request}");
    }
}

#[test]
fn the_account_id_is_asked_for_by_a_header() {
    let registrant = Registrant::managed_internal(name("ext")).with_account_id();
    let request = send(&mut fresh(), |extension, out| extension.register(&registrant, out));
    let field = "\r\nLambda-Extension-Accept-Feature: accountId\r\n";
    assert!(request.contains(field), "{request}");
}

#[test]
fn a_buffer_that_is_too_small_gets_the_exact_size_and_nothing_changes() {
    for (phase, command) in
        PHASES.iter().flat_map(|facts| Command::ALL.map(|command| (facts.phase, command)))
    {
        if follow_command(phase, command).0.is_refused() {
            continue;
        }
        let mut extension = in_phase(phase);
        let before = format!("{extension:?}");
        let needed = command.give(&mut extension.clone(), &mut [0; 1024]).expect("room");
        for size in 0..needed {
            let error = command.give(&mut extension, &mut vec![0; size]).expect_err("no room");
            assert_eq!(error, CommandError::BufferTooSmall(BufferTooSmall { needed }));
            assert_eq!(format!("{extension:?}"), before);
        }
        assert_eq!(command.give(&mut extension, &mut vec![0; needed]), Ok(needed));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Register,
    Next,
    FailInit,
    Fail,
    ShutDown,
    Sent(usize),
    Receive(Vec<u8>),
    Disconnect,
    EndOfStream,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        4 => prop::sample::select(vec![REGISTERED, ACCEPTED, REFUSED, EVENT])
            .prop_map(|reply| reply.as_bytes().to_vec()),
        1 => Just(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop_oneof![
        2 => Just(Step::Register), 3 => Just(Step::Next), 1 => Just(Step::FailInit), 1 => Just(Step::Fail),
        1 => Just(Step::ShutDown), 4 => (0..400usize).prop_map(Step::Sent), 6 => bytes.prop_map(Step::Receive),
        2 => Just(Step::Disconnect), 1 => Just(Step::EndOfStream),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_neither_panics_nor_asks_without_an_identifier(
        steps in prop::collection::vec(step(), 0..30)
    ) {
        let mut extension = fresh();
        for step in steps {
            let mut out = [0; 512];
            match step {
                Step::Register => drop(Command::Register.give(&mut extension, &mut out)),
                Step::Next => {
                    if let Ok(length) = extension.next(&mut out) {
                        prop_assert!(!extension.identifier().is_empty());
                        let request = std::str::from_utf8(&out[..length]).expect("text");
                        let field = format!("\r\nLambda-Extension-Identifier: {}\r\n", extension.identifier());
                        prop_assert!(request.contains(&field));
                    }
                }
                Step::FailInit => drop(extension.fail_init(&report(), &mut out)),
                Step::Fail => drop(extension.fail(&report(), &mut out)),
                Step::ShutDown => extension.shut_down(),
                Step::Sent(length) => extension.sent(length),
                Step::Receive(bytes) => {
                    let mut input = &bytes[..];
                    // Each event except the end of a reply consumes bytes.
                    for _ in 0..=2 * bytes.len() {
                        match extension.receive(&mut input) {
                            Ok(Some(_)) => {}
                            Ok(None) | Err(_) => break,
                        }
                    }
                    prop_assert!(!matches!(extension.receive(&mut &[][..]), Ok(Some(_))));
                }
                Step::Disconnect => {
                    extension.on_disconnect();
                    prop_assert!(!extension.must_reconnect() && extension.unsent(&out).is_empty());
                }
                Step::EndOfStream => drop(extension.end_of_stream()),
            }
            prop_assert!(extension.unsent(&out).len() <= out.len());
        }
    }
}
