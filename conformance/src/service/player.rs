use std::collections::BTreeMap;
use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::service::bootstrap::{Bootstrap, Process};
use crate::service::connection::{Answer, Connection, InvalidReply};
use crate::service::expected::Expected;
use crate::service::known::Known;
use crate::service::listener::{Listen, Listener};
use crate::service::pattern::{Words, is_uuid};
use crate::service::ports::Port;
use crate::service::step::{Invoke, Step, Vector};

/// A service that has been started for one vector.
pub trait Service {
    /// The address of its Runtime API.
    fn runtime_api(&self) -> SocketAddr;

    /// The address for callers.
    fn invoke_api(&self) -> SocketAddr;

    /// Waits until the service has started this process, in whose place the player sends requests.
    ///
    /// For a vector with external extensions the player calls this where the vector says so, for
    /// others with the runtime before it sends the first request, and before it sends the first
    /// request after an invocation that makes the service start its runtime again.
    ///
    /// # Errors
    ///
    /// The reason as text.
    fn await_start(&self, process: &Process) -> Result<(), String> {
        let _starts_none = process;
        Ok(())
    }

    /// The processes that the service starts; `None` if it starts none.
    fn bootstrap(&self) -> Option<&Bootstrap> {
        None
    }

    /// Tells the service to end, and does not wait until it has.
    fn stop(&self) {}
}

/// How the bytes of the runtime are split into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// One write for each `send` of the vector.
    Whole,
    /// One write for each byte.
    EveryByte,
    /// One split, after this many bytes of all that the runtime sends.
    After(usize),
}

/// Plays vectors.
#[derive(Clone, Copy, Debug)]
pub struct Player {
    /// How long to wait for what is expected.
    pub patience: Duration,
    /// How long to watch for bytes where none are expected.
    pub moment: Duration,
    /// How to split what the runtime sends.
    pub cut: Cut,
    /// Whether the texts of messages are compared.
    pub words: Words,
}

/// A step of a vector at which a service deviates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The number of the step, from 1.
    pub step: usize,
    /// What was expected there.
    pub expected: String,
    /// What came instead, with `<id>` for ids and `<time>` for times.
    pub came: String,
}

impl Default for Player {
    fn default() -> Self {
        let (patience, moment) = (Duration::from_secs(30), Duration::from_millis(500));
        Self { patience, moment, cut: Cut::Whole, words: Words::Emulators }
    }
}

impl Player {
    /// Plays a vector against a newly started service, which cannot be used for another vector.
    ///
    /// Returns how many bytes were sent as the runtime.
    ///
    /// # Errors
    ///
    /// The first [`Failure`], which ends the vector.
    pub fn play(&self, vector: &Vector, service: &dyn Service) -> Result<usize, Failure> {
        let mut stage = Stage {
            player: self,
            service,
            known: Known::default(),
            connections: BTreeMap::new(),
            callers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            ports: BTreeMap::new(),
            says_what_starts: !vector.service.extensions.is_empty(),
            starts: vector.service.concurrency.is_some() || vector.service.snapstart,
            has_started: false,
            said: 0,
        };
        for (index, step) in vector.steps.iter().enumerate() {
            stage.take(step).map_err(|it| it.at(index + 1))?;
        }
        Ok(stage.said)
    }
}

/// A vector that is being played.
struct Stage<'p> {
    player: &'p Player,
    service: &'p dyn Service,
    known: Known,
    connections: BTreeMap<String, Connection>,
    callers: BTreeMap<String, Caller>,
    listeners: BTreeMap<String, Listener>,
    /// The ports of listeners, also of those that are closed.
    ports: BTreeMap<String, Arc<Port>>,
    /// The vector has a step for each start of a process.
    says_what_starts: bool,
    /// The service is about to start its runtime.
    starts: bool,
    has_started: bool,
    /// How many bytes were sent as the runtime.
    said: usize,
}

/// A caller that waits for its reply. It disconnects on drop.
struct Caller {
    handle: TcpStream,
    answer: mpsc::Receiver<Result<Answer, InvalidReply>>,
}

/// What was expected, and what came.
struct Mismatch(String, String);

impl Mismatch {
    fn at(self, step: usize) -> Failure {
        Failure { step, expected: self.0, came: without_ids(&self.1) }
    }
}

impl Stage<'_> {
    fn take(&mut self, step: &Step) -> Result<(), Mismatch> {
        let expect = |expected: &str, came: &dyn fmt::Display| {
            Mismatch(expected.to_owned(), came.to_string())
        };
        let until = Instant::now() + self.player.patience;
        match step {
            Step::Invoke(name, invoke) => {
                let caller = self.invoke(invoke).map_err(|it| expect("an Invoke API", &it))?;
                self.callers.insert(name.clone(), caller);
                self.starts |= !self.has_started || invoke.restarts;
                Ok(())
            }
            Step::Send(on, bytes) => {
                let bytes = self.known.fill_in(bytes.as_slice());
                let bytes = bytes.map_err(|it| expect("a valid vector", &it))?;
                if self.starts && !self.says_what_starts {
                    self.service
                        .await_start(&Process::Runtime)
                        .map_err(|it| expect("the start of the runtime", &it))?;
                    (self.starts, self.has_started) = (false, true);
                }
                if !self.connections.contains_key(on) {
                    let address = self.service.runtime_api();
                    let connection = Connection::open(address, self.player.patience)
                        .map_err(|it| expect("a Runtime API", &it))?;
                    self.connections.insert(on.clone(), connection);
                }
                self.say(on, &bytes);
                Ok(())
            }
            Step::Receive(on, expected, name) => {
                let answer = self.on(on)?.answer(until);
                let answer = self.compare(expected, answer)?;
                if let Some(name) = name {
                    self.known.keep(name, answer);
                }
                Ok(())
            }
            Step::Answered(to, expected) => {
                let answer = match self.callers.remove(to) {
                    None => return Err(expect("a caller", &"none of this name")),
                    Some(caller) => caller.answer.recv_timeout(self.player.patience),
                };
                let answer = answer.unwrap_or(Err(InvalidReply::InTime));
                self.compare(expected, answer).map(drop)
            }
            Step::Hangs(name) => {
                let silence = "nothing for a moment";
                if let Some(caller) = self.callers.get(name) {
                    return match caller.answer.recv_timeout(self.player.moment) {
                        Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
                        Ok(Ok(answer)) => {
                            Err(expect(silence, &format!("status {}", answer.status)))
                        }
                        Ok(Err(why)) => Err(expect(silence, &why)),
                        Err(disconnected) => Err(expect(silence, &disconnected)),
                    };
                }
                if let Some(listener) = self.listeners.get(name) {
                    let is_silent = listener.is_silent(self.player.moment);
                    return if is_silent { Ok(()) } else { Err(expect(silence, &"telemetry")) };
                }
                if !self.connections.contains_key(name) {
                    let process = Process::from(name.clone());
                    let bootstrap = self.bootstrap()?;
                    let has_started = bootstrap.starts_within(&process, self.player.moment);
                    return if has_started { Err(expect(silence, &"its start")) } else { Ok(()) };
                }
                let moment = Instant::now() + self.player.moment;
                let connection = self.on(name)?;
                if connection.is_silent(moment) {
                    return Ok(());
                }
                let came = match connection.unread() {
                    [] => "the end of the connection".to_owned(),
                    bytes => {
                        String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
                    }
                };
                Err(expect(silence, &came))
            }
            Step::Closed(on) => {
                let ended = self.on(on)?.end(until);
                ended.map_err(|why| expect("the end of the connection", &why))
            }
            Step::Close(on) => {
                self.connections.remove(on);
                self.listeners.remove(on);
                Ok(())
            }
            Step::HalfClose(on) => {
                self.on(on)?.half_close();
                Ok(())
            }
            Step::Starts(process) => {
                let what = format!("the start of {}", process.name());
                self.service.await_start(process).map_err(|it| expect(&what, &it))
            }
            Step::Order(process, order) => {
                let what = format!("a process for {}", process.name());
                self.bootstrap()?.order(process, order).map_err(|it| expect(&what, &it))
            }
            Step::Stop => {
                self.service.stop();
                Ok(())
            }
            Step::Listen(name, listen) => {
                self.listen(name, listen).map_err(|it| expect("a free port", &it))
            }
            Step::Delivered(to, delivery) => {
                let Some(listener) = self.listeners.get(to) else {
                    return Err(expect("a listener", &"none of this name"));
                };
                let (events, without) = (&delivery.events, &delivery.without);
                let delivered = listener.delivered(events, without, &self.known, until);
                delivered.map_err(|(expected, came)| Mismatch(expected, came))
            }
        }
    }

    fn bootstrap(&self) -> Result<&Bootstrap, Mismatch> {
        let none = || Mismatch("a service that starts processes".into(), "none".into());
        self.service.bootstrap().ok_or_else(none)
    }

    /// Listens where the listener of this name did before, or on a new port, which later steps know.
    fn listen(&mut self, name: &str, listen: &Listen) -> Result<(), String> {
        let port = match self.ports.get(name) {
            Some(port) => Arc::clone(port),
            None => Arc::new(Port::claim()?),
        };
        self.ports.insert(name.to_owned(), Arc::clone(&port));
        self.known.keep_value(name, "port", port.number().to_string().as_bytes());
        let listener = Listener::open(port, listen, self.known.clone(), self.player.words)?;
        self.listeners.insert(name.to_owned(), listener);
        Ok(())
    }

    fn on(&mut self, name: &str) -> Result<&mut Connection, Mismatch> {
        let none = || Mismatch(format!("a connection {name}"), "none of this name".into());
        self.connections.get_mut(name).ok_or_else(none)
    }

    /// Sends bytes, split as [`Player::cut`] says.
    fn say(&mut self, on: &str, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(on) else { return };
        let before = self.said;
        self.said += bytes.len();
        match self.player.cut {
            Cut::EveryByte => {
                for byte in bytes {
                    connection.send(std::slice::from_ref(byte));
                    thread::yield_now();
                }
            }
            Cut::After(cut) if (before + 1..self.said).contains(&cut) => {
                let (one, other) = bytes.split_at(cut - before);
                connection.send(one);
                // Whether the peer has read the first part cannot be seen; by now it most likely
                // has.
                thread::sleep(Duration::from_micros(200));
                connection.send(other);
            }
            Cut::Whole | Cut::After(_) => connection.send(bytes),
        }
    }

    fn invoke(&self, invoke: &Invoke) -> std::io::Result<Caller> {
        let address = self.service.invoke_api();
        let mut connection = Connection::open(address, self.player.patience)?;
        let handle = connection.handle()?;
        let (path, length) = (INVOKE_PATH, invoke.body.as_slice().len());
        let mut request =
            format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n")
                .into_bytes();
        for (name, value) in &invoke.headers {
            request
                .extend_from_slice(&[name.as_bytes(), b": ", value.as_slice(), b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(invoke.body.as_slice());
        let until = Instant::now() + self.player.patience;
        let (tell, answer) = mpsc::channel();
        thread::spawn(move || {
            connection.send(&request);
            // Fails if the vector has ended.
            let _ = tell.send(connection.answer(until));
        });
        Ok(Caller { handle, answer })
    }

    fn compare(
        &self,
        expected: &Expected,
        answer: Result<Answer, InvalidReply>,
    ) -> Result<Answer, Mismatch> {
        let answer = answer
            .map_err(|why| Mismatch(format!("status {}", expected.status), why.to_string()))?;
        match expected.compare(&answer, &self.known, self.player.words) {
            Ok(()) => Ok(answer),
            Err((expected, came)) => Err(Mismatch(expected, came)),
        }
    }
}

/// The path at which callers invoke AWS's emulator.
const INVOKE_PATH: &str = "/2015-03-31/functions/function/invocations";

impl Drop for Caller {
    fn drop(&mut self) {
        let _may_have_ended = self.handle.shutdown(Shutdown::Both);
    }
}

/// Replaces ids and times, which differ in each run.
fn without_ids(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bytes = rest.as_bytes();
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (length, placeholder) = if bytes.get(..36).is_some_and(is_uuid) {
            (36, Some("<id>"))
        } else if digits == 13 {
            (13, Some("<time>"))
        } else {
            (digits.max(first.len_utf8()), None)
        };
        normal.push_str(placeholder.unwrap_or(&rest[..length]));
        rest = &rest[length..];
    }
    normal
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, expected, came } = self;
        write!(f, "step {step}: expected {expected}, got {came}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_are_replaced() {
        for (text, normal) in [
            ("é 01234567-89ab-cdef-0123-456789abcdef.", "é <id>."),
            ("01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcde"),
            ("at 1700000000000, 012345678912", "at <time>, 012345678912"),
            ("12345678901234", "12345678901234"),
        ] {
            assert_eq!(without_ids(text), normal);
        }
    }
}
