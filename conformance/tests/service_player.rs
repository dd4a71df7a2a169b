//! The player of vectors for services, with a service whose reply depends on the path.
//!
//! That service stands apart from `lambda-proto-service` because it serves all connections at the
//! same time and until the test program ends, with no test on its side.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lambda_conformance::service::{
    Cut, Failure, Player, Process, Service, Step, Vector, Words, all,
};

/// A service that replies to `/ok` with an id, to `/silent` with nothing, to `/half` with half a
/// reply, and to `/end` by closing the connection. Other paths get 404. Callers get their events
/// back, except for the event `wait`, which gets no reply.
struct Fake {
    runtime_api: SocketAddr,
    invoke_api: SocketAddr,
    starts: AtomicUsize,
    refusal: Mutex<Option<String>>,
}

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

impl Fake {
    fn start() -> Self {
        Self {
            runtime_api: serve(|mut stream, request| {
                let path = request.split(' ').nth(1).unwrap_or_default();
                let answer = match path {
                    "/ok" => format!("200 OK\r\nX-Id: {ID}\r\nContent-Length: 2\r\n\r\nok"),
                    "/silent" => return true,
                    "/end" => return false,
                    "/half" => {
                        let _ =
                            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
                        return false;
                    }
                    _ => format!("404 No\r\nContent-Length: {}\r\n\r\n{path}", path.len()),
                };
                stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).is_ok()
            }),
            invoke_api: serve(|mut stream, request| {
                let event = request.split("\r\n\r\n").nth(1).unwrap_or_default();
                let length = event.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{event}");
                event == "wait" || stream.write_all(answer.as_bytes()).is_ok()
            }),
            starts: AtomicUsize::new(0),
            refusal: Mutex::new(None),
        }
    }

    fn play(&self, settings: &str, steps: &str) -> Result<usize, Failure> {
        self.play_cut(settings, steps, Cut::Whole)
    }

    fn play_cut(&self, settings: &str, steps: &str, cut: Cut) -> Result<usize, Failure> {
        let vector = format!(
            r#"{{"name": "n", "source": ["s"], "service": {settings}, "steps": [{steps}]}}"#
        );
        let vector: Vector = serde_json::from_str(&vector).unwrap();
        // Short where nothing ever comes, and long enough for a busy machine elsewhere.
        let is_silent = steps.contains("/silent");
        let patience = Duration::from_secs(if is_silent { 1 } else { 30 });
        let moment = if is_silent { Duration::from_millis(50) } else { patience };
        Player { patience, moment, cut, words: Words::Emulators }.play(&vector, self)
    }
}

/// Serves each connection on its own thread, until `answer` returns `false`.
fn serve(answer: fn(&TcpStream, &str) -> bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                while let Some(request) = read(&stream) {
                    if !answer(&stream, &request) {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn read(mut stream: &TcpStream) -> Option<String> {
    let (mut request, mut byte) = (String::new(), [0]);
    loop {
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() == length.map_or(0, |it| it.parse().unwrap()) {
                return Some(request);
            }
        }
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0].into()),
            _ => return None,
        }
    }
}

impl Service for Fake {
    fn runtime_api(&self) -> SocketAddr {
        self.runtime_api
    }

    fn invoke_api(&self) -> SocketAddr {
        self.invoke_api
    }

    fn await_start(&self, _runtime: &Process) -> Result<(), String> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

fn send(path: &str) -> String {
    format!(r#"{{"send": "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n", "on": "1"}}"#)
}

#[test]
fn a_vector_that_is_met_is_played_to_its_end() {
    let steps = [
        r#"{"invoke": {"body": ["ev", {"repeat": "e", "times": 2}]}, "as": "a"}"#,
        &send("/ok"),
        r#"{"receive": {"status": 200, "body": "ok"}, "on": "1", "as": "x"}"#,
        &send("/${x.x-id}"),
        &format!(r#"{{"receive": {{"status": 404, "body": "/{ID}"}}, "on": "1"}}"#),
        &send("/${x.x-id}"),
        r#"{"receive": {"status": 404, "body": "/${x.x-id}"}, "on": "1"}"#,
        r#"{"answered": {"status": 200, "body": "evee"}, "to": "a"}"#,
        &send("/end"),
        r#"{"closed": "1"}"#,
        r#"{"close": "1"}"#,
        &send("/ok"),
        r#"{"half-close": "1"}"#,
        r#"{"receive": {"status": 200}, "on": "1"}"#,
    ]
    .join(",");
    let fake = Fake::start();
    let said = fake.play("{}", &steps).unwrap();
    // Five requests, their paths, and the ids in place of the references.
    assert_eq!(said, 5 * "GET / HTTP/1.1\r\nHost: h\r\n\r\n".len() + 2 + 36 + 36 + 3 + 2);
    for cut in [Cut::EveryByte, Cut::After(1), Cut::After(40), Cut::After(1000)] {
        assert_eq!(fake.play_cut("{}", &steps, cut), Ok(said), "{cut:?}");
    }
}

#[test]
fn a_failure_names_the_first_step_that_is_not_met_and_what_came() {
    let fake = Fake::start();
    let receive = r#"{"receive": {"status": 200}, "on": "1"}"#;
    let invoke = r#"{"invoke": {"body": "wait"}, "as": "a"}"#;
    for (steps, step, came) in [
        (format!("{}, {receive}", send("/no")), 2, "status 404; body \"/no\""),
        (format!("{}, {receive}", send("/end")), 2, "the end of the connection"),
        (format!("{}, {receive}", send("/half")), 2, "a truncated reply"),
        (format!("{}, {receive}", send("/silent")), 2, "no reply in time"),
        (format!("{}, {}", send("/${x.id}"), send("/ok")), 1, "unknown reference ${x.id}"),
        (format!(r#"{}, {{"hangs": "1"}}"#, send("/end")), 2, "the end of the connection"),
        (format!(r#"{}, {{"closed": "1"}}"#, send("/silent")), 2, "no reply in time"),
        (
            format!(
                r#"{}, {}, {{"answered": {{"status": 200}}, "to": "a"}}"#,
                invoke,
                send("/silent")
            ),
            3,
            "no reply in time",
        ),
    ] {
        let failure = fake.play("{}", &steps).unwrap_err();
        assert_eq!((failure.step, failure.came.as_str()), (step, came), "{steps}");
    }
    let failure = fake.play("{}", &format!("{}, {}", send("/ok"), r#"{"closed": "1"}"#));
    let came = failure.unwrap_err().came;
    assert!(came.contains("200 OK") && came.contains("<id>") && !came.contains(ID), "{came}");
    let invoke = r#"{"invoke": {"body": "e"}, "as": "a"}, {"hangs": "a"}"#;
    assert!(fake.play("{}", invoke).is_err_and(|it| it.came == "status 200"));
}

#[test]
fn hangs_is_met_by_silent_connections_and_callers() {
    let steps = [
        r#"{"invoke": {"body": "wait"}, "as": "a"}"#,
        &send("/silent"),
        r#"{"hangs": "1"}"#,
        r#"{"hangs": "a"}"#,
    ];
    Fake::start().play("{}", &steps.join(",")).unwrap();
}

#[test]
fn the_player_awaits_a_start_before_its_first_request_and_after_a_restart() {
    let ok = [&send("/ok"), r#"{"receive": {"status": 200}, "on": "1"}"#].join(",");
    let invoke = |name: &str, restarts: bool| {
        format!(r#"{{"invoke": {{"restarts": {restarts}}}, "as": "{name}"}}"#)
    };
    for (settings, steps, starts) in [
        ("{}", ok.clone(), 0),
        ("{}", format!("{},{ok},{ok}", invoke("a", false)), 1),
        ("{}", format!("{},{ok},{},{ok}", invoke("a", false), invoke("b", false)), 1),
        ("{}", format!("{},{ok},{},{ok}", invoke("a", false), invoke("b", true)), 2),
        (r#"{"concurrency": 2}"#, ok.clone(), 1),
        (r#"{"snapstart": true}"#, ok.clone(), 1),
    ] {
        let fake = Fake::start();
        fake.play(settings, &steps).unwrap();
        assert_eq!(fake.starts.load(Ordering::Relaxed), starts, "{settings} {steps}");
    }
    let fake = Fake::start();
    *fake.refusal.lock().unwrap() = Some("it is broken".into());
    let failure = fake.play("{}", &format!("{},{ok}", invoke("a", false))).unwrap_err();
    assert_eq!((failure.step, failure.came.as_str()), (2, "it is broken"));
}

/// With several workers a service refuses an invocation for which none waits, and only `hangs`
/// gives a `next` the time to arrive. The first invocation waits for the start.
#[test]
fn no_vector_invokes_a_function_before_the_worker_that_gets_the_event_waits() {
    let mut checked = 0;
    for (file, vectors) in all().unwrap() {
        let has_workers = |vector: &&Vector| vector.service.concurrency.is_some();
        for vector in vectors.vectors.iter().filter(has_workers) {
            let mut waiting = BTreeSet::new();
            let mut has_started = false;
            for steps in vector.steps.windows(2) {
                match &steps[0] {
                    Step::Hangs(name) => drop(waiting.insert(name)),
                    Step::Send(connection, _) => drop(waiting.remove(connection)),
                    Step::Invoke(..) if !std::mem::replace(&mut has_started, true) => {}
                    Step::Invoke(..) => {
                        if let Step::Receive(connection, ..) = &steps[1] {
                            assert!(waiting.contains(connection), "{file}: {}", vector.name);
                            checked += 1;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(checked > 0);
}
