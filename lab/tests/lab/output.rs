//! The output of the function, the lab's own lines, and the tail of both.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_lab::{Function, Lab, LogFormat, LogLevel, Output, StartError};

use crate::meeting::Meeting;
use crate::served::{Served, lab, with_bootstrap};
use crate::support::{Connection, Response, event, function, lives, wait_until};

/// What `lambda-lab run` writes to standard error.
fn log_of_run(options: &[&str]) -> String {
    String::from_utf8(with_bootstrap("run", options).output().unwrap().stderr).unwrap()
}

/// The position of the only line that begins with this text.
#[track_caller]
fn position(log: &str, line: &str) -> usize {
    let mut found = log.lines().enumerate().filter(|(_, it)| it.starts_with(line));
    let (position, _) = found.next().unwrap_or_else(|| panic!("no {line}: {log}"));
    assert_eq!(found.next(), None, "{log}");
    position
}

/// Invokes the function over HTTP, and asks for the tail of the log.
fn invoke_for_tail(lab: &Lab, text: &str) -> Response {
    let tail = [("X-Amz-Log-Type", "Tail")];
    let line = "POST /2015-03-31/functions/function/invocations";
    Connection::open(lab.address()).request(line, &tail, event(text))
}

#[track_caller]
fn tail(response: &Response) -> String {
    let tail = response.header("x-amz-log-result").expect("a tail");
    String::from_utf8(STANDARD.decode(tail).unwrap()).unwrap()
}

#[test]
fn output_comes_between_the_start_and_the_end_of_its_invocation() {
    for _ in 0..5 {
        let log = log_of_run(&["--event", "print 3", "--event", "prompt no newline"]);
        let lines: Vec<&str> = log.lines().collect();
        let starts = |text: &str| {
            let found = lines.iter().enumerate().filter(|(_, line)| line.starts_with(text));
            found.map(|(at, _)| at).collect::<Vec<_>>()
        };
        let order = [
            starts("START RequestId: ")[0],
            starts("line 0 of ")[0],
            starts("line 1 of ")[0],
            starts("line 2 of ")[0],
            starts("END RequestId: ")[0],
            starts("REPORT RequestId: ")[0],
            starts("START RequestId: ")[1],
            starts("no newline")[0],
            starts("END RequestId: ")[1],
            starts("REPORT RequestId: ")[1],
        ];
        assert_eq!(order[0], 0);
        assert!(order.is_sorted(), "{log}");
        assert_eq!(lines[order[7]], "no newline");
    }
}

#[test]
fn the_last_words_of_a_process_come_before_its_failure() {
    let output = lab().args(["run", "sh", "-c", "printf last; exit 3"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let lines = ["START ", "last", "RequestId: ", "Runtime.ExitError", "END ", "REPORT "];
    assert!(lines.map(|line| position(&log, line)).is_sorted(), "{log}");
    assert!(log.lines().any(|line| line == "last"), "{log}");

    // The first of two processes writes, if the shell starts in time.
    let mut seconds = 2;
    loop {
        let times = ["run", "--timeout", "0.1", "--init-timeout", &seconds.to_string()];
        let script = ["sh", "-c", "printf last; sleep 1000"];
        let output = lab().args(times).args(script).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        let last = log.lines().position(|line| line == "last");
        if last.is_some_and(|last| last < position(&log, "INIT_REPORT ")) {
            break;
        }
        assert!(seconds < 20, "{log}");
        seconds *= 2;
    }
}

#[test]
fn lines_of_several_environments_arrive_whole_in_order_and_completely() {
    // More than the room of the queue and the pipes, but not more than it keeps for a reader that
    // is delayed.
    let count = 15_000;
    let mut command = with_bootstrap("serve", &["--port", "0", "--environments", "4"]);
    let mut served = Served::of(command.stdout(Stdio::piped()));
    // Otherwise an environment could be free again before the last event has arrived.
    let meeting = Meeting::of(4);
    let event = meeting.then(&format!("print {count}"));
    let mut callers: Vec<_> = (0..4).map(|_| served.invoke(&event)).collect();
    let mut seen = std::collections::HashMap::new();
    let mut out = BufReader::new(served.child.stdout.take().unwrap());
    let mut line = String::new();
    while seen.values().sum::<usize>() < 4 * count {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it has ended");
        let Some((number, pid)) =
            line.strip_prefix("line ").and_then(|line| line.trim_end().split_once(" of "))
        else {
            assert!(["\n", "running 1 test\n"].contains(&line.as_str()), "{line:?}");
            continue;
        };
        let next = seen.entry(pid.to_owned()).or_insert(0);
        assert_eq!(number, next.to_string());
        *next += 1;
    }
    let pids = callers.iter_mut().map(|caller| caller.response().text());
    assert!(pids.into_iter().all(|pid| seen[&pid] == count));
    assert_eq!(seen.len(), 4);
    served.signal("TERM");
    assert!(!served.rest().contains(" log lines\n"));
}

#[test]
fn invocations_continue_while_nothing_is_read_and_lost_lines_are_counted() {
    let lines = 100_000;
    let command = with_bootstrap("serve", &["--port", "0"]);
    let mut shell = Command::new("sh");
    // One pipe for all output, which is not read after the address.
    shell.args(["-c", "exec \"$0\" \"$@\" >&2"]).arg(command.get_program());
    shell.args(command.get_args()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut served = Served::of(&mut shell);
    for _ in 0..3 {
        let pid = served.invoke(&format!("print {lines}")).response().text();
        assert!(lives(pid.parse().unwrap()));
    }
    let (mut read, mut lost) = (0, 0);
    let mut line = String::new();
    while read + lost < 3 * lines {
        line.clear();
        assert!(served.stderr.read_line(&mut line).unwrap() > 0, "it has ended");
        read += usize::from(line.starts_with("line "));
        if let Some(rest) = line.strip_prefix("lambda-lab: lost ") {
            lost += rest.strip_suffix(" log lines\n").unwrap().parse::<usize>().unwrap();
        }
    }
    assert!(lost > 0);
    served.signal("TERM");
    assert!(served.rest().contains("lambda-lab: shutdown"));
}

#[test]
fn a_function_cannot_forge_a_line_of_the_lab_or_control_the_terminal() {
    let log = log_of_run(&["--env", "LAB_TEST=forge"]);
    let snapshot = log_of_run(&["--env", "LAB_TEST=forge", "--snapstart"]);
    for log in [&log, &snapshot] {
        assert!(!log.contains(['\u{1b}', '\u{7}']), "{log:?}");
        for line in ["END RequestId: ", "REPORT RequestId: "] {
            assert!(!log.lines().nth(position(log, line)).unwrap().contains("forged\n"));
            assert!(!log.contains(&format!("\n{line}forged")), "{log}");
        }
        let readable = r"\u{1b}[2JT\nEND RequestId: forged: \u{1b}]0;title\u{7}\nREPORT RequestId";
        assert!(log.contains(&format!("the function has failed: {readable}")), "{log}");
    }
    assert!(log.contains("\tError Type: \\u{1b}[2JT\\nEND RequestId: forged\t"), "{log}");
    assert!(snapshot.contains("INIT_REPORT "), "{snapshot}");
}

#[test]
fn a_caller_and_the_command_line_cannot_forge_lines_either() {
    let hostile = "Root=\u{9b}2J\u{202e}\u{2028}";
    let lab = function().output(Output::Stderr).start().unwrap();
    let tail_of = |headers: &[(&str, &str)]| {
        let line = "POST /2015-03-31/functions/function/invocations";
        let headers = [headers, &[("X-Amz-Log-Type", "Tail")]].concat();
        tail(&Connection::open(lab.address()).request(line, &headers, "1"))
    };
    let log = tail_of(&[("X-Amzn-Trace-Id", hostile)]);
    assert!(!log.contains(['\u{9b}', '\u{202e}', '\u{2028}']), "{log:?}");
    let log = tail_of(&[("X-Amzn-Trace-Id", "Root=1\tStatus: timeout")]);
    assert!(!log.contains("\tStatus: timeout"), "{log:?}");

    for arguments in [
        &["run", "--event", "@/no\u{1b}[2J\nEND RequestId: forged", "true"][..],
        &["run", "-x\u{1b}[2J\nEND RequestId: forged"],
        &["run", "/nonexistent/\u{1b}[2J\nEND RequestId: forged"],
    ] {
        let output = crate::served::lab().args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(error.contains(r"\u{1b}[2J\nEND RequestId: forged"), "{error:?}");
        assert_eq!(error.matches(['\n', '\u{1b}']).count(), 1, "{error:?}");
    }
}

#[test]
fn the_tail_has_the_whole_log_of_a_short_invocation() {
    let lab = function().start().unwrap();
    lab.invoke("1").unwrap();
    for (event, output) in [("prompt said", "said\n"), ("prompt two\nlines\n", "two\nlines\n")] {
        let answer = invoke_for_tail(&lab, event);
        assert_eq!(answer.text(), "answered");
        let id = answer.header("x-amzn-requestid").unwrap();
        let log = tail(&answer);
        let begin = format!(
            "START RequestId: {id} Version: $LATEST\n{output}END RequestId: {id}\n\
             REPORT RequestId: {id}\tDuration: "
        );
        assert!(log.starts_with(&begin), "{log}");
        assert_eq!(log.lines().count(), begin.lines().count(), "{log}");
        assert!(log.ends_with("\t\n"), "{log:?}");
    }
}

#[test]
fn a_long_tail_is_cut_at_the_front() {
    let lab = function().start().unwrap();
    let answer = invoke_for_tail(&lab, "print 10000");
    let log = tail(&answer);
    assert_eq!(log.len(), 4096);
    assert!(log.contains(&format!("\nline 9999 of {}\nEND RequestId: ", answer.text())), "{log}");
    let answer = invoke_for_tail(&lab, &format!("prompt {}", "é".repeat(5000)));
    assert!((4095..=4096).contains(&tail(&answer).len()));
}

#[test]
fn failures_and_timeouts_have_a_tail_too() {
    let lab = function().timeout(Duration::from_secs(2)).start().unwrap();
    for (event, line) in [
        ("fail reason", "REPORT RequestId: "),
        ("exit 3", "Runtime.ExitError"),
        ("sleep 60000", "RequestId: "),
        ("answer-and-exit", "\tStatus: error\tError Type: Runtime.ExitError\t"),
    ] {
        let answer = invoke_for_tail(&lab, event);
        let log = tail(&answer);
        assert!(log.starts_with("START "), "{log}");
        assert!(log.contains(line), "{log}");
        assert!(log.lines().last().unwrap().starts_with("REPORT "), "{log}");
    }
}

#[test]
fn a_caller_that_has_not_asked_or_cannot_have_a_tail_gets_none() {
    let lab = function().start().unwrap();
    let answer =
        Connection::open(lab.address()).post("/2015-03-31/functions/function/invocations", "1");
    assert_eq!(answer.header("x-amz-log-result"), None);
    // A streamed answer arrives before the end of its invocation.
    let answer = invoke_for_tail(&lab, "stream-and-exit");
    assert_eq!((answer.header("x-amz-log-result"), answer.is_cut_off), (None, true));
    let managed = function().concurrency(1).start().unwrap();
    let answer = invoke_for_tail(&managed, "1");
    assert_eq!((answer.text().as_str(), answer.header("x-amz-log-result")), ("1", None));
}

#[test]
fn a_process_that_leaves_the_group_does_not_hold_the_output_of_the_lab() {
    // The lab leaves this daemon alone, as it is started with a child, and the daemon has no
    // variable of the function.
    let script = "sleep 1000 >/dev/null 2>&1 & echo child $! >&2; exec \"$0\" run sh -c \"$1\"";
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("daemon");
    let daemon = format!("echo daemon $$ >&2; echo >{}; exec sleep 1000", file.display());
    let wait = format!("until [ -e {} ]; do sleep 0.01; done", file.display());
    let function = format!("setsid env -i sh -c '{daemon}' & {wait}; exit 1");
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_lambda-lab"), &function]);
    // Ends when no process holds the pipes any longer.
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let pid = |name: &str| said.lines().find_map(|it| it.strip_prefix(name)?.trim().parse().ok());
    let (daemon, child): (u32, u32) = (pid("daemon ").unwrap(), pid("child ").unwrap());
    let has_lived = lives(daemon);
    for pid in [daemon, child] {
        let pid = pid.to_string();
        let _ = Command::new("kill").args(["-s", "KILL", &pid]).stderr(Stdio::null()).status();
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(has_lived, "it could not hold anything: {said}");
}

#[test]
fn descriptors_do_not_add_up_over_restarts() {
    for options in [&[][..], &["--environments", "3"]] {
        let served = Served::start(options, "exec 3>&1; setsid sleep 5 & echo x; exit 1");
        let pid = served.child.id();
        let count = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let invoke = || {
            let mut callers: Vec<_> = (0..3).map(|_| served.invoke("1")).collect();
            callers.iter_mut().for_each(|caller| assert_eq!(caller.response().status, 502));
        };
        (0..2).for_each(|_| invoke());
        let most = count();
        (0..10).for_each(|_| invoke());
        wait_until("the descriptors are closed", || count() <= most);
        served.signal("TERM");
        served.rest();
    }
}

#[test]
fn an_answer_on_a_terminal_has_lines_of_its_own() {
    for (event, answer) in [("prompt Name? ", "answered"), ("1", "1"), ("[1,\n2]\n", "[1,\n2]\n")] {
        let terminal = Terminal::open();
        let mut command = with_bootstrap("run", &["--event", event]);
        let mut child =
            command.stdout(terminal.open_side()).stderr(terminal.open_side()).spawn().unwrap();
        drop(command);
        let seen = terminal.read_all();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        for line in answer.lines().chain(["START RequestId: ", "END RequestId: ", "REPORT "]) {
            position(&seen, line);
        }
        if event.starts_with("prompt") {
            assert!(seen.lines().any(|line| line.trim_end() == "Name?"), "{seen}");
            assert!(position(&seen, "START ") < position(&seen, "answered"));
        }
        assert!(seen.ends_with('\n'), "{seen:?}");
        for line in ["START ", "END ", "REPORT ", "answered"] {
            assert!(!seen.contains(&format!("\n\n{line}")), "an empty line: {seen:?}");
        }
    }
}

#[test]
fn the_log_level_and_the_log_format_are_variables_of_the_function() {
    let variable = |function: Function, name: &str| {
        let lab = function.start().unwrap();
        lab.invoke(format!("env AWS_LAMBDA_LOG_{name}")).unwrap().text()
    };
    assert_eq!(variable(function(), "LEVEL"), "");
    assert_eq!(variable(function(), "FORMAT"), "");
    for level in LogLevel::ALL {
        assert_eq!(variable(function().log_level(level), "LEVEL"), level.as_str());
    }
    for format in LogFormat::ALL {
        assert_eq!(variable(function().log_format(format), "FORMAT"), format.as_str());
    }
    assert_eq!(variable(function().concurrency(2), "FORMAT"), "JSON");
    let text = function().concurrency(2).log_format(LogFormat::Text).start();
    assert!(matches!(text, Err(StartError::Setting(reason)) if reason.contains("use JSON")));

    for (option, name, value) in [
        (["--log-level", "debug"], "LEVEL", "DEBUG"),
        (["--log-format", "json"], "FORMAT", "JSON"),
        (["--log-format", "TEXT"], "FORMAT", "Text"),
    ] {
        let event = format!("env AWS_LAMBDA_LOG_{name}");
        let output = with_bootstrap("run", &["--event", &event, option[0], option[1]]).output();
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), value);
    }
    for (option, reason) in [("--log-level", "write TRACE"), ("--log-format", "write JSON")] {
        let output = lab().args(["run", option, "loud", "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("loud") && error.contains(reason), "{error}");
    }
}

/// A pseudo-terminal.
struct Terminal(File);

impl Terminal {
    fn open() -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        Self(controller.into())
    }

    /// The side of a program.
    fn open_side(&self) -> File {
        let name = rustix::pty::ptsname(&self.0, Vec::new()).unwrap();
        File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap()
    }

    /// Everything until no program has it open, with the line ends of programs.
    fn read_all(mut self) -> String {
        let mut seen = Vec::new();
        // Fails with EIO at the end.
        let _ = self.0.read_to_end(&mut seen);
        String::from_utf8(seen).unwrap().replace("\r\n", "\n")
    }
}
