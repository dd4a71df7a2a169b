//! The program `lambda-lab`: its output, its exit codes, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use lambda_proto_std::Endpoint;

use crate::served::{Served, lab, with_bootstrap};
use crate::support::{Connection, lives, marked, wait_until};

/// What `lambda-lab run` with these options and the bootstrap of the tests does.
fn run(options: &[&str]) -> Output {
    with_bootstrap("run", options).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn run_prints_only_the_answer_to_stdout_and_the_log_to_stderr() {
    let output = run(&["--event", "{\"name\":\"Ada\"}"]);
    assert_eq!(stdout(&output), "{\"name\":\"Ada\"}");
    assert_eq!(output.status.code(), Some(0));
    let lines = stderr(&output);
    for line in ["START RequestId: ", "END RequestId: ", "REPORT RequestId: "] {
        // The test harness of the bootstrap may have written before it on the same line.
        assert!(lines.lines().any(|it| it.contains(line)), "{line}: {lines}");
    }
    let report = lines.lines().find(|line| line.contains("REPORT RequestId: ")).unwrap();
    for field in [
        "\tDuration: ",
        "\tBilled Duration: ",
        "\tMemory Size: 3008 MB\t",
        "\tMax Memory Used: ",
        "\tInit Duration: ",
    ] {
        assert!(report.contains(field), "{report}");
    }
    // The bootstrap's own output: that of the test harness.
    assert!(lines.contains("running 1 test"), "{lines}");
}

#[test]
fn run_without_an_event_sends_an_empty_object() {
    assert_eq!(stdout(&run(&[])), "{}");
}

#[test]
fn run_with_several_events_prints_a_line_for_each_from_the_same_process() {
    let output = run(&["--event", "env PATH", "--event", "pid", "--event", "pid"]);
    let answers = stdout(&output);
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 3, "{answers}");
    assert_eq!(lines[1], lines[2]);
    assert!(answers.ends_with('\n'));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn run_continues_after_an_event_that_fails_and_exits_with_1() {
    let output = run(&["--event", "fail me", "--event", "1"]);
    assert_eq!(stdout(&output), "1\n");
    assert!(stderr(&output).contains("the function has failed: Function.Told: me"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn run_takes_the_event_from_a_file_or_from_standard_input() {
    let file = std::env::temp_dir().join(format!("lambda-lab-event-{}", std::process::id()));
    std::fs::write(&file, "\"from a file é\"").unwrap();
    let output = run(&["--event", &format!("@{}", file.display())]);
    std::fs::remove_file(file).unwrap();
    assert_eq!(output.stdout, "\"from a file é\"".as_bytes());

    let mut command = lab();
    command.args(["run", "--event", "-"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "bootstrap", "--nocapture"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\"from standard input\"").unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), "\"from standard input\"");
}

#[test]
fn standard_input_is_one_event() {
    let events = ["--event", "-", "--event", "1", "--event", "-"];
    let output = lab().arg("run").args(events).arg("true").output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("give --event - once"), "{}", stderr(&output));
}

#[test]
fn run_prints_the_reason_and_exits_with_1_if_the_function_failed() {
    for (options, reason) in [
        (&["--event", "fail me"][..], "the function has failed: Function.Told: me"),
        (&["--event", "exit 3"], "Runtime exited with error: exit status 3"),
        (&["--event", "sleep 60000", "--timeout", "0.5"], "Task timed out after 0.50 seconds"),
    ] {
        let output = run(options);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{options:?}");
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

#[test]
fn run_passes_the_options_to_the_function() {
    for (option, name, value) in [
        (["--env", "MINE=my=value"], "MINE", "my=value"),
        (["--handler", "app.main"], "_HANDLER", "app.main"),
        (["--memory", "256"], "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        (["--name", "mine"], "AWS_LAMBDA_FUNCTION_NAME", "mine"),
    ] {
        let output = run(&[&["--event", &format!("env {name}")], &option[..]].concat());
        assert_eq!(stdout(&output), value, "{}", stderr(&output));
    }
}

#[test]
fn an_invalid_command_line_exits_with_2_and_names_the_value() {
    let long = "n".repeat(65);
    for (arguments, reason) in [
        (&["run"][..], "BOOTSTRAP"),
        (&["run", "--timeout", "soon", "true"], "soon"),
        (&["run", "--timeout", "0", "true"], "above 0"),
        (&["run", "--timeout", "-1", "true"], "-1"),
        (&["run", "--timeout", "1d", "true"], "500ms"),
        (&["run", "--timeout", "ms", "true"], "\"ms\" is not a time"),
        (&["run", "--timeout", "1e400", "true"], "1e400"),
        (&["run", "--init-timeout", "0", "true"], "above 0"),
        (&["run", "--shutdown-timeout", "-1", "true"], "-1"),
        (&["run", "--shutdown-timeout", "61s", "true"], "61s: use up to 1 minute, such as 500ms"),
        (&["run", "--snapshot-pause", "1", "true"], "--snapstart"),
        (&["run", "--restore-timeout", "1", "true"], "--snapstart"),
        (&["run", "--freeze-for", "NaN", "true"], "NaN"),
        (&["serve", "--freeze", "--concurrency", "2", "true"], "freezing is not available with"),
        (&["serve", "--snapstart"], "SnapStart applies only to a program that the lab starts"),
        (&["run", "--env", "X", "true"], "\"X\" is not KEY=VALUE"),
        (&["run", "--event", "@/nonexistent/event", "true"], "\"/nonexistent/event\""),
        (&["run", "--event", "hello", "true"], r#"--event '"hello"'"#),
        (&["run", "--event", "{'a': 1}", "true"], "is not JSON: key must be a string"),
        (&["run", "--event", "@-", "true"], "for standard input write --event -"),
        (&["run", "--event", "@/proc/self/exe", "true"], "not JSON: invalid UTF-8 at byte"),
        (&["serve", "--allow-origin", "app.example", "true"], "invalid origin \"app.example\""),
        (&["serve", "--env", "AWS_REGION=us east", "true"], "\"us east\" in AWS_REGION"),
        (&["run", "--name", "a b", "true"], "invalid function name \"a b\""),
        (&["run", "--timeout", "1e-9", "true"], "1ns: use 1 ms to 1 day, such as 3s"),
        (&["run", "--timeout", "86401", "true"], "86401s: use 1 ms to 1 day, such as 3s"),
        (&["run", "--env", "AWS_LAMBDA_RUNTIME_API=x", "true"], "the lab itself sets"),
        (&["run", "/nonexistent/bootstrap"], "no program /nonexistent/bootstrap"),
        (&["run", "-e", "1", "true"], "unknown option -e"),
        (
            &["run", "--port", "9", "true"],
            "--port is an option of lambda-lab serve, not of lambda-lab run",
        ),
        (&["run", "--runtime-api=9", "true"], "--runtime-api is an option of lambda-lab serve"),
        (&["serve", "--event", "1", "true"], "--event is an option of lambda-lab run, not of"),
        (
            &["/bin/sh", "-c", "exit"],
            "/bin/sh is a file, not a command: write lambda-lab run /bin/sh",
        ),
        (&["Cargo.toml"], "not a command: write lambda-lab run ./Cargo.toml"),
        (&["/bin"], "/bin is a folder, not a command: write lambda-lab run /bin"),
        (&["/nonexistent/file"], "unrecognized subcommand '/nonexistent/file'"),
        (&["serve", "--environments", "0", "true"], "0 environments"),
        (&["serve", "--environments", "two", "true"], "write a number from 1 to 10000, such as 4"),
        (&["serve", "--concurrency", "1.5", "true"], "write a number from 1 to 10000, such as 4"),
        (&["serve", "--port", "70000", "true"], "\"70000\" is not a port: write a number from 0"),
        (&["serve", "--port", "http", "true"], "to 65535, such as 9000"),
        (&["serve", "--host", "192.0.2.1:80", "true"], "\"192.0.2.1:80\" is not an address"),
        (&["serve", "--runtime-port", "70000"], "\"70000\" is not [HOST:]PORT"),
        (&["serve", "--runtime-port", "::1:9001"], "write 9001 or 0.0.0.0:9001"),
        (
            &["serve", "--runtime-port", "9001", "--environments", "2", "true"],
            "2 environments cannot share the Runtime API at 127.0.0.1:9001",
        ),
        (&["serve", "--watch"], "watching applies only to a program that the lab starts: give"),
        (&["serve", "--clean-env"], "a clean environment applies only to a program"),
        (&["serve", "--task-root", "/"], "a task root applies only to a program"),
        (&["serve", "--log-level", "info"], "a log level applies only to a program"),
        (&["serve", "--log-format", "json"], "a log format applies only to a program"),
        (&["run", "--task-root", "/nonexistent", "true"], "no folder /nonexistent"),
        (
            &["run", "--ephemeral-storage", "511", "true"],
            "511 MB is out of range: use 512 to 10240",
        ),
        (&["run", "--ephemeral-storage", "10241", "true"], "10241 MB"),
        (
            &["run", "--ephemeral-storage", "1GB", "true"],
            "\"1GB\" is not a size in MB: write a number from 512 to 10240, such as 1024",
        ),
        (&["run", "--memory", "-1", "true"], "-1"),
        (&["run", "--memory", "lots", "true"], "write a number from 128 to 10240, such as 512"),
        (&["run", "--memory", "99999999999", "true"], "such as 512"),
        (&["run", "--memory", "127", "true"], "127 MB is out of range: use 128 to 10240"),
        (&["run", "--memory", "10241", "true"], "10241 MB is out of range: use 128 to 10240"),
        (&["run", "--name", &long, "true"], "up to 64 letters, digits, - and _"),
        (&["run", "none.zip"], "no file none.zip: give the path of the zip archive"),
        (&["run", "/"], "no file /bootstrap: a folder that is given as the program"),
        (&["invoke"], "invoke"),
        (&[], "Usage"),
    ] {
        let output = lab().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(reason), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("invalid digit"), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn what_lambda_accepts_at_its_limits_is_accepted() {
    for options in [
        &["--memory", "128"][..],
        &["--memory", "10240"],
        &["--name", &"n".repeat(64)],
        &["--timeout", "900"],
    ] {
        let output = run(options);
        assert_eq!(stdout(&output), "{}", "{}", stderr(&output));
        assert!(!stderr(&output).contains("beyond Lambda"), "{}", stderr(&output));
    }
}

#[test]
fn a_timeout_that_lambda_does_not_have_is_used_and_mentioned_in_one_line() {
    let output = run(&["--timeout", "901"]);
    let line = "lambda-lab: a timeout of 901s is beyond Lambda, which allows 15 minutes at most\n";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));
    assert_eq!(stdout(&output), "{}");
}

#[test]
fn help_ends_with_examples() {
    for command in ["run", "serve"] {
        let output = lab().args([command, "--help"]).output().unwrap();
        let help = stdout(&output);
        let examples = help.split_once("\nExamples:\n").expect("examples").1;
        assert!(examples.lines().count() >= 2, "{examples}");
        let begin = format!("  lambda-lab {command} ");
        assert!(examples.lines().all(|line| line.starts_with(&begin)), "{examples}");
    }
}

#[test]
fn no_process_survives_when_a_signal_ends_the_lab() {
    for (signal, code) in
        [("INT", Some(130)), ("TERM", Some(143)), ("HUP", Some(129)), ("KILL", None)]
    {
        let mut served = Served::start(&[], "sleep 1000 & echo $! >&2; echo $$ >&2; wait");
        let _caller = served.invoke_in_background();
        let mut pids = Vec::new();
        while pids.len() < 2 {
            let mut line = String::new();
            assert!(served.stderr.read_line(&mut line).unwrap() > 0, "it has ended");
            pids.extend(line.trim().parse::<u32>());
        }
        assert!(pids.iter().all(|pid| lives(*pid)));
        served.signal(signal);
        assert_eq!(served.child.wait().unwrap().code(), code, "{signal}");
        for pid in pids {
            wait_until("it has ended", || !lives(pid));
        }
    }
}

#[test]
fn no_process_survives_when_the_lab_is_killed_during_a_start() {
    for step in 0..40 {
        let mark = format!("LAB_TEST_MARK={}-{step}", std::process::id());
        let mut served = Served::start(&["--env", &mark], "sleep 1000 & sleep 1000");
        let _caller = served.invoke_in_background();
        std::thread::sleep(std::time::Duration::from_micros(125 * step));
        served.signal("KILL");
        served.child.wait().unwrap();
        wait_until("it has ended", || marked(&mark).is_empty());
    }
}

#[test]
fn run_exits_with_the_code_of_the_signal_that_ended_it() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        for _ in 0..5 {
            let mut command = lab();
            command.args(["run", "sh", "-c", "echo started >&2; sleep 1000"]);
            let mut child = command.spawn().unwrap();
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            let mut seen = String::new();
            while !seen.contains("started") {
                assert!(stderr.read_line(&mut seen).unwrap() > 0, "{seen}");
            }
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
            assert_eq!(child.wait().unwrap().code(), Some(code));
        }
    }
}

#[test]
fn a_lab_whose_output_is_not_read_keeps_running() {
    // The `stderr` of the program is a pipe that is not read after the address.
    let mut served = Served::start(&["--timeout", "1", "--init-timeout", "0.1"], "yes >&2");
    for _ in 0..2 {
        let answer = served.invoke_in_background().response();
        assert_eq!(answer.text(), "Task timed out after 1.00 seconds");
    }
    served.signal("TERM");
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
}

#[test]
fn serve_passes_on_the_output_of_the_function_unchanged() {
    let mut served = Served::start(&[], "printf 'out\\001'; printf 'err\\002\\n' >&2; exit 1");
    assert_eq!(served.invoke_in_background().response().status, 502);
    served.signal("TERM");
    let mut stdout = Vec::new();
    served.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    assert_eq!(stdout, b"out\x01");
    let rest = served.rest();
    assert!(rest.contains("err\u{2}\n"), "{rest}");
}

#[test]
fn serve_without_a_bootstrap_waits_for_one_that_is_started_by_hand() {
    let mut command = lab();
    let mut child = command.args(["serve", "--port", "0"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("/invocations\n") {
        assert!(stderr.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    let endpoint = seen.split_once("AWS_LAMBDA_RUNTIME_API=").expect("the address").1;
    let endpoint = Endpoint::parse(endpoint.split_once(' ').unwrap().0).unwrap();
    let runtime = lambda_proto_std::Runtime::new(endpoint);
    let stop = runtime.stop_handle();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime.run(|invocation, responder| Ok(responder.send(invocation.body()))).unwrap();
        });
        let url = seen.split_once("http://").unwrap().1;
        let mut caller = Connection::open(url.split('/').next().unwrap());
        let answer = caller.post("/2015-03-31/functions/function/invocations", "\"by hand\"");
        assert_eq!(answer.text(), "\"by hand\"");
        stop.stop();
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn serve_exits_with_1_and_names_a_port_that_is_taken() {
    let served = Served::start(&[], "exit 1");
    let port = served.address.rsplit(':').next().unwrap().to_owned();
    let output = lab().args(["serve", "--port", &port, "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains(&port) && error.contains("choose another port"), "{error}");
    served.signal("TERM");
    served.rest();
}
