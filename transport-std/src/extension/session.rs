//! One connection of an extension, over and over again.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto::api::ErrorReport;
use lambda_proto::json::JsonError;
use lambda_proto::limits::MAX_REQUEST_HEAD;
use lambda_proto_extension::{
    CommandError, EnvironmentEvent, Event, Extension, Refusal, Registrant, Remedy, Reply,
};
use lambda_proto_host::{Failure, Log, MAX_ATTEMPT, Settings, backoff, connect};

use super::Error;

pub(super) struct Session {
    machine: Extension,
    settings: Settings,
    stream: Option<TcpStream>,
    out: Vec<u8>,
    /// Bytes that were received and not consumed.
    input: Vec<u8>,
    /// The document of the last reply.
    document: Vec<u8>,
    /// When every read and write must be done; `None` for no limit.
    until: Option<Instant>,
}

/// The longest document that is kept. An event has a few hundred bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

/// The longest time that a report may take.
const REPORT: Duration = Duration::from_secs(2);

type Command<'c> = &'c dyn Fn(&mut Extension, &mut [u8]) -> Result<usize, CommandError>;

/// A command that reports a failure.
type Report = fn(&mut Extension, &ErrorReport<'_>, &mut [u8]) -> Result<usize, CommandError>;

/// Why a request has no reply.
enum Lost {
    Connection(io::Error),
    Session(Error),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl Session {
    /// A registered session, and the document of the reply.
    pub(super) fn register(
        settings: Settings,
        registrant: &Registrant<'_>,
        patience: Duration,
    ) -> Result<(Self, Vec<u8>), Error> {
        let address = settings.endpoint.authority().to_owned();
        let mut this = Self {
            machine: Extension::new(settings.endpoint.clone()),
            settings,
            stream: None,
            out: vec![0; MAX_REQUEST_HEAD],
            input: Vec::new(),
            document: Vec::new(),
            until: Some(Instant::now() + patience),
        };
        match this.exchange(&|machine, out| machine.register(registrant, out)) {
            Ok(reply) if reply.is_accepted() => {
                this.until = None;
                let document = std::mem::take(&mut this.document);
                Ok((this, document))
            }
            Ok(reply) => Err(this.refused(reply)),
            Err(Lost::Session(error)) => Err(error),
            Err(Lost::Connection(reason)) => Err(Error::Registration { address, reason }),
        }
    }

    /// Waits for the next event, however long that takes.
    pub(super) fn next(
        &mut self,
    ) -> Result<(Result<EnvironmentEvent<'_>, JsonError>, &Log), Error> {
        let mut failed = 0;
        let mut since = None;
        loop {
            let begun = Instant::now();
            match self.exchange(&Extension::next) {
                Ok(reply) if reply.is_accepted() => break,
                Ok(reply) => match self.refused(reply) {
                    Error::Refused { remedy: Remedy::Retry, reason } => {
                        self.settings.log.warn(format_args!("{reason}"));
                        since = None;
                    }
                    error => return Err(error),
                },
                Err(Lost::Session(error)) => return Err(error),
                Err(Lost::Connection(reason)) => {
                    // A connection that was there ends the outage.
                    if self.stream.take().is_some() {
                        since = None;
                    }
                    let waited = since.get_or_insert(begun).elapsed();
                    // The first loss is that of a connection that went stale while the environment
                    // was frozen.
                    if failed > 0 {
                        let log = &self.settings.log;
                        log.warn(format_args!("no reply to the request for an event: {reason}"));
                    }
                    if waited >= self.settings.patience {
                        let address = self.settings.endpoint.authority().to_owned();
                        return Err(Error::Unreachable { address, waited, reason });
                    }
                }
            }
            thread::sleep(backoff(failed));
            failed += 1;
        }
        Ok((self.machine.read_event(&self.document), &self.settings.log))
    }

    /// Reports a failed start; returns the error to end with.
    pub(super) fn fail_init(&mut self, failure: Failure) -> Error {
        self.report(failure, Extension::fail_init)
    }

    /// Reports a failure; returns the error to end with.
    pub(super) fn fail(&mut self, failure: Failure) -> Error {
        self.report(failure, Extension::fail)
    }

    fn report(&mut self, failure: Failure, command: Report) -> Error {
        self.until = Some(Instant::now() + REPORT);
        let log = self.settings.log.clone();
        let report = failure.as_error_report();
        match self.exchange(&|machine, out| command(machine, &report, out)) {
            Ok(reply) if reply.is_accepted() => {}
            Ok(reply) => log.error(format_args!("{}", self.refused(reply))),
            Err(Lost::Session(error)) => log.error(format_args!("{error}")),
            Err(Lost::Connection(error)) => {
                log.error(format_args!("the failure of the extension was not reported: {error}"));
            }
        }
        Error::Failed(failure)
    }

    fn refused(&self, reply: Reply) -> Error {
        let refusal = Refusal::parse(reply, &self.document);
        Error::Refused { remedy: refusal.remedy(), reason: refusal.to_string() }
    }

    /// Sends a request and reads its reply, whose document is kept. If the connection is lost, the
    /// machine has recovered.
    fn exchange(&mut self, command: Command<'_>) -> Result<Reply, Lost> {
        let result = self.try_exchange(command);
        let is_lost = result.is_err() || self.machine.must_reconnect();
        if is_lost {
            let _what_next = self.machine.on_disconnect();
            self.input.clear();
        }
        if is_lost && result.is_ok() {
            self.stream = None;
        }
        result
    }

    fn try_exchange(&mut self, command: Command<'_>) -> Result<Reply, Lost> {
        self.document.clear();
        self.connect()?;
        let length = match command(&mut self.machine, &mut self.out) {
            Err(CommandError::BufferTooSmall(error)) => {
                self.out.resize(error.needed, 0);
                command(&mut self.machine, &mut self.out)
            }
            result => result,
        };
        let length = length.map_err(|error| Lost::Session(Error::Command(error)))?;
        let mut sent = 0;
        while sent < length {
            let written = self.write(sent, length)?;
            self.machine.sent(written);
            sent += written;
        }
        loop {
            if let Some(reply) = self.receive()? {
                return Ok(reply);
            }
            if !self.read()? {
                let reply = match self.machine.end_of_stream() {
                    Some(Event::Reply(reply)) => Some(reply),
                    _ => None,
                };
                return reply.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Passes received bytes to the machine.
    fn receive(&mut self) -> Result<Option<Reply>, Lost> {
        let mut rest = &self.input[..];
        let mut complete = None;
        while complete.is_none() {
            let event = self
                .machine
                .receive(&mut rest)
                .map_err(|error| Lost::Session(Error::Protocol(error)))?;
            match event {
                None => break,
                Some(Event::Reply(reply)) => complete = Some(reply),
                Some(Event::Document(piece)) => {
                    let room = MAX_DOCUMENT.saturating_sub(self.document.len());
                    self.document.extend_from_slice(&piece[..piece.len().min(room)]);
                }
            }
        }
        let consumed = self.input.len() - rest.len();
        self.input.drain(..consumed);
        Ok(complete)
    }

    fn connect(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let patience = self.left()?.unwrap_or(MAX_ATTEMPT);
            self.stream = Some(connect(&self.settings.endpoint, patience)?);
        }
        Ok(())
    }

    fn write(&mut self, from: usize, to: usize) -> io::Result<usize> {
        let left = self.left()?;
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.set_write_timeout(left)?;
        match stream.write(&self.out[from..to]) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            result => again(result),
        }
    }

    /// Reads bytes; `false` at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        loop {
            let left = self.left()?;
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            stream.set_read_timeout(left)?;
            match stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                result => match again(result)? {
                    0 => {}
                    length => {
                        self.input.extend_from_slice(&piece[..length]);
                        return Ok(true);
                    }
                },
            }
        }
    }

    /// The time that is left; `None` if there is no limit.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(until) = self.until else { return Ok(None) };
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

/// Nothing was transferred after a handled signal or a timeout: the limit decides whether to go on.
fn again(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            Ok(0)
        }
        result => result,
    }
}
