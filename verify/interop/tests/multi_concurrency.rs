//! Tests with AWS's emulator in its multi-concurrency mode (managed instances), which runs several
//! invocations at once and shows error trailers to the caller. They need root, see
//! [`Function::start_concurrent`].

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use lambda_interop::{Answer, Caller, Emulator, Function, programs};
use serde_json::{Value, json};

/// The largest response: 6 MiB and 100 bytes.
const LARGEST: usize = 6 * 1024 * 1024 + 100;

const SLOTS: u32 = 4;

fn misbehave() -> Function {
    Function::new(programs::misbehave(programs::Profile::Unwind).unwrap())
}

/// Invokes as soon as a slot is free. The emulator replies 400 until one has asked for an event.
fn invoke(caller: &Caller, event: &[u8]) -> Answer {
    let began = Instant::now();
    loop {
        let answer = caller.invoke(event).unwrap();
        if answer.status != 400 || began.elapsed() > Duration::from_secs(10) {
            return answer;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn tell(emulator: &Emulator, event: &Value) -> Answer {
    invoke(&emulator.caller(), event.to_string().as_bytes())
}

/// What `misbehave` answers about its process and the invocation.
fn describe(emulator: &Emulator) -> Value {
    let answer = tell(emulator, &json!({ "do": "describe" }));
    assert_eq!(answer.failure(), None);
    serde_json::from_slice(&answer.body).unwrap()
}

/// Runs `work` in one thread per slot.
fn at_once(work: impl Fn(u32) + Sync) {
    thread::scope(|scope| {
        let work = &work;
        (0..SLOTS).for_each(|slot| drop(scope.spawn(move || work(slot))));
    });
}

/// The runtime logs a line for every answer that the service refuses.
fn assert_nothing_was_refused(emulator: &Emulator) {
    let output = emulator.output();
    assert!(!output.contains("was answered with"), "{output}");
}

/// Invokes with an event that fails, and checks that the process continues; returns what the caller
/// got.
fn fails_and_goes_on(event: &Value) -> (Answer, Emulator) {
    let emulator = misbehave().start_concurrent(SLOTS).unwrap();
    let before = describe(&emulator);
    let answer = tell(&emulator, event);
    assert_eq!(answer.status, 200);
    assert!(answer.function_error().is_some(), "{event} gave {}", answer.text());
    // One invocation more than there are slots, so that each slot serves one.
    (0..=SLOTS).for_each(|_| assert_eq!(describe(&emulator)["process"], before["process"]));
    (answer, emulator)
}

#[test]
fn every_slot_runs_an_invocation_at_the_same_time_and_gets_its_own_answer() {
    let emulator = misbehave().start_concurrent(SLOTS).unwrap();
    let caller = emulator.caller();
    let ids = std::sync::Mutex::new(BTreeSet::new());
    at_once(|slot| {
        let tag = format!("caller {slot}");
        let event = json!({ "do": "meet", "count": SLOTS, "tag": tag }).to_string();
        let answer: Value =
            serde_json::from_slice(&invoke(&caller, event.as_bytes()).body).unwrap();
        assert_eq!(answer["met"], true, "the invocations did not run at once: {answer}");
        assert_eq!(answer["tag"], tag.as_str());
        ids.lock().unwrap().insert(answer["request_id"].to_string());
    });
    assert_eq!(ids.into_inner().unwrap().len(), SLOTS as usize);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn the_slots_echo_events_of_every_size_at_once() {
    echoes_events_of_every_size_at_once("echo");
}

#[test]
fn the_slots_of_one_thread_echo_events_of_every_size_at_once() {
    echoes_events_of_every_size_at_once("pool");
}

#[test]
fn the_slots_of_one_task_echo_events_of_every_size_at_once() {
    echoes_events_of_every_size_at_once("async_echo");
}

#[test]
fn the_slots_in_the_programs_own_loop_echo_events_of_every_size_at_once() {
    echoes_events_of_every_size_at_once("own_loop");
}

fn echoes_events_of_every_size_at_once(example: &str) {
    let echo = Function::new(programs::example(example).unwrap());
    let emulator = echo.start_concurrent(SLOTS).unwrap();
    let caller = emulator.caller();
    at_once(|slot| {
        for size in [0, 1, 2_047, 2_048, 2_049, 65_536, 1 << 20, LARGEST, 10] {
            let event: Vec<u8> = (0..size).map(|index| (index % 251) as u8 ^ slot as u8).collect();
            let answer = invoke(&caller, &event);
            assert_eq!(answer.status, 200);
            assert!(
                answer.body == event,
                "{size} bytes came back as {} different ones",
                answer.body.len()
            );
        }
    });
    assert_nothing_was_refused(&emulator);
}

#[test]
fn five_hundred_invocations_per_slot_of_one_thread_get_their_own_answers() {
    get_their_own_answers("pool");
}

#[test]
fn five_hundred_invocations_per_slot_of_one_task_get_their_own_answers() {
    get_their_own_answers("async_echo");
}

fn get_their_own_answers(example: &str) {
    let echo = Function::new(programs::example(example).unwrap());
    let emulator = echo.start_concurrent(SLOTS).unwrap();
    let caller = emulator.caller();
    at_once(|slot| {
        for number in 0..500 {
            let event = format!("{slot}/{number}");
            assert_eq!(invoke(&caller, event.as_bytes()).text(), event);
        }
    });
    assert_nothing_was_refused(&emulator);
}

#[test]
fn two_hundred_invocations_per_slot_are_all_answered() {
    let emulator = misbehave().start_concurrent(SLOTS).unwrap();
    let caller = emulator.caller();
    at_once(|slot| {
        for number in 0..200 {
            let tag = format!("{slot}/{number}");
            let event = json!({ "do": "meet", "count": 1, "tag": tag }).to_string();
            let answer = invoke(&caller, event.as_bytes());
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(answer["tag"], tag.as_str());
        }
    });
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_failure_in_one_slot_does_not_affect_the_others() {
    let emulator = misbehave().start_concurrent(SLOTS).unwrap();
    let caller = emulator.caller();
    let before = describe(&emulator);
    at_once(|slot| {
        for number in 0..20 {
            let tag = format!("{slot}/{number}");
            let event = match slot {
                0 => json!({ "do": "panic", "message": tag }),
                1 => json!({ "do": "stream_then_panic", "message": tag }),
                2 => json!({ "do": "answer", "bytes": LARGEST + 1 }),
                _ => json!({ "do": "meet", "count": 1, "tag": tag }),
            };
            let answer = invoke(&caller, event.to_string().as_bytes());
            let error = answer.function_error().unwrap_or_default();
            match slot {
                0 | 1 => assert_eq!(
                    (error.error_type.as_str(), error.error_message),
                    ("Function.Panic", tag)
                ),
                2 => assert_eq!(error.error_type, "Function.ResponseSizeTooLarge"),
                _ => assert_eq!(
                    serde_json::from_slice::<Value>(&answer.body).unwrap()["tag"],
                    tag.as_str()
                ),
            }
        }
    });
    assert_eq!(describe(&emulator)["process"], before["process"]);
}

#[test]
fn an_error_of_the_handler_reaches_the_caller_complete() {
    let message = "it's \"broken\": \\ \u{1} \n <é&🦀>";
    let event = json!({
        "do": "fail", "type": "Function.Broken", "message": message, "stack_trace": "in a\nin b"
    });
    let (answer, emulator) = fails_and_goes_on(&event);
    let error = answer.function_error().unwrap();
    assert_eq!(answer.header("error-type"), Some("Function.Broken"));
    assert_eq!(
        (error.error_type.as_str(), error.error_message.as_str()),
        ("Function.Broken", message)
    );
    assert_eq!(error.stack_trace, ["in a", "in b"]);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn an_error_of_megabytes_is_cut_to_the_limit_of_the_service() {
    let event =
        json!({ "do": "fail", "type": "Function.Long", "message": "é\n", "times": 2_000_000 });
    let (answer, emulator) = fails_and_goes_on(&event);
    let error = answer.function_error().unwrap();
    assert_eq!(error.error_type, "Function.Long");
    assert!(error.error_message.starts_with("é\né\né"), "{}", error.error_message.len());
    assert_nothing_was_refused(&emulator);
}

#[test]
fn an_error_in_the_middle_of_a_stream_reaches_the_caller_through_its_trailers() {
    let fail =
        json!({ "type": "Function.Midway", "message": "half is enough", "stack_trace": "in a" });
    let event = json!({ "do": "stream", "chunks": 2, "bytes": 3, "fail": fail });
    let (answer, emulator) = fails_and_goes_on(&event);
    let error = answer.function_error().unwrap();
    assert_eq!(answer.header("error-type"), Some("Function.Midway"));
    assert_eq!(error.error_type, "Function.Midway");
    assert_eq!(error.error_message, "half is enough");
    assert_eq!(error.stack_trace, ["in a"]);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn a_panic_in_the_middle_of_a_stream_reaches_the_caller() {
    let event = json!({ "do": "stream_then_panic", "message": "midway" });
    let (answer, emulator) = fails_and_goes_on(&event);
    let error = answer.function_error().unwrap();
    assert_eq!(
        (error.error_type.as_str(), error.error_message.as_str()),
        ("Function.Panic", "midway")
    );
    assert_nothing_was_refused(&emulator);
}

#[test]
fn error_trailers_are_cut_to_their_limit_and_reach_the_caller() {
    // Escapes and multi-byte characters, so that the cut falls into the middle of some.
    for message in ["m", "\n", "é", "\u{1}", "🦀"] {
        let fail = json!({ "type": "Function.Long", "message": message, "times": 100_000 });
        let event = json!({ "do": "stream", "chunks": 1, "bytes": 3, "fail": fail });
        let (answer, emulator) = fails_and_goes_on(&event);
        let error = answer.function_error().unwrap();
        assert_eq!(error.error_type, "Function.Long");
        // The trailers have 4,096 bytes, in base64 and with escapes of up to six bytes.
        let length = error.error_message.len();
        assert!((400..4_096).contains(&length), "{length} bytes of {message:?}");
        assert!(error.error_message.starts_with(message), "{message:?}");
        assert_nothing_was_refused(&emulator);
    }
}

#[test]
fn a_response_above_the_limit_is_refused_reported_and_logged() {
    let event = json!({ "do": "answer", "bytes": LARGEST + 1 });
    let (answer, emulator) = fails_and_goes_on(&event);
    assert_eq!(answer.function_error().unwrap().error_type, "Function.ResponseSizeTooLarge");
    emulator.wait_for_output("response was answered with 413").unwrap();
}

#[test]
fn an_answer_after_the_timeout_is_refused_and_logged_and_the_slot_continues() {
    let emulator = misbehave().timeout_seconds(1).start_concurrent(2).unwrap();
    let before = describe(&emulator);
    let answer = tell(&emulator, &json!({ "do": "sleep", "millis": 1_500 }));
    println!("{answer:?} {}", answer.text());
    assert!(answer.failure().is_some_and(|failure| failure.contains("imed")), "{}", answer.text());
    emulator.wait_for_output("response was answered with 410").unwrap();
    (0..4).for_each(|_| assert_eq!(describe(&emulator)["process"], before["process"]));
}

#[test]
fn every_attempt_has_a_different_id() {
    let emulator = misbehave().start_concurrent(SLOTS).unwrap();
    let (first, second) = (describe(&emulator), describe(&emulator));
    assert!(first["attempt_id"].is_string(), "{first}");
    assert_ne!(first["attempt_id"], second["attempt_id"]);
    assert_nothing_was_refused(&emulator);
}

#[test]
fn an_extension_gets_the_telemetry_of_managed_instances() {
    let folder = programs::opt_with(&["extension_logs"]).unwrap();
    let function = Function::new(programs::example("pool").unwrap()).opt(folder.path());
    let emulator = function.start_concurrent(SLOTS).unwrap();
    let answer = invoke(&emulator.caller(), b"{}");
    assert_eq!(answer.failure(), None);
    for line in ["platform.initStart {", "platform.start ", "platform.report "] {
        emulator.wait_for_output(&format!("extension_logs: {line}")).unwrap();
    }
}
