//! Every command, every reply and any other input, in every phase of the phase table.

use std::collections::HashSet;

use lambda_proto_extension::{CommandError, Event, Extension, Phase, ReceiveError};

use super::phase_table::{
    self, Answer, COMMANDS, Command, Input, LOSSES, Loss, PHASES, RecoveryKind, Row, follow,
    follow_command,
};
use super::{ACCEPTED, REFUSED, REGISTERED, SHUTDOWN, answer, in_phase, replies};

const PHASE_MD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/extension/phase.md");

/// Which rows of the table a test has reached, and from which phases.
#[derive(Default)]
struct Reached(HashSet<(*const Row, Phase)>);

impl Reached {
    /// The row of an input and the phase that it leads to.
    fn follow(&mut self, from: Phase, input: Input) -> (&'static Row, Phase) {
        let (row, to) =
            follow(from, input).unwrap_or_else(|| panic!("no row for {input:?} in {from}"));
        self.0.insert((row, from));
        (row, to)
    }

    /// Fails unless every row with such an input was reached from each of its phases.
    fn check(&self, rows: &'static [Row], is_wanted: impl Fn(Input) -> bool) {
        for row in rows.iter().filter(|row| row.inputs.iter().copied().any(&is_wanted)) {
            for phase in row.from {
                assert!(self.0.contains(&(row as *const Row, *phase)), "{row:?} from {phase}");
            }
        }
    }
}

fn every_phase() -> impl Iterator<Item = Phase> {
    PHASES.iter().map(|facts| facts.phase)
}

/// A reply to whatever this phase awaits.
fn reply_in(phase: Phase, answer: Answer) -> &'static str {
    match answer {
        Answer::Refused => REFUSED,
        Answer::Accepted if matches!(phase, Phase::Registering | Phase::Subscribing) => REGISTERED,
        Answer::Accepted => ACCEPTED,
    }
}

/// Checks everything observable that tells phases apart.
fn assert_phase(extension: &Extension, phase: Phase, label: &str) {
    assert_eq!(extension.phase(), phase, "{label}");
    for command in Command::ALL {
        let result = command.give(&mut extension.clone(), &mut [0; 1024]);
        let is_refused = result == Err(CommandError::WrongPhase(phase));
        assert_eq!(is_refused, follow_command(phase, command).0.is_refused(), "{label}");
    }
}

#[test]
fn the_documentation_shows_the_table() {
    let page = phase_table::render::render();
    if std::env::var_os("UPDATE_PHASE_TABLE").is_some() {
        std::fs::write(PHASE_MD, &page).expect("the source directory can be written");
    }
    let stored = std::fs::read_to_string(PHASE_MD).expect("the page is in the source directory");
    assert!(stored == page, "phase.md is out of date; its first line says how to render it");
}

#[test]
fn a_phase_and_an_input_have_at_most_one_row() {
    for rows in [COMMANDS, LOSSES] {
        for (at, row) in rows.iter().enumerate() {
            assert!(!row.from.is_empty() && !row.inputs.is_empty(), "{row:?}");
            for other in &rows[at + 1..] {
                let shares_phase = row.from.iter().any(|phase| other.from.contains(phase));
                let shares_input = row.inputs.iter().any(|input| other.inputs.contains(input));
                assert!(!shares_phase || !shares_input, "{row:?} and {other:?}");
            }
        }
    }
}

#[test]
fn every_command_in_every_phase_does_what_the_table_says_or_changes_nothing() {
    let mut reached = Reached::default();
    for phase in every_phase() {
        for command in Command::ALL {
            let label = format!("{command:?} in {phase}");
            let mut extension = in_phase(phase);
            let before = format!("{extension:?}");
            let result = command.give(&mut extension, &mut [0; 1024]);
            let (row, to) = follow_command(phase, command);
            reached.0.insert((row, phase));
            if row.is_refused() {
                assert_eq!(result, Err(CommandError::WrongPhase(phase)), "{label}");
                assert_eq!(format!("{extension:?}"), before, "{label}");
            } else {
                let length = result.unwrap_or_else(|error| panic!("{label}: {error}"));
                assert_eq!(extension.unsent(&[0; 1024]).len(), length, "{label}");
                assert_phase(&extension, to, &label);
            }
        }
    }
    reached.check(COMMANDS, |input| matches!(input, Input::Do(_) | Input::AnyOtherCommand));
}

#[test]
fn every_reply_leads_where_the_table_says() {
    let mut reached = Reached::default();
    for phase in every_phase() {
        for said in [Answer::Accepted, Answer::Refused] {
            if follow(phase, Input::Replied(said)).is_none() {
                continue;
            }
            let mut extension = in_phase(phase);
            answer(&mut extension, reply_in(phase, said));
            let (_, to) = reached.follow(phase, Input::Replied(said));
            assert_phase(&extension, to, &format!("{said:?} in {phase}"));
        }
    }
    reached.check(COMMANDS, |input| matches!(input, Input::Replied(_)));
}

#[test]
fn only_a_shutdown_that_was_read_ends_the_events() {
    let mut reached = Reached::default();
    for phase in every_phase() {
        for document in [r#"{"eventType":"INVOKE"}"#, r#"{"eventType":"RESUME"}"#, "{"] {
            let mut extension = in_phase(phase);
            let _event_or_error = extension.read_event(document.as_bytes());
            assert_phase(&extension, phase, document);
        }
        let mut extension = in_phase(phase);
        extension.read_event(SHUTDOWN.as_bytes()).expect("an event");
        let to = match follow(phase, Input::ReadShutdown) {
            Some(_) => reached.follow(phase, Input::ReadShutdown).1,
            None => phase,
        };
        assert_phase(&extension, to, SHUTDOWN);
    }
    reached.check(COMMANDS, |input| input == Input::ReadShutdown);
}

#[test]
fn shut_down_is_allowed_in_every_phase() {
    let mut reached = Reached::default();
    for phase in every_phase() {
        let mut extension = in_phase(phase);
        extension.shut_down();
        let (_, to) = reached.follow(phase, Input::ShutDown);
        assert_phase(&extension, to, "shut down");
        assert_eq!(replies(&mut extension, b"whatever", []), Ok(vec![]));
    }
    reached.check(COMMANDS, |input| input == Input::ShutDown);
}

#[test]
fn bytes_that_are_not_a_valid_reply_end_the_extension_that_awaits_one() {
    let mut reached = Reached::default();
    for phase in every_phase() {
        if follow(phase, Input::Violation).is_none() {
            continue;
        }
        let mut extension = in_phase(phase);
        let result = extension.receive(&mut &b"220 ready\r\n\r\n"[..]);
        assert!(matches!(result, Err(ReceiveError::Reply(_))), "{phase}: {result:?}");
        let (_, to) = reached.follow(phase, Input::Violation);
        assert_phase(&extension, to, "violation");
    }
    reached.check(COMMANDS, |input| input == Input::Violation);
}

#[test]
fn bytes_that_answer_no_request_cost_only_the_connection() {
    let mut reached = Reached::default();
    for phase in every_phase() {
        if follow(phase, Input::Unasked).is_none() {
            continue;
        }
        // While a request is outstanding, nothing of it may have been sent.
        let way = every_phase().find_map(|from| {
            Command::ALL.into_iter().find_map(|command| {
                (follow(from, Input::Do(command))?.1 == phase).then_some((from, command))
            })
        });
        let mut extension = match way {
            None => in_phase(phase),
            Some((from, command)) => {
                let mut extension = in_phase(from);
                command.give(&mut extension, &mut [0; 1024]).expect("it is allowed");
                extension
            }
        };
        let result = extension.receive(&mut ACCEPTED.as_bytes());
        assert_eq!(result, Err(ReceiveError::Unsolicited), "{phase}");
        let (row, to) = reached.follow(phase, Input::Unasked);
        assert_eq!(extension.phase(), to);
        assert_eq!(extension.must_reconnect(), row.must_reconnect(), "{phase}");
    }
    reached.check(COMMANDS, |input| input == Input::Unasked);
}

#[test]
fn each_lost_connection_is_recovered_from_as_the_table_says() {
    let mut reached = Reached::default();
    for phase in every_phase() {
        for loss in
            [Loss::Idle, Loss::Open, Loss::Known(Answer::Accepted), Loss::Known(Answer::Refused)]
        {
            if follow(phase, Input::Lost(loss)).is_none() {
                continue;
            }
            let mut extension = in_phase(phase);
            if let Loss::Known(said) = loss {
                let reply = reply_in(phase, said);
                // Everything but the last byte of the document.
                let mut input = &reply.as_bytes()[..reply.len() - 1];
                let event = extension.receive(&mut input);
                assert!(matches!(event, Ok(Some(Event::Document(_)))), "{phase}: {event:?}");
            }
            let label = format!("{phase}, {loss:?}");
            let recovery = extension.on_disconnect();
            let (row, to) = reached.follow(phase, Input::Lost(loss));
            assert_eq!(Some(RecoveryKind::of(recovery)), row.recovery, "{label}");
            assert_phase(&extension, to, &label);
            assert!(!extension.must_reconnect(), "{label}");
        }
    }
    reached.check(LOSSES, |_| true);
}
