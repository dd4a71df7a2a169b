//! The requests of an extension, one after the other on one connection at a time.

use std::io;
use std::time::{Duration, Instant};

use lambda_proto::limits::MAX_REQUEST_HEAD;
use lambda_proto_extension::subscription::Subscription;
use lambda_proto_extension::{
    CommandError, EnvironmentEvent, Event, Extension, Refusal, Registrant, Remedy, Reply,
};

use super::{Error, Function};
use crate::{Failure, Log, Settings, backoff};

/// An extension without a socket: requests out, replies in, and what follows from them.
///
/// A transport makes a request with one of the commands, writes [`unsent`](Self::unsent) to the
/// connection, and reads into [`room`](Self::room) until a reply is complete. A request that gets
/// none is followed by [`disconnected`](Self::disconnected), as is a reply after which
/// [`must_reconnect`](Self::must_reconnect).
pub struct Session {
    machine: Extension,
    settings: Settings,
    out: Vec<u8>,
    /// Bytes that were received and not consumed, and room for more.
    input: Vec<u8>,
    filled: usize,
    /// The document of the last reply.
    document: Vec<u8>,
    /// How often in a row a `next` has failed.
    failed: u32,
    /// When the first `next` failed that found no connection.
    unreachable_since: Option<Instant>,
}

/// The longest document that is kept. An event has a few hundred bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

/// The bytes of one read.
const PIECE: usize = 4096;

/// Why a request has no reply.
#[derive(Debug)]
pub enum Lost {
    /// The connection could not be made, or was lost.
    Connection(io::Error),
    /// The session cannot go on.
    Session(Error),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

/// Which failure is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// The extension cannot start.
    Init,
    /// It has failed later.
    Exit,
}

/// Requests.
impl Session {
    /// A session that is not registered.
    pub fn new(settings: Settings) -> Self {
        Self {
            machine: Extension::new(settings.endpoint.clone()),
            settings,
            out: vec![0; MAX_REQUEST_HEAD],
            input: Vec::new(),
            filled: 0,
            document: Vec::new(),
            failed: 0,
            unreachable_since: None,
        }
    }

    /// Begins the registration. It is not retried: the service may have taken a request whose reply
    /// was lost.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn register(&mut self, registrant: &Registrant<'_>) -> Result<(), Error> {
        self.command(|machine, out| machine.register(registrant, out))
    }

    /// Begins a subscription to telemetry or logs, which is possible before the first
    /// [`ask`](Self::ask).
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn subscribe(&mut self, subscription: &Subscription<'_>) -> Result<(), Error> {
        self.command(|machine, out| machine.subscribe(subscription, out))
    }

    /// Begins to ask for the next event.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn ask(&mut self) -> Result<(), Error> {
        self.command(Extension::next)
    }

    /// Begins to report a failure, after which the extension ends.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn report(&mut self, report: Report, failure: &Failure) -> Result<(), Error> {
        let document = failure.as_error_report();
        self.command(|machine, out| match report {
            Report::Init => machine.fail_init(&document, out),
            Report::Exit => machine.fail(&document, out),
        })
    }

    fn command(
        &mut self,
        command: impl Fn(&mut Extension, &mut [u8]) -> Result<usize, CommandError>,
    ) -> Result<(), Error> {
        self.document.clear();
        let length = match command(&mut self.machine, &mut self.out) {
            Err(CommandError::BufferTooSmall(error)) => {
                self.out.resize(error.needed, 0);
                command(&mut self.machine, &mut self.out)
            }
            result => result,
        };
        length.map(drop).map_err(Error::Command)
    }
}

/// What the connection says.
impl Session {
    /// The bytes of the request to write.
    pub fn unsent(&self) -> &[u8] {
        self.machine.unsent(&self.out)
    }

    /// Records that `length` bytes of [`unsent`](Self::unsent) were written.
    pub fn sent(&mut self, length: usize) {
        self.machine.sent(length);
    }

    /// Memory to read into, never empty.
    pub fn room(&mut self) -> &mut [u8] {
        if self.input.len() < self.filled + PIECE {
            self.input.resize(self.filled + PIECE, 0);
        }
        &mut self.input[self.filled..]
    }

    /// Records that `length` bytes were read into [`room`](Self::room); returns the reply if it is
    /// complete.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`]; call [`disconnected`](Self::disconnected) next.
    pub fn received(&mut self, length: usize) -> Result<Option<Reply>, Error> {
        self.filled = self.filled.saturating_add(length).min(self.input.len());
        self.read()
    }

    /// Records that the service has closed the connection in order; returns the reply that this
    /// completes. Call [`disconnected`](Self::disconnected) in any case.
    pub fn end_of_stream(&mut self) -> Option<Reply> {
        match self.machine.end_of_stream() {
            Some(Event::Reply(reply)) => Some(reply),
            _ => None,
        }
    }

    /// Records that the connection is gone. The next request needs a new one.
    pub fn disconnected(&mut self) {
        let _what_next = self.machine.on_disconnect();
        self.filled = 0;
    }

    /// Whether the connection cannot carry another request.
    pub fn must_reconnect(&self) -> bool {
        self.machine.must_reconnect()
    }

    fn read(&mut self) -> Result<Option<Reply>, Error> {
        let mut rest = &self.input[..self.filled];
        let mut complete = None;
        while complete.is_none() {
            match self.machine.receive(&mut rest)? {
                None => break,
                Some(Event::Reply(reply)) => complete = Some(reply),
                Some(Event::Document(piece)) => {
                    let room = MAX_DOCUMENT.saturating_sub(self.document.len());
                    self.document.extend_from_slice(&piece[..piece.len().min(room)]);
                }
            }
        }
        let consumed = self.filled - rest.len();
        self.input.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        Ok(complete)
    }
}

/// What follows.
impl Session {
    /// The function of this environment, or why the registration failed.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Registration`], or the error of the session.
    pub fn registered(&self, result: Result<Reply, Lost>) -> Result<Function, Error> {
        match result {
            Ok(reply) if reply.is_accepted() => Ok(Function::of(&self.document)),
            Ok(reply) => Err(self.refused(reply)),
            Err(Lost::Session(error)) => Err(error),
            Err(Lost::Connection(reason)) => {
                let address = self.settings.endpoint.authority().to_owned();
                Err(Error::Registration { address, reason })
            }
        }
    }

    /// Whether telemetry comes. That it does not is logged, and the extension can go on without.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the process must end, or the error of the session.
    pub fn subscribed(&self, result: Result<Reply, Lost>) -> Result<bool, Error> {
        let log = &self.settings.log;
        match result {
            Ok(reply) if reply.is_accepted() => return Ok(true),
            Ok(reply) if self.refusal(reply).remedy() == Remedy::Exit => {
                return Err(self.refused(reply));
            }
            Ok(reply) => log.warn(format_args!("no telemetry comes: {}", self.refusal(reply))),
            Err(Lost::Session(error)) => return Err(error),
            Err(Lost::Connection(reason)) => log.warn(format_args!(
                "no telemetry comes: no reply to the telemetry subscription: {reason}"
            )),
        }
        Ok(false)
    }

    /// What follows an [`ask`](Self::ask) that began at `begun`: an event, which
    /// [`event`](Self::event) reads, or another one after this pause. `had_connection` says whether a
    /// request that got no reply had a connection.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] or [`Error::Unreachable`] if it is time to give up, or the error of the
    /// session.
    pub fn asked(
        &mut self,
        begun: Instant,
        had_connection: bool,
        result: Result<Reply, Lost>,
    ) -> Result<Option<Duration>, Error> {
        match result {
            Ok(reply) if reply.is_accepted() => {
                self.unreachable_since = None;
                return Ok(None);
            }
            Ok(reply) => match self.refused(reply) {
                Error::Refused { remedy: Remedy::Retry, reason } => {
                    self.settings.log.warn(format_args!("{reason}"));
                    self.unreachable_since = None;
                }
                error => return Err(error),
            },
            Err(Lost::Session(error)) => return Err(error),
            Err(Lost::Connection(reason)) => self.not_asked(begun, had_connection, reason)?,
        }
        let pause = backoff(self.failed);
        self.failed = self.failed.saturating_add(1);
        Ok(Some(pause))
    }

    fn not_asked(
        &mut self,
        begun: Instant,
        had_connection: bool,
        reason: io::Error,
    ) -> Result<(), Error> {
        // A connection that was there ends the outage.
        if had_connection {
            self.unreachable_since = None;
        }
        let waited = self.unreachable_since.get_or_insert(begun).elapsed();
        // The first loss is that of a connection that went stale while the environment was frozen.
        if self.failed > 0 {
            let log = &self.settings.log;
            log.warn(format_args!("no reply to the request for an event: {reason}"));
        }
        if waited >= self.settings.patience {
            let address = self.settings.endpoint.authority().to_owned();
            return Err(Error::Unreachable { address, waited, reason });
        }
        Ok(())
    }

    /// Reads the event that was asked for.
    ///
    /// # Errors
    ///
    /// The pause after which to ask for the next one, if this one cannot be read, which is logged.
    pub fn event(&mut self) -> Result<EnvironmentEvent<'_>, Duration> {
        match self.machine.read_event(&self.document) {
            Ok(event) => {
                self.failed = 0;
                Ok(event)
            }
            Err(reason) => {
                let line = format_args!("an event cannot be read, asking for the next: {reason}");
                self.settings.log.warn(line);
                let pause = backoff(self.failed);
                self.failed = self.failed.saturating_add(1);
                Err(pause)
            }
        }
    }

    /// The error to end with after the report of this failure. That it could not be reported is
    /// logged.
    pub fn reported(&self, failure: Failure, result: Result<Reply, Lost>) -> Error {
        let log = &self.settings.log;
        match result {
            Ok(reply) if reply.is_accepted() => {}
            Ok(reply) => log.error(format_args!("{}", self.refused(reply))),
            Err(Lost::Session(error)) => log.error(format_args!("{error}")),
            Err(Lost::Connection(error)) => {
                log.error(format_args!("the failure of the extension was not reported: {error}"));
            }
        }
        Error::Failed(failure)
    }

    /// The error of a request that was refused.
    pub fn refused(&self, reply: Reply) -> Error {
        let refusal = self.refusal(reply);
        Error::Refused { remedy: refusal.remedy(), reason: refusal.to_string() }
    }

    /// Why the last request was refused.
    pub fn refusal(&self, reply: Reply) -> Refusal<'_> {
        Refusal::parse(reply, &self.document)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.settings.log
    }
}

#[cfg(test)]
mod tests {
    use lambda_proto::api::Endpoint;
    use lambda_proto_extension::{ExtensionName, InternalEvents};

    use super::*;

    /// A session that is registered.
    fn session() -> Session {
        let mut settings = Settings::new(Endpoint::parse("127.0.0.1:1").unwrap());
        settings.set_log(|_| {});
        let mut session = Session::new(settings);
        let name = ExtensionName::new("audit").unwrap();
        session.register(&Registrant::internal(name, InternalEvents::Invoke)).unwrap();
        let reply = reply_to(&mut session, "Lambda-Extension-Identifier: c7d2\r\n", "{}");
        session.registered(Ok(reply)).unwrap();
        session
    }

    fn reply_to(session: &mut Session, fields: &str, document: &str) -> Reply {
        session.sent(session.unsent().len());
        let length = document.len();
        let reply =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{document}");
        session.room()[..reply.len()].copy_from_slice(reply.as_bytes());
        session.received(reply.len()).unwrap().unwrap()
    }

    /// The pause after this document.
    fn pause_after(session: &mut Session, document: &str) -> Option<Duration> {
        session.ask().unwrap();
        let reply = reply_to(session, "", document);
        let pause = session.asked(Instant::now(), true, Ok(reply)).unwrap();
        pause.or_else(|| session.event().err())
    }

    #[test]
    fn events_that_cannot_be_read_are_asked_for_less_and_less_often() {
        let mut session = session();
        for _ in 0..2 {
            let pauses: Vec<_> =
                (0..8).map(|_| pause_after(&mut session, "<html>").unwrap()).collect();
            assert_eq!(pauses[0], Duration::ZERO);
            assert!(pauses[7] >= Duration::from_millis(1600), "{pauses:?}");
            // One that can be read ends that.
            assert_eq!(pause_after(&mut session, r#"{"eventType":"INVOKE"}"#), None);
            assert!(matches!(session.event(), Ok(EnvironmentEvent::Invoke(_))));
        }
    }
}
