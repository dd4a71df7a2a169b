//! Plays a vector over TCP against a client process.

use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::player::{Deviation, Player, Todo};
use super::vector::Vector;
use crate::usage::{Usage, usage};

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For what the client has to do.
    pub long: Duration,
    /// For what it must not do.
    pub moment: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { long: Duration::from_secs(20), moment: Duration::from_millis(100) }
    }
}

/// What a client made of a vector.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it did wrong, if it did.
    pub deviation: Option<Deviation>,
    /// Its process, when the vector was over.
    pub end: End,
    /// What it has written to standard output and standard error, the end of it.
    pub output: String,
    /// What its process has used when it was last seen alive; `None` where that cannot be told.
    pub usage: Option<Usage>,
    /// How many bytes went over its connections, to it and from it.
    pub bytes: u64,
    /// How long the vector took.
    pub elapsed: Duration,
}

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was alive, and has been ended.
    Running,
    /// It had ended by itself, with a code or by a signal.
    Exited(Option<i32>),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running => f.write_str("was alive"),
            Self::Exited(Some(code)) => write!(f, "has ended with code {code}"),
            Self::Exited(None) => f.write_str("was ended by a signal"),
        }
    }
}

impl Report {
    /// Whether the client did all that the vector says.
    pub fn conforms(&self) -> bool {
        self.deviation.is_none()
    }

    /// Whether it has panicked, as Rust's programs say it: by Rust's own hook, or in the log of a
    /// runtime.
    pub fn has_panicked(&self) -> bool {
        let words = ["panicked at", " panicked: ", "Function.Panic"];
        words.iter().any(|word| self.output.contains(word))
    }
}

/// Plays a vector against a program, which is started for it and ended behind it.
///
/// The program finds `AWS_LAMBDA_RUNTIME_API` and what else the vector wants in its environment.
///
/// # Errors
///
/// That of a program that cannot be started, or of an address that cannot be listened at.
pub fn play(vector: &Vector, mut command: Command, patience: Patience) -> io::Result<Report> {
    let (tell, happenings) = channel();
    let mut service = Service::start(tell)?;
    let address = service.address.to_string();
    // What whoever plays has in his own environment is none of the vector's.
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
    let mut process = Process::start(command)?;
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

/// What every function finds in its environment (Lambda Developer Guide, configuration-envvars), and clients
/// count on.
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

/// How long a write waits for a client that does not read.
const MOST_STUCK: Duration = Duration::from_secs(20);

/// How often is looked whether the process has ended.
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
                    service.bytes += write(&stream, bytes, every);
                }
            }
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
                    // That something happens is not what has to happen: who connects again and again
                    // does not come in time by that.
                    Ok(happening) => tell(player, service, happening),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        // What it has said before its end is heard first.
                        if let Some(code) = process.ended() {
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
    }
}

/// Writes as much of it as the client takes, and returns how much that is: a client that has hung up is told
/// of by its end.
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

/// What happens at the service.
enum Happening {
    Opened(TcpStream),
    Received(usize, Vec<u8>),
    Ended(usize),
}

/// A listening socket, and the connections that it has taken.
struct Service {
    address: SocketAddr,
    tell: Sender<Happening>,
    streams: Vec<Option<Arc<TcpStream>>>,
    listening: Option<Listening>,
    /// How many bytes were written and received.
    bytes: u64,
}

impl Service {
    fn start(tell: Sender<Happening>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let listening = Some(Listening::start(listener, tell.clone())?);
        Ok(Self { address, tell, streams: Vec::new(), listening, bytes: 0 })
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

    /// Ends a connection by a reset.
    fn reset(&mut self, connection: usize) {
        if let Some(stream) = self.stream(connection) {
            // Closing then discards what was not sent, and says so (RFC 9293 section 3.9.1.4, ABORT).
            let _may_be_gone =
                rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO));
            // The thread that reads lets go of it too.
            let _ = stream.shutdown(Shutdown::Read);
            self.streams[connection] = None;
        }
    }

    /// Breaks all connections, and takes no others for this time.
    fn go_away(&mut self, time: Duration) {
        self.listening = None;
        for connection in 0..self.streams.len() {
            self.reset(connection);
        }
        thread::sleep(time);
        let began = Instant::now();
        while self.listening.is_none() && began.elapsed() < Duration::from_secs(5) {
            // Its own old connections may hold the port for a moment.
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

/// A thread that takes connections, until this is dropped.
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
                // A client that reads nothing must not stop the service.
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
        // One more connection, so that it sees that.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _it_does_not_panic = thread.join();
        }
    }
}

/// The client.
struct Process {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<thread::JoinHandle<()>>,
    usage: Option<Usage>,
    is_waited_for: bool,
}

impl Process {
    fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.process_group(0).spawn()?;
        let output = Arc::default();
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(collect(pipe, &output));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(collect(pipe, &output));
        }
        Ok(Self { child, output, readers, usage: None, is_waited_for: false })
    }

    /// Takes note of what it has used: nobody can tell of the memory of a process that has ended.
    fn look(&mut self) {
        if let Some(now) = usage(self.child.id()) {
            let before = self.usage.map_or(0, |usage| usage.peak_memory);
            self.usage = Some(Usage { peak_memory: now.peak_memory.max(before), ..now });
        }
    }

    /// With which code it has ended, or none if by a signal; `None` while it runs.
    fn ended(&self) -> Option<Option<i32>> {
        // It stays as it is, so that its id, and that of its group, is nobody else's yet.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.child)), options).ok().flatten()?;
        Some(status.exit_status())
    }

    /// Ends it, if it has not ended by itself, with everything that it has started.
    fn end(&mut self) -> io::Result<End> {
        let end = self.ended().map_or(End::Running, End::Exited);
        self.kill();
        self.child.wait()?;
        self.is_waited_for = true;
        Ok(end)
    }

    fn kill(&self) {
        if self.is_waited_for {
            return;
        }
        let _may_have_ended = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }

    fn output(&mut self) -> String {
        for reader in self.readers.drain(..) {
            let _it_does_not_panic = reader.join();
        }
        let output = self.output.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        String::from_utf8_lossy(&output).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Keeps the last of what comes.
fn collect(
    mut pipe: impl Read + Send + 'static,
    output: &Arc<Mutex<Vec<u8>>>,
) -> thread::JoinHandle<()> {
    const MOST: usize = 64 * 1024;
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut room = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut room) {
            let mut output = output.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            output.extend_from_slice(&room[..length]);
            let over = output.len().saturating_sub(MOST);
            output.drain(..over);
        }
    })
}
