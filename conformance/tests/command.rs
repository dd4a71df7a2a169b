//! The program `lambda-conformance`, as its users run it: exit codes, messages, and what it leaves
//! running.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lambda-conformance");

/// How long to wait for what happens unless something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A new folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("command {name}"));
    let _absent = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a file of vectors, and returns its path.
fn vectors(folder: &Path, vectors: &serde_json::Value) -> String {
    let path = folder.join("vectors.json");
    fs::write(&path, serde_json::json!({"about": "a test", "vectors": vectors}).to_string())
        .unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_program_that_is_no_client_ends_the_run_before_the_first_vector() {
    let wrong = "exec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
        printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: h\r\n\r\n' >&3
        while IFS= read -r line <&3; do
            case $line in *Request-Id:*) id=${line##* } ;; $'\r') break ;; esac
        done
        echo 'as it likes' >&2
        printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: h\r\n' ${id%?} >&3
        printf 'Content-Length: 5\r\n\r\n\"hey\"' >&3
        exec sleep 600";
    for (program, what) in [
        (&["true"][..], "the program does not ask for an event, so no vector was played"),
        (&["sh", "-c", "echo no >&2; exit 3"], "the process exited with code 3\n  | no\n"),
        (&["/nonexistent"], "cannot start /nonexistent: No such file"),
        (&["/"], "cannot start /: "),
    ] {
        let (code, out, err) = run(&[&["client", "--can", "all"], program].concat());
        assert_eq!((code, &*out), (Some(2), ""), "{program:?}: {err}");
        assert!(err.contains(what), "{program:?}: {err}");
    }
    let (code, out, err) = run(&["client", "--patience", "1", "sleep", "600"]);
    assert_eq!((code, &*out), (Some(2), ""), "{err}");
    assert!(
        err.contains("the program does not ask for an event within 1 s, so no vector"),
        "{err}"
    );
    let (code, out, err) = run(&["client", "bash", "-c", wrong]);
    assert_eq!((code, &*out), (Some(2), ""), "{err}");
    for what in [
        "the function does not return its event, so no vector was played",
        r#"step 3: expected the body {"first":1}, got "\"hey\"""#,
        "| as it likes",
    ] {
        assert!(err.contains(what), "{err}");
    }
}

/// Copies the function by another process: if this one had the copy open for writing while another test
/// forks, it could not be executed.
fn copy_function(to: &Path) {
    let status = Command::new("cp").arg(env!("CARGO_BIN_EXE_function-std")).arg(to).status();
    assert!(status.unwrap().success());
}

#[test]
fn the_exit_code_and_the_table_say_whether_the_client_conforms() {
    let folder = folder("with spaces");
    let client = folder.join("my bootstrap");
    copy_function(&client);
    let client = client.to_str().unwrap();
    let mut steps = serde_json::json!([{"read": {"call": "next"}}, {"waits": {}}]);
    let vector = |name: &str, needs: &[&str], steps: &serde_json::Value| serde_json::json!({"name": name, "source": ["a page", "an RFC"], "needs": needs, "steps": steps});
    let asks = vector("it asks", &[], &steps);
    let fails = vector("it fails", &["fail"], &steps);
    steps[0] = serde_json::json!({"read": {"call": "next", "headers": {"x-none": "1"}}});
    let other = vector("it says more", &[], &steps);

    let path = vectors(&folder, &serde_json::json!([asks, fails]));
    let (code, out, err) = run(&["client", "--vectors", &path, client]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(
        out,
        "ok      vectors: it asks\n-       vectors: it fails (needs --can fail)\n\n         \
         conform  wrong  not played\nvectors        1      0           1\n\n\
         1 conform, 0 do not, 1 not played\nto play the others: --can fail (1)\n"
    );
    let path = vectors(&folder, &serde_json::json!([asks, other]));
    let (code, out, err) = run(&["client", "--vectors", &path, client]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(
        out.contains(
            "WRONG   vectors: it says more\n        step 1: the header x-none is missing\n        \
             the process was alive\n"
        ),
        "{out}"
    );
    assert!(out.contains("\n        source: a page; an RFC\n"), "{out}");
    assert!(out.ends_with("\n1 conform, 1 do not, 0 not played\n"), "{out}");
    let path = vectors(&folder, &serde_json::json!([fails]));
    let (code, _, err) = run(&["client", "--vectors", &path, client]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no vector was played: each needs something that --can"), "{err}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_extension_is_played_its_own_vectors() {
    let extension = env!("CARGO_BIN_EXE_extension-socket");
    let only = ["extension", "--only", "a batch with a length is taken"];
    let (code, out, err) = run(&[&only[..], &["--can", "telemetry", extension]].concat());
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.starts_with("ok      deliveries: a batch with a length is taken\n"), "{out}");
    let (code, _, err) = run(&[&only[..], &[extension]].concat());
    assert_eq!(code, Some(2));
    assert!(err.contains("no vector was played"), "{err}");
    let only = ["extension", "--only", "registers for both events", "--patience", "1"];
    let (code, out, _) = run(&[&only[..], &["sleep", "600"]].concat());
    assert_eq!(code, Some(1));
    assert!(out.contains("step 1: expected POST /2020-01-01/extension/register"), "{out}");
}

#[test]
fn a_command_line_that_makes_no_sense_says_what_would() {
    for (arguments, what) in [
        (&[][..], "no command given; use client, extension, service or --help"),
        (&["play"], "use client, extension, service or --help"),
        (&["extension"], "no PROGRAM given; see --help"),
        (&["extension", "--can", "describe", "p"], "unknown --can describe; use one of account, "),
        (&["client"], "no PROGRAM given; see --help"),
        (&["client", "--vectors", "/nonexistent", "p"], "choose others with --vectors"),
        (&["service"], "--start is missing; see --help"),
        (&["service", "--start", "x", "--patience", "0"], "at least 1 second"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, &*out), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(what), "{arguments:?}: {err}");
    }
    for arguments in
        [&["--help"][..], &["-h"], &["client", "--help"], &["extension", "-h"], &["service", "-h"]]
    {
        let (code, out, err) = run(arguments);
        assert_eq!((code, &*err), (Some(0), ""), "{arguments:?}");
        assert!(out.contains("Usage: lambda-conformance "), "{arguments:?}: {out}");
    }
    assert!(run(&["--version"]).1.starts_with("lambda-conformance 0."));
}

#[test]
fn output_that_nobody_reads_ends_the_run_without_a_panic() {
    let client = env!("CARGO_BIN_EXE_function-std");
    for (arguments, code, what) in [
        (&["client", "--only", "invocations: ", client][..], 2, "ended after 1 of "),
        (&["--help"], 0, ""),
        (&["service", "--help"], 0, ""),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
        assert!(err.contains(what) && !err.contains("panicked"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_signal_ends_the_program_under_test_too() {
    let folder = folder("signals");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for what in ["client", "service"] {
            let file = folder.join(format!("{what} {code}"));
            let script =
                format!("echo $$ >'{0}.new'; mv '{0}.new' '{0}'; exec sleep 600", file.display());
            let mut command = Command::new(PROGRAM);
            match what {
                "client" => command.args(["client", "sh", "-c", &script]),
                _ => command.args(["service", "--start", &script]),
            };
            let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let began = Instant::now();
            let id = loop {
                if let Ok(id) = fs::read_to_string(&file) {
                    break id.trim().parse().unwrap();
                }
                assert!(began.elapsed() < PATIENCE, "{what} does not start");
                thread::sleep(Duration::from_millis(5));
            };
            kill_process(Pid::from_child(&child), signal).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(code), "{what}");
            while lives(id) {
                assert!(began.elapsed() < PATIENCE, "{what} {code}: {id} still runs");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Whether a process runs. A zombie does not: the system may reap it later, or not at all.
fn lives(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// A command whose shell does not become the service, and the file that the service writes when it
/// has had time to end.
fn service_of_a_shell(folder: &Path, name: &str) -> (String, PathBuf) {
    let file = folder.join(name);
    let trap = format!("trap 'sleep 0.1; echo >\"{}\"; exit' TERM", file.display());
    let begun = file.with_extension("begun");
    let loops = "while :; do sleep 0.01; done";
    (format!("({trap}; echo >'{}'; {loops}); exit 1", begun.display()), file)
}

#[test]
fn a_service_that_a_shell_waits_for_has_time_to_end_after_sigterm() {
    let folder = folder("time to end");
    let (start, file) = service_of_a_shell(&folder, "drop");
    let (code, _, err) = run(&["service", "--patience", "2", "--start", &start]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("does not listen"), "{err}");
    assert!(file.exists(), "it was killed");

    let (start, file) = service_of_a_shell(&folder, "signal");
    let mut command = Command::new(PROGRAM);
    command.args(["service", "--patience", "600", "--start", &start]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !file.with_extension("begun").exists() {
        assert!(began.elapsed() < PATIENCE, "it does not start");
        thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(file.exists(), "it was killed");
    fs::remove_dir_all(folder).unwrap();
}

/// Takes a lease on a file, which delays every program that opens it, or executes it, and says when
/// one does.
const HOLDER: &str = "
import fcntl, os, signal, sys
file = os.open(sys.argv[1], os.O_RDONLY)
signal.signal(signal.SIGIO, lambda *_: print('awaited', flush=True))
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
";

#[test]
fn a_signal_ends_the_program_while_another_one_is_still_being_executed() {
    let folder = folder("slow");
    let file = folder.join("client");
    copy_function(&file);
    let mut holder = Command::new("python3");
    holder.args(["-c", HOLDER]).arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut holder) = holder.stderr(Stdio::null()).spawn() else {
        eprintln!("skipped: there is no Python");
        return;
    };
    let mut says = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    if says.next().as_deref() == Some("held") {
        let mut command = Command::new(PROGRAM);
        command.args(["client", "--only", "invocations: "]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        assert_eq!(says.next().as_deref(), Some("awaited"));
        let began = Instant::now();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143));
        // The system takes the lease away after 45 s (fcntl(2), lease-break-time).
        assert!(began.elapsed() < Duration::from_secs(40), "it has waited for the file");
    } else {
        eprintln!("skipped: this machine has no leases on files");
    }
    let _ended = holder.kill();
    holder.wait().unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_service_that_cannot_be_started_ends_the_run_before_the_first_vector() {
    // Only the last one is waited for in vain.
    for (patience, start, what) in [
        (
            "30",
            "exec no-such-program-at-all",
            "cannot be started: the service exited with code 127",
        ),
        ("30", "kill -KILL $$", "cannot be started: the service was ended by a signal"),
        ("1", "exec sleep 600", "cannot be started: the service does not listen on 127.0.0.1:"),
    ] {
        let (code, out, err) = run(&["service", "--patience", patience, "--start", start]);
        assert_eq!((code, &*out), (Some(2), ""), "{start}: {err}");
        assert!(err.contains(what) && err.contains("no vector was played"), "{start}: {err}");
    }
}

/// The command that starts the test of this name in its own process, as a service.
fn this_test(name: &str, words: &str) -> String {
    let exe = std::env::current_exe().unwrap();
    format!("{WORDS}='{words}' exec '{}' --exact {name} --nocapture >&2", exe.display())
}

/// The variable that tells a test that it is to be a service, and in which words.
const WORDS: &str = "TEST_WORDS";

#[test]
fn a_service_that_does_not_work_ends_the_run_before_the_first_vector() {
    if std::env::var_os(WORDS).is_some() {
        let address = |name| std::env::var(name).unwrap();
        let runtimes = TcpListener::bind(address("CONFORMANCE_RUNTIME_API")).unwrap();
        let _callers = TcpListener::bind(address("CONFORMANCE_INVOKE_API")).unwrap();
        let started = format!("{}\n", runtimes.local_addr().unwrap());
        fs::write(address("CONFORMANCE_STARTED"), started).unwrap();
        for stream in runtimes.incoming().map_while(Result::ok) {
            let _line = request(&stream);
            reply(&stream, "404", "", "what?");
        }
        return;
    }
    let name = "a_service_that_does_not_work_ends_the_run_before_the_first_vector";
    let (code, out, err) = run(&["service", "--start", &this_test(name, "")]);
    assert_eq!((code, &*out), (Some(2), ""), "{err}");
    let what = "the service does not give the runtime its event, so no vector was played\n  \
                step 3: expected status 200, got status 404; body \"what?\"\n";
    assert!(err.contains(what), "{err}");
}

#[test]
fn a_service_in_its_own_words_conforms_with_own_words_only() {
    if let Ok(words) = std::env::var(WORDS) {
        return serve(&words);
    }
    let name = "a_service_in_its_own_words_conforms_with_own_words_only";
    let folder = folder("words");
    let refused = "POST /2018-06-01/runtime/invocation/none/response HTTP/1.1\r\nHost: h\r\n\
                   Content-Length: 0\r\n\r\n";
    let path = vectors(
        &folder,
        &serde_json::json!([{"name": "an unknown id is refused", "source": ["the emulator"], "steps": [
            {"invoke": {"body": "in"}, "as": "a"},
            {"send": refused, "on": "1"},
            {"receive": {"status": 400, "headers": {"Content-Type": "application/json"}, "json": {
                "errorType": "InvalidRequestID",
                "errorMessage": {"words": "Invalid request ID"}}}, "on": "1"},
        ]}]),
    );
    let error = |error_type: &str, message: &str| {
        format!(r#"400 {{"errorType":"{error_type}","errorMessage":{message}}}"#)
    };
    for (words, theirs, own) in [
        (error("InvalidRequestID", r#""Invalid request ID""#), 0, 0),
        (error("InvalidRequestID", r#""this id is not known here""#), 1, 0),
        (error("InvalidRequestID", "17"), 1, 1),
        (error("InvalidRequestID", r#""Invalid request ID","more":1"#), 1, 1),
        (error("UnknownId", r#""Invalid request ID""#), 1, 1),
        (error("InvalidRequestID", r#""Invalid request ID""#).replace("400", "404"), 1, 1),
    ] {
        let start = this_test(name, &words);
        for (flag, code) in [(None, theirs), (Some("--own-words"), own)] {
            let line = ["service", "--start", &start].into_iter().chain(flag).chain([&*path]);
            let (came, out, err) = run(&line.collect::<Vec<_>>());
            assert_eq!(came, Some(code), "{words}, {flag:?}: {out}{err}");
            let counts = if code == 0 { "1 conform, 0 do not" } else { "0 conform, 1 do not" };
            assert!(out.contains(counts), "{words}, {flag:?}: {out}");
            assert_eq!(out.contains("        source: the emulator\n"), code == 1, "{out}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_service_that_chooses_its_runtime_api_is_not_played_what_starts_no_runtime() {
    if std::env::var_os(WORDS).is_some() {
        return serve("404 elsewhere");
    }
    let name = "a_service_that_chooses_its_runtime_api_is_not_played_what_starts_no_runtime";
    let folder = folder("elsewhere");
    let ask = "GET /none HTTP/1.1\r\nHost: h\r\n\r\n";
    let steps =
        serde_json::json!([{"send": ask, "on": "1"}, {"receive": {"status": 404}, "on": "1"}]);
    let mut started = steps.clone();
    let invoke = serde_json::json!({"invoke": {"body": "in"}, "as": "a"});
    started.as_array_mut().unwrap().insert(0, invoke);
    let path = vectors(
        &folder,
        &serde_json::json!([
            {"name": "with a start", "source": ["s"], "steps": started},
            {"name": "without", "source": ["s"], "steps": steps},
        ]),
    );
    let (code, out, err) = run(&["service", "--start", &this_test(name, "elsewhere"), &path]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains(": without (the service does not listen at CONFORMANCE_RUNTIME_API)"),
        "{out}"
    );
    assert!(out.ends_with("1 conform, 0 do not, 1 not played\n"), "{out}");
    fs::remove_dir_all(folder).unwrap();
}

/// Is a service of one function that refuses unknown ids with this status and body.
fn serve(refusal: &str) {
    let address = |name| std::env::var(name).unwrap();
    let given = address("CONFORMANCE_RUNTIME_API");
    let chosen = if refusal.ends_with("elsewhere") { "127.0.0.1:0" } else { &given };
    let runtimes = TcpListener::bind(chosen).unwrap();
    let runtime_api = runtimes.local_addr().unwrap().to_string();
    let callers = TcpListener::bind(address("CONFORMANCE_INVOKE_API")).unwrap();
    let waiting = Arc::new(Mutex::new(VecDeque::<(String, mpsc::Sender<String>)>::new()));
    let refusal = refusal.split_once(' ').unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in runtimes.incoming().map_while(Result::ok) {
                let waiting = Arc::clone(&waiting);
                scope.spawn(move || {
                    let mut caller = None;
                    while let Some((line, body)) = request(&stream) {
                        if line.ends_with("/next HTTP/1.1") {
                            let Some((event, tell)) = waiting.lock().unwrap().pop_front() else {
                                return;
                            };
                            caller = Some(tell);
                            reply(&stream, "200", "Lambda-Runtime-Aws-Request-Id: id1\r\n", &event);
                        } else if line.contains("/id1/") {
                            reply(&stream, "202", "", r#"{"status":"OK"}"#);
                            let _gone = caller.take().unwrap().send(body);
                        } else {
                            let (status, body) = refusal;
                            reply(&stream, status, "Content-Type: application/json\r\n", body);
                        }
                    }
                });
            }
        });
        for stream in callers.incoming().map_while(Result::ok) {
            let (waiting, started) = (Arc::clone(&waiting), address("CONFORMANCE_STARTED"));
            let runtime_api = &runtime_api;
            scope.spawn(move || {
                // A connection without a request only looks whether the service listens.
                let Some((_, event)) = request(&stream) else { return };
                let (tell, answer) = mpsc::channel();
                waiting.lock().unwrap().push_back((event, tell));
                let mut file =
                    fs::OpenOptions::new().append(true).create(true).open(started).unwrap();
                file.write_all(format!("{runtime_api}\n").as_bytes()).unwrap();
                if let Ok(answer) = answer.recv() {
                    reply(&stream, "200", "", &answer);
                }
            });
        }
    });
}

/// The first line of the next request, and its body.
fn request(stream: &TcpStream) -> Option<(String, String)> {
    // Nobody sends another request before the reply, so that no byte of it is lost.
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        head += &line;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |it| it.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some((head.lines().next()?.to_owned(), String::from_utf8(body).ok()?))
}

fn reply(mut stream: &TcpStream, status: &str, head: &str, body: &str) {
    let length = body.len();
    let reply = format!("HTTP/1.1 {status} it\r\n{head}Content-Length: {length}\r\n\r\n{body}");
    let _may_be_gone = stream.write_all(reply.as_bytes());
}
