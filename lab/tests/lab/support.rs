//! A client that sends exactly the given bytes, and functions to run.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use lambda_lab::{Function, Lab, Output};
use lambda_proto_std::{ContentType, Failure, Runtime};

/// Longer than anything in these tests takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// This program as a bootstrap that does what its event says; see [`behave`].
pub(crate) fn function() -> Function {
    Function::new(std::env::current_exe().unwrap())
        .argument("--exact")
        .argument("bootstrap")
        .argument("--nocapture")
        .timeout(PATIENCE)
        .output(Output::Discarded)
}

/// A shell script as a bootstrap.
pub(crate) fn script(script: &str) -> Function {
    Function::new("/bin/sh")
        .argument("-c")
        .argument(script)
        .timeout(PATIENCE)
        .output(Output::Discarded)
}

/// A lab whose runtime is played by the test.
pub(crate) fn external() -> Lab {
    // Otherwise the region would be that of the environment of the tests.
    let function = Function::external().variable("AWS_REGION", "us-east-1");
    function.timeout(PATIENCE).output(Output::Discarded).start().unwrap()
}

/// This program as a bootstrap that writes its own bytes; see [`misbehave`].
pub(crate) fn raw(what: &str) -> Function {
    function().variable("LAB_TEST", what)
}

/// Behaves as a bootstrap can, but no client of the Runtime API does.
fn misbehave(what: &str) -> ! {
    let mut api = Connection::open(std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap());
    let die = || -> ! {
        // Dies without waiting for any reply.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        unreachable!("it has been killed")
    };
    if what == "forge" {
        let report = r#"{"errorType":"\u001b[2JT\nEND RequestId: forged","errorMessage":"\u001b]0;title\u0007\nREPORT RequestId: forged"}"#;
        api.post("/2018-06-01/runtime/init/error", report);
        std::process::exit(1);
    }
    if what == "init-error-and-go-on" {
        let report =
            format!(r#"{{"errorType":"Test.Init","errorMessage":"{}"}}"#, std::process::id());
        api.post("/2018-06-01/runtime/init/error", report);
        loop {
            api.send_if_it_reads(request(NEXT, &[], ""));
            if !api.is_closed() {
                api.response();
            }
        }
    }
    if what == "report-and-write" {
        // Waits until the test has opened and closed it.
        std::fs::read(std::env::var("LAB_TEST_MOUTH").unwrap()).unwrap();
        let report = r#"{"errorType":"Runtime.Mine","errorMessage":"m"}"#;
        api.post("/2018-06-01/runtime/init/error", report);
        println!("last words");
        std::process::exit(1);
    }
    if what == "extension" {
        serve_with_extension(api);
    }
    if what == "report-and-die" {
        let name = [("Lambda-Extension-Name", "one")];
        let registered = api.request("POST /2020-01-01/extension/register", &name, "{}");
        let id = registered.header("lambda-extension-identifier").expect("an id");
        let headers = [
            ("Lambda-Extension-Identifier", id),
            ("Lambda-Extension-Function-Error-Type", "Mine.X"),
        ];
        api.send(request("POST /2020-01-01/extension/exit/error", &headers, "{}"));
        die();
    }
    let id = api.request(NEXT, &[], "").id();
    let (what, size) = what.split_once(' ').unwrap_or((what, "5"));
    let body = "x".repeat(size.parse().unwrap());
    match what {
        "answer-and-die" => api.send(request(&format!("POST {}", of(&id, "response")), &[], body)),
        "fail-and-die" => api.send(request(&format!("POST {}", of(&id, "error")), &[], body)),
        "stream-and-die" => {
            let mode = [
                ("Lambda-Runtime-Function-Response-Mode", "streaming"),
                ("Transfer-Encoding", "chunked"),
            ];
            let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            api.send(request(&format!("POST {}", of(&id, "response")), &mode, body));
        }
        "half-an-answer" | "half-an-answer-and-die" => {
            api.send(format!(
                "POST {} HTTP/1.1\r\nHost: lab\r\nContent-Length: 10\r\n\r\nhalf",
                of(&id, "response")
            ));
        }
        what => panic!("unknown behaviour: {what}"),
    }
    if what.ends_with("die") {
        die();
    }
    loop {
        std::thread::park();
    }
}

/// A runtime with an internal extension without events. It answers with its process id, or never.
fn serve_with_extension(mut api: Connection) -> ! {
    let name = [("Lambda-Extension-Name", "mine")];
    let registered = api.request("POST /2020-01-01/extension/register", &name, "{}");
    let id = registered.header("lambda-extension-identifier").expect("an id").to_owned();
    let mut extension = Connection::open(std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap());
    extension.send(request(
        "GET /2020-01-01/extension/event/next",
        &[("Lambda-Extension-Identifier", &id)],
        "",
    ));
    loop {
        let next = api.request(NEXT, &[], "");
        if next.text() == "wait" {
            eprintln!("waits");
            loop {
                std::thread::park();
            }
        }
        api.post(&of(&next.id(), "response"), std::process::id().to_string());
    }
}

/// The function that does what its event says, as plain text or as a JSON string.
pub(crate) fn behave() {
    if let Ok(what) = std::env::var("LAB_TEST") {
        misbehave(&what);
    }
    let runtime = Runtime::from_env().unwrap();
    let result = runtime.run(|invocation, responder| {
        let event = serde_json::from_slice(invocation.body())
            .unwrap_or_else(|_| String::from_utf8_lossy(invocation.body()).into_owned());
        let event = crate::meeting::attend(&event);
        let (word, rest) = event.split_once(' ').unwrap_or((event, ""));
        match word {
            "pid" => Ok(responder.send(std::process::id().to_string().as_str())),
            "deadline" => {
                let deadline = invocation.deadline().map(|it| it.as_unix_millis().to_string());
                Ok(responder.send(deadline.unwrap_or_default().as_str()))
            }
            "trace" => Ok(responder.send(invocation.trace_id().unwrap_or_default())),
            "arn" => Ok(responder.send(invocation.invoked_function_arn().unwrap_or_default())),
            "env" => Ok(responder.send(std::env::var(rest).unwrap_or_default().as_str())),
            "arguments" => {
                let arguments: Vec<_> = std::env::args().skip(1).collect();
                Ok(responder.send(arguments.join("|").as_str()))
            }
            "until" => {
                while !std::path::Path::new(rest).exists() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(responder.send(event))
            }
            "sleep" => {
                std::thread::sleep(Duration::from_millis(rest.parse().unwrap()));
                Ok(responder.send(event))
            }
            "print" => {
                let count: usize = rest.parse().unwrap();
                let mut out = std::io::stdout().lock();
                for number in 0..count {
                    writeln!(out, "line {number} of {}", std::process::id()).unwrap();
                }
                Ok(responder.send(std::process::id().to_string().as_str()))
            }
            "prompt" => {
                eprint!("{rest}");
                Ok(responder.send("answered"))
            }
            "fail" => Err(Failure::new("Function.Told", rest.to_owned())),
            "hungry" => {
                Ok(responder.send(crate::peak_memory::start_hungry(rest).id().to_string().as_str()))
            }
            "hungry-for" => {
                let (megabytes, millis) = rest.split_once(' ').unwrap();
                let mut child = crate::peak_memory::start_hungry(megabytes);
                std::thread::sleep(Duration::from_millis(millis.parse().unwrap()));
                child.kill().unwrap();
                child.wait().unwrap();
                Ok(responder.send(event))
            }
            "exit" => std::process::exit(rest.parse().unwrap()),
            "answer-and-exit" => {
                let _sent = responder.send("answered");
                std::process::exit(4);
            }
            "answer-and-sleep" => {
                let sent = responder.send("answered");
                std::thread::sleep(Duration::from_millis(rest.parse().unwrap()));
                Ok(sent)
            }
            "stream-and-exit" => {
                let mut stream = responder.stream(ContentType::TEXT);
                stream.write_all(b"begun")?;
                std::process::exit(5);
            }
            "stream-and-sleep" => {
                let mut stream = responder.stream(ContentType::TEXT);
                stream.write_all(b"begun")?;
                std::thread::sleep(PATIENCE * 2);
                Ok(stream.finish())
            }
            _ => Ok(responder.send(invocation.body())),
        }
    });
    result.unwrap();
}

/// A connection on which the test controls every byte.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The connection ended before the body did.
    pub(crate) is_cut_off: bool,
}

impl Connection {
    pub(crate) fn open(address: impl ToSocketAddrs) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes that the peer may no longer read.
    pub(crate) fn send_if_it_reads(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    pub(crate) fn request(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        self.send(request(line, headers, body));
        self.response()
    }

    pub(crate) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request(&format!("POST {path}"), &[], body)
    }

    /// A part of the body, as soon as it arrives.
    pub(crate) fn some(&mut self) -> Vec<u8> {
        let some = self.stream.fill_buf().unwrap().to_vec();
        self.stream.consume(some.len());
        some
    }

    pub(crate) fn end_writing(&self) {
        // Fails if the peer has closed the connection.
        let _ = self.stream.get_ref().shutdown(std::net::Shutdown::Write);
    }

    /// Whether nothing has arrived so far. The caller must first wait for something that would
    /// arrive later.
    pub(crate) fn has_nothing(&mut self) -> bool {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        self.stream.buffer().is_empty()
            && peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Waits for the next byte. Whether the peer closed the connection instead.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.fill_buf().map_or(true, <[u8]>::is_empty)
    }

    pub(crate) fn response(&mut self) -> Response {
        let mut response = Response::default();
        let first = self.line().expect("a reply");
        response.status = first.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        response.headers = self.fields();
        if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut response.body).unwrap();
        } else if response.header("transfer-encoding").is_some() {
            response.is_cut_off = self.chunks(&mut response.body).is_none();
            if !response.is_cut_off {
                response.trailers = self.fields();
            }
        }
        response
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).ok()?;
            if length == 0 {
                return Some(());
            }
            let before = body.len();
            body.resize(before + length, 0);
            self.stream.read_exact(&mut body[before..]).ok()?;
            self.line()?;
        }
    }

    fn fields(&mut self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("a header");
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        fields
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).ok()?;
        let line = line.strip_suffix(b"\r\n")?;
        Some(String::from_utf8(line.to_vec()).expect("text"))
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn id(&self) -> String {
        let id = self.header("lambda-runtime-aws-request-id");
        id.unwrap_or_else(|| panic!("no event: {self:?}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn assert_accepted(&self) {
        assert_eq!((self.status, self.text().as_str()), (202, "{\"status\":\"OK\"}\n"));
        assert_eq!(self.header("content-type"), Some("application/json"));
    }

    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, error_type: &str, message: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let document =
            format!("{{\"errorMessage\":\"{message}\",\"errorType\":\"{error_type}\"}}\n");
        assert_eq!(self.text(), document);
        assert_eq!(self.header("content-type"), Some("application/json"));
    }

    #[track_caller]
    pub(crate) fn assert_forbidden(&self, from: &str, to: &str) {
        let message = format!(
            "State transition from {from} to {to} failed for runtime. \
             Error: State transition is not allowed"
        );
        self.assert_refused(403, "InvalidStateTransition", &message);
    }
}

pub(crate) const NEXT: &str = "GET /2018-06-01/runtime/invocation/next";

/// A path under `invocation`.
pub(crate) fn of(id: &str, what: &str) -> String {
    format!("/2018-06-01/runtime/invocation/{id}/{what}")
}

/// Text as JSON, which is what callers have to post.
pub(crate) fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An event for [`behave`] as JSON: itself if it is JSON, or else a string.
pub(crate) fn event(text: &str) -> String {
    let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
    if is_json { text.to_owned() } else { json(text) }
}

/// The bytes of a request.
pub(crate) fn request(line: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// The id of the process of this lab, which is a [`script`], once it runs.
pub(crate) fn await_process(lab: &Lab) -> u32 {
    let mark = format!("AWS_LAMBDA_RUNTIME_API={}", lab.runtime_api());
    let mut pid = None;
    wait_until("the function runs", || {
        pid = marked(&mark).first().copied();
        pid.is_some()
    });
    pid.unwrap()
}

/// The processes with this entry in their environment.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let is_marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    pids.filter(is_marked).collect()
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Whether a process runs. A zombie does not.
pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// Whether a process is stopped.
pub(crate) fn is_stopped(pid: u32) -> bool {
    state(pid) == Some('T')
}

fn state(pid: u32) -> Option<char> {
    state_and_parent(pid).map(|it| it.0)
}

/// The state of a process, as in `proc(5)`, and its parent.
pub(crate) fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    stat(pid).map(|(state, [parent, _, _])| (state, parent))
}

/// The session of a process: 0 if a process outside of the PID namespace leads it.
pub(crate) fn session(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, [_, _, session])| session)
}

/// The state of a process, its parent, its process group and its session, as in `proc(5)`.
fn stat(pid: u32) -> Option<(char, [u32; 3])> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let mut number = || fields.next()?.parse().ok();
    Some((state, [number()?, number()?, number()?]))
}
