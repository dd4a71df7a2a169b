//! A recorded conversation with AWS's emulator.

use lambda_proto::api::{Deadline, ServiceError};
use lambda_proto_extension::subscription::{
    Destination, Listener, Subscription, TelemetrySchema, TelemetryTypes,
};
use lambda_proto_extension::{
    Call, EnvironmentEvent, InternalEvents, Phase, Registrant, Registration,
};

use super::{answer, fresh, in_phase, name, next, register, replies, send};

fn recorded(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    std::fs::read(format!("{folder}/14_internal_extension.{name}.bin")).expect("a recording")
}

/// The messages of one side, each with its body; none is chunked.
fn messages(bytes: &[u8]) -> Vec<String> {
    let mut rest = std::str::from_utf8(bytes).expect("text");
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let head = rest.find("\r\n\r\n").expect("a whole head") + 4;
        let length = rest[..head].lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        let (message, more) = rest.split_at(head + length);
        messages.push(message.to_owned());
        rest = more;
    }
    messages
}

#[test]
fn requests_equal_the_recorded_ones_except_for_the_client_name() {
    let client = messages(&recorded("conn2.c2s"));
    let fields = |request: &str| -> Vec<String> {
        let is_the_clients = |line: &&str| line.starts_with("User-Agent:");
        request.lines().filter(|line| !is_the_clients(line)).map(str::to_owned).collect()
    };
    let mut extension = fresh();
    let registrant = Registrant::internal(name("inproc"), InternalEvents::Invoke).with_account_id();
    let ours = send(&mut extension, |extension, out| extension.register(&registrant, out));
    assert_eq!(fields(&ours), fields(&client[0]));
    answer(&mut extension, &messages(&recorded("conn2.s2c"))[0]);
    let destination = Destination::http(Listener::on_port(8099).expect("a port"));
    let types = TelemetryTypes::PLATFORM;
    let subscription = Subscription::telemetry_in(TelemetrySchema::V2022_07_01, types, destination);
    let ours = send(&mut extension, |extension, out| extension.subscribe(&subscription, out));
    assert_eq!(fields(&ours), fields(&client[1]));
    answer(&mut extension, &messages(&recorded("conn2.s2c"))[1]);
    assert_eq!(fields(&next(&mut extension)), fields(&client[3]));
}

#[test]
fn the_recorded_replies_are_read_the_same_wherever_they_are_cut() {
    let service = messages(&recorded("conn2.s2c"));
    let [registration, _, _, event] = &service[..] else { panic!("four replies") };
    let converse = |cut: usize| {
        let mut extension = fresh();
        register(&mut extension);
        let cuts = |reply: &str| [cut.min(reply.len())];
        let one = replies(&mut extension, registration.as_bytes(), cuts(registration));
        next(&mut extension);
        let two = replies(&mut extension, event.as_bytes(), cuts(event));
        (one.expect("a reply"), two.expect("a reply"), extension)
    };
    let (one, two, extension) = converse(usize::MAX);
    let [(Call::Register, 200, document)] = &one[..] else { panic!("{one:?}") };
    let registration = Registration::parse(document).expect("the document");
    assert_eq!(registration.function_name, "test_function");
    assert_eq!(registration.function_version, "$LATEST");
    assert!(registration.handler.is_empty());
    assert_eq!(extension.identifier(), "c7d23ee2-a981-4d80-9adf-fafb98d5d8fe");

    let [(Call::Next, 200, document)] = &two[..] else { panic!("{two:?}") };
    let Ok(EnvironmentEvent::Invoke(invoke)) = EnvironmentEvent::parse(document) else { panic!() };
    assert_eq!(invoke.deadline, Some(Deadline::from_unix_millis(1_795_253_058_389)));
    assert_eq!(invoke.request_id, "8f18895d-248a-45d7-bfe5-8f40a50928ff");
    let arn = "arn:aws:lambda:us-east-1:012345678912:function:test_function";
    assert_eq!(invoke.invoked_function_arn, arn);
    assert!(invoke.trace_id.is_empty());
    assert_eq!(extension.event_identifier(), "e8249e5f-8f98-47a0-b55e-34d7b39105d2");
    assert_eq!(extension.phase(), Phase::Ready);

    for cut in 0..=event.len().max(service[0].len()) {
        let (also_one, also_two, also) = converse(cut);
        assert_eq!((&also_one, &also_two), (&one, &two), "cut at {cut}");
        assert_eq!(format!("{also:?}"), format!("{extension:?}"), "cut at {cut}");
    }
}

#[test]
fn the_recorded_refusals_have_an_error_type() {
    let service = messages(&recorded("conn3.s2c"));
    let cases = [
        (Phase::Asking, Call::Next, "Extension.MissingExtensionIdentifier", Phase::Ready),
        (Phase::Asking, Call::Next, "Extension.UnknownExtensionIdentifier", Phase::Ready),
        (Phase::Registering, Call::Register, "Extension.RegistrationClosed", Phase::Unregistered),
    ];
    for (reply, (phase, call, error_type, after)) in service.iter().zip(cases) {
        for cut in 0..=reply.len() {
            let mut extension = in_phase(phase);
            let replies = replies(&mut extension, reply.as_bytes(), [cut]).expect("a reply");
            assert_eq!((replies[0].0, replies[0].1), (call, 403));
            let error = ServiceError::parse(&replies[0].2).expect("the document");
            assert_eq!(error.error_type, error_type);
            assert_eq!(extension.phase(), after);
            assert!(!extension.must_reconnect());
        }
    }
}
