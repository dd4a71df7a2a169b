//! The destinations of log lines: standard error, and frames to a descriptor that the environment
//! names. Each test runs a child process.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio, exit};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime};

use lambda_proto_host::{Format, Level, Log, Record};

/// The variable that names the task of [`program`].
const TASK: &str = "TEST_TASK";
const FORMAT: (&str, &str) = ("AWS_LAMBDA_LOG_FORMAT", "JSON");
/// The child's standard input, since a test can set it to any file, pipe or socket.
const DESCRIPTOR: (&str, &str) = ("_LAMBDA_TELEMETRY_LOG_FD", "0");
const PATIENCE: Duration = Duration::from_secs(60);

/// The program that the tests below run as a child process.
#[test]
#[ignore = "is not a test but the child process of others"]
fn program() {
    let Ok(task) = std::env::var(TASK) else { return };
    let log = Log::from_env();
    match &*task {
        "one line" => log.warn(format_args!("first\nsecond é")),
        "every level" => {
            let log = log.with_level(Level::Trace);
            for level in Level::ALL {
                log.write(&Record::new(level, format_args!("{level}")).logger("program"));
            }
        }
        "many writers" => many_writers(),
        "one thread" => {
            log.with_level(Level::Error).warn(format_args!("below what is wanted"));
            assert!(!has_thread(), "there is no line to write yet");
            Log::default().warn(format_args!("the first line"));
            assert!(has_thread(), "it writes the line");
        }
        _ => panic!("nobody does {task}"),
    }
    // Each flush waits for a second, and the reader may be slower.
    (0..30).for_each(|_| Log::default().flush());
    exit(0);
}

/// Whether the thread that writes lines exists.
fn has_thread() -> bool {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
    names.map_while(Result::ok).any(|name| name == "lambda-log\n")
}

/// In total less than a mebibyte, so that no line is dropped however slow the reader is.
const WRITERS: usize = 3;
const LINES: usize = 30;

/// Every thread has its own log, like a runtime and its function.
fn many_writers() {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let log = Log::from_env();
                for line in 0..LINES {
                    let message = filled(writer, line);
                    log.write(&Record::new(Level::Info, format_args!("{message}")));
                }
            });
        }
    });
}

/// A message that is longer than a pipe takes in one write, and sometimes longer than it holds.
fn filled(writer: usize, line: usize) -> String {
    let length = if line.is_multiple_of(20) { 70_000 } else { 5_000 };
    let letter = char::from(b'a' + writer as u8);
    format!("{line} {}", letter.to_string().repeat(length))
}

/// Runs [`program`] with this standard input; returns its standard error.
fn run(task: &str, variables: &[(&str, &str)], standard_input: impl Into<Stdio>) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env_clear()
        .env(TASK, task)
        .envs(variables.iter().copied())
        .stdin(standard_input)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, output) = channel();
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let output = output.recv_timeout(PATIENCE).expect("the program has not ended");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    stderr
}

/// Like [`run`], with a pipe, whose frames it returns too.
fn run_on_a_pipe(task: &str, variables: &[(&str, &str)]) -> (Vec<Frame>, String) {
    let (mut reader, writer) = pipe().unwrap();
    let frames = thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        frames_of(&bytes)
    });
    let stderr = run(task, variables, writer);
    (frames.join().unwrap(), stderr)
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u32,
    micros: u64,
    message: String,
}

#[track_caller]
fn frames_of(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_at(16);
        let number = |range: std::ops::Range<usize>| {
            header[range].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        assert_eq!(number(0..2), 0xa55a, "no frame begins here");
        let (message, rest) = rest.split_at(number(4..8) as usize);
        let message = String::from_utf8(message.to_vec()).unwrap();
        frames.push(Frame { kind: number(0..4) as u32, micros: number(8..16), message });
        bytes = rest;
    }
    frames
}

fn micros_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64
}

#[test]
fn the_first_line_starts_the_thread_that_writes() {
    assert_eq!(run("one thread", &[], Stdio::null()), "WARN lambda-proto: the first line\n");
}

#[test]
fn without_a_descriptor_lines_go_to_standard_error() {
    assert_eq!(run("one line", &[], Stdio::null()), "WARN lambda-proto: first\nsecond é\n");
    let line = run("one line", &[FORMAT], Stdio::null());
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["message"], "first\nsecond é");
    assert!(line.lines().count() == 1 && line.ends_with('\n'), "{line:?}");
}

#[test]
fn a_record_of_several_lines_is_one_frame() {
    let earliest = micros_now();
    let (frames, stderr) = run_on_a_pipe("one line", &[DESCRIPTOR]);
    let latest = micros_now();
    assert_eq!(stderr, "");
    let [frame] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(frame.message, "WARN lambda-proto: first\nsecond é");
    assert!((earliest..=latest).contains(&frame.micros), "{earliest} {frame:?} {latest}");
}

#[test]
fn every_level_has_its_frames_in_both_formats() {
    let kinds = |variables: &[(&str, &str)]| {
        let (frames, stderr) = run_on_a_pipe("every level", variables);
        assert_eq!(stderr, "");
        frames.into_iter().map(|frame| (frame.kind, frame.message)).collect::<Vec<_>>()
    };
    let text = kinds(&[DESCRIPTOR]);
    let expected = [0xa55a0007, 0xa55a000b, 0xa55a000f, 0xa55a0013, 0xa55a0017, 0xa55a001b];
    let levels = Level::ALL.map(|level| format!("{level} program: {level}"));
    assert_eq!(text, expected.into_iter().zip(levels).collect::<Vec<_>>());
    let json = kinds(&[DESCRIPTOR, FORMAT]);
    let expected = [0xa55a0006, 0xa55a000a, 0xa55a000e, 0xa55a0012, 0xa55a0016, 0xa55a001a];
    for (((kind, message), expected), level) in json.iter().zip(expected).zip(Level::ALL) {
        assert_eq!(*kind, expected);
        let json: serde_json::Value = serde_json::from_str(message).unwrap();
        assert_eq!(json["level"], level.to_string());
    }
    assert_eq!(json.len(), 6);
}

#[test]
fn the_time_of_a_frame_is_that_of_its_line() {
    let (frames, _) = run_on_a_pipe("one line", &[DESCRIPTOR, FORMAT]);
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(frames[0].micros);
    let same = Record::new(Level::Info, format_args!("")).at(time).format(Format::Json);
    assert_eq!(frames[0].message[..40], same.to_string()[..40]);
}

#[track_caller]
fn assert_whole<'m>(messages: impl Iterator<Item = &'m str>) {
    let mut expected: Vec<_> = (0..WRITERS)
        .flat_map(|writer| (0..LINES).map(move |line| format!("INFO {}", filled(writer, line))))
        .collect();
    let mut messages: Vec<_> = messages.collect();
    messages.sort_unstable();
    expected.sort_unstable();
    // Not with `assert_eq`, which would print megabytes.
    assert!(messages == expected, "lines are lost or mixed");
}

#[test]
fn frames_of_many_writers_never_mix_however_large_they_are() {
    let (frames, stderr) = run_on_a_pipe("many writers", &[DESCRIPTOR]);
    assert_eq!(stderr, "");
    assert_whole(frames.iter().map(|frame| &*frame.message));
}

#[test]
fn lines_of_many_writers_never_mix_however_large_they_are() {
    assert_whole(run("many writers", &[], Stdio::null()).lines());
}

#[test]
fn frames_are_appended_to_a_file() {
    let path = std::env::temp_dir().join(format!("lambda-proto-frames-{}", std::process::id()));
    let mut file = File::create(&path).unwrap();
    file.write_all(&[0xa5, 0x5a, 0, 0x0f, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, b'x']).unwrap();
    let stderr = run("one line", &[DESCRIPTOR], file);
    let frames = frames_of(&fs::read(&path).unwrap());
    fs::remove_file(&path).unwrap();
    assert_eq!(stderr, "");
    assert_eq!(frames[0].message, "x");
    assert_eq!(frames[1].message, "WARN lambda-proto: first\nsecond é");
}

#[test]
fn a_descriptor_that_cannot_be_opened_is_logged_once_and_lines_go_to_standard_error() {
    let closed = ("_LAMBDA_TELEMETRY_LOG_FD", "4000000000");
    let stderr = run("one line", &[closed], Stdio::null());
    let (told, line) = stderr.split_once('\n').unwrap();
    assert!(told.starts_with("WARN lambda-proto: descriptor 4000000000"), "{told}");
    assert!(told.ends_with("log lines go to standard error"), "{told}");
    assert_eq!(line, "WARN lambda-proto: first\nsecond é\n");
}

#[test]
fn a_socket_cannot_be_opened_and_the_warning_has_the_format_of_the_log() {
    let (_other_end, socket) = UnixStream::pair().unwrap();
    let stderr = run("one line", &[DESCRIPTOR, FORMAT], OwnedFd::from(socket));
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    let told = lines[0]["message"].as_str().unwrap();
    assert!(told.starts_with("descriptor 0 ") && lines[0]["level"] == "WARN", "{told}");
    assert_eq!(lines[1]["message"], "first\nsecond é");
}

#[test]
fn a_descriptor_that_is_not_a_number_is_ignored() {
    for number in ["-1", "three", "1e3", ""] {
        let stderr = run("one line", &[("_LAMBDA_TELEMETRY_LOG_FD", number)], Stdio::null());
        assert_eq!(stderr, "WARN lambda-proto: first\nsecond é\n");
    }
}

#[test]
fn lines_go_to_standard_error_when_the_frame_pipe_is_closed() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let stderr = run("one line", &[DESCRIPTOR], writer);
    assert_eq!(stderr, "WARN lambda-proto: first\nsecond é\n");
}

#[test]
fn a_program_may_pass_a_socket_for_frames() {
    let (mut other_end, socket) = UnixStream::pair().unwrap();
    // Larger than the buffer of the socket, so it is written in pieces.
    let message = "x".repeat(3_000_000);
    let expected = format!("INFO {message}");
    let writing = thread::spawn(move || {
        let log = Log::default().framed(File::from(OwnedFd::from(socket)));
        log.write(&Record::new(Level::Info, format_args!("{message}")));
    });
    let mut bytes = Vec::new();
    other_end.set_read_timeout(Some(PATIENCE)).unwrap();
    other_end.read_to_end(&mut bytes).unwrap();
    writing.join().unwrap();
    let frames = frames_of(&bytes);
    assert!(frames.len() == 1 && frames[0].message == expected);
}

#[test]
fn a_line_is_dropped_when_standard_error_is_closed() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env_clear()
        .env(TASK, "one line")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(child.wait().unwrap()));
    assert!(ended.recv_timeout(PATIENCE).expect("the program has not ended").success());
}
