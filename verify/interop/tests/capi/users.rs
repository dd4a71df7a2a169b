//! Each bootstrap of `capi/users` answers invocations under the lab.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use lambda_interop::under_lab::{Logged, Running, wait_until};
use lambda_interop::{Process, c_programs};
use lambda_lab::{FailureKind, FunctionFailure, InvokeError};
use lambda_proto_service::{Event, Service};

use crate::build::{self, SANITIZERS, capi, interpreter, layer, python_with_cffi};

/// A bootstrap, and what its function does besides returning the event.
struct User {
    program: PathBuf,
    arguments: Vec<String>,
    /// The type and the message of its error.
    error: [&'static str; 2],
    streams: bool,
    /// Its function gets values, not bytes: the type of its error for an event that is not JSON.
    not_json: Option<&'static str>,
}

impl User {
    fn program(program: PathBuf) -> Self {
        let error = ["Function.AsAsked", "the event asks for it"];
        Self { program, arguments: Vec::new(), error, streams: true, not_json: None }
    }

    fn script(interpreter: PathBuf, options: &[&str], script: &str) -> Self {
        let script = capi().join("users").join(script).display().to_string();
        let arguments = options.iter().map(|it| (*it).to_owned()).chain([script]).collect();
        Self { arguments, ..Self::program(interpreter) }
    }

    fn fails_with(self, error_type: &'static str) -> Self {
        Self { error: [error_type, self.error[1]], ..self }
    }

    fn without_streams(self) -> Self {
        Self { streams: false, ..self }
    }

    fn start(&self) -> Running {
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        let function = Logged::program(&self.program, &arguments);
        let prefix = layer().display().to_string();
        function
            .with(|it| it.variable("LAMBDA_PROTO_PREFIX", prefix))
            // Otherwise Python would write bytecode next to the sources.
            .with(|it| it.variable("PYTHONDONTWRITEBYTECODE", "1"))
            .start()
    }

    /// Everything that each bootstrap does.
    fn is_a_runtime(&self) {
        let running = self.start();
        for event in [r#""""#.into(), text(128), text(1_000_000), r#""é🦀\u0001\"""#.into()] {
            self.echoes(&running, &event);
        }
        self.takes_bytes(&running);
        self.fails(&running);
        if self.streams {
            streams(&running);
        }
        let process = running.pid();
        for number in 0..1000 {
            self.echoes(&running, &format!("\"event {number}\""));
        }
        assert_eq!(running.pid(), process, "another process: {}", running.log());
        self.is_restarted_after_an_exit(&running);
    }

    #[track_caller]
    fn echoes(&self, running: &Running, event: &str) {
        let answer = running.lab.invoke(event).unwrap_or_else(|error| {
            panic!("{} bytes: {error}\n{}", event.len(), running.log());
        });
        if self.not_json.is_some() {
            let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(value == serde_json::from_str::<serde_json::Value>(event).unwrap());
        } else {
            assert!(answer.body == event.as_bytes(), "{} bytes", event.len());
        }
        assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    }

    /// An event need not be JSON, nor text, nor have any byte.
    fn takes_bytes(&self, running: &Running) {
        for event in [Vec::new(), (0..=255).cycle().take(70_000).collect::<Vec<u8>>()] {
            match (running.lab.invoke(event.clone()), self.not_json) {
                (Ok(answer), None) => assert!(answer.body == event, "{} bytes", event.len()),
                (Err(InvokeError::Function(failure)), Some(error_type)) => {
                    assert_eq!(failure.error_type().as_deref(), Some(error_type));
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    fn fails(&self, running: &Running) {
        let failure = failure(running, "\"fail\"");
        assert_eq!(failure.kind, FailureKind::Reported);
        assert_eq!(failure.error_type().as_deref(), Some(self.error[0]));
        assert_eq!(failure.error_message().as_deref(), Some(self.error[1]));
        self.echoes(running, "\"next\"");
    }

    fn is_restarted_after_an_exit(&self, running: &Running) {
        let process = running.pid();
        let failure = failure(running, "\"exit\"");
        assert_eq!(failure.kind, FailureKind::Exit);
        assert!(failure.error_message().unwrap().ends_with("exit status 3"), "{failure}");
        self.echoes(running, "\"next\"");
        assert_ne!(running.pid(), process);
    }
}

/// A JSON text of this length.
fn text(length: usize) -> String {
    format!("\"{}\"", "e".repeat(length - 2))
}

#[track_caller]
fn failure(running: &Running, event: &str) -> FunctionFailure {
    match running.lab.invoke(event) {
        Err(InvokeError::Function(failure)) => failure,
        other => panic!("{event} gave {other:?}\n{}", running.log()),
    }
}

fn streams(running: &Running) {
    let mut body = Vec::new();
    let answer = running.lab.invoke_streaming("\"stream\"", |piece| body.extend_from_slice(piece));
    assert_eq!(answer.unwrap().content_type.as_deref(), Some("text/plain"));
    assert_eq!(String::from_utf8(body).unwrap(), "one\ntwo\n");
}

const C: &[&str] = &["users/c/bootstrap.c"];
const POLL: &[&str] = &["users/loops/poll.c", "users/loops/loop.c"];
const BOOTSTRAP_CPP: &str = "users/cpp/bootstrap.cpp";
const LIBUV: &[&str] = &["users/loops/libuv.c", "users/loops/loop.c"];

#[test]
fn a_bootstrap_in_c_that_gcc_compiles_is_a_runtime() {
    User::program(build::c("gcc", "c-gcc", C, &[])).is_a_runtime();
}

#[test]
fn a_bootstrap_in_c_that_clang_compiles_is_a_runtime() {
    User::program(build::c("clang", "c-clang", C, &[])).is_a_runtime();
}

#[test]
fn a_loop_around_poll_is_a_runtime() {
    User::program(build::c("gcc", "poll-gcc", POLL, &[])).is_a_runtime();
    User::program(build::c("clang", "poll-clang", POLL, &[])).is_a_runtime();
}

#[test]
fn a_libuv_loop_is_a_runtime() {
    User::program(build::c("gcc", "libuv-gcc", LIBUV, &["-luv"])).is_a_runtime();
    User::program(build::c("clang", "libuv-clang", LIBUV, &["-luv"])).is_a_runtime();
}

#[test]
fn the_bootstraps_in_c_are_runtimes_under_the_sanitizers() {
    for (name, sources, libraries) in [
        ("c-sanitized", C, &[][..]),
        ("poll-sanitized", POLL, &[]),
        ("libuv-sanitized", LIBUV, &["-luv"]),
    ] {
        let flags = [&SANITIZERS[..], libraries].concat();
        let sources = c_programs::with_layer_two(sources).unwrap();
        User::program(build::c("gcc", name, &sources, &flags)).is_a_runtime();
    }
}

#[test]
fn a_bootstrap_in_cpp_is_a_runtime() {
    User::program(build::cpp("cpp", BOOTSTRAP_CPP)).is_a_runtime();
}

#[test]
fn a_bootstrap_in_luajit_is_a_runtime() {
    User::script(interpreter("luajit"), &[], "luajit/bootstrap.lua").is_a_runtime();
}

#[test]
fn a_bootstrap_in_python_with_cffi_is_a_runtime() {
    let user = User::script(python_with_cffi(), &[], "python/bootstrap_cffi.py");
    user.fails_with("ValueError").is_a_runtime();
}

#[test]
fn a_bootstrap_in_python_with_ctypes_is_a_runtime() {
    let user = User::script(interpreter("python3"), &[], "python/bootstrap_ctypes.py");
    user.fails_with("ValueError").without_streams().is_a_runtime();
}

#[test]
fn a_bootstrap_in_php_is_a_runtime() {
    let user = User::script(interpreter("php"), &["-d", "ffi.enable=1"], "php/bootstrap.php");
    let user = User { not_json: Some("JsonException"), ..user };
    user.fails_with("DomainException").without_streams().is_a_runtime();
}

#[test]
fn a_bootstrap_in_ruby_is_a_runtime() {
    let user = User::script(interpreter("ruby"), &[], "ruby/bootstrap.rb");
    user.fails_with("ArgumentError").without_streams().is_a_runtime();
}

#[test]
fn a_bootstrap_in_zig_is_a_runtime() {
    User::program(build::zig("zig")).is_a_runtime();
}

/// The function of this program fails for the first events, which are numbers, and the process goes
/// on. `expected` is what the bodies of its errors contain, or "responds".
#[track_caller]
fn survives(program: &Path, arguments: &[&str], expected: &[&str]) {
    let service = Service::start();
    let mut command = Command::new(program);
    command.args(arguments).env("AWS_LAMBDA_RUNTIME_API", service.address());
    command.env("LAMBDA_PROTO_PREFIX", layer()).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut process = Process::start(command.env("USERS", capi().join("users"))).unwrap();
    let mut connection = service.connection();
    for (number, expected) in (1..).zip(expected) {
        let id = format!("{number}");
        connection.expect_next();
        connection.send(Event::new(&id, id.as_str()).bytes());
        let answer = connection.request();
        if *expected == "responds" {
            answer.assert_response(&id);
        } else {
            let path = format!("/2018-06-01/runtime/invocation/{id}/error");
            assert_eq!(answer.path, path, "{}", process.output());
            let body = String::from_utf8(answer.body).unwrap();
            assert!(body.contains(expected), "{id}: {body}");
        }
        connection.take_answer();
    }
    connection.expect_next();
    assert!(process.exit_status().is_none(), "{}", process.output());
}

#[test]
fn a_bootstrap_in_cpp_survives_every_exception() {
    let expected = ["not a std::exception", "not text: \u{fffd}", "responds", "content type"];
    survives(
        &build::cpp("throws", "tests/throws.cpp"),
        &[],
        &[&expected[..], &["responds"]].concat(),
    );
}

#[test]
fn a_bootstrap_in_luajit_survives_every_error() {
    const FUNCTION: &str = r#"
        package.path = os.getenv("USERS") .. "/luajit/?.lua;" .. package.path
        local ffi = require("ffi")
        local runtime = require("lambda_proto").open()
        runtime:run(function(event, length)
            local number = ffi.string(event, length)
            if number == "1" then error({ code = 1 }) end
            if number == "2" then error("not text: \255", 0) end
            if number == "4" then error(setmetatable({}, { __tostring = error })) end
            if number == "5" then error() end
            runtime:respond(event, length)
            if number == "3" then error("too late") end
        end, "Function.AsAsked")
    "#;
    let expected =
        ["\"table: ", "not text: \u{fffd}", "responds", "without a text", "\"nil\"", "responds"];
    survives(&interpreter("luajit"), &["-e", FUNCTION], &expected);
}

#[test]
fn a_bootstrap_in_python_with_cffi_survives_every_exception() {
    const FUNCTION: &str = r#"
import os, sys
sys.path.insert(0, os.environ["USERS"] + "/python")
import bootstrap_cffi
def handler(event, runtime):
    if event[:] == b"1":
        raise ValueError("no text: \ud800")
    if event[:] == b"2":
        runtime.respond("a text")
    runtime.respond(event)
    if event[:] == b"3":
        raise ValueError("too late")
bootstrap_cffi.run(handler)
"#;
    let expected = ["no text: ?", "TypeError", "responds", "responds"];
    survives(&python_with_cffi(), &["-c", FUNCTION], &expected);
}

#[test]
fn a_bootstrap_in_python_with_ctypes_survives_every_exception() {
    const FUNCTION: &str = r#"
import os, sys
sys.path.insert(0, os.environ["USERS"] + "/python")
import bootstrap_ctypes
def handler(event):
    if event == b"1":
        raise ValueError("no text: \ud800")
    return {b"2": "a text", b"3": 42, b"4": None}.get(event, event)
bootstrap_ctypes.run(handler)
"#;
    let expected = ["no text: ?", "ArgumentError", "TypeError", "TypeError", "responds"];
    survives(&interpreter("python3"), &["-c", FUNCTION], &expected);
}

#[test]
fn a_bootstrap_in_php_survives_every_error() {
    const FUNCTION: &str = r#"
        require getenv('USERS') . '/php/LambdaRuntime.php';
        $runtime = new LambdaRuntime();
        while (true) {
            $runtime->processEvent(function (mixed $event) use ($runtime): mixed {
                if ($event === 1) {
                    throw new DomainException("not text: \xff");
                }
                if ($event === 2) {
                    return "\xff";
                }
                if ($event === 3) {
                    $runtime->postJson('3');
                    throw new DomainException('too late');
                }
                return $event;
            });
        }
    "#;
    let expected = ["not text: \u{fffd}", "JsonException", "responds", "responds"];
    survives(&interpreter("php"), &["-d", "ffi.enable=1", "-r", FUNCTION], &expected);
}

#[test]
fn a_bootstrap_in_ruby_survives_every_error() {
    const FUNCTION: &str = r#"
        require ENV.fetch('USERS') + '/ruby/rapid_client'
        client = RapidClient.new
        loop do
          id, event = client.next_invocation
          begin
            raise "not text: \xff" if event == '1'
            raise 'as asked', cause: nil if event == '4'

            body = event == '2' ? 12_345 : event
            type = event == '5' ? "no\ntype" : 'application/json'
            client.send_response(request_id: id, response_object: body, content_type: type)
            raise 'too late' if event == '3'
          rescue StandardError => e
            client.send_error_response(request_id: id, error_object: nil, error: e)
          end
        end
    "#;
    let expected =
        ["not text: \u{fffd}", "responds", "responds", "as asked", "ArgumentError", "responds"];
    survives(&interpreter("ruby"), &["-e", FUNCTION], &expected);
}

/// What each bootstrap says, and how it ends, without the variable with the address.
#[test]
fn without_the_address_of_the_runtime_api_each_bootstrap_ends_with_a_line_about_it() {
    let script = |interpreter: PathBuf, options: &[&str], script: &str| {
        User::script(interpreter, options, script)
    };
    for user in [
        User::program(build::c("gcc", "c-unset", C, &[])),
        User::program(build::c("gcc", "poll-unset", POLL, &[])),
        User::program(build::cpp("cpp-unset", BOOTSTRAP_CPP)),
        script(interpreter("luajit"), &[], "luajit/bootstrap.lua"),
        script(python_with_cffi(), &[], "python/bootstrap_cffi.py"),
        script(interpreter("php"), &["-d", "ffi.enable=1"], "php/bootstrap.php"),
        script(interpreter("ruby"), &[], "ruby/bootstrap.rb"),
    ] {
        let mut command = Command::new(&user.program);
        command.args(&user.arguments).env_remove("AWS_LAMBDA_RUNTIME_API");
        command.env("LAMBDA_PROTO_PREFIX", layer()).env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let name = file_name(&user);
        assert!(said.contains("AWS_LAMBDA_RUNTIME_API"), "{name}: {said}");
        assert!(!output.status.success(), "{name} exits with 0: {said}");
        assert!(output.status.code().is_some(), "a signal has ended {name}: {said}");
    }
}

#[test]
fn a_signal_reaches_an_interpreter_that_waits_for_an_invocation() {
    for (user, signal, last) in [
        (
            User::script(python_with_cffi(), &[], "python/bootstrap_cffi.py"),
            "-INT",
            "KeyboardInterrupt",
        ),
        (
            User::script(interpreter("python3"), &[], "python/bootstrap_ctypes.py"),
            "-INT",
            "KeyboardInterrupt",
        ),
        (User::script(interpreter("ruby"), &[], "ruby/bootstrap.rb"), "-TERM", ""),
    ] {
        let service = Service::start();
        let mut command = Command::new(&user.program);
        command.args(&user.arguments).env("AWS_LAMBDA_RUNTIME_API", service.address());
        command.env("LAMBDA_PROTO_PREFIX", layer()).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start(&mut command).unwrap();
        let mut connection = service.connection();
        connection.expect_next();
        wait_until("the process has ended", || {
            // A signal that arrives before it waits is handled at the next one.
            for pid in process.family() {
                let _may_have_ended =
                    Command::new("kill").args([signal, &pid.to_string()]).output();
            }
            thread::sleep(Duration::from_millis(20));
            process.exit_status().is_some()
        });
        let status = process.exit_status().unwrap();
        assert!(!status.success(), "{status}: {}", process.output());
        process.wait_for_output(last).unwrap();
    }
}

fn file_name(user: &User) -> String {
    let path = user.arguments.last().map_or(user.program.as_path(), Path::new);
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
