//! Many concurrent invocations in one environment, as on Lambda Managed Instances.

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use lambda_lab::{FailureKind, Function, FunctionFailure, InvokeError, Lab, Output};

use crate::support::{Connection, NEXT, PATIENCE, Response, function, of, request, script};

/// A lab with this number of slots, whose runtime is played by the test.
fn external(slots: usize) -> Lab {
    let function = Function::external().concurrency(slots);
    function.timeout(PATIENCE).output(Output::Discarded).start().unwrap()
}

fn failure(result: Result<lambda_lab::Answer, InvokeError>) -> FunctionFailure {
    match result {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("no failure of the function: {other:?}"),
    }
}

#[track_caller]
fn assert_unknown(response: &Response) {
    response.assert_refused(400, "InvalidRequestID", "Invalid request ID");
}

#[track_caller]
fn assert_late(response: &Response) {
    response.assert_refused(410, "InvokeTimeout", "Invoke timeout");
}

#[test]
fn each_open_next_takes_one_invocation_and_each_caller_gets_its_answer() {
    const SLOTS: usize = 8;
    let lab = external(SLOTS);
    for _ in 0..5 {
        let mut slots: Vec<_> = (0..SLOTS).map(|_| Connection::open(lab.runtime_api())).collect();
        for slot in &mut slots {
            slot.send(request(NEXT, &[], ""));
        }
        thread::scope(|scope| {
            let callers: Vec<_> = (0..SLOTS)
                .map(|number| {
                    let lab = &lab;
                    scope.spawn(move || (number, lab.invoke(format!("event {number}")).unwrap()))
                })
                .collect();
            let events: Vec<_> = slots.iter_mut().map(Connection::response).collect();
            let ids: HashSet<_> = events.iter().map(Response::id).collect();
            assert_eq!(ids.len(), SLOTS);
            // Answered in another order, and on other connections.
            for (slot, event) in slots.iter_mut().zip(events.iter().rev()) {
                let answer = event.text().replace("event", "answer");
                slot.post(&of(&event.id(), "response"), answer).assert_accepted();
            }
            for caller in callers {
                let (number, answer) = caller.join().unwrap();
                assert_eq!(answer.body, format!("answer {number}").as_bytes());
            }
        });
    }
}

#[test]
fn the_slots_of_a_runtime_work_at_the_same_time() {
    let lab = function().concurrency(4).start().unwrap();
    lab.invoke("warm up").unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| lab.invoke("sleep 2000").unwrap());
        }
    });
    assert!(began.elapsed() < Duration::from_millis(3 * 2000), "{:?}", began.elapsed());
}

#[test]
fn with_many_callers_and_slots_each_caller_gets_its_own_answer() {
    let lab = function().concurrency(16).start().unwrap();
    let pids = thread::scope(|scope| {
        let callers = [(); 24].map(|()| {
            scope.spawn(|| {
                for number in 0..100 {
                    let event = format!("{:?} {number}", thread::current().id());
                    assert_eq!(lab.invoke(event.as_str()).unwrap().body, event.as_bytes());
                }
                lab.invoke("pid").unwrap().body
            })
        });
        callers.map(|caller| caller.join().unwrap()).into_iter().collect::<HashSet<_>>()
    });
    assert_eq!(pids.len(), 1, "one environment");
}

#[test]
fn more_callers_than_slots_start_environments_up_to_the_limit() {
    let lab = function().concurrency(2).environments(2).start().unwrap();
    let together = Barrier::new(4);
    let pids: HashSet<_> = thread::scope(|scope| {
        let callers = [(); 4].map(|()| {
            scope.spawn(|| {
                together.wait();
                lab.invoke("sleep 300").unwrap();
                together.wait();
                lab.invoke("pid").unwrap().body
            })
        });
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!((1..=2).contains(&pids.len()), "{pids:?}");
}

#[test]
fn a_second_answer_is_refused_as_one_to_an_unknown_id() {
    let lab = external(2);
    let mut slot = Connection::open(lab.runtime_api());
    for what in ["response", "error"] {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let id = slot.request(NEXT, &[], "").id();
            assert_unknown(&slot.post(&of("x-y-z", what), "{}"));
            slot.post(&of(&id, what), "{}").assert_accepted();
            assert_unknown(&slot.post(&of(&id, "response"), "{}"));
            assert_unknown(&slot.post(&of(&id, "error"), "{}"));
            assert_eq!(caller.join().unwrap().is_ok(), what == "response");
        });
    }
}

#[test]
fn an_answer_of_another_attempt_is_refused_and_the_right_one_is_accepted() {
    let lab = external(2);
    let mut slot = Connection::open(lab.runtime_api());
    for what in ["response", "error"] {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let next = slot.request(NEXT, &[], "");
            let line = format!("POST {}", of(&next.id(), what));
            for other in ["", "another"] {
                let attempt = [("Lambda-Runtime-Invocation-Id", other)];
                assert_late(&slot.request(&line, &attempt, "stale"));
            }
            let attempt = next.header("lambda-runtime-invocation-id").unwrap();
            let attempt = [("Lambda-Runtime-Invocation-Id", attempt)];
            slot.request(&line, &attempt, "right").assert_accepted();
            let result = caller.join().unwrap();
            let body = result.map_or_else(|error| failure(Err(error)).body, |answer| answer.body);
            assert_eq!(body, b"right");
        });
    }
}

#[test]
fn a_late_answer_is_refused_once_with_410_and_then_as_unknown() {
    for what in ["response", "error"] {
        let lab = Function::external().concurrency(2).timeout(Duration::from_millis(200));
        let lab = lab.output(Output::Discarded).start().unwrap();
        let mut slot = Connection::open(lab.runtime_api());
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let id = slot.request(NEXT, &[], "").id();
            assert_eq!(failure(caller.join().unwrap()).kind, FailureKind::Timeout);
            assert_late(&slot.post(&of(&id, what), "late"));
            assert_unknown(&slot.post(&of(&id, what), "later"));
            // The slot takes further invocations.
            let caller = scope.spawn(|| lab.invoke("again"));
            let next = slot.request(NEXT, &[], "");
            slot.post(&of(&next.id(), "response"), &next.body).assert_accepted();
            assert_eq!(caller.join().unwrap().unwrap().body, b"again");
        });
    }
}

/// The second caller joins the init that the first one has begun.
#[test]
fn the_timeout_of_an_invocation_begins_after_init() {
    let timeout = Duration::from_secs(5);
    let bootstrap = std::env::current_exe().unwrap();
    let bootstrap = format!("sleep 5.2; exec {} --exact bootstrap", bootstrap.display());
    let lab = script(&format!("{bootstrap} --nocapture")).concurrency(2).timeout(timeout);
    let lab = lab.start().unwrap();
    let began = lab.now().duration_since(std::time::UNIX_EPOCH).unwrap();
    thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(|| lab.invoke("deadline")));
        for caller in callers {
            let deadline = caller.join().unwrap().unwrap().text().parse().unwrap();
            let deadline = Duration::from_millis(deadline);
            assert!(deadline >= began + Duration::from_millis(5199) + timeout, "{deadline:?}");
        }
    });
}

#[test]
fn an_init_that_takes_too_long_fails_each_invocation_that_waits_for_it() {
    let lab = script("exec sleep 1000").concurrency(2).init_timeout(Duration::from_secs(1));
    let lab = lab.start().unwrap();
    for _ in 0..2 {
        thread::scope(|scope| {
            let callers = [(); 2].map(|()| scope.spawn(|| lab.invoke("in")));
            for caller in callers {
                let failure = failure(caller.join().unwrap());
                assert_eq!(failure.kind, FailureKind::Init, "{failure}");
                assert_eq!(failure.error_type().unwrap(), "Sandbox.Timedout");
                let message = failure.error_message().unwrap();
                assert!(message.ends_with("Init timed out after 1.00 seconds"), "{message}");
            }
        });
    }
}

#[test]
fn a_timeout_does_not_end_the_process() {
    let lab = function().concurrency(2).timeout(Duration::from_millis(800)).start().unwrap();
    let pid = lab.invoke("pid").unwrap().body;
    assert_eq!(failure(lab.invoke("sleep 1500")).kind, FailureKind::Timeout);
    assert_eq!(lab.invoke("pid").unwrap().body, pid);
}

#[test]
fn an_invocation_that_no_slot_takes_times_out() {
    let lab = Function::external().concurrency(1).timeout(Duration::from_millis(100));
    let lab = lab.output(Output::Discarded).start().unwrap();
    assert_eq!(failure(lab.invoke("in")).kind, FailureKind::Timeout);
    // A slot that asks later does not get it.
    let mut slot = Connection::open(lab.runtime_api());
    slot.send(request(NEXT, &[], ""));
    thread::scope(|scope| {
        scope.spawn(|| lab.invoke("again"));
        assert_eq!(slot.response().text(), "again");
    });
}

#[test]
fn an_event_is_not_lost_with_the_connection_that_asked_for_it() {
    let lab = external(4);
    for _ in 0..3 {
        let mut gone = Connection::open(lab.runtime_api());
        gone.send(request(NEXT, &[], ""));
        drop(gone);
        // When this has its reply, the lab has also seen the end of the other connection.
        let mut ping = Connection::open(lab.runtime_api());
        assert_eq!(ping.request("GET /2018-06-01/ping", &[], "").text(), "pong");
    }
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let mut slot = Connection::open(lab.runtime_api());
        let next = slot.request(NEXT, &[], "");
        slot.post(&of(&next.id(), "response"), "out").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
    });
}

#[test]
fn an_error_may_come_while_its_own_response_is_streamed() {
    let lab = external(2);
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut seen = Vec::new();
            let result = lab.invoke_streaming("in", |piece| seen.extend_from_slice(piece));
            (seen, result)
        });
        let mut streaming = Connection::open(lab.runtime_api());
        let id = streaming.request(NEXT, &[], "").id();
        let mode = [
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Transfer-Encoding", "chunked"),
        ];
        let line = format!("POST {}", of(&id, "response"));
        streaming.send(request(&line, &mode, "4\r\nhalf\r\n"));
        let mut other = Connection::open(lab.runtime_api());
        let report = r#"{"errorType":"Function.Midway"}"#;
        let mut response = Response::default();
        crate::support::wait_until("the stream has begun", || {
            response = other.post(&of(&id, "error"), report);
            // Before the stream has begun, the lab would take the error as the answer.
            response.status == 202
        });
        response.assert_accepted();
        let (seen, result) = caller.join().unwrap();
        assert_eq!(
            failure(result.map(|_| unreachable!())).error_type().unwrap(),
            "Function.Midway"
        );
        assert!(b"half".starts_with(&seen), "{seen:?}");
        assert_unknown(&other.post(&of(&id, "error"), report));
    });
}

#[test]
fn an_error_of_1_mib_is_accepted_and_one_byte_more_is_refused() {
    let lab = external(1);
    let mut slot = Connection::open(lab.runtime_api());
    for (length, status) in [(1 << 20, 202), ((1 << 20) + 1, 413)] {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let id = slot.request(NEXT, &[], "").id();
            assert_eq!(slot.post(&of(&id, "error"), "x".repeat(length)).status, status);
            assert_eq!(failure(caller.join().unwrap()).kind, FailureKind::Reported);
        });
    }
}

#[test]
fn a_second_init_error_is_forbidden() {
    let lab = function().variable("LAB_TEST", "init-error-and-go-on").concurrency(2);
    let lab = lab.start().unwrap();
    let failure = failure(lab.invoke("in"));
    assert_eq!(
        (failure.kind, failure.error_type().as_deref()),
        (FailureKind::Init, Some("Test.Init"))
    );
    let mut other = Connection::open(lab.runtime_api());
    let again = other.post("/2018-06-01/runtime/init/error", "{}");
    again.assert_forbidden("InitError", "InitError");
    other.request(NEXT, &[], "").assert_forbidden("InitError", "Ready");
}

#[test]
fn one_init_error_after_init_is_accepted_and_the_other_workers_continue() {
    let lab = external(2);
    let mut slot = Connection::open(lab.runtime_api());
    let mut other = Connection::open(lab.runtime_api());
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let id = slot.request(NEXT, &[], "").id();
        let report = r#"{"errorType":"T"}"#;
        other.post("/2018-06-01/runtime/init/error", report).assert_accepted();
        let again = other.post("/2018-06-01/runtime/init/error", report);
        again.assert_forbidden("InitError", "InitError");
        slot.post(&of(&id, "response"), "out").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"out");
        let caller = scope.spawn(|| lab.invoke("in"));
        let id = slot.request(NEXT, &[], "").id();
        slot.post(&of(&id, "response"), "again").assert_accepted();
        assert_eq!(caller.join().unwrap().unwrap().body, b"again");
    });
}

#[test]
fn an_exit_fails_all_invocations_in_flight_and_the_next_caller_starts_a_process() {
    let lab = function().concurrency(3).start().unwrap();
    let pid = lab.invoke("pid").unwrap().body;
    thread::scope(|scope| {
        let slow = [(); 2].map(|()| scope.spawn(|| lab.invoke("sleep 60000")));
        // There is a slot for each of the three, in whatever order they come.
        thread::sleep(Duration::from_millis(100));
        assert!(failure(lab.invoke("exit 3")).to_string().contains("exit status 3"));
        for slow in slow {
            let failure = failure(slow.join().unwrap());
            assert_eq!(failure.kind, FailureKind::Exit);
            assert!(failure.to_string().contains("exit status 3"), "{failure}");
        }
    });
    assert_ne!(lab.invoke("pid").unwrap().body, pid);
}

#[test]
fn every_caller_gets_an_answer_while_the_process_keeps_exiting() {
    let lab = function().concurrency(4).start().unwrap();
    thread::scope(|scope| {
        for caller in 0..6 {
            let lab = &lab;
            scope.spawn(move || {
                for number in 0..25 {
                    if (caller, number % 8) == (0, 7) {
                        failure(lab.invoke("exit 3"));
                        continue;
                    }
                    let event = format!("{caller} {number}");
                    match lab.invoke(event.as_str()) {
                        Ok(answer) => assert_eq!(answer.body, event.as_bytes()),
                        Err(error) => assert_eq!(failure(Err(error)).kind, FailureKind::Exit),
                    }
                }
            });
        }
    });
    assert_eq!(lab.invoke("still here").unwrap().body, b"still here");
}

#[test]
fn the_environment_of_the_function_contains_its_concurrency() {
    let lab = function().concurrency(3).start().unwrap();
    for (name, value) in [
        ("AWS_LAMBDA_MAX_CONCURRENCY", "3"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
    ] {
        assert_eq!(lab.invoke(format!("env {name}")).unwrap().body, value.as_bytes());
    }
}
