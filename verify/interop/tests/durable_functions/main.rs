//! A durable function on awslambdaric under `lambda-lab serve --freeze`, whose executions AWS's
//! local runner drives. `docs/durable-functions.md` does the same by hand.
//!
//! The function suspends itself between its steps: each invocation ends with an answer that says so,
//! and the runner invokes the function again when it is to continue.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lambda_conformance::service::Port;
use lambda_interop::under_lab::{state, wait_until};
use lambda_interop::{Process, fetch, programs};
use serde_json::{Value, json};

#[test]
fn a_durable_function_is_frozen_while_it_waits_between_its_steps() {
    let runner = Runner::start();
    let lab = Lab::start(&runner.address);
    let execution = runner.begin(&lab.address, &json!({ "amount": 5, "item": "tea" }));

    // The process says its id with each step.
    let (process, callback) = lab.said("approve ");
    wait_until("the function is frozen while nobody approves", || state(process) == Some('T'));
    assert!(!lab.processes.output().contains("ship tea"), "{}", lab.processes.output());

    runner.approve(&callback, "yes");
    let done = runner.end_of(&execution);
    assert_eq!(done["Status"], "SUCCEEDED", "{done}\n{}", lab.processes.output());
    let result: Value = serde_json::from_str(done["Result"].as_str().unwrap()).unwrap();
    let all = json!({ "charged": 5, "packed": "tea", "shipped": "tea", "approval": "yes" });
    assert_eq!(result, all);

    // One process did each step once, and was thawed for the last one.
    let log = lab.processes.output();
    for step in ["charge 5", "pack tea", "ship tea"] {
        assert_eq!(lab.said(step).0, process, "{log}");
        assert_eq!(log.matches(step).count(), 1, "{log}");
    }
    let since_the_question = log.split_once(&callback).unwrap().1;
    let thaw = since_the_question.find("lambda-lab: thawed after ");
    assert!(thaw < since_the_question.find("ship tea") && thaw.is_some(), "{log}");
    // The first one, one after the wait, and one after the approval.
    assert!(log.matches("START RequestId: ").count() >= 3, "{log}");
}

/// How long to wait: longer than anything takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The folder of this test, which has the function.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durable_functions");

/// Variables with which Python finds the packages, and AWS's SDK its credentials.
fn variables() -> [(&'static str, String); 4] {
    let packages = [fetch::durable_functions(), fetch::python_clients()].map(Result::unwrap);
    let [durable, clients] = packages;
    let paths = std::env::join_paths([durable, clients, Path::new(FOLDER).into()]);
    let paths = paths.expect("the path of this workspace must not contain a colon");
    [
        ("PYTHONPATH", paths.into_string().expect("the path of this workspace is UTF-8")),
        // Otherwise Python would write bytecode next to the sources.
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("AWS_ACCESS_KEY_ID", "none".into()),
        ("AWS_SECRET_ACCESS_KEY", "none".into()),
    ]
}

/// Waits for this text in the output of a process, which must not end before.
///
/// # Errors
///
/// The output, if the process has ended.
fn wait_for(process: &mut Process, text: &str) -> Result<(), String> {
    let began = Instant::now();
    while !process.output().contains(text) {
        let status = process.exit_status();
        if let Some(status) = status
            && !process.output().contains(text)
        {
            return Err(format!("{status}:\n{}", process.output()));
        }
        assert!(began.elapsed() < PATIENCE, "no \"{text}\":\n{}", process.output());
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// `lambda-lab serve --freeze` with the function.
struct Lab {
    processes: Process,
    address: String,
}

impl Lab {
    fn start(runner: &str) -> Self {
        let mut command = Command::new(programs::lab().unwrap());
        // A busy machine may take long to start Python.
        command.args([
            "serve",
            "--port",
            "0",
            "--freeze",
            "--name",
            "order",
            "--init-timeout",
            "120",
        ]);
        let endpoint = ("AWS_ENDPOINT_URL_LAMBDA", runner.to_owned());
        for (name, value) in variables().into_iter().chain([endpoint]) {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.args(["python3", "-m", "awslambdaric", "order.handler"]);
        let mut processes = Process::start(&mut command).unwrap();
        wait_for(&mut processes, "/invocations\n").unwrap();
        let output = processes.output();
        let address = output.split_once("http://").and_then(|(_, it)| it.split_once("/2015-"));
        let address = format!("http://{}", address.unwrap_or_else(|| panic!("{output}")).0);
        Self { processes, address }
    }

    /// Waits until the function says this; returns its process and the rest of what it said.
    fn said(&self, what: &str) -> (u32, String) {
        let began = Instant::now();
        loop {
            let output = self.processes.output();
            let lines = output.lines().filter_map(|line| line.strip_prefix("process "));
            let mut said = lines.filter_map(|line| line.split_once(": "));
            if let Some((id, rest)) = said.find_map(|(id, it)| Some((id, it.strip_prefix(what)?))) {
                return (id.parse().unwrap(), rest.to_owned());
            }
            assert!(began.elapsed() < PATIENCE, "no \"{what}\":\n{output}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// `dex-local-runner start-server`.
struct Runner {
    address: String,
    _process: Process,
    _port: Port,
}

impl Runner {
    fn start() -> Self {
        let port = Port::claim().unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "aws_durable_execution_sdk_python_testing.cli", "start-server"]);
        command.args(["--host", "127.0.0.1", "--local-runner-region", "us-east-1"]);
        command.arg("--port").arg(port.number().to_string()).envs(variables());
        let mut process = Process::start(&mut command).unwrap();
        if let Err(output) = wait_for(&mut process, "Server started successfully") {
            panic!("dex-local-runner has ended: {output}");
        }
        Self { address: format!("http://{}", port.address()), _process: process, _port: port }
    }

    /// Starts an execution with the function behind this endpoint; returns its ARN.
    fn begin(&self, lambda: &str, input: &Value) -> String {
        let request = json!({
            "AccountId": "123456789012",
            "FunctionName": "order",
            "FunctionQualifier": "$LATEST",
            "ExecutionName": "one",
            "ExecutionTimeoutSeconds": 600,
            "ExecutionRetentionPeriodDays": 1,
            "InvocationId": "1",
            "Input": input.to_string(),
            "LambdaEndpoint": lambda,
        });
        let reply = self.post("/start-durable-execution", &request.to_string());
        let reply: Value = serde_json::from_str(&reply).unwrap();
        reply["ExecutionArn"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    fn approve(&self, callback: &str, answer: &str) {
        let callback = escaped(callback);
        let path = format!("/2025-12-01/durable-execution-callbacks/{callback}/succeed");
        self.post(&path, answer);
    }

    /// Waits until the execution is over, and returns its description.
    fn end_of(&self, execution: &str) -> Value {
        let path = format!("{}/2025-12-01/durable-executions/{}", self.address, escaped(execution));
        let began = Instant::now();
        loop {
            let mut reply = ureq::get(&path).call().unwrap();
            let reply: Value =
                serde_json::from_str(&reply.body_mut().read_to_string().unwrap()).unwrap();
            if reply["Status"] != "RUNNING" {
                return reply;
            }
            assert!(began.elapsed() < PATIENCE, "{reply}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn post(&self, path: &str, body: &str) -> String {
        let mut reply = ureq::post(format!("{}{path}", self.address)).send(body).unwrap();
        reply.body_mut().read_to_string().unwrap()
    }
}

/// A text as a segment of a path (RFC 3986, section 3.3).
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).into()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
