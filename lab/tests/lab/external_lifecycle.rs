//! External extensions in environments that are frozen, restored, shared, replaced or measured.

use std::collections::HashSet;
use std::io::BufRead;
use std::thread;

use lambda_lab::InvokeError;

use crate::external::{
    Played, Scripts, UNTIL_END, WAIT, failure, ping, register, respond, runtime,
};
use crate::peak_memory::HUNGRY;
use crate::served::Served;
use crate::support::{Connection, NEXT, is_stopped, lives, of, request, wait_until};

const RESTORE_NEXT: &str = "GET /2018-06-01/runtime/restore/next";

#[test]
fn each_environment_has_its_own_extensions() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one"]).environments(2).start().unwrap();
    thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(|| lab.invoke("in")));
        scripts.start("one", 2);
        let starts = scripts.starts("one");
        let apis: HashSet<_> = starts.iter().map(|(api, _)| api).collect();
        assert_eq!(apis.len(), 2);
        let _played: Vec<_> =
            starts.iter().map(|(api, _)| Played::ready(api, "one", "[]")).collect();
        scripts.start("bootstrap", 2);
        for (api, _) in &starts {
            respond(&mut runtime(api));
        }
        for caller in callers {
            caller.join().unwrap().unwrap();
        }
    });
    let pids = ["one", "bootstrap"].map(|name| scripts.starts(name)).concat();
    assert!(pids.len() == 4 && pids.iter().all(|(_, pid)| lives(*pid)));
    lab.stop();
    assert!(pids.iter().all(|(_, pid)| !lives(*pid)));
}

#[test]
fn extensions_are_frozen_and_thawed_with_the_runtime() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one", "two"]).freeze().start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let (api, one_id) = scripts.start("one", 1);
        let two_id = scripts.pid("two");
        let mut one = Played::ready(&api, "one", r#"["INVOKE"]"#);
        let _two = Played::ready(&api, "two", "[]");
        let (_, bootstrap) = scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        respond(&mut runtime);
        one.event();
        ping(&api);
        assert!(!caller.is_finished() && !is_stopped(one_id) && !is_stopped(bootstrap));
        one.ask();
        caller.join().unwrap().unwrap();
        let all = [one_id, two_id, bootstrap];
        wait_until("all are stopped", || all.iter().all(|pid| is_stopped(*pid)));
        let caller = scope.spawn(|| lab.invoke("again"));
        one.event();
        wait_until("all are continued", || all.iter().all(|pid| !is_stopped(*pid)));
        respond(&mut runtime);
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn frozen_extensions_are_continued_for_their_shutdown() {
    let scripts = Scripts::new();
    let function = scripts.function(&[]).extension(scripts.add("one", WAIT)).freeze();
    let lab = function.start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let (api, pid) = scripts.start("one", 1);
        let mut one = Played::ready(&api, "one", r#"["SHUTDOWN"]"#);
        scripts.start("bootstrap", 1);
        let mut runtime = runtime(&api);
        respond(&mut runtime);
        caller.join().unwrap().unwrap();
        wait_until("it is stopped", || is_stopped(pid));
        let stop = scope.spawn(|| lab.stop());
        assert_eq!(one.shutdown().0, "spindown");
        assert!(!is_stopped(pid));
        stop.join().unwrap();
        assert!(!lives(pid));
    });
}

#[test]
fn a_snapshot_has_the_extensions_too_and_they_wait_through_it() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one", "two"]).snapstart().start().unwrap();
    let (api, one_id) = scripts.start("one", 1);
    let two_id = scripts.pid("two");
    let mut one = Played::ready(&api, "one", r#"["INVOKE"]"#);
    let mut two = Played::register(&api, "two", r#"["SHUTDOWN"]"#);
    let (_, bootstrap) = scripts.start("bootstrap", 1);
    let mut runtime = Connection::open(&api);
    runtime.send(request(RESTORE_NEXT, &[], ""));
    ping(&api);
    assert!(!is_stopped(bootstrap), "not all extensions have asked");
    two.ask();
    let all = [one_id, two_id, bootstrap];
    wait_until("all are stopped", || all.iter().all(|pid| is_stopped(*pid)));
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        assert_eq!(runtime.response().status, 200);
        wait_until("all are continued", || all.iter().all(|pid| !is_stopped(*pid)));
        let mut runtime = crate::external::runtime(&api);
        // On the connection that it had before the snapshot.
        one.event();
        one.ask();
        respond(&mut runtime);
        caller.join().unwrap().unwrap();
    });
    thread::scope(|scope| {
        let stop = scope.spawn(|| lab.stop());
        assert_eq!(two.shutdown().0, "spindown");
        stop.join().unwrap();
    });
    assert!(all.iter().all(|pid| !lives(*pid)));
}

#[test]
fn an_extension_that_ends_before_the_snapshot_fails_it_and_the_next_caller_gets_that() {
    let scripts = Scripts::new();
    let function = scripts.function(&[]).extension(scripts.add("one", UNTIL_END)).snapstart();
    let lab = function.start().unwrap();
    scripts.start("one", 1);
    scripts.end("one");
    let failed = failure(&lab, "in");
    assert_eq!(failed, ("Extension.Crash".to_owned(), "exit status 7".to_owned()));
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, _) = scripts.start("one", 2);
        let _one = Played::ready(&api, "one", "[]");
        scripts.start("bootstrap", 1);
        let mut runtime = Connection::open(&api);
        runtime.send(request(RESTORE_NEXT, &[], ""));
        assert_eq!(runtime.response().status, 200);
        respond(&mut crate::external::runtime(&api));
        caller.join().unwrap().unwrap();
    });
}

#[test]
fn on_managed_instances_extensions_get_the_shutdown_only() {
    let scripts = Scripts::new();
    let function = scripts.function(&[]).concurrency(2);
    let lab = function.extension(scripts.add("one", UNTIL_END)).start().unwrap();
    let event = "Extension.InvalidEventType";
    thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(|| lab.invoke("in")));
        let (api, pid) = scripts.start("one", 1);
        register(&api, "one", r#"{"events":["SHUTDOWN","INVOKE"]}"#).assert_refused(
            403,
            event,
            "INVOKE: ErrorInvalidEventType",
        );
        register(&api, "internal", r#"{"events":["SHUTDOWN"]}"#).assert_refused(
            403,
            event,
            "No events allowed for internal extensions",
        );
        let mut one = Played::register(&api, "one", r#"["SHUTDOWN"]"#);
        scripts.start("bootstrap", 1);
        let mut slots = [(); 2].map(|()| runtime(&api));
        ping(&api);
        assert!(slots.iter_mut().all(Connection::has_nothing), "not all extensions have asked");
        one.ask();
        for slot in &mut slots {
            let event = slot.response();
            slot.post(&of(&event.id(), "response"), &event.body).assert_accepted();
        }
        for caller in callers {
            assert_eq!(caller.join().unwrap().unwrap().body, b"in");
        }
        assert!(one.next.has_nothing());
        let stop = scope.spawn(|| lab.stop());
        assert_eq!(one.shutdown().0, "spindown");
        scripts.end("one");
        stop.join().unwrap();
        assert!(!lives(pid));
    });
}

#[test]
fn on_managed_instances_the_end_of_an_extension_ends_all_invocations() {
    let scripts = Scripts::new();
    let function = scripts.function(&["two"]).concurrency(2);
    let lab = function.extension(scripts.add("one", UNTIL_END)).start().unwrap();
    thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(|| failure(&lab, "in")));
        let (api, _) = scripts.start("one", 1);
        let _one = Played::ready(&api, "one", "[]");
        let mut two = Played::ready(&api, "two", r#"["SHUTDOWN"]"#);
        scripts.start("bootstrap", 1);
        let mut slots = [(); 2].map(|()| runtime(&api));
        slots.iter_mut().for_each(|slot| drop(slot.response()));
        scripts.end("one");
        assert_eq!(two.shutdown().0, "failure");
        for caller in callers {
            let expected = ("Extension.Crash".to_owned(), "exit status 7".to_owned());
            assert_eq!(caller.join().unwrap(), expected);
        }
        // Another start serves the next caller.
        let caller = scope.spawn(|| lab.invoke("again"));
        scripts.start("one", 2);
        let _one = Played::ready(&api, "one", "[]");
        let _two = Played::ready(&api, "two", "[]");
        scripts.start("bootstrap", 2);
        respond(&mut runtime(&api));
        assert_eq!(caller.join().unwrap().unwrap().body, b"again");
    });
}

#[test]
fn an_extension_that_is_built_again_is_started_with_a_new_environment() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one", "two"]).watch().start().unwrap();
    let invoke = |number| {
        thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
            let (api, _) = scripts.start("one", number);
            let _one = Played::ready(&api, "one", "[]");
            let _two = Played::ready(&api, "two", "[]");
            scripts.start("bootstrap", number);
            respond(&mut runtime(&api));
            caller.join().unwrap().unwrap();
        });
    };
    invoke(1);
    scripts.add("two", &format!("# built again\n{WAIT}"));
    invoke(2);
    assert!(!lives(scripts.start("one", 1).1));
}

#[test]
fn the_memory_of_extensions_counts() {
    let scripts = Scripts::new();
    let eat = format!(
        "{HUNGRY}=200 exec {} --exact hungry --nocapture",
        std::env::current_exe().unwrap().display()
    );
    let one = scripts.add("one", &eat).display().to_string();
    let script = format!("exec {}", scripts.add("bootstrap", WAIT).display());
    let mut served = Served::start(&["--extension", &one, "--memory", "128"], &script);
    let mut caller = served.invoke("1");
    let (api, _) = scripts.start("one", 1);
    served.line_with("full ");
    let mut one = Played::ready(&api, "one", "[]");
    scripts.start("bootstrap", 1);
    let mut runtime = runtime(&api);
    respond(&mut runtime);
    assert_eq!(caller.response().text(), "1");
    let line = served.line_with(" MB of 128 MB: Lambda would have ended the function ");
    assert!(line.contains("Runtime.ExitError"), "{line}");
    let report = served.line_with("Max Memory Used: ");
    let used: u32 = report.split_once(" MB").unwrap().0.parse().unwrap();
    assert!(used > 200, "{used}");
    assert!(one.next.has_nothing());
    let mut line = String::new();
    let mut caller = served.invoke("2");
    respond(&mut runtime);
    assert_eq!(caller.response().text(), "2");
    while !line.contains("REPORT") {
        line.clear();
        assert!(served.stderr.read_line(&mut line).unwrap() > 0);
        assert!(!line.contains("Lambda would have"), "it is said once");
    }
}

#[test]
fn callers_that_wait_for_extensions_get_to_know_that_the_lab_stops() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["one"]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("in"));
        let (api, pid) = scripts.start("one", 1);
        let mut runtime = Connection::open(&api);
        runtime.send(request(NEXT, &[], ""));
        lab.stop();
        assert_eq!(caller.join().unwrap().unwrap_err(), InvokeError::Stopped);
        assert!(!lives(pid));
        assert_eq!(scripts.starts("bootstrap"), []);
    });
}

#[test]
fn an_extension_that_has_lost_its_connection_may_ask_again() {
    let scripts = Scripts::new();
    let lab = scripts.function(&["mine"]).start().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke_to_the_end("in", |_| ()));
        let api = scripts.start("mine", 1).0;
        let mut played = Played::ready(&api, "mine", r#"["INVOKE"]"#);
        for _ in 0..2 {
            ping(&api);
            // Not closed alone: a process that another test starts may have it open for a moment.
            played.next.end_writing();
            played.next = Connection::open(&api);
            played.ask();
        }
        scripts.start("bootstrap", 1);
        respond(&mut runtime(&api));
        played.event();
        played.ask();
        caller.join().unwrap().unwrap();
    });
}
