//! The recordings of AWS's emulator, replayed against the lab.
//!
//! The recordings are in `core/tests/captures`, which says how they were made. A replay sends a lab
//! the bytes of the recorded client, in the same writes, with the request ids of the lab in place
//! of the recorded ones. The lab's replies must equal those of the emulator: the status, the names
//! of headers as spelled, their values, the body, and its framing. `Date`, request ids and
//! deadlines must only be present, and an id or a deadline that occurs twice must stay the same.
//! The order of headers and the reason phrases are not compared.
//!
//! Where the client's side was left out for its length (02c, 07), and where an event has more than
//! 64 KiB (04), the bytes are reconstructed. A `next` that a recording leaves waiting must get the
//! event that is posted at the end, and nothing before that.
//!
//! Not replayed:
//!
//! | sessions | why |
//! |---|---|
//! | 03 | 1,000 invocations like those of 01 and 02; only their segmentation was kept |
//! | 10b, 10c, 10d | no connections: they are about how a bootstrap ends; see `lab/processes.rs` |
//! | 14, 14b to 14d | the Telemetry API (14), and processes; see `lab/extensions.rs` |
//! | 20, 20b to 20e, 21 | text without bytes, about signals; see `lab/shutdown.rs` |
//! | `req_*` | requests of other clients, without a service |
//!
//! The idle 75 s of 19 are left out.

mod message;
mod recording;
mod replay;

use std::collections::BTreeSet;

use recording::Recording;

/// The differences that are intended: the recording, or `*` for each in which an event is compared;
/// the difference; and the reason.
const INTENDED: &[(&str, &str, &str)] = &[
    (
        "*",
        "next: Lambda-Runtime-Invocation-Id is sent",
        "Lambda sends it since July 2026; this mode of the emulator does not",
    ),
    (
        "*",
        "next: Lambda-Runtime-Trace-Id is sent",
        "Lambda sends one with each invocation; this mode of the emulator does not trace",
    ),
    (
        "04_next_payload_6291656",
        "not invoked: EventTooLarge(6291656)",
        "Lambda refuses an event that is too long; the emulator truncates it silently",
    ),
    (
        "12c_next_before_any_invoke",
        r#"next: 200 "the last" (8 bytes), recorded the end"#,
        "the emulator crashes; in the lab `next` waits, gets 500 if the function is started \
         again, and can then be sent again",
    ),
    ("18_concurrent_invokes_0", ACCEPTED_AT_ONCE, QUEUED),
    ("18_concurrent_invokes_0", NEXT_AT_ONCE, QUEUED),
    ("18_concurrent_invokes_1", ACCEPTED_AT_ONCE, QUEUED),
    ("18_concurrent_invokes_1", NEXT_AT_ONCE, QUEUED),
    ("18_concurrent_invokes_2", ACCEPTED_AT_ONCE, QUEUED),
    ("18_concurrent_invokes_2", NEXT_AT_ONCE, QUEUED),
];

const ACCEPTED_AT_ONCE: &str =
    r#"response: 202 "{\"status\":\"OK\"}\n" (16 bytes), recorded the end"#;
const NEXT_AT_ONCE: &str = r#"next: 200 "\"b\"" (3 bytes), recorded the end"#;
const QUEUED: &str =
    "the emulator crashes on a second event; in the lab it waits for the first one";

fn is_intended(session: &str, difference: &str, has_events: bool) -> bool {
    INTENDED.iter().any(|(name, what, _)| {
        *what == difference && (*name == session || (*name == "*" && has_events))
    })
}

/// Replays these recordings, and checks that only the intended differences occur.
fn check(sessions: &[&'static str]) {
    let mut wrong = Vec::new();
    for session in sessions {
        let outcome = replay::replay(&Recording::load(session));
        let has_events = outcome.events > 0;
        for difference in &outcome.differences {
            if !is_intended(session, difference, has_events) {
                wrong.push(format!("{session} differs: {difference}"));
            }
        }
        for (name, what, _) in INTENDED {
            let is_expected = name == session || (*name == "*" && has_events);
            if is_expected && !outcome.differences.contains(*what) {
                wrong.push(format!("{session} no longer differs: {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A test for each behaviour, and the list of all recordings that these tests replay.
macro_rules! recordings {
    ($($behaviour:ident: $($session:literal)+;)+) => {
        const REPLAYED: &[&str] = &[$($($session),+),+];

        $(
            #[test]
            fn $behaviour() {
                check(&[$($session),+]);
            }
        )+
    };
}

recordings! {
    successive_invocations_use_one_connection:
        "01_basic_keepalive" "19_idle_keepalive_75s";

    an_answer_and_the_following_next_may_come_in_one_write:
        "02_pipelined_response_and_next" "02b_pipelined_error_and_next"
        "02c_pipelined_1mb_response_and_next" "02g_pipelined_chunked_response_and_next";

    events_of_every_size_have_the_recorded_framing:
        "04_next_payload_0" "04_next_payload_1" "04_next_payload_2047" "04_next_payload_2048"
        "04_next_payload_2049" "04_next_payload_4096" "04_next_payload_65536"
        "04_next_payload_1048576" "04_next_payload_5242880" "04_next_payload_6291456"
        "04_next_payload_6291556" "04_next_payload_6291656";

    answers_are_accepted_up_to_the_recorded_size:
        "07_response_6291556" "07_response_6291557" "07_response_7340032";

    a_second_answer_and_one_without_an_invocation_get_the_recorded_refusal:
        "05_double_response" "12d_response_before_next";

    every_next_before_the_answer_gets_the_same_event:
        "12_next_twice_and_next_without_response" "12b_two_parallel_nexts";

    next_before_any_invocation_waits_instead_of_crashing:
        "12c_next_before_any_invoke";

    unknown_paths_and_methods_get_the_recorded_refusal:
        "09_unknown_paths";

    reported_errors_are_accepted_and_a_failed_init_allows_no_further_calls:
        "10_init_error" "11_invocation_error";

    chunked_and_streamed_answers_are_accepted:
        "13_chunked_plain" "13b_streaming_mode" "13c_streaming_error_trailers" "13d_invalid_mode"
        "13f_expect_100";

    an_answer_after_the_timeout_is_refused_and_the_next_event_comes:
        "15_timeout";

    an_event_waits_while_another_is_in_flight:
        "18_concurrent_invokes_0" "18_concurrent_invokes_1" "18_concurrent_invokes_2";
}

/// The events whose bytes are made from the recording with 64 KiB.
const FILLED_IN: [usize; 5] = [1_048_576, 5_242_880, 6_291_456, 6_291_556, 6_291_656];

#[test]
fn every_recording_is_replayed() {
    let filled_in = FILLED_IN.map(|length| format!("04_next_payload_{length}"));
    let recorded: BTreeSet<_> = recording::kept().into_iter().chain(filled_in).collect();
    assert_eq!(recorded, REPLAYED.iter().map(|&name| name.to_owned()).collect());
}

#[test]
fn every_intended_difference_belongs_to_a_replayed_recording() {
    for (session, what, _) in INTENDED {
        assert!(*session == "*" || REPLAYED.contains(session), "{session}: {what}");
    }
}
