//! Requests, and the phases that allow them.

use lambda_proto::api::Endpoint;
use lambda_proto::http::BufferTooSmall;
use lambda_proto_extension::{Call, CommandError, EventKind, Extension, Phase};
use proptest::prelude::*;

use super::{
    ACCEPTED, EVENT, PHASES, REFUSED, REGISTERED, answer, fresh, in_phase, name, next, register,
    report, send,
};

#[test]
fn the_requests_are_what_the_service_documents() {
    let mut extension = fresh();
    let events = [EventKind::Invoke, EventKind::Shutdown];
    let request = send(&mut extension, |extension, out| {
        extension.register(name("my extension.py"), &events, out)
    });
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

/// Every command in every phase, and the phase after it.
#[test]
fn each_command_is_refused_in_other_phases_and_changes_nothing_then() {
    type Give = fn(&mut Extension, &mut [u8]) -> Result<usize, CommandError>;
    let commands: [(Give, &[Phase], Phase); 4] = [
        (
            |extension, out| extension.register(name("inproc"), &[], out),
            &[Phase::Unregistered],
            Phase::Registering,
        ),
        (Extension::next, &[Phase::Registered, Phase::Ready], Phase::Asking),
        (
            |extension, out| extension.fail_init(&report(), out),
            &[Phase::Registered],
            Phase::Reporting { call: Call::InitError },
        ),
        (
            |extension, out| extension.fail(&report(), out),
            &[Phase::Registered, Phase::Ready],
            Phase::Reporting { call: Call::ExitError },
        ),
    ];
    for phase in PHASES {
        for (give, allowed, after) in commands {
            let mut extension = in_phase(phase);
            let before = format!("{extension:?}");
            let result = give(&mut extension, &mut [0; 1024]);
            if allowed.contains(&phase) {
                assert!(result.is_ok(), "{phase}");
                assert_eq!(extension.phase(), after);
            } else {
                assert_eq!(result, Err(CommandError::WrongPhase(phase)));
                assert_eq!(format!("{extension:?}"), before);
            }
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_gets_the_exact_size_and_nothing_changes() {
    type Give = fn(&mut Extension, &mut [u8]) -> Result<usize, CommandError>;
    let commands: [(Phase, Give); 4] = [
        (Phase::Unregistered, |extension, out| {
            extension.register(name("inproc"), &[EventKind::Shutdown], out)
        }),
        (Phase::Registered, Extension::next),
        (Phase::Registered, |extension, out| extension.fail_init(&report(), out)),
        (Phase::Ready, |extension, out| extension.fail(&report(), out)),
    ];
    for (phase, give) in commands {
        let mut extension = in_phase(phase);
        let before = format!("{extension:?}");
        let needed = give(&mut extension.clone(), &mut [0; 1024]).expect("room");
        for size in 0..needed {
            let error = give(&mut extension, &mut vec![0; size]).expect_err("no room");
            assert_eq!(error, CommandError::BufferTooSmall(BufferTooSmall { needed }));
            assert_eq!(format!("{extension:?}"), before);
        }
        assert_eq!(give(&mut extension, &mut vec![0; needed]), Ok(needed));
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
                Step::Register => drop(extension.register(name("inproc"), &[], &mut out)),
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
