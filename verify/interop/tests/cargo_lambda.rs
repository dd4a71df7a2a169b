//! `cargo lambda watch` as the service. It differs from Lambda: its address has a scheme, an IPv6
//! host and a path, it replies 200 where Lambda replies 202, the deadline is in 1970, and the
//! client context is in base64.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lambda_conformance::service::Port;
use lambda_interop::{Caller, Process, fetch, programs};
use serde_json::{Value, json};

/// `cargo lambda watch` for one function, and the function.
struct Watch {
    caller: Caller,
    // The order matters: fields are dropped in the order of declaration.
    function: Process,
    service: Process,
    _project: Project,
    _port: Port,
}

/// A Cargo project with one program, which is never built: `watch` requires that the function is a
/// program of the project.
struct Project(PathBuf);

impl Project {
    fn new(function: &str, port: u16) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cargo-lambda-{port}"));
        fs::create_dir_all(folder.join("src")).unwrap();
        let manifest = format!(
            "[package]\nname = \"{function}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.join("src/main.rs"), "fn main() {}\n").unwrap();
        Self(folder)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}

impl Watch {
    /// Starts the service without a function, and then the function.
    fn start(name: &str, program: &Path, arguments: &[&str]) -> Self {
        let claimed = Port::claim().unwrap();
        let port = claimed.number();
        TcpListener::bind((Ipv6Addr::LOCALHOST, port))
            .expect("cannot listen on [::1]: this test needs IPv6");
        let project = Project::new(name, port);
        let mut command = Command::new(fetch::cargo_lambda().unwrap());
        command.args(["lambda", "watch", "--only-lambda-apis", "--ignore-changes"]);
        command.args(["--invoke-address", "::1", "--invoke-port", &port.to_string()]);
        let mut service = Process::start(command.current_dir(&project.0)).unwrap();
        let nobody =
            Caller::new(format!("http://[::1]:{port}/2015-03-31/functions/nobody/invocations"));
        let began = Instant::now();
        while nobody.invoke(b"{}").is_err() {
            let status = service.exit_status();
            let is_late = status.is_some() || began.elapsed() > Duration::from_secs(20);
            assert!(
                !is_late,
                "cargo lambda watch does not listen ({status:?}): {}",
                service.output()
            );
            thread::sleep(Duration::from_millis(5));
        }
        let mut command = Command::new(program);
        command.args(arguments);
        command.env("AWS_LAMBDA_RUNTIME_API", format!("http://[::1]:{port}/.rt/{name}"));
        command.env_remove("AWS_LAMBDA_MAX_CONCURRENCY");
        let function = Process::start(&mut command).unwrap();
        let caller =
            Caller::new(format!("http://[::1]:{port}/2015-03-31/functions/{name}/invocations"));
        Self { caller, function, service, _project: project, _port: claimed }
    }

    fn echo(arguments: &[&str]) -> Self {
        Self::start("echo", &programs::example("echo").unwrap(), arguments)
    }

    fn misbehave() -> Self {
        let program = programs::misbehave(programs::Profile::Unwind).unwrap();
        Self::start("misbehave", &program, &[])
    }

    fn assert_echoes(&self, size: usize) {
        let event: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let answer = self.caller.invoke(&event).unwrap();
        assert_eq!(answer.status, 200, "{}{}", self.service.output(), self.function.output());
        assert!(
            answer.body == event,
            "{size} bytes came back as {} different ones",
            answer.body.len()
        );
    }
}

/// The same sizes as in the emulator's tests, although 2,048 bytes are no limit of this service.
const SIZES: [usize; 9] = [0, 1, 2_047, 2_048, 2_049, 65_536, 1 << 20, 5 << 20, 6_291_556];

#[test]
fn echo_returns_events_of_every_size() {
    let watch = Watch::echo(&[]);
    SIZES.iter().chain(SIZES.iter().rev()).for_each(|size| watch.assert_echoes(*size));
    assert_eq!(watch.function.output(), "", "status 200 for an answer must not cause a warning");
}

#[test]
fn echo_returns_events_of_every_size_when_pipelined() {
    let watch = Watch::echo(&["--pipelined"]);
    SIZES.iter().chain(SIZES.iter().rev()).for_each(|size| watch.assert_echoes(*size));
    assert_eq!(watch.function.output(), "");
}

#[test]
fn a_deadline_in_1970_and_a_client_context_in_base64_are_passed_on_unchanged() {
    let watch = Watch::misbehave();
    // `watch` takes JSON from the caller and passes it to the function in base64; Lambda passes
    // JSON.
    let context = [("lambda-runtime-client-context", r#"{"custom":{"a":"1"}}"#)];
    let answer = watch.caller.invoke_with(br#"{"do":"describe"}"#, &context).unwrap();
    let seen: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(seen["deadline"], 600_000);
    assert_eq!(seen["function"], "function-arn");
    assert!(seen["trace_id"].as_str().unwrap().starts_with("Root=1-"), "{seen}");
    assert_eq!(seen["client_context"], "eyJjdXN0b20iOnsiYSI6IjEifX0=");
}

#[test]
fn a_failure_reaches_the_caller_and_the_next_invocation_works() {
    let watch = Watch::misbehave();
    let describe = || {
        let answer = watch.caller.invoke(br#"{"do":"describe"}"#).unwrap();
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let before = describe();
    let event = br#"{"do":"fail","type":"Function.Broken","message":"it's \"broken\""}"#;
    let answer = watch.caller.invoke(event).unwrap();
    let error = answer.function_error().unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(error.error_type, "Function.Broken");
    assert_eq!(error.error_message, "it's \"broken\"");
    let answer = watch.caller.invoke(br#"{"do":"panic","message":"oh"}"#).unwrap();
    assert_eq!(answer.function_error().unwrap().error_type, "Function.Panic");
    assert_eq!(describe()["process"], before["process"]);
}

/// `watch` requires that the first chunk of a stream is the JSON of the prelude and the second its
/// eight NULs: `create_streaming_response` in its trigger_router.rs.
#[test]
fn a_stream_arrives_if_its_prelude_and_separator_are_separate_chunks() {
    let watch = Watch::misbehave();
    let prelude = r#"{"statusCode":201,"headers":{"x-from":"misbehave"},"cookies":["a=b"]}"#;
    let pieces = [prelude, "\0\0\0\0\0\0\0\0", "line 1\n", "line 2\n"];
    let event = json!({ "do": "pieces", "pieces": pieces });
    let answer = watch.caller.invoke(event.to_string().as_bytes()).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (201, "line 1\nline 2\n"));
    assert_eq!(answer.header("x-from"), Some("misbehave"));
    assert_eq!(answer.header("set-cookie"), Some("a=b"));
}

#[test]

fn stream_arrives_with_its_status_and_lines() {
    let watch = Watch::start("stream", &programs::example("stream").unwrap(), &[]);
    for (event, lines) in [("2", "line 1\nline 2\n"), (r#""fail""#, "line 1\n"), ("1", "line 1\n")]
    {
        let answer = watch.caller.invoke(event.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, lines), "{event}");
        assert_eq!(answer.header("content-type"), Some("text/plain"));
    }
}

#[test]
fn a_stream_that_watch_cannot_read_fails_and_the_next_invocation_works() {
    let watch = Watch::misbehave();
    let answer = watch.caller.invoke(br#"{"do":"stream","chunks":3,"bytes":2}"#).unwrap();
    assert_eq!(answer.status, 500);
    let answer = watch.caller.invoke(br#"{"do":"describe"}"#).unwrap();
    assert_eq!(answer.status, 200);
}
