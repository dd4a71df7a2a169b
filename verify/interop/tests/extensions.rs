//! The examples of extensions with telemetry, as external extensions of the lab.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lambda_interop::programs;
use lambda_interop::under_lab::{Logged, PATIENCE, Running};
use serde_json::Value;

/// Runs `lambda-lab run` with these arguments, and returns the lines of both of its outputs.
fn run(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(programs::lab().unwrap());
    let output = command.arg("run").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{text:?}");
    text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

fn example(name: &str) -> String {
    programs::example(name).unwrap().to_str().unwrap().to_owned()
}

/// The lines of an extension, without its name.
fn of<'l>(lines: &'l [String], name: &str) -> Vec<&'l str> {
    let prefix = format!("{name}: ");
    lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

/// A function in shell that logs the event and answers with it.
fn shell() -> [String; 6] {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/other_clients");
    let files = files.to_str().unwrap();
    let words = [
        "--task-root",
        files,
        "--handler",
        "function.log",
        "/bin/bash",
        &format!("{files}/bootstrap.sh"),
    ];
    words.map(str::to_owned)
}

#[test]
fn extension_logs_prints_the_life_of_an_environment() {
    let (extension, shell) = (example("extension_logs"), shell());
    let mut arguments = vec!["--extension", &extension, "--event", "\"one\"", "--event", "\"two\""];
    arguments.extend(shell.iter().map(String::as_str));
    let lines = run(&arguments);
    let lines = of(&lines, "extension_logs");
    let starts: Vec<_> =
        lines.iter().filter_map(|line| line.strip_prefix("platform.start ")).collect();
    let ids: Vec<_> = starts.iter().map(|start| start.split(' ').next().unwrap()).collect();
    let [first, second] = ids[..] else { panic!("{lines:#?}") };
    let place = |start: &str| {
        let found = lines.iter().position(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start:?} in {lines:#?}"))
    };
    let mut places = vec![place("platform.initStart {"), place("platform.initReport success ")];
    for (id, event) in [(first, "\"one\""), (second, "\"two\"")] {
        places.push(place(&format!("platform.start {id} version ")));
        places.push(place(&format!("function {id} the event is {event}")));
        places.push(place(&format!("platform.runtimeDone {id} success, ")));
        places.push(place(&format!("platform.report {id} success, ")));
    }
    places.push(place("SHUTDOWN spindown"));
    assert!(places.is_sorted(), "{lines:#?}");
}

#[test]
fn extension_logs_that_gets_its_own_lines_comes_to_an_end() {
    let (extension, function) = (example("extension_logs"), example("post_response"));
    let arguments = ["--env", "EXTENSION_LOGS=20", "--extension", &extension, "--event", "1"];
    // It runs for long enough that hundreds of its lines could come back.
    let lines = run(&[&arguments[..], &[&function, "drain", "3000"]].concat());
    let own = of(&lines, "extension_logs");
    let echoes = own.iter().filter(|line| line.starts_with("extension ")).count();
    // The limit, in init, after the event, after the start of the invocation and at the end.
    assert!((1..=80).contains(&echoes), "{echoes}");
    assert!(own.iter().any(|line| line.starts_with("platform.report ")), "{own:#?}");
}

/// What a flush has sent, before it is acknowledged.
struct Flushed {
    records: Vec<Value>,
    /// Dropping it is the acknowledgement.
    _connection: TcpStream,
}

impl Flushed {
    fn next(server: &TcpListener) -> Self {
        let begun = Instant::now();
        server.set_nonblocking(true).unwrap();
        let mut connection = loop {
            match server.accept() {
                Ok((connection, _)) => break connection,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(begun.elapsed() < PATIENCE, "nothing was flushed");
            thread::sleep(Duration::from_millis(5));
        };
        connection.set_nonblocking(false).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { records, _connection: connection }
    }

    /// The request ids of the records of this type.
    fn ids_of(&self, kind: &str) -> Vec<&str> {
        let records = self.records.iter().filter(|record| record["type"] == kind);
        records.map(|record| record["record"]["requestId"].as_str().unwrap()).collect()
    }
}

/// A function with the extension, which flushes to this server.
fn flushing(server: &TcpListener) -> Running {
    let extension = programs::example("extension_flush").unwrap();
    let address = server.local_addr().unwrap().to_string();
    let function = Logged::example("minimal", &[]);
    function.with(|it| it.freeze().extension(extension).variable("FLUSH_TO", address)).start()
}

#[test]
fn extension_flush_sends_everything_after_the_answer_and_before_the_freeze() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = flushing(&server);
    let mut last = None;
    for _ in 0..3 {
        // The caller has the answer, and nobody has taken what is flushed.
        let id = running.lab.invoke("{}").unwrap().request_id;
        let flushed = Flushed::next(&server);
        assert_eq!(flushed.ids_of("platform.start"), [&*id]);
        assert_eq!(flushed.ids_of("platform.runtimeDone"), [&*id]);
        // Lambda writes a report when the extension has asked for its next event.
        assert_eq!(flushed.ids_of("platform.report"), Vec::from_iter(last.as_deref()));
        assert!(!running.is_frozen());
        drop(flushed);
        running.wait_for_freeze();
        last = Some(id);
    }
    thread::scope(|scope| {
        scope.spawn(|| running.lab.stop());
        let flushed = Flushed::next(&server);
        assert_eq!(flushed.ids_of("platform.report"), [last.as_deref().unwrap()]);
    });
}

#[test]
fn extension_flush_sends_with_the_next_flush_what_it_could_not_send() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = flushing(&server);
    let first = running.lab.invoke("{}").unwrap().request_id;
    let refused = Flushed::next(&server);
    std::io::Write::write_all(&mut &refused._connection, b"no").unwrap();
    drop(refused);
    running.wait_for_freeze();
    let second = running.lab.invoke("{}").unwrap().request_id;
    let flushed = Flushed::next(&server);
    assert_eq!(flushed.ids_of("platform.runtimeDone"), [&*first, &*second]);
    drop(flushed);
    running.wait_for_freeze();
    thread::scope(|scope| {
        scope.spawn(|| running.lab.stop());
        drop(Flushed::next(&server));
    });
}

#[test]
fn a_function_with_an_extension_that_waits_for_telemetry_is_not_held_to_its_timeout() {
    let extension = example("extension_flush");
    let minimal = example("minimal");
    let arguments = ["--timeout", "60", "--extension", &extension, "--event", "1", "--event", "2"];
    for more in [&[][..], &["--no-telemetry"]] {
        let lines = run(&[more, &arguments, &[&*minimal]].concat());
        let reports: Vec<_> =
            lines.iter().filter(|line| line.starts_with("REPORT RequestId: ")).collect();
        assert_eq!(reports.len(), 2, "{lines:#?}");
        for report in reports {
            let duration = report.split("\tDuration: ").nth(1).unwrap();
            let millis: f64 = duration.split(' ').next().unwrap().parse().unwrap();
            // The timeout, less what the extension reserves.
            assert!(millis < 59_000.0, "{report}");
        }
    }
}
