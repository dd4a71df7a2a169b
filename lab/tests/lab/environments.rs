//! Concurrent callers, with one environment or several.

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use lambda_lab::InvokeError;

use crate::support::{Connection, NEXT, external, function, of, script};

#[test]
fn callers_queue_for_one_environment_and_each_gets_its_own_answer() {
    let lab = function().start().unwrap();
    let pid = lab.invoke("pid").unwrap().body;
    thread::scope(|scope| {
        for caller in 0..8 {
            let lab = &lab;
            scope.spawn(move || {
                for number in 0..50 {
                    let event = format!("{caller} {number}");
                    assert_eq!(lab.invoke(event.as_str()).unwrap().body, event.as_bytes());
                }
            });
        }
    });
    assert_eq!(lab.invoke("pid").unwrap().body, pid);
}

#[test]
fn concurrent_callers_start_environments_up_to_the_limit() {
    let lab = function().environments(3).start().unwrap();
    let start = Barrier::new(6);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                start.wait();
                lab.invoke("sleep 300").unwrap();
            });
        }
    });
    let together = Barrier::new(3);
    let pids: HashSet<_> = thread::scope(|scope| {
        let callers = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut seen = HashSet::new();
                for _ in 0..30 {
                    together.wait();
                    seen.insert(lab.invoke("pid").unwrap().body);
                }
                seen
            })
        });
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    assert!((1..=3).contains(&pids.len()), "{pids:?}");
}

#[test]
fn one_environment_serves_callers_that_come_one_after_the_other() {
    let lab = function().environments(3).start().unwrap();
    let mut pids = HashSet::new();
    for _ in 0..10 {
        let mut pid = Vec::new();
        lab.invoke_to_the_end("pid", |piece| pid.extend_from_slice(piece)).unwrap();
        pids.insert(pid);
    }
    assert_eq!(pids.len(), 1);
}

#[test]
fn a_failing_environment_does_not_affect_the_others() {
    let lab = function().environments(2).timeout(Duration::from_secs(2)).start().unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| lab.invoke("sleep 60000"));
        while !slow.is_finished() {
            assert_eq!(lab.invoke("in").unwrap().body, b"in");
            let Err(InvokeError::Function(failure)) = lab.invoke("exit 3") else {
                panic!("it has exited")
            };
            assert!(failure.to_string().contains("exit status 3"), "{failure}");
        }
        assert!(slow.join().unwrap().is_err());
    });
}

#[test]
fn a_caller_that_disconnects_in_the_queue_does_not_block_it() {
    let lab = external();
    let mut runtime = Connection::open(lab.runtime_api());
    let path = "/2015-03-31/functions/function/invocations";
    thread::scope(|scope| {
        let first = scope.spawn(|| lab.invoke("first"));
        let next = runtime.request(NEXT, &[], "");
        // The first invocation is unanswered, so this one is in the queue, or on its way there.
        let mut gone = Connection::open(lab.address());
        gone.send(crate::support::request(&format!("POST {path}"), &[], "\"gone\""));
        drop(gone);
        runtime.post(&of(&next.id(), "response"), "1").assert_accepted();
        assert_eq!(first.join().unwrap().unwrap().body, b"1");
        let last = scope.spawn(|| lab.invoke("last"));
        loop {
            let next = runtime.request(NEXT, &[], "");
            let event = next.text();
            runtime.post(&of(&next.id(), "response"), &next.body).assert_accepted();
            if event == "last" {
                break;
            }
            // An event that was queued before its caller disconnected is still invoked, as on
            // Lambda.
            assert_eq!(event, "\"gone\"");
        }
        assert_eq!(last.join().unwrap().unwrap().body, b"last");
    });
}

#[test]
fn waiting_callers_get_an_error_when_the_lab_stops() {
    for lab in [script("sleep 1000").start().unwrap(), external()] {
        thread::scope(|scope| {
            let callers = [(); 3].map(|()| scope.spawn(|| lab.invoke("in")));
            // The callers may be at any stage by then.
            thread::sleep(Duration::from_millis(20));
            lab.stop();
            lab.stop();
            for caller in callers {
                assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
            }
        });
        assert_eq!(lab.invoke("late").unwrap_err(), InvokeError::Stopped);
    }
}
