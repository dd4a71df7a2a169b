//! What each status means for each call, and what to do then: protocol.md 1.7.

use lambda_proto::api::{
    Action, Call, Concurrency, ContentType, Endpoint, ErrorReport, Meaning, Outcome,
};
use lambda_proto::machine::{Event, Machine, Phase, Recovery};

use Action::{Continue, ContinueAfterBackoff, Exit};

const CALLS: [Call; 6] = [
    Call::Next,
    Call::Response,
    Call::Error,
    Call::InitError,
    Call::RestoreNext,
    Call::RestoreError,
];

/// The status, its meaning (204 for `next` has a different one), and the action for `next`, for
/// `response` and `error`, and for `restore/next`. After `init/error` and `restore/error` the
/// process always ends.
const TABLE: [(u16, Meaning, Action, Action, Action); 27] = [
    (200, Meaning::Accepted, Continue, Continue, Continue),
    (201, Meaning::Accepted, Continue, Continue, Continue),
    (202, Meaning::Accepted, Continue, Continue, Continue),
    (204, Meaning::Accepted, Continue, Continue, Continue),
    (299, Meaning::Accepted, Continue, Continue, Continue),
    (300, Meaning::Unexpected, Exit, Continue, Continue),
    (301, Meaning::Unexpected, Exit, Continue, Continue),
    (399, Meaning::Unexpected, Exit, Continue, Continue),
    (400, Meaning::BadRequest, Exit, Continue, Continue),
    (401, Meaning::Unexpected, Exit, Continue, Continue),
    (402, Meaning::Unexpected, Exit, Continue, Continue),
    (403, Meaning::OutOfOrder, Exit, Continue, Continue),
    (404, Meaning::NoSuchCall, Exit, Continue, Continue),
    (405, Meaning::NoSuchCall, Exit, Continue, Continue),
    (408, Meaning::Unexpected, ContinueAfterBackoff, Continue, Continue),
    (410, Meaning::TooLate, Exit, Continue, Continue),
    (411, Meaning::Unexpected, Exit, Continue, Continue),
    (413, Meaning::TooLarge, Exit, Continue, Continue),
    (414, Meaning::Unexpected, Exit, Continue, Continue),
    (429, Meaning::Unexpected, ContinueAfterBackoff, Continue, Continue),
    (500, Meaning::ServiceFailed, Exit, Exit, Exit),
    (501, Meaning::Unexpected, Exit, Continue, Continue),
    (502, Meaning::Unexpected, ContinueAfterBackoff, Continue, Continue),
    (503, Meaning::Unexpected, ContinueAfterBackoff, Continue, Continue),
    (504, Meaning::Unexpected, ContinueAfterBackoff, Continue, Continue),
    (505, Meaning::Unexpected, Exit, Continue, Continue),
    (999, Meaning::Unexpected, Exit, Continue, Continue),
];

/// A machine that has an event in flight.
fn invoking() -> Machine {
    let mut machine = Machine::new(Endpoint::parse("a").unwrap());
    let length = machine.next(&mut [0; 512]).unwrap();
    machine.sent(length);
    let mut input: &[u8] =
        b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 2\r\n\r\n{}";
    while machine.receive(&mut input).unwrap().is_some() {}
    assert_eq!(machine.phase(), Phase::Invoking);
    machine
}

/// Answers with this call and sends the whole request.
fn answer(machine: &mut Machine, call: Call) {
    let mut out = [0; 512];
    let length = match call {
        Call::Error => machine.fail(&ErrorReport::new("A.B", ""), &mut out),
        _ => machine.respond(Some(ContentType::JSON), 0, &mut out),
    };
    machine.sent(length.unwrap());
}

fn reply(machine: &mut Machine, status: u16) -> Outcome {
    let input = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    let Ok(Some(Event::Outcome(reply))) = machine.receive(&mut input.as_bytes()) else {
        panic!("{status}")
    };
    reply
}

/// The reply to the second copy of an answer.
fn reply_to_second_copy(call: Call, status: u16) -> Outcome {
    let mut machine = invoking();
    answer(&mut machine, call);
    assert_eq!(machine.on_disconnect(), Recovery::SendAgain);
    let left = machine.unsent_len();
    assert!(left > 0);
    machine.sent(left);
    reply(&mut machine, status)
}

#[test]
fn every_status_has_its_meaning_for_every_call() {
    for (status, meaning, ..) in TABLE {
        for call in CALLS {
            let is_empty_poll = (call, status) == (Call::Next, 204);
            let meaning = if is_empty_poll { Meaning::NoInvocation } else { meaning };
            assert_eq!(Outcome::new(call, status).meaning(), meaning, "{call} {status}");
        }
    }
}

#[test]
fn every_status_has_its_action_for_every_call() {
    for (status, _, next, answer, restore_next) in TABLE {
        for call in CALLS {
            let action = match call {
                Call::Next => next,
                Call::Response | Call::Error => answer,
                Call::RestoreNext => restore_next,
                Call::InitError | Call::RestoreError => Exit,
            };
            assert_eq!(Outcome::new(call, status).action(), action, "{call} {status}");
        }
    }
}

#[test]
fn a_403_to_next_does_not_end_the_process_if_there_are_several_slots() {
    for (status, ..) in TABLE {
        for call in CALLS {
            let (one, several) =
                (Outcome::new(call, status), Outcome::new(call, status).under(Concurrency::Multi));
            assert_eq!(several.meaning(), one.meaning(), "{call} {status}");
            let is_the_exception = (call, status) == (Call::Next, 403);
            let action = if is_the_exception { ContinueAfterBackoff } else { one.action() };
            assert_eq!(several.action(), action, "{call} {status}");
        }
    }
}

#[test]
fn exactly_the_2xx_are_accepted() {
    for call in CALLS {
        for status in 100..=999 {
            assert_eq!(
                Outcome::new(call, status).is_accepted(),
                (200..300).contains(&status),
                "{call} {status}"
            );
        }
    }
}

#[test]
fn an_outcome_keeps_its_call_and_its_status() {
    for call in CALLS {
        let reply = Outcome::new(call, 418);
        assert_eq!((reply.call(), reply.status()), (call, 418));
    }
}

#[test]
fn a_408_to_an_answer_counts_as_a_lost_connection() {
    for call in [Call::Response, Call::Error] {
        let mut machine = invoking();
        answer(&mut machine, call);
        let mut input: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(machine.receive(&mut input), Ok(None));
        assert!(machine.must_reconnect());
        assert_eq!(machine.on_disconnect(), Recovery::SendAgain);
    }
}

#[test]
fn a_machine_returns_the_outcomes_of_the_table() {
    for (status, meaning, _, action, _) in TABLE.into_iter().filter(|row| row.0 != 408) {
        for call in [Call::Response, Call::Error] {
            let mut machine = invoking();
            answer(&mut machine, call);
            let reply = reply(&mut machine, status);
            assert_eq!(reply, Outcome::new(call, status));
            assert_eq!((reply.meaning(), reply.action()), (meaning, action));
            let phase = if action == Exit { Phase::ShuttingDown } else { Phase::Ready };
            assert_eq!(machine.phase(), phase, "{call} {status}");
        }
    }
}

#[test]
fn a_400_or_403_to_a_second_copy_means_that_the_first_was_accepted() {
    for call in [Call::Response, Call::Error] {
        for status in [400, 403] {
            let reply = reply_to_second_copy(call, status);
            assert_eq!(reply.meaning(), Meaning::AcceptedBefore, "{call} {status}");
            assert!(reply.is_accepted());
            assert_eq!(reply.action(), Continue);
        }
    }
}

#[test]
fn any_other_reply_to_a_second_copy_means_the_same_as_to_the_first() {
    for (status, meaning, _, action, _) in TABLE {
        if !matches!(status, 400 | 403 | 408) {
            let reply = reply_to_second_copy(Call::Response, status);
            assert_eq!((reply.meaning(), reply.action()), (meaning, action), "{status}");
        }
    }
}

#[test]
fn display_shows_the_call_the_status_and_the_meaning() {
    let reply = Outcome::new(Call::Response, 413);
    assert_eq!(reply.to_string(), "response was answered with 413: the body is too large");
}
