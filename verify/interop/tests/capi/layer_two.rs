//! Layer two on its own: wrong use, signals and memory, played by `capi/tests/runtime.c`
//! under the sanitizers.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use lambda_interop::system_calls::{EachCosts, SystemCalls, Trace};
use lambda_interop::{Pace, Process, ScriptedService};
use lambda_proto_service::{Event, Place, Service};

use crate::build;
use crate::player::{asking, assert_played, plain_player, play, play_with, player};

#[test]
fn calls_in_the_wrong_phase_are_refused_and_change_nothing() {
    let service = Service::start();
    let calls = "open respond=a write=b end begin next write=c end echo echo next begin begin \
                 respond=d write=e end end";
    let mut process = play(&service.address(), calls);
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    let answer = connection.request();
    answer.assert_response("1");
    assert_eq!(answer.body, b"event");
    connection.take_answer();
    connection.invoke(Event::new("2", "more"));
    let answer = connection.request();
    answer.assert_response("2");
    assert_eq!(answer.body, b"e");
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "respond LAMBDA_PROTO_ERROR_PHASE",
            "write LAMBDA_PROTO_ERROR_PHASE",
            "end LAMBDA_PROTO_ERROR_PHASE",
            "begin LAMBDA_PROTO_ERROR_PHASE",
            "next LAMBDA_PROTO_OK event",
            "write LAMBDA_PROTO_ERROR_PHASE",
            "end LAMBDA_PROTO_ERROR_PHASE",
            "echo LAMBDA_PROTO_OK",
            "echo LAMBDA_PROTO_ERROR_PHASE",
            "next LAMBDA_PROTO_OK more",
            "begin LAMBDA_PROTO_OK",
            "begin LAMBDA_PROTO_ERROR_PHASE",
            "respond LAMBDA_PROTO_ERROR_PHASE",
            "write LAMBDA_PROTO_OK",
            "end LAMBDA_PROTO_OK",
            "end LAMBDA_PROTO_ERROR_PHASE",
        ],
    );
}

#[test]
fn null_pointers_and_impossible_lengths_are_refused() {
    assert_played(
        &mut play("127.0.0.1:9", "open null close"),
        &["open LAMBDA_PROTO_OK", "null LAMBDA_PROTO_OK", "close LAMBDA_PROTO_OK"],
    );
}

#[test]
fn addresses_that_are_none_are_refused() {
    for address in ["", "https://127.0.0.1", "a b:1", "127.0.0.1:99999", "\u{e9}:1:2"] {
        let mut process = play(address, "open");
        assert_played(&mut process, &["open LAMBDA_PROTO_ERROR_ADDRESS"]);
    }
    let mut command = Command::new(player());
    let mut process = Process::start(command.arg("open").env_remove("AWS_LAMBDA_RUNTIME_API"));
    assert_played(process.as_mut().unwrap(), &["open LAMBDA_PROTO_ERROR_ENVIRONMENT"]);
}

#[test]
fn an_invalid_content_type_leaves_the_invocation_unanswered() {
    let service = Service::start();
    let mut process = play(&service.address(), "open next respond_as=a\u{1}b echo");
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    connection.request().assert_response("1");
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "respond_as LAMBDA_PROTO_ERROR_CONTENT_TYPE",
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn an_unanswered_invocation_is_reported_before_the_next_one() {
    let service = Service::start();
    let mut process = play(&service.address(), "open next next echo");
    let mut connection = asking(&service);
    connection.send(Event::new("1", "first").bytes());
    connection.request().assert_error("1", "Runtime.NoResponse");
    connection.take_answer();
    connection.invoke(Event::new("2", "second"));
    connection.request().assert_response("2");
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK first",
            "next LAMBDA_PROTO_OK second",
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn a_signal_interrupts_a_wait_which_then_continues_on_its_connection_but_no_answer() {
    let service = Service::start();
    let calls = "open signals next quiet next signals echo quiet";
    let mut process = play(&service.address(), calls);
    let mut connection = asking(&service);
    process.wait_for_output("quiet LAMBDA_PROTO_OK").unwrap();
    connection.send(Event::new("1", "event").bytes());
    connection.request().assert_response("1");
    // Signals arrive while it waits for the reply.
    std::thread::sleep(lambda_proto_service::MOMENT);
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "signals LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_ERROR_INTERRUPTED",
            "quiet LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "signals LAMBDA_PROTO_OK",
            "echo LAMBDA_PROTO_OK",
            "quiet LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn a_signal_interrupts_a_wait_for_a_restore_which_then_continues() {
    let service = Service::start();
    let mut process = play(&service.address(), "open signals restore quiet restore next echo");
    let mut connection = service.connection();
    let request = connection.request();
    assert_eq!(request.path, "/2018-06-01/runtime/restore/next");
    process.wait_for_output("quiet LAMBDA_PROTO_OK").unwrap();
    connection.answer(200, "", "");
    // The connection is not used again after a restore.
    let mut connection = service.connection();
    connection.invoke(Event::new("1", "event"));
    connection.request().assert_response("1");
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "signals LAMBDA_PROTO_OK",
            "restore LAMBDA_PROTO_ERROR_INTERRUPTED",
            "quiet LAMBDA_PROTO_OK",
            "restore LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn a_signal_interrupts_the_wait_for_a_service_that_stays_away() {
    let place = Place::deserted();
    let mut process = play(place.address(), "open signals next quiet next echo");
    process.wait_for_output("quiet LAMBDA_PROTO_OK").unwrap();
    let service = Service::start_on(&place);
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    connection.request().assert_response("1");
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "signals LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_ERROR_INTERRUPTED",
            "quiet LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn a_signal_before_the_reply_to_a_pipelined_answer_interrupts_the_wait_after_it() {
    let service = Service::start();
    let mut process = play(&service.address(), "open next pipeline alarm=1000 next next echo");
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    connection.request().assert_response("1");
    connection.expect_next();
    process.wait_for_output("signal\n").unwrap();
    connection.answer(202, "", "");
    process.wait_for_output("next LAMBDA_PROTO_ERROR_INTERRUPTED").unwrap();
    connection.send(Event::new("2", "more").bytes());
    connection.request().assert_response("2");
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "pipeline LAMBDA_PROTO_OK",
            "alarm LAMBDA_PROTO_OK",
            "signal",
            "next LAMBDA_PROTO_ERROR_INTERRUPTED",
            "next LAMBDA_PROTO_OK more",
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn an_interrupted_wait_for_a_restore_must_end_before_the_next_invocation() {
    let service = Service::start();
    let calls = "open signals restore quiet next restore next restore echo";
    let mut process = play(&service.address(), calls);
    let mut connection = service.connection();
    connection.request();
    process.wait_for_output("next LAMBDA_PROTO_ERROR_PHASE").unwrap();
    connection.answer(200, "", "");
    let mut connection = service.connection();
    connection.invoke(Event::new("1", "event"));
    connection.request().assert_response("1");
    connection.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "signals LAMBDA_PROTO_OK",
            "restore LAMBDA_PROTO_ERROR_INTERRUPTED",
            "quiet LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_ERROR_PHASE",
            "restore LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "restore LAMBDA_PROTO_ERROR_PHASE",
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn the_message_of_an_error_need_not_be_text() {
    for (message, expected) in [
        (&b"\xff"[..], "\u{fffd}"),
        (b"a\xe9b\xc3\xa9", "a\u{fffd}b\u{e9}"),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xe2\x82", "\u{fffd}\u{fffd}"),
        (b"\xc0\xaf\xf0\x9f\xa6\x80", "\u{fffd}\u{fffd}\u{1f980}"),
        (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
    ] {
        let service = Service::start();
        let mut command = Command::new(player());
        let fail = OsString::from_vec([b"fail_as=", message].concat());
        command.args(["open", "next"]).arg(fail);
        command.env("AWS_LAMBDA_RUNTIME_API", service.address());
        let mut process = Process::start(&mut command).unwrap();
        let mut connection = asking(&service);
        connection.send(Event::new("1", "event").bytes());
        let answer = connection.request();
        answer.assert_error("1", "Function.AsAsked");
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains(&format!("\"errorMessage\":\"{expected}\"")), "{body}");
        connection.take_answer();
        assert_played(
            &mut process,
            &["open LAMBDA_PROTO_OK", "next LAMBDA_PROTO_OK event", "fail_as LAMBDA_PROTO_OK"],
        );
    }
}

#[test]
fn large_events_and_reports_take_the_memory_that_they_need_and_too_large_events_are_errors() {
    let service = Service::start();
    let calls = "open next pipeline next echo next fail_long max_event=100 next echo";
    let mut process = play(&service.address(), calls);
    let large: Vec<u8> = (0..3_000_000).map(|index| (index % 251) as u8).collect();
    let mut connection = asking(&service);
    connection.send(Event::new("1", large.clone()).bytes());
    let answer = connection.request();
    answer.assert_response("1");
    assert!(answer.body == large);
    connection.take_answer();
    connection.invoke(Event::new("2", large.clone()).chunked(4096));
    let answer = connection.request();
    answer.assert_response("2");
    assert!(answer.body == large);
    connection.take_answer();
    connection.invoke(Event::new("3", "event"));
    let answer = connection.request();
    answer.assert_error("3", "Function.AsAsked");
    assert!(answer.body.len() > 300_000, "{} bytes", answer.body.len());
    connection.take_answer();
    connection.invoke(Event::new("4", [b'x'; 101]));
    connection.request().assert_error("4", "Runtime.EventTooLarge");
    connection.take_answer();
    connection.invoke(Event::new("5", "small"));
    connection.request().assert_response("5");
    connection.take_answer();
    let status = process.wait().unwrap();
    let output = process.output();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("fail_long LAMBDA_PROTO_OK"), "{output}");
    assert!(output.contains("next LAMBDA_PROTO_OK small\necho LAMBDA_PROTO_OK"), "{output}");
}

#[test]
fn an_event_for_which_there_is_no_memory_is_an_error_and_the_runtime_goes_on() {
    let player = build::c("gcc", "runtime-limited", &["tests/runtime.c"], &[]);
    let service = Service::start();
    let mut command = Command::new("sh");
    // Less address space than the event has bytes, in KiB.
    command.args(["-c", "ulimit -v 12000; exec \"$0\" \"$@\""]).arg(player);
    command.args(["open", "next", "echo"]).env("AWS_LAMBDA_RUNTIME_API", service.address());
    let mut process = Process::start(&mut command).unwrap();
    let mut connection = asking(&service);
    connection.send(Event::new("1", vec![b'x'; 14_000_000]).bytes());
    connection.request().assert_error("1", "Runtime.EventTooLarge");
    connection.take_answer();
    connection.invoke(Event::new("2", "small"));
    connection.request().assert_response("2");
    connection.take_answer();
    assert_played(
        &mut process,
        &["open LAMBDA_PROTO_OK", "next LAMBDA_PROTO_OK small", "echo LAMBDA_PROTO_OK"],
    );
}

#[test]
fn when_there_is_memory_again_a_large_event_fits() {
    let service = Service::start();
    let calls = "open limit=12000000 next echo limit=0 next echo";
    let mut process = play_with(plain_player(), &service.address(), calls);
    let large = vec![b'x'; 14_000_000];
    let mut connection = asking(&service);
    connection.send(Event::new("1", large.clone()).bytes());
    connection.request().assert_error("1", "Runtime.EventTooLarge");
    connection.take_answer();
    connection.invoke(Event::new("2", "small"));
    connection.request().assert_response("2");
    connection.take_answer();
    connection.invoke(Event::new("3", large.clone()));
    let answer = connection.request();
    answer.assert_response("3");
    assert!(answer.body == large);
    connection.take_answer();
    let beginning = format!("next LAMBDA_PROTO_OK {}", "x".repeat(64));
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "limit LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK small",
            "echo LAMBDA_PROTO_OK",
            "limit LAMBDA_PROTO_OK",
            &beginning,
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

#[test]
fn a_body_that_cannot_be_read_is_an_error_of_the_system_and_not_a_lost_connection() {
    let service = Service::start();
    let mut process = play_with(plain_player(), &service.address(), "open next unreadable next");
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "unreadable LAMBDA_PROTO_ERROR_SYSTEM fault",
            "next LAMBDA_PROTO_ERROR_ENDED",
        ],
    );
}

#[test]
fn a_stream_that_the_service_refuses_is_over_and_the_runtime_goes_on() {
    let service = Service::start();
    let calls = "open next begin write=one flood write=two end fail next echo";
    let mut process = play(&service.address(), calls);
    let mut connection = asking(&service);
    connection.send(Event::new("1", "event").bytes());
    connection.head();
    assert_eq!(connection.chunk().as_deref(), Some(&b"one"[..]));
    // The connection stays open, and the rest is never read.
    connection.refuse(413, "RequestEntityTooLarge", "no more");
    let mut another = asking(&service);
    another.send(Event::new("2", "more").bytes());
    another.request().assert_response("2");
    another.take_answer();
    assert_played(
        &mut process,
        &[
            "open LAMBDA_PROTO_OK",
            "next LAMBDA_PROTO_OK event",
            "begin LAMBDA_PROTO_OK",
            "write LAMBDA_PROTO_OK",
            "flood LAMBDA_PROTO_ERROR_STREAM_OVER",
            "write LAMBDA_PROTO_ERROR_STREAM_OVER",
            "end LAMBDA_PROTO_ERROR_STREAM_OVER",
            "fail LAMBDA_PROTO_ERROR_PHASE",
            "next LAMBDA_PROTO_OK more",
            "echo LAMBDA_PROTO_OK",
        ],
    );
}

/// The system calls of this program, from its start to its end.
fn trace(program: &Path, each: &[&str], events: usize, pace: Pace) -> SystemCalls {
    let service = ScriptedService::start(events, 100, pace);
    let log = format!("capi-system-calls-{}.txt", service.address());
    let trace = Trace::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join(log));
    let mut command = trace.command(program);
    // The bootstrap ignores its arguments.
    command.arg("open").args(each.repeat(events)).env("AWS_LAMBDA_RUNTIME_API", service.address());
    let started = Process::start(&mut command);
    let mut process = started.unwrap_or_else(|error| {
        panic!("{error}\nthis test counts system calls with strace: apt-get install strace")
    });
    assert_eq!(service.finish().unwrap(), events);
    process.wait().unwrap();
    trace.calls().unwrap()
}

fn costs(program: &Path, each: &[&str], pace: Pace) -> EachCosts {
    const EVENTS: usize = 200;
    let fewer = trace(program, each, EVENTS, pace);
    trace(program, each, 2 * EVENTS, pace).each_beyond(&fewer, EVENTS)
}

#[test]
fn an_invocation_costs_four_system_calls_and_two_when_it_is_pipelined() {
    let bootstrap = build::c("gcc", "c-counted", &["users/c/bootstrap.c"], &[]);
    let cost = costs(&bootstrap, &[], Pace::OneByOne);
    cost.assert_are(&[("sendmsg", 2.0), ("recvfrom", 2.0)]);
    // The player writes a line for each of its two calls.
    let player = build::c("gcc", "runtime-counted", &["tests/runtime.c"], &[]);
    let cost = costs(&player, &["next", "pipeline"], Pace::NextIsWaiting);
    cost.assert_are(&[("sendmsg", 1.0), ("recvfrom", 1.0), ("write", 2.0)]);
}
