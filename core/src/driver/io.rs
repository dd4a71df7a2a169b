use embedded_io::Read as _;

use super::{DriverError, Host, Link};
use crate::slot::{Answer, End, Exchange, Notice, Step, Storage};
use crate::{CommandError, Phase};

/// What a driver has besides its slot: the host, its connection, and what it blocks in.
pub(super) struct Io<H: Host> {
    pub(super) host: H,
    /// What ends the driver, found where it could not be returned.
    pub(super) error: Option<DriverError<H::Error>>,
    link: Option<H::Link>,
    /// The host has ended the stream under an invocation that came all the same.
    pub(super) is_cut: bool,
}

impl<H: Host> Io<H> {
    pub(super) fn new(host: H) -> Self {
        Self { host, error: None, link: None, is_cut: false }
    }

    /// Does what the slot asks for until it is the application's turn.
    pub(super) fn pump<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
    ) -> Result<Step, DriverError<H::Error>> {
        loop {
            // The slot may have given up the connection in this step; it must be closed before another
            // one is made, or the service would count two.
            let step = exchange.step(|notice| self.host.notice(notice));
            self.host.stepped(exchange.machine());
            if !exchange.is_connected() {
                self.link = None;
                self.is_cut = false;
            }
            match step {
                Step::Connect { losses } => {
                    self.link = Some(self.host.connect(losses).map_err(DriverError::Connect)?);
                    exchange.connected();
                    // Connecting may have taken a while.
                    if exchange.machine().phase() == Phase::Ready && self.host.is_stopping() {
                        return Ok(self.close(exchange));
                    }
                }
                Step::Write => self.write(exchange, body),
                Step::Read => {
                    let is_waiting = exchange.is_waiting();
                    // Between `begin_wait` and `end_wait` another thread may end the stream. If an event
                    // has come all the same, its connection is cut, and it is answered on a new one.
                    if is_waiting && !self.host.begin_wait() {
                        return Ok(self.close(exchange));
                    }
                    self.read(exchange);
                    if is_waiting && !self.host.end_wait() {
                        self.is_cut = true;
                    }
                }
                step => return Ok(step),
            }
        }
    }

    fn write<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>, body: &[u8]) {
        let Some(link) = &mut self.link else { return exchange.lost() };
        match link.write_parts(exchange.unsent(body)) {
            Ok(length @ 1..) => exchange.sent(length),
            Err(error) if is_interrupted(&error) => {}
            _ => exchange.write_failed(),
        }
    }

    fn read<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) {
        let Some(link) = &mut self.link else { return exchange.lost() };
        let Some(room) = exchange.room() else { return };
        match link.read(room) {
            Ok(length) => exchange.received(length),
            Err(error) if is_interrupted(&error) => {}
            Err(_) => exchange.lost(),
        }
    }

    fn close<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) -> Step {
        self.link = None;
        exchange.shut_down();
        Step::End(End::Done)
    }

    /// Answers, and waits until it is known what became of that.
    pub(super) fn answer<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        body: &[u8],
        encode: impl FnOnce(&mut Exchange<'_, S>, &mut H) -> Result<(), CommandError>,
    ) -> Answer {
        // The driver has ended by an earlier call, in the middle of a handler.
        if self.error.is_some() || exchange.end().is_some() {
            return self.abandon(exchange);
        }
        if let Err(error) = encode(exchange, &mut self.host) {
            self.error = Some(error.into());
            return self.abandon(exchange);
        }
        match self.pump(exchange, body) {
            Ok(Step::Answered(answer)) => answer,
            Ok(_) => Answer::FateUnknown,
            Err(error) => {
                self.error = Some(error);
                self.abandon(exchange)
            }
        }
    }

    /// The driver ends before the answer is sent.
    fn abandon<S: Storage>(&mut self, exchange: &mut Exchange<'_, S>) -> Answer {
        exchange.abandon(self.tell())
    }

    /// Sends a part of a stream; `false` if that is over.
    pub(super) fn send_part<S: Storage>(
        &mut self,
        exchange: &mut Exchange<'_, S>,
        piece: &[u8],
    ) -> bool {
        match self.pump(exchange, piece) {
            Ok(step) => step == Step::InHand,
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }

    /// Whom trouble is told.
    pub(super) fn tell(&mut self) -> impl FnMut(&Notice<'_>) {
        |notice| self.host.notice(notice)
    }
}

fn is_interrupted(error: &impl embedded_io::Error) -> bool {
    error.kind() == embedded_io::ErrorKind::Interrupted
}
