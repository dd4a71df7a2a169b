//! Telemetry for an external extension: the cost of a record, memory, and what is lost with batches
//! that Lambda sends, of `lambda-proto-extension` and of `lambda-extension`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{During, Error, Result};
use crate::instructions::{Counter, OutFile};
use crate::proc::{self, Usage};
use crate::programs::{self, Programs, benches};
use crate::sizes;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    /// User instructions for a record; `None` without valgrind.
    instructions: Option<f64>,
    /// Microseconds of processor time for a record, and the share of it in user space.
    cpu: (f64, f64),
    /// Peak memory in KiB, with batches of 20 KB and of 2 MB.
    peaks: [u64; 2],
    crates: usize,
    size: Option<u64>,
    /// Records that arrived, of those in each faulty batch.
    arrived: Vec<(usize, usize)>,
    /// Of 50 connections at once, those whose batch was answered.
    connections: usize,
}

/// The names of both programs.
const OURS: &str = "lambda-proto-extension";
const THEIRS: &str = "lambda-extension";

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(20);

/// Records of batches that AWS sends and that a client must not lose, each between two others.
const FAULTS: [(&str, &str); 6] = [
    (
        "a restore event",
        r#"{"time":"2022-10-12T00:00:15.064Z","type":"platform.restoreStart","record":{"functionName":"f","functionVersion":"1"}}"#,
    ),
    ("an unknown type", r#"{"time":"2022-10-12T00:00:15.064Z","type":"platform.new","record":{}}"#),
    (
        "a JSON log record",
        r#"{"time":"2022-10-12T00:00:15.064Z","type":"function","record":{"level":"INFO","message":"x"}}"#,
    ),
    (
        "an init of phase snap-start",
        r#"{"time":"2022-10-12T00:00:15.064Z","type":"platform.initStart","record":{"initializationType":"snap-start","phase":"snap-start"}}"#,
    ),
    (
        "a record of Managed Instances",
        r#"{"time":"2022-10-12T00:00:15.064Z","type":"platform.initStart","record":{"initializationType":"lambda-managed-instances","phase":"init"}}"#,
    ),
    ("a record that is no object", "7"),
];

/// Measures both programs.
pub(crate) fn measure(programs: &mut Programs, is_quick: bool) -> Result<Vec<Row>> {
    let batches = if is_quick { 200 } else { 5_000 };
    let main = benches().join("..");
    let ours = programs.ours_with("telemetry", "telemetry")?;
    let theirs = programs.peer_with("extension", "peer-lambda-extension")?;
    [(OURS, ours, sizes::crates(&main, &["-p", OURS])?), (THEIRS, theirs, crates_of_peer()?)]
        .into_iter()
        .map(|(name, program, crates)| {
            let is_theirs = name == THEIRS;
            let start = |prints| Extension::start(&program, is_theirs, prints, &[]);
            let (cpu, small) = start(false)?.cost(&batch(100), 100, batches)?;
            let (_, large) = start(false)?.cost(&batch(10_000), 10_000, batches / 100 + 2)?;
            let mut arrived = Vec::new();
            for (_, record) in FAULTS {
                let line = line(0);
                arrived.push((start(true)?.count(&format!("[{line},{record},{line}]"))?, 3));
            }
            let connections = start(false)?.connections(50);
            let size = sizes::stripped(&program)?;
            let instructions = if programs::has("valgrind") {
                eprintln!("valgrind: {name}");
                Some(instructions(&program, is_theirs)?)
            } else {
                None
            };
            Ok(Row {
                name,
                instructions,
                cpu,
                peaks: [small, large],
                crates,
                size,
                arrived,
                connections,
            })
        })
        .collect()
}

/// The user instructions of a record, from two runs of different lengths.
fn instructions(program: &Path, is_theirs: bool) -> Result<f64> {
    const RECORDS: usize = 100;
    const BATCHES: [usize; 2] = [50, 350];
    let counter = Counter::Instructions;
    let request = request(&batch(RECORDS));
    let [once, more] = BATCHES.map(|times| {
        let file = OutFile::new();
        let extension = Extension::start(program, is_theirs, false, &counter.command(&file))?;
        let mut connection = extension.connect()?;
        (0..times).try_for_each(|_| post_and_wait(&mut connection, &request))?;
        extension.end()?;
        counter.total(&file)
    });
    Ok((more? - once?) / ((BATCHES[1] - BATCHES[0]) * RECORDS) as f64)
}

/// The rows as tables in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "### telemetry of an external extension\n\n\
        Batches of 100 records of 190 bytes: log lines, and two records of the platform for 18 of them.\n\n\
        | on | user instructions a record | CPU µs a record | of it in user space | \
        peak KiB, batches of 20 KB | of 2 MB | answered of 50 connections at once | crates | \
        bytes, release, stripped |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let Row { name, cpu: (cpu, user), peaks: [small, large], crates, connections, .. } = row;
        let size = row.size.map_or_else(|| "–".to_owned(), |size| size.to_string());
        let count = row.instructions.map_or_else(|| "–".to_owned(), |it| format!("{it:.0}"));
        let user = user * 100.0;
        text += &format!(
            "| {name} | {count} | {cpu:.3} | {user:.0} % | {small} | {large} | {connections} | {crates} \
            | {size} |\n"
        );
    }
    text += "\nRecords that arrive of a batch of three, the second of which is\n\n|";
    rows.iter().for_each(|row| text += &format!(" | {}", row.name));
    text += " |\n|---";
    rows.iter().for_each(|_| text += "|--:");
    text += "|\n";
    for (number, (fault, _)) in FAULTS.iter().enumerate() {
        text += &format!("| {fault}");
        rows.iter().for_each(|row| {
            text += &format!(" | {} of {}", row.arrived[number].0, row.arrived[number].1)
        });
        text += " |\n";
    }
    text
}

/// How many crates the peer's library needs, itself included. Its package has others, too, and Cargo
/// does not enable a feature for a package that is not in the workspace.
fn crates_of_peer() -> Result<usize> {
    let tree = ["tree", "--locked", "--edges", "normal", "--prefix", "depth", "--no-dedupe"];
    let package = ["-p", "lambda-benches-peers", "--features", "extension"];
    let text = programs::cargo(&benches(), &[&tree[..], &package].concat())?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().skip_while(|line| !line.starts_with("1lambda-extension v"));
    let below = lines.enumerate().take_while(|(number, line)| {
        let depth = line.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(0);
        *number == 0 || line[..depth].parse::<usize>().is_ok_and(|depth| depth > 1)
    });
    let name = |line: &str| {
        let mut words = line.trim_start_matches(|it: char| it.is_ascii_digit()).split(' ');
        (words.next().map(str::to_owned), words.next().map(str::to_owned))
    };
    Ok(below.map(|(_, line)| name(line)).collect::<BTreeSet<_>>().len())
}

fn line(number: usize) -> String {
    format!(
        r#"{{"time":"2022-10-12T00:00:15.064Z","type":"function","record":"2022-10-12T00:00:15.064Z\t6d68ca91-49c9-448d-89b8-7ca3e6dc66aa\tINFO\tline {number} of a function that says \"hello\"\n"}}"#
    )
}

/// A batch of log lines, with an invocation's records among them.
fn batch(records: usize) -> String {
    let record = |number| {
        match number % 20 {
        0 => r#"{"time":"2022-10-12T00:00:15.064Z","type":"platform.start","record":{"requestId":"6d68ca91-49c9-448d-89b8-7ca3e6dc66aa","version":"$LATEST","tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"}}}"#.to_owned(),
        19 => r#"{"time":"2022-10-12T00:00:15.064Z","type":"platform.runtimeDone","record":{"requestId":"6d68ca91-49c9-448d-89b8-7ca3e6dc66aa","status":"success","metrics":{"durationMs":140.0,"producedBytes":16},"spans":[{"name":"responseLatency","start":"2022-10-12T00:00:15.064Z","durationMs":23.02}]}}"#.to_owned(),
        _ => line(number),
    }
    };
    let records: Vec<_> = (0..records).map(record).collect();
    format!("[{}]", records.join(","))
}

fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: sandbox.localdomain\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A running extension that listens for telemetry.
struct Extension {
    child: Child,
    port: u16,
    output: Receiver<String>,
}

impl Extension {
    /// Starts the program with these words before it.
    fn start(program: &Path, is_theirs: bool, prints: bool, words: &[String]) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0").during("cannot find a free port")?;
        let port = free.local_addr().during("cannot find a free port")?.port();
        drop(free);
        let words = words.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut words = words.collect::<Vec<_>>().into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg(port.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        if prints {
            command.arg("print");
        }
        if is_theirs {
            command.env("AWS_LAMBDA_RUNTIME_API", serve()?);
        }
        let mut child = command.spawn().during("cannot start the extension")?;
        let output = lines(child.stdout.take());
        let extension = Self { child, port, output };
        let until = Instant::now() + PATIENCE;
        while post(port, &request("[]")).is_none() {
            if Instant::now() > until {
                return Err(Error::new("an extension does not listen"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        if prints {
            // The batch that was posted to see whether it listens is none of those to count.
            while extension.records()? != Some(0) {}
        }
        Ok(extension)
    }

    fn connect(&self) -> Result<TcpStream> {
        let connection = TcpStream::connect(("127.0.0.1", self.port)).during("cannot connect")?;
        connection.set_nodelay(true).during("cannot set an option")?;
        Ok(connection)
    }

    /// Ends the program by a signal, and waits for its end.
    fn end(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .during("cannot end the extension")?;
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().during("cannot wait for the extension")?.is_none() {
            if Instant::now() > until {
                return Err(Error::new("an extension did not end on SIGTERM"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// What the next line says about the records of a batch, if it does.
    fn records(&self) -> Result<Option<usize>> {
        let line = self.output.recv_timeout(PATIENCE).during("an extension says nothing")?;
        Ok(line.strip_prefix("records ").and_then(|number| number.parse().ok()))
    }

    /// Posts a batch many times on one connection. Returns the processor time of a record in
    /// microseconds and the share of it in user space, and the peak of the memory.
    fn cost(&self, batch: &str, records: usize, times: usize) -> Result<((f64, f64), u64)> {
        let mut connection = self.connect()?;
        let request = request(batch);
        let mut post = || post_and_wait(&mut connection, &request);
        for _ in 0..times / 10 + 1 {
            post()?;
        }
        let before = Usage::of(self.child.id())?;
        for _ in 0..times {
            post()?;
        }
        let used = Usage::of(self.child.id())?.since(before);
        let (_, peak) = proc::memory(self.child.id())?;
        let user = used.user as f64 / ((used.user + used.system) as f64).max(1.0);
        Ok(((used.cpu as f64 / 1000.0 / (times * records) as f64, user), peak))
    }

    /// The number of records that the program says have arrived.
    fn count(&self, batch: &str) -> Result<usize> {
        let _refused_or_not = post(self.port, &request(batch));
        // A second batch, without records, shows that the first is over.
        let _is_taken = post(self.port, &request("[]"));
        let mut arrived = 0;
        loop {
            match self.records()? {
                Some(0) => break,
                number => arrived += number.unwrap_or(0),
            }
        }
        Ok(arrived)
    }

    /// The number of connections whose batch is answered with 200, of as many at once.
    fn connections(&self, count: usize) -> usize {
        let (port, request) = (self.port, request(&batch(10)));
        thread::scope(|scope| {
            let posts: Vec<_> = (0..count).map(|_| scope.spawn(|| post(port, &request))).collect();
            let statuses = posts.into_iter().map(thread::ScopedJoinHandle::join);
            statuses.filter(|status| matches!(status, Ok(Some(200)))).count()
        })
    }
}

/// Posts on this connection, and waits for the reply, which must be 200.
fn post_and_wait(connection: &mut TcpStream, request: &[u8]) -> Result<()> {
    connection.write_all(request).during("cannot post")?;
    match status(connection) {
        Some(200) => Ok(()),
        other => Err(Error::new(format!("a batch was answered with {other:?}"))),
    }
}

/// Posts on a connection of its own; returns the status.
fn post(port: u16, request: &[u8]) -> Option<u16> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    connection.write_all(request).ok()?;
    status(&mut connection)
}

impl Drop for Extension {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _its_status_does_not_matter = self.child.wait();
    }
}

/// The status of a reply without a body, or with one that is read to its end.
fn status(connection: &mut TcpStream) -> Option<u16> {
    let (mut reply, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match connection.read(&mut piece).ok()? {
            0 => return None,
            length => reply.extend_from_slice(&piece[..length]),
        }
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(end)) = head.parse(&reply) else { continue };
        let length = head.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|it| str::from_utf8(it.value).ok()?.parse().ok()).unwrap_or(0);
        if reply.len() >= end + length {
            return head.code;
        }
    }
}

fn lines(output: Option<ChildStdout>) -> Receiver<String> {
    let (to, lines) = channel();
    if let Some(output) = output {
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

/// Plays the service: accepts every request, and never answers the one for the next event.
fn serve() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").during("cannot listen")?;
    let address = listener.local_addr().during("cannot listen")?;
    thread::spawn(move || {
        for connection in listener.incoming().map_while(std::io::Result::ok) {
            thread::spawn(move || answer(connection));
        }
    });
    Ok(address.to_string())
}

fn answer(mut connection: TcpStream) -> Option<()> {
    let mut input = BufReader::new(connection.try_clone().ok()?);
    loop {
        let mut length = 0;
        let mut is_next = false;
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            is_next |= line.contains("/event/next");
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        input.read_exact(&mut vec![0; length]).ok()?;
        if !is_next {
            let body = "{\"functionName\":\"f\",\"functionVersion\":\"1\",\"handler\":\"h\"}";
            let reply = format!(
                "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: 7b4a2d1c-8f00-4000-8000-0123456789ab\r\n\
                Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(reply.as_bytes()).ok()?;
        }
    }
}
