//! One connection of an extension, over and over again.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_extension::subscription::Subscription;
use lambda_proto_extension::{EnvironmentEvent, Registrant, Reply};
use lambda_proto_host::extension::{
    self, Error, Function, Lost, REGISTRATION_TIMEOUT, REPORT_TIMEOUT, Report, SUBSCRIPTION_TIMEOUT,
};
use lambda_proto_host::{Failure, MAX_ATTEMPT, Settings, connect};

pub(super) struct Session {
    session: extension::Session,
    stream: Option<TcpStream>,
    /// When every read and write must be done; `None` for no limit.
    until: Option<Instant>,
}

impl Session {
    /// A registered session, and its function.
    pub(super) fn register(
        settings: Settings,
        registrant: &Registrant<'_>,
    ) -> Result<(Self, Function), Error> {
        let session = extension::Session::new(settings);
        let mut this = Self { session, stream: None, until: None };
        let result = this.within(REGISTRATION_TIMEOUT, |session| session.register(registrant));
        let function = this.session.registered(result)?;
        Ok((this, function))
    }

    /// Subscribes to telemetry; returns whether any comes.
    pub(super) fn subscribe(&mut self, subscription: &Subscription<'_>) -> Result<bool, Error> {
        self.until = Some(Instant::now() + SUBSCRIPTION_TIMEOUT);
        let mut result = self.exchange(|session| session.subscribe(subscription));
        if let Err(Lost::Connection(_)) = result {
            // The service takes the same subscription twice.
            self.stream = None;
            result = self.exchange(|session| session.subscribe(subscription));
        }
        self.until = None;
        if let Err(Lost::Connection(_)) = result {
            self.stream = None;
        }
        self.session.subscribed(result)
    }

    /// Waits for the next event, however long that takes; the pause after which to ask again if it
    /// cannot be read.
    pub(super) fn next(&mut self) -> Result<Result<EnvironmentEvent<'_>, Duration>, Error> {
        loop {
            let begun = Instant::now();
            let result = self.exchange(extension::Session::ask);
            let had_connection = self.stream.is_some();
            if result.is_err() {
                self.stream = None;
            }
            match self.session.asked(begun, had_connection, result)? {
                None => return Ok(self.session.event()),
                Some(pause) => thread::sleep(pause),
            }
        }
    }

    /// Reports a failure; returns the error to end with.
    pub(super) fn report(&mut self, report: Report, failure: Failure) -> Error {
        let result = self.within(REPORT_TIMEOUT, |session| session.report(report, &failure));
        self.session.reported(failure, result)
    }

    /// Exchanges a request and its reply within a time.
    fn within(
        &mut self,
        patience: Duration,
        command: impl FnOnce(&mut extension::Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        self.until = Some(Instant::now() + patience);
        let result = self.exchange(command);
        self.until = None;
        result
    }

    /// Sends a request and reads its reply. If the connection is lost, the session has recovered.
    fn exchange(
        &mut self,
        command: impl FnOnce(&mut extension::Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        let result = self.try_exchange(command);
        let is_lost = result.is_err() || self.session.must_reconnect();
        if is_lost {
            self.session.disconnected();
        }
        if is_lost && result.is_ok() {
            self.stream = None;
        }
        result
    }

    fn try_exchange(
        &mut self,
        command: impl FnOnce(&mut extension::Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        self.connect()?;
        command(&mut self.session)?;
        while !self.session.unsent().is_empty() {
            self.write()?;
        }
        loop {
            let reply = match self.read()? {
                0 => {
                    let reply = self.session.end_of_stream();
                    return reply
                        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                length => self.session.received(length)?,
            };
            if let Some(reply) = reply {
                return Ok(reply);
            }
        }
    }

    fn connect(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let patience = self.left()?.unwrap_or(MAX_ATTEMPT);
            self.stream = Some(connect(&self.session.settings().endpoint, patience)?);
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let left = self.left()?;
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.set_write_timeout(left)?;
        match stream.write(self.session.unsent()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if is_in_vain(&error) => {}
            result => self.session.sent(result?),
        }
        Ok(())
    }

    /// Reads bytes; 0 at the end of the stream.
    fn read(&mut self) -> io::Result<usize> {
        loop {
            let left = self.left()?;
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            stream.set_read_timeout(left)?;
            match stream.read(self.session.room()) {
                Err(error) if is_in_vain(&error) => {}
                result => return result,
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
fn is_in_vain(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
