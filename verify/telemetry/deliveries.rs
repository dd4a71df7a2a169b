//! What becomes of batches and their records.

use std::sync::mpsc::channel;
use std::thread;

use crate::transport::Failure;

use super::support::{
    Client, LONG, Run, function, options, port, report, request, runtime_done, takes_all,
};

#[test]
fn each_record_is_handed_out_in_order_whatever_its_neighbours_are() {
    let run = Run::start(options(), takes_all());
    let unknown = r#"{"type":"platform.new","record":{"a":[1]}}"#.to_owned();
    let json = r#"{"type":"function","record":{"level":"INFO"}}"#.to_owned();
    let restore = r#"{"type":"platform.restoreStart","record":{}}"#.to_owned();
    let records = [
        function("a"),
        unknown.clone(),
        "7".to_owned(),
        json.clone(),
        restore.clone(),
        function("b"),
    ];
    let mut client = run.client();
    for _ in 0..2 {
        assert_eq!(client.post(&records), 200);
        let unread = "a telemetry record cannot be read: not a JSON object".to_owned();
        let (unknown, json, restore) = (unknown.clone(), json.clone(), restore.clone());
        run.expect_all(&[function("a"), unknown, unread, json, restore, function("b")]);
    }
}

#[test]
fn a_batch_of_any_size_arrives_whole() {
    let run = Run::start(options(), takes_all());
    // 8 MB, and a log line of the largest size, whose quotes are escaped.
    let mut records: Vec<_> = (0..4_000).map(|n| function(&"x".repeat(2_000 + n % 7))).collect();
    records.push(function(&r#"\""#.repeat(256 * 1024)));
    assert_eq!(run.post(&records), 200);
    run.expect_all(&records);
}

#[test]
fn fifty_connections_at_once_are_all_answered() {
    let run = Run::start(options(), takes_all());
    let posts: Vec<_> = (0..50)
        .map(|number| {
            let listener = run.listener;
            thread::spawn(move || {
                let mut client = Client::connect(listener);
                client.post(&[function(&number.to_string()), function("second")])
            })
        })
        .collect();
    for post in posts {
        assert_eq!(post.join().unwrap(), 200);
    }
}

#[test]
fn a_batch_is_delivered_again_to_a_handler_that_fails() {
    let mut calls = 0;
    let handle = move |text: &str| match text {
        _ if !text.contains("\"b\"") => Ok(None),
        _ => {
            calls += 1;
            if calls == 1 { Err(Failure::new("Extension.Full", "no space"))? } else { Ok(None) }
        }
    };
    let run = Run::start(options(), Box::new(handle));
    let records = [function("a"), function("b"), function("c")];
    let mut client = run.client();
    assert_eq!(client.post(&records), 503);
    run.expect_all(&records[..2]);
    run.service.lines().wait_for("the telemetry handler failed: Extension.Full: no space");
    assert_eq!(client.post(&records), 200);
    run.expect_all(&records);
}

#[test]
fn a_batch_with_which_the_handler_always_fails_is_counted_as_lost() {
    let mut run = Run::start(
        options(),
        Box::new(|text| if text.starts_with("flush") { Ok(None) } else { panic!("told to") }),
    );
    for status in [503, 503, 200] {
        assert_eq!(run.post(&[function("a")]), status);
    }
    run.service.lines().wait_for("failed with 3 deliveries of a batch; given up, 1 records");
    run.shut_down(LONG);
    let lines = run.service.lines().clone();
    run.end().unwrap();
    lines.wait_for("telemetry at the end: ");
    lines.wait_for("batches refused: 2, broken: 0, unreadable: 0, given up: 1;");
}

#[test]
fn records_of_several_connections_are_handled_one_at_a_time() {
    let (tell, told) = channel();
    let mut is_inside = false;
    let run = Run::start(
        options(),
        Box::new(move |text| {
            assert!(!std::mem::replace(&mut is_inside, true));
            thread::yield_now();
            is_inside = false;
            tell.send(text.to_owned()).unwrap();
            Ok(None)
        }),
    );
    let clients: Vec<_> = (0..4).map(|_| run.client()).collect();
    thread::scope(|scope| {
        for (number, mut client) in clients.into_iter().enumerate() {
            scope.spawn(move || {
                let name = |record| function(&format!("{number} {record:02}"));
                let records: Vec<_> = (0..50).map(name).collect();
                assert_eq!(client.post(&records), 200);
            });
        }
    });
    let handled: Vec<_> = told.try_iter().collect();
    assert_eq!(handled.len(), 200);
    for number in 0..4 {
        let start = function(&format!("{number} "));
        let start = start.strip_suffix("\"}").unwrap();
        let of_one: Vec<_> = handled.iter().filter(|text| text.starts_with(start)).collect();
        assert!(of_one.len() == 50 && of_one.is_sorted(), "{of_one:?}");
    }
}

#[test]
fn a_loop_of_the_extensions_own_log_lines_ends() {
    let run = Run::start(options().own_log_limit(20), takes_all());
    let own = r#"{"type":"extension","record":"a record came"}"#.to_owned();
    // The handler logs two lines for each record, which Lambda delivers.
    let (mut waiting, mut logged) = (1, 0);
    while waiting > 0 {
        let records = vec![own.clone(); waiting];
        assert_eq!(run.post(&[&records[..], &[function("end")]].concat()), 200);
        waiting = 0;
        while run.received() == own {
            waiting += 2;
            logged += 2;
        }
    }
    assert_eq!(logged, 40);
    run.service.lines().wait_for("20 log records of the type `extension` since the last event");
}

#[test]
fn an_extension_that_ends_closes_its_connections_and_frees_its_port() {
    let mut run = Run::start(options().port(port()), takes_all());
    let mut client = run.client();
    assert_eq!(client.post(&[function("a")]), 200);
    run.expect(&function("a"));
    run.shut_down(LONG);
    run.expect("flush Quiet");
    let address = run.listener;
    run.end().unwrap();
    assert_eq!(client.status(), 0);
    std::net::TcpListener::bind(address).unwrap();
}

#[test]
fn an_extension_gets_records_events_and_flushes_in_the_order_of_an_invocation() {
    let mut run = Run::start(options(), takes_all());
    let mut client = run.client();
    for id in ["id-1", "id-2"] {
        run.invoke(id, LONG);
        assert_eq!(client.post(&[function(id), runtime_done(id)]), 200);
        run.expect_all(&[function(id), runtime_done(id), "flush RuntimeDone".to_owned()]);
    }
    // The report of the first comes during the second, that of the second at the end.
    run.api.expect_extension_next();
    assert_eq!(client.post(&[report("id-1"), report("id-2")]), 200);
    run.expect_all(&[report("id-1"), report("id-2")]);
    run.api.answer(200, "", r#"{"eventType":"SHUTDOWN","deadlineMs":7,"shutdownReason":"x"}"#);
    run.expect("SHUTDOWN");
    run.expect("flush AllReported");
    let lines = run.service.lines().clone();
    run.end().unwrap();
    assert_eq!(lines.all(), [""; 0]);
}

#[test]
fn a_flush_that_fails_is_logged_and_counted_and_the_extension_goes_on() {
    let handle = |text: &str| if text.starts_with("flush") { Err("no network")? } else { Ok(None) };
    let mut run = Run::start(options(), Box::new(handle));
    run.invoke("id", LONG);
    assert_eq!(run.post(&[runtime_done("id"), report("id")]), 200);
    run.expect_all(&[runtime_done("id"), report("id"), "flush RuntimeDone".to_owned()]);
    run.shut_down(LONG);
    let lines = run.service.lines().clone();
    run.end().unwrap();
    lines.wait_for("the telemetry handler failed to flush: ");
    lines.wait_for("failed flushes: 2");
}

#[test]
fn a_batch_is_handled_alike_wherever_it_is_cut() {
    let run = Run::start(options(), takes_all());
    let records = [function("a"), function("b")];
    let request = request(&records);
    let mut client = run.client();
    for cut in 1..request.len() {
        client.send(&request[..cut]);
        client.send(&request[cut..]);
        assert_eq!(client.status(), 200, "{cut}");
        run.expect_all(&records);
    }
}
