//! What a refusal means, and what to do about it.

use lambda_proto_extension::{Call, Event, Phase, Refusal, RefusalKind, Remedy, Reply};

use super::in_phase;
use super::phase_table::{REPORTING_EXIT, REPORTING_INIT};

/// The reply of this status to an extension in this phase.
fn reply(phase: Phase, status: u16) -> Reply {
    let bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    let mut extension = in_phase(phase);
    let Ok(Some(Event::Reply(reply))) = extension.receive(&mut bytes.as_bytes()) else { panic!() };
    reply
}

fn document(error_type: &str) -> Vec<u8> {
    format!(r#"{{"errorMessage":"because","errorType":"{error_type}"}}"#).into_bytes()
}

#[test]
fn every_documented_error_type_has_a_kind_and_a_remedy() {
    use RefusalKind as Kind;
    for (phase, error_type, kind, remedy) in [
        (
            Phase::Registering,
            "Extension.InvalidExtensionName",
            Kind::InvalidExtensionName,
            Remedy::FixProgram,
        ),
        (
            Phase::Registering,
            "InvalidRequestFormat",
            Kind::InvalidRequestFormat,
            Remedy::FixProgram,
        ),
        (
            Phase::Registering,
            "Extension.InvalidEventType",
            Kind::InvalidEventType,
            Remedy::FixProgram,
        ),
        (
            Phase::Registering,
            "Extension.InvalidExtensionState",
            Kind::InvalidExtensionState,
            Remedy::FixProgram,
        ),
        (
            Phase::Registering,
            "Extension.RegistrationClosed",
            Kind::RegistrationClosed,
            Remedy::FixProgram,
        ),
        (
            Phase::Registering,
            "Extension.TooManyExtensions",
            Kind::TooManyExtensions,
            Remedy::FixProgram,
        ),
        (
            Phase::Asking,
            "Extension.MissingExtensionIdentifier",
            Kind::MissingExtensionIdentifier,
            Remedy::FixProgram,
        ),
        (
            Phase::Asking,
            "Extension.InvalidExtensionIdentifier",
            Kind::InvalidExtensionIdentifier,
            Remedy::FixProgram,
        ),
        (
            Phase::Asking,
            "Extension.UnknownExtensionIdentifier",
            Kind::UnknownExtensionIdentifier,
            Remedy::Exit,
        ),
        (
            Phase::Asking,
            "Extension.InvalidExtensionState",
            Kind::InvalidExtensionState,
            Remedy::Retry,
        ),
        (REPORTING_INIT, "Extension.MissingHeader", Kind::MissingHeader, Remedy::Exit),
        (
            REPORTING_EXIT,
            "Extension.InvalidExtensionState",
            Kind::InvalidExtensionState,
            Remedy::Exit,
        ),
    ] {
        let (reply, document) = (reply(phase, 403), document(error_type));
        let refusal = Refusal::parse(reply, &document);
        assert_eq!((refusal.kind(), refusal.remedy()), (kind, remedy), "{refusal}");
        assert_eq!(refusal.message(), "because");
        assert_eq!(refusal.reply(), reply);
    }
}

#[test]
fn without_a_known_error_type_the_status_decides() {
    for (status, remedy) in [
        (400, Remedy::FixProgram),
        (403, Remedy::FixProgram),
        (404, Remedy::GoWithout),
        (405, Remedy::GoWithout),
        (408, Remedy::Retry),
        (429, Remedy::Retry),
        (500, Remedy::Exit),
        (501, Remedy::FixProgram),
        (502, Remedy::Retry),
        (503, Remedy::Retry),
        (504, Remedy::Retry),
    ] {
        for document in ["", "404 page not found\n", "{}", r#"{"errorType":"Extension.New"}"#] {
            for phase in [Phase::Registering, Phase::Asking] {
                let reply = reply(phase, status);
                let refusal = Refusal::parse(reply, document.as_bytes());
                assert_eq!(refusal.remedy(), remedy, "{refusal}");
                let is_unknown = matches!(refusal.kind(), RefusalKind::Other(_));
                assert_eq!(is_unknown, remedy != Remedy::GoWithout, "{refusal}");
            }
        }
    }
}

#[test]
fn a_500_ends_the_process_whatever_its_document_says() {
    let document = document("Extension.InvalidExtensionState");
    let reply = reply(Phase::Asking, 500);
    assert_eq!(reply.call(), Call::Next);
    assert_eq!(Refusal::parse(reply, &document).remedy(), Remedy::Exit);
}

#[test]
fn an_unknown_error_type_is_kept() {
    let refusal_of = |document| Refusal::parse(reply(Phase::Registering, 403), document);
    let RefusalKind::Other(error_type) =
        refusal_of(br#"{"errorType":"Extension.N\u0065w"}"#).kind()
    else {
        panic!()
    };
    assert_eq!(error_type, "Extension.New");
    let RefusalKind::Other(error_type) = refusal_of(b"not JSON").kind() else { panic!() };
    assert!(error_type.is_empty());
}

#[test]
fn its_text_says_what_happened_and_what_to_do() {
    let reply = reply(Phase::Registering, 403);
    for (document, text) in [
        ("", "extension/register was answered with 403; the program or its deployment must change"),
        (
            r#"{"errorType":"Extension.TooManyExtensions","errorMessage":"Extension limit (10) reached"}"#,
            "extension/register was answered with 403 (Extension.TooManyExtensions: Extension limit \
             (10) reached); the program or its deployment must change",
        ),
        (
            r#"{"errorType":"Extension.InvalidEventType","errorMessage":"SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"}"#,
            "extension/register was answered with 403 (Extension.InvalidEventType: SHUTDOWN: \
             ShutdownEventNotSupportedForInternalExtension); an external extension has to register \
             with the name of its file",
        ),
        (
            r#"{"errorMessage":"no"}"#,
            "extension/register was answered with 403 (no); the program or its deployment must change",
        ),
        (
            r#"{"errorType":"Odd","errorMessage":"two\nlines"}"#,
            "extension/register was answered with 403 (Odd: two lines); the program or its \
             deployment must change",
        ),
        (
            r#"{"errorType":"Odd"}"#,
            "extension/register was answered with 403 (Odd); the program or its deployment must change",
        ),
    ] {
        assert_eq!(Refusal::parse(reply, document.as_bytes()).to_string(), text);
    }
}
