//! What the blocking and the async driver share: everything but the waiting.
//!
//! A driver takes a step with [`Flow::take_step`]. If the step is to connect, write or read, it does
//! that and passes on the result; any other step ends its loop, and the methods after that decide
//! what it means. No method of this module waits.

mod answer;

use core::fmt;
use core::marker::PhantomData;

pub(crate) use answer::Invariant;
pub use answer::{Response, Sent};

use crate::api::ErrorReport;
use crate::client::{Client, End, Exchange, Receipt, Step, Storage, StreamOver, Warning};
use crate::machine::{CommandError, Machine, Phase};

/// What the connectors of all drivers do besides connecting. `K` is the kind of the driver, so that
/// each kind has connectors of its own.
pub(crate) trait Host<K> {
    fn warn(&mut self, warning: &Warning<'_>);
    fn stepped(&mut self, machine: &Machine);
    fn is_stopping(&self) -> bool;
}

/// The state of a driver besides its client: the connector, its connection, and an error to return
/// later.
pub(crate) struct Flow<K, C, L, E> {
    pub(crate) connector: C,
    pub(crate) connection: Option<L>,
    /// The error that ends the driver, until it can be returned.
    pub(crate) error: Option<DriverError<E>>,
    /// Whether the connector ended the stream although an invocation arrived on it.
    pub(crate) is_cut: bool,
    /// The length of the piece that a dropped future of the async driver has begun.
    #[cfg(feature = "embedded-io-async")]
    pub(crate) piece: Option<usize>,
    kind: PhantomData<fn() -> K>,
}

impl<K, C: Host<K>, L, E> Flow<K, C, L, E> {
    pub(crate) fn new(connector: C) -> Self {
        Self {
            connector,
            connection: None,
            error: None,
            is_cut: false,
            #[cfg(feature = "embedded-io-async")]
            piece: None,
            kind: PhantomData,
        }
    }

    /// Returns a function that passes warnings to the connector.
    pub(crate) fn tell(&mut self) -> impl FnMut(&Warning<'_>) {
        |warning| self.connector.warn(warning)
    }

    // In the loop of a driver.

    /// Takes the next step.
    #[inline(always)]
    pub(crate) fn take_step<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) -> Step {
        // The client may have given up the connection in this step. Close it before another one is
        // made, or the service would count two.
        let step = exchange.step(|warning| self.connector.warn(warning));
        if !exchange.is_connected() {
            self.connection = None;
            self.is_cut = false;
        }
        self.connector.stepped(exchange.machine());
        step
    }

    /// Takes over a new connection. Returns the last step if the connector has stopped while it
    /// connected.
    pub(crate) fn connected<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        connection: L,
    ) -> Option<Step> {
        self.connection = Some(connection);
        exchange.connected();
        let may_stop = exchange.machine().phase() == Phase::Ready;
        (may_stop && self.connector.is_stopping()).then(|| self.close(exchange))
    }

    /// Ends the session because the connector stops.
    pub(crate) fn close<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) -> Step {
        self.connection = None;
        exchange.shut_down();
        Step::End(End::Done)
    }

    // Around an answer.

    /// Begins a response; returns its receipt if it cannot be sent.
    pub(crate) fn begin_response<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        response: &Response<'_>,
        is_pipelined: bool,
    ) -> Result<(), Receipt> {
        let Response { body, content_type } = *response;
        self.begin(exchange, |exchange, connector| {
            exchange.respond(content_type, body.len(), is_pipelined && !connector.is_stopping())
        })
    }

    /// Begins to report that the invocation failed, at the end of its stream if that has a piece.
    pub(crate) fn begin_failure<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        report: &ErrorReport<'_>,
    ) -> Result<(), Receipt> {
        if exchange.machine().phase() != Phase::Invoking {
            // Only warns that it is too late.
            let _too_late = exchange.fail(report, self.tell());
            return Err(Receipt::FateUnknown);
        }
        self.begin(exchange, |exchange, connector| {
            exchange.fail(report, |warning| connector.warn(warning))
        })
    }

    /// Begins a stream. Nothing is sent yet.
    pub(crate) fn begin_stream<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        content_type: crate::api::ContentType<'_>,
    ) {
        if self.error.is_none()
            && exchange.end().is_none()
            && let Err(error) = exchange.stream(content_type)
        {
            self.error = Some(error.into());
        }
    }

    /// Begins the next piece of a stream.
    pub(crate) fn begin_piece<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        length: usize,
    ) -> Result<(), StreamOver> {
        // An earlier piece may have ended the driver.
        if !exchange.is_streaming() || self.error.is_some() {
            return Err(StreamOver);
        }
        exchange.chunk(length).map_err(|error| {
            self.error = Some(error.into());
            StreamOver
        })
    }

    /// Begins the end of a stream.
    pub(crate) fn begin_end<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        is_pipelined: bool,
    ) -> Result<(), Receipt> {
        if !exchange.is_streaming() {
            return Err(Receipt::FateUnknown);
        }
        self.begin(exchange, |exchange, connector| {
            exchange.finish(is_pipelined && !connector.is_stopping())
        })
    }

    /// Returns the receipt of an answer, from what its loop ended with.
    pub(crate) fn receipt<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        result: Result<Step, DriverError<E>>,
    ) -> Receipt {
        match result {
            Ok(Step::Settled(receipt)) => receipt,
            Ok(_) => Receipt::FateUnknown,
            Err(error) => {
                self.error = Some(error);
                self.abandon(exchange)
            }
        }
    }

    /// Whether a piece was sent and the stream continues, from what its loop ended with.
    pub(crate) fn continues(
        &mut self,
        result: Result<Step, DriverError<E>>,
    ) -> Result<(), StreamOver> {
        match result {
            Ok(Step::Answer) => Ok(()),
            Ok(_) => Err(StreamOver),
            Err(error) => {
                self.error = Some(error);
                Err(StreamOver)
            }
        }
    }

    fn begin<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        encode: impl FnOnce(&mut Exchange<'_, S>, &mut C) -> Result<(), CommandError>,
    ) -> Result<(), Receipt> {
        // An earlier call in the same handler may have ended the driver.
        if self.error.is_some() || exchange.end().is_some() {
            return Err(self.abandon(exchange));
        }
        encode(exchange, &mut self.connector).map_err(|error| {
            self.error = Some(error.into());
            self.abandon(exchange)
        })
    }

    /// Gives up an answer because the driver ends before it is sent.
    fn abandon<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) -> Receipt {
        exchange.abandon(self.tell())
    }

    // Around an invocation.

    /// Returns an error that was kept: answering returns none. Nothing more is sent then.
    pub(crate) fn check(&mut self) -> Result<(), DriverError<E>> {
        // Look before `take`, because moving an error costs more.
        if self.error.is_some()
            && let Some(error) = self.error.take()
        {
            return Err(error);
        }
        Ok(())
    }

    /// Acts on a step while an invocation is awaited. Returns whether there is one, once that is
    /// known: there is none if the session has ended or the connector stops.
    #[inline(always)]
    pub(crate) fn arrives<S: Storage>(
        &mut self,
        client: &mut Client<S>,
        step: Step,
    ) -> Result<Option<bool>, DriverError<E>> {
        match step {
            // The connection of this invocation was cut; it is answered on a new one.
            Step::Answer if self.is_cut => client.exchange().lost(),
            Step::Answer => return Ok(Some(true)),
            Step::Idle if self.connector.is_stopping() => return Ok(Some(false)),
            Step::Idle => client.ask()?,
            Step::End(End::Done) => return Ok(Some(false)),
            Step::End(end) => return Err(DriverError::Ended(end)),
            Step::Settled(_) | Step::Connect { .. } | Step::Write | Step::Read => {}
        }
        Ok(None)
    }

    /// Returns the receipt of a restore; `None` if the connector stops.
    pub(crate) fn restored<S: Storage>(
        &self,
        client: &Client<S>,
        step: Step,
    ) -> Result<Option<Receipt>, DriverError<E>> {
        match (client.end(), step) {
            (Some(end), _) if end != End::Done => Err(DriverError::Ended(end)),
            // The wait may have ended because the connector stopped, not because of a restore.
            (None, Step::Settled(receipt)) if !self.connector.is_stopping() => Ok(Some(receipt)),
            _ => Ok(None),
        }
    }
}

/// Records the result of a write.
#[inline(always)]
pub(crate) fn wrote<S: Storage>(
    exchange: &mut Exchange<'_, S>,
    result: Result<usize, impl embedded_io::Error>,
) {
    match result {
        Ok(length @ 1..) => exchange.sent(length),
        Err(error) if is_interrupted(&error) => {}
        _ => exchange.write_failed(),
    }
}

/// Records the result of a read.
#[inline(always)]
pub(crate) fn has_read<S: Storage>(
    exchange: &mut Exchange<'_, S>,
    result: Result<usize, impl embedded_io::Error>,
) {
    match result {
        Ok(length) => exchange.received(length),
        Err(error) if is_interrupted(&error) => {}
        Err(_) => exchange.lost(),
    }
}

/// Whether the invocation in flight may still be answered in any way.
pub(crate) fn is_unanswered<S: Storage>(client: &Client<S>) -> bool {
    client.machine().phase() == Phase::Invoking && !client.is_streaming()
}

/// Checks the step after the reply to a report of a failed start or restore.
pub(crate) fn reported<E>(step: Step) -> Result<(), DriverError<E>> {
    match step {
        Step::End(end) if end != End::Done => Err(DriverError::Ended(end)),
        _ => Ok(()),
    }
}

fn is_interrupted(error: &impl embedded_io::Error) -> bool {
    error.kind() == embedded_io::ErrorKind::Interrupted
}

/// Why a driver cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverError<E> {
    /// The connector could not connect and has given up.
    Connect(E),
    /// The session is over; never [`End::Done`].
    Ended(End),
}

impl<E> From<CommandError> for DriverError<E> {
    fn from(error: CommandError) -> Self {
        Self::Ended(End::Command(error))
    }
}

impl<E: fmt::Display> fmt::Display for DriverError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection to the Runtime API: {error}"),
            Self::Ended(end) => end.fmt(f),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> core::error::Error for DriverError<E> {}
