//! One connection of an extension, over and over again.

use std::io;
use std::time::{Duration, Instant};

use lambda_proto_extension::subscription::Subscription;
use lambda_proto_extension::{EnvironmentEvent, Registrant, Reply};
use lambda_proto_host::extension::{
    self, Error, Function, Lost, REGISTRATION_TIMEOUT, REPORT_TIMEOUT, Report, SUBSCRIPTION_TIMEOUT,
};
use lambda_proto_host::{Failure, Log, MAX_ATTEMPT, Reach, Settings};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout_at};

use crate::connector::dial;
use crate::socket::{read, write};

pub(super) struct Session {
    session: extension::Session,
    stream: Option<TcpStream>,
}

impl Session {
    /// A registered session, and its function.
    pub(super) async fn register(
        settings: Settings,
        registrant: &Registrant<'_>,
    ) -> Result<(Self, Function), Error> {
        let mut this = Self { session: extension::Session::new(settings), stream: None };
        let result =
            this.within(REGISTRATION_TIMEOUT, |session| session.register(registrant)).await;
        let function = this.session.registered(result)?;
        Ok((this, function))
    }

    /// Subscribes to telemetry; returns whether any comes.
    pub(super) async fn subscribe(
        &mut self,
        subscription: &Subscription<'_>,
    ) -> Result<bool, Error> {
        let until = Instant::now() + SUBSCRIPTION_TIMEOUT;
        let subscribe = |session: &mut extension::Session| session.subscribe(subscription);
        let mut result = self.until(until, subscribe).await;
        if let Err(Lost::Connection(_)) = result {
            // The service takes the same subscription twice.
            self.stream = None;
            result = self.until(until, subscribe).await;
        }
        if let Err(Lost::Connection(_)) = result {
            self.stream = None;
        }
        self.session.subscribed(result)
    }

    /// Waits for the next event, however long that takes; the pause after which to ask again if it
    /// cannot be read.
    pub(super) async fn next(&mut self) -> Result<Result<EnvironmentEvent<'_>, Duration>, Error> {
        loop {
            let begun = Instant::now();
            let result = self.exchange(extension::Session::ask).await;
            let had_connection = self.stream.is_some();
            if result.is_err() {
                self.stream = None;
            }
            match self.session.asked(begun, had_connection, result)? {
                None => return Ok(self.session.event()),
                Some(pause) => sleep(pause).await,
            }
        }
    }

    /// Reports a failure; returns the error to end with.
    pub(super) async fn report(&mut self, report: Report, failure: Failure) -> Error {
        let result = self.within(REPORT_TIMEOUT, |session| session.report(report, &failure)).await;
        self.session.reported(failure, result)
    }

    /// The log of the extension.
    pub(super) fn log(&self) -> &Log {
        self.session.log()
    }

    /// Exchanges a request and its reply within a time.
    async fn within(
        &mut self,
        patience: Duration,
        command: impl FnOnce(&mut extension::Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        self.until(Instant::now() + patience, command).await
    }

    /// The same until a moment.
    async fn until(
        &mut self,
        until: Instant,
        command: impl FnOnce(&mut extension::Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        let result = timeout_at(until.into(), self.exchange(command)).await;
        result.unwrap_or_else(|_elapsed| {
            self.session.disconnected();
            self.stream = None;
            Err(io::Error::from(io::ErrorKind::TimedOut).into())
        })
    }

    /// Sends a request and reads its reply. If the connection is lost, the session has recovered.
    async fn exchange(
        &mut self,
        command: impl FnOnce(&mut extension::Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        let result = self.try_exchange(command).await;
        let is_lost = result.is_err() || self.session.must_reconnect();
        if is_lost {
            self.session.disconnected();
        }
        if is_lost && result.is_ok() {
            self.stream = None;
        }
        result
    }

    async fn try_exchange(
        &mut self,
        command: impl FnOnce(&mut extension::Session) -> Result<(), Error>,
    ) -> Result<Reply, Lost> {
        let Self { session, stream } = self;
        let stream = match stream {
            Some(stream) => stream,
            None => {
                let endpoint = &session.settings().endpoint;
                let connected = dial(endpoint, &Reach::default(), MAX_ATTEMPT).await?;
                stream.insert(connected)
            }
        };
        command(session)?;
        while !session.unsent().is_empty() {
            let length = write(stream, session.unsent()).await?;
            session.sent(length);
        }
        loop {
            let reply = match read(stream, session.room()).await? {
                0 => {
                    let reply = session.end_of_stream();
                    return reply
                        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                length => session.received(length)?,
            };
            if let Some(reply) = reply {
                return Ok(reply);
            }
        }
    }
}
