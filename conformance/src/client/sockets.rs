//! Plays a vector over TCP against a client process.

use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::outbound::Deliveries;
use super::player::{Deviation, Player, Todo};
use super::vector::Vector;
use crate::bytes::with_deadlines;
use crate::groups::Group;
use crate::usage::{Usage, usage};

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long to wait for what the client must do.
    pub long: Duration,
    /// How long to watch for what the client must not do.
    pub moment: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { long: Duration::from_secs(20), moment: Duration::from_millis(100) }
    }
}

/// The result of a vector with a client.
#[derive(Clone, Debug)]
pub struct Report {
    /// The deviation of the client, if there was one.
    pub deviation: Option<Deviation>,
    /// The state of its process at the end of the vector.
    pub end: End,
    /// The end of what it wrote to standard output and standard error.
    pub output: String,
    /// The usage of its process when it was last seen alive; `None` where that is not known.
    pub usage: Option<Usage>,
    /// How many bytes went over its connections, in both directions.
    pub bytes: u64,
    /// How long the vector took.
    pub elapsed: Duration,
}

/// The state of a process at the end of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was alive, and has been killed.
    Running,
    /// It had exited with this code, or was ended by a signal (`None`).
    Exited(Option<i32>),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running => f.write_str("was alive"),
            Self::Exited(Some(code)) => write!(f, "exited with code {code}"),
            Self::Exited(None) => f.write_str("was ended by a signal"),
        }
    }
}

impl Report {
    /// Whether the client did everything that the vector demands.
    pub fn conforms(&self) -> bool {
        self.deviation.is_none()
    }

    /// Whether a Rust client panicked, according to its output: the message of the default panic
    /// hook, or the log of a runtime.
    pub fn has_panicked(&self) -> bool {
        let words = ["panicked at", " panicked: ", "Function.Panic"];
        words.iter().any(|word| self.output.contains(word))
    }
}

/// Plays a vector against a program, which is started for the vector and ended after it.
///
/// The program has `AWS_LAMBDA_RUNTIME_API` and the variables of the vector in its environment.
///
/// # Errors
///
/// An error if the program cannot be started, or if the player cannot listen.
pub fn play(vector: &Vector, mut command: Command, patience: Patience) -> io::Result<Report> {
    let (tell, happenings) = channel();
    let mut service = Service::start(tell)?;
    let address = service.address.to_string();
    // The client must not inherit variables that only the vector may set.
    let is_ours =
        |name: &str| ["AWS_LAMBDA_", "CONFORMANCE_"].iter().any(|it| name.starts_with(it));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)) {
        command.env_remove(name);
    }
    command
        .envs(ENVIRONMENT)
        .envs(&vector.environment)
        .env("AWS_LAMBDA_RUNTIME_API", vector.api.replace("{address}", &address))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let began = Instant::now();
    let mut process = Process::start(command, &service.tell)?;
    let mut player = Player::new(vector, &address);
    let deviation = conduct(&mut player, &mut service, &happenings, &mut process, patience).err();
    let elapsed = began.elapsed();
    process.look();
    let end = process.end()?;
    Ok(Report {
        deviation,
        end,
        output: process.output(),
        usage: process.usage,
        bytes: service.bytes,
        elapsed,
    })
}

/// The environment of every function, on which clients rely.
///
/// Source: Lambda Developer Guide, configuration-envvars.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("AWS_REGION", "us-east-1"),
    ("AWS_LAMBDA_FUNCTION_NAME", "conformance"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/conformance"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0"),
    ("_HANDLER", "vectors.handler"),
    ("TZ", ":UTC"),
];

/// How long a write may block if the client does not read.
const MOST_STUCK: Duration = Duration::from_secs(20);

/// How long the rest of the output of a process that has ended may take.
const REST: Duration = Duration::from_secs(3);

/// The interval at which the process is checked.
const GLANCE: Duration = Duration::from_millis(5);

fn conduct(
    player: &mut Player<'_>,
    service: &mut Service,
    happenings: &Receiver<Happening>,
    process: &mut Process,
    patience: Patience,
) -> Result<(), Deviation> {
    let mut deadline = Instant::now() + patience.long;
    let mut is_quiet_for = None;
    loop {
        let todo = player.step()?;
        process.look();
        if todo != Todo::Quiet {
            is_quiet_for = None;
        }
        match todo {
            Todo::Done => return Ok(()),
            Todo::Write { connection, bytes, every } => {
                if let Some(stream) = service.stream(connection) {
                    let bytes = with_deadlines(bytes, since_epoch());
                    service.bytes += write(&stream, &bytes, every);
                }
            }
            Todo::Deliver { connection, port, bytes } => {
                let stream = service.deliveries.open(connection, port, &service.tell);
                let cannot =
                    |error| format!("cannot connect to port {port} of the client: {error}");
                let stream = stream.map_err(|error| player.deviates(cannot(error)))?;
                service.bytes += write(&stream, bytes, None);
            }
            Todo::EndDelivery(connection) => service.deliveries.end(connection),
            Todo::Close(connection) => service.close(connection, Shutdown::Both),
            Todo::HalfClose(connection) => service.close(connection, Shutdown::Write),
            Todo::Reset(connection) => service.reset(connection),
            Todo::Pause(time) => thread::sleep(time),
            Todo::Away(time) => service.go_away(time),
            Todo::Input | Todo::Exit | Todo::Quiet => {
                let until = match todo {
                    Todo::Quiet => {
                        *is_quiet_for.get_or_insert_with(|| Instant::now() + patience.moment)
                    }
                    _ => deadline,
                };
                let now = Instant::now();
                if now >= until {
                    player.is_late()?;
                    deadline = Instant::now() + patience.long;
                    continue;
                }
                match happenings.recv_timeout((until - now).min(GLANCE)) {
                    // This does not extend the deadline: a client that keeps connecting without
                    // sending a request is late all the same.
                    Ok(happening) => tell(player, service, happening),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        // Bytes that the process sent before it ended come first.
                        if let Some(code) = process.ended() {
                            process.wait_for_output(REST);
                            while let Ok(happening) = happenings.recv_timeout(GLANCE) {
                                tell(player, service, happening);
                            }
                            player.exited(code);
                        }
                    }
                }
                continue;
            }
        }
        deadline = Instant::now() + patience.long;
    }
}

fn tell(player: &mut Player<'_>, service: &mut Service, happening: Happening) {
    match happening {
        Happening::Opened(stream) => {
            let number = player.opened();
            service.took(number, stream);
        }
        Happening::Received(connection, bytes) => {
            service.bytes += bytes.len() as u64;
            player.received(connection, &bytes);
        }
        Happening::Ended(connection) => player.ended(connection),
        Happening::Replied(connection, bytes) => {
            service.bytes += bytes.len() as u64;
            player.received_reply(connection, &bytes);
        }
        Happening::EndedDelivery(connection) => player.ended_delivery(connection),
        Happening::Printed(line) => player.printed(&line),
    }
}

/// The time of the wall clock.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Writes as much as the client takes, and returns how many bytes that is. An error is ignored: if
/// the client has closed the connection, its reader reports that.
fn write(mut stream: &TcpStream, bytes: &[u8], every: Option<Duration>) -> u64 {
    let mut written = 0;
    let piece = if every.is_some() { 1 } else { 64 * 1024 };
    for piece in bytes.chunks(piece) {
        thread::sleep(every.unwrap_or_default());
        if stream.write_all(piece).is_err() {
            break;
        }
        written += piece.len() as u64;
    }
    written
}

/// An event at the service.
pub(super) enum Happening {
    Opened(TcpStream),
    Received(usize, Vec<u8>),
    Ended(usize),
    /// The client has sent these bytes on a connection on which the service delivers.
    Replied(usize, Vec<u8>),
    /// The client has closed such a connection.
    EndedDelivery(usize),
    /// The client has printed this line.
    Printed(String),
}

/// A listening socket, and its accepted connections.
struct Service {
    address: SocketAddr,
    tell: Sender<Happening>,
    streams: Vec<Option<Arc<TcpStream>>>,
    listening: Option<Listening>,
    deliveries: Deliveries,
    /// How many bytes were written and received.
    bytes: u64,
}

impl Service {
    fn start(tell: Sender<Happening>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let listening = Some(Listening::start(listener, tell.clone())?);
        let deliveries = Deliveries::default();
        Ok(Self { address, tell, streams: Vec::new(), listening, deliveries, bytes: 0 })
    }

    fn stream(&self, connection: usize) -> Option<Arc<TcpStream>> {
        self.streams.get(connection).cloned().flatten()
    }

    /// Reads from the connection on a thread that ends with it.
    fn took(&mut self, number: usize, stream: TcpStream) {
        let stream = Arc::new(stream);
        let (tell, reader) = (self.tell.clone(), Arc::clone(&stream));
        self.streams.push(Some(stream));
        thread::spawn(move || {
            let mut room = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = (&*reader).read(&mut room) {
                if tell.send(Happening::Received(number, room[..length].to_vec())).is_err() {
                    return;
                }
            }
            let _nobody_listens = tell.send(Happening::Ended(number));
        });
    }

    fn close(&mut self, connection: usize, how: Shutdown) {
        if let Some(stream) = self.stream(connection) {
            let _may_be_gone = stream.shutdown(how);
        }
    }

    /// Resets a connection.
    fn reset(&mut self, connection: usize) {
        if let Some(stream) = self.stream(connection) {
            // Closing then discards unsent bytes and sends RST (RFC 9293, section 3.9.1.4, ABORT).
            let _may_be_gone =
                rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO));
            // Ends the thread that reads, so that it releases the socket too.
            let _ = stream.shutdown(Shutdown::Read);
            self.streams[connection] = None;
        }
    }

    /// Resets all connections, and accepts no others for this time.
    fn go_away(&mut self, time: Duration) {
        self.listening = None;
        for connection in 0..self.streams.len() {
            self.reset(connection);
        }
        thread::sleep(time);
        let began = Instant::now();
        while self.listening.is_none() && began.elapsed() < Duration::from_secs(5) {
            // The old connections may keep the port in use for a moment.
            let again = TcpListener::bind(self.address)
                .and_then(|listener| Listening::start(listener, self.tell.clone()));
            self.listening = again.ok();
            if self.listening.is_none() {
                thread::sleep(GLANCE);
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for stream in self.streams.drain(..).flatten() {
            let _may_be_gone = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A thread that accepts connections until this is dropped.
struct Listening {
    address: SocketAddr,
    is_over: Arc<Mutex<bool>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Listening {
    fn start(listener: TcpListener, tell: Sender<Happening>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let is_over = Arc::new(Mutex::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if *ends.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _best_effort = stream.set_nodelay(true);
                // A client that does not read must not block the service forever.
                let _ = stream.set_write_timeout(Some(MOST_STUCK));
                if tell.send(Happening::Opened(stream)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, is_over, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        *self.is_over.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
        // Another connection wakes the thread, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _it_does_not_panic = thread.join();
        }
    }
}

/// The process of the client.
struct Process {
    child: Child,
    /// `None` once the process has been waited for.
    group: Option<Group>,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<thread::JoinHandle<()>>,
    usage: Option<Usage>,
}

impl Process {
    fn start(mut command: Command, tell: &Sender<Happening>) -> io::Result<Self> {
        let (mut child, group) = Group::start(&mut command)?;
        let output = Arc::default();
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(collect(pipe, &output, Some(tell.clone())));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(collect(pipe, &output, None));
        }
        Ok(Self { child, group: Some(group), output, readers, usage: None })
    }

    /// Records the usage so far, as the memory of a process is not known once it has ended.
    fn look(&mut self) {
        if let Some(now) = usage(self.child.id()) {
            let before = self.usage.map_or(0, |usage| usage.peak_memory);
            self.usage = Some(Usage { peak_memory: now.peak_memory.max(before), ..now });
        }
    }

    /// The exit code, or `Some(None)` if a signal ended the process; `None` while it runs.
    fn ended(&self) -> Option<Option<i32>> {
        let status = self.group.as_ref()?.ended()?;
        Some(status.exit_status())
    }

    /// Kills the process, if it still runs, and everything that it has started.
    fn end(&mut self) -> io::Result<End> {
        let end = self.ended().map_or(End::Running, End::Exited);
        self.kill()?;
        Ok(end)
    }

    fn kill(&mut self) -> io::Result<()> {
        let Some(group) = self.group.take() else { return Ok(()) };
        group.signal(Signal::KILL);
        // It may have left its group.
        let _may_have_ended = self.child.kill();
        drop(group);
        self.child.wait().map(drop)
    }

    /// Waits until all that it has written is read, but no longer than this.
    fn wait_for_output(&self, most: Duration) {
        let began = Instant::now();
        while self.readers.iter().any(|reader| !reader.is_finished()) && began.elapsed() < most {
            thread::sleep(GLANCE);
        }
    }

    /// What it has written. A process that has left the group may keep a pipe open: what that one
    /// writes is not waited for.
    fn output(&mut self) -> String {
        self.wait_for_output(REST);
        let output = self.output.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        String::from_utf8_lossy(&output).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _best_effort = self.kill();
    }
}

/// Reads the output on a thread, and keeps the end of it; tells each line, if somebody wants them.
fn collect(
    mut pipe: impl Read + Send + 'static,
    output: &Arc<Mutex<Vec<u8>>>,
    tell: Option<Sender<Happening>>,
) -> thread::JoinHandle<()> {
    const MOST: usize = 64 * 1024;
    // A record of the Telemetry API has 256 KiB at most.
    const MOST_LINE: usize = 4 * 1024 * 1024;
    let output = Arc::clone(output);
    thread::spawn(move || {
        let (mut room, mut line) = ([0; 4096], Vec::new());
        while let Ok(length @ 1..) = pipe.read(&mut room) {
            for piece in room[..length].split_inclusive(|byte| *byte == b'\n') {
                let Some(tell) = &tell else { break };
                line.extend_from_slice(piece);
                if line.len() > MOST_LINE || line.ends_with(b"\n") {
                    let printed = String::from_utf8_lossy(&line).into_owned();
                    let _nobody_plays = tell.send(Happening::Printed(printed));
                    line.clear();
                }
            }
            let mut output = output.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            output.extend_from_slice(&room[..length]);
            let over = output.len().saturating_sub(MOST);
            output.drain(..over);
        }
    })
}
