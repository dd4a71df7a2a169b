//! The host's side of a driver: its connection, and what it blocks in.

use embedded_io::Read as _;

use super::{Answer, DriverError, Host, Link};
use crate::slot::inbox::Inbox;
use crate::slot::line::Line;
use crate::slot::{End, Notice, Step, Storage, Trouble};
use crate::{CommandError, Phase};

pub(super) struct Port<H: Host> {
    pub(super) host: H,
    /// What ends the driver, found where it could not be returned.
    pub(super) error: Option<DriverError<H::Error>>,
    link: Option<H::Link>,
    /// The host has ended the stream under an invocation that came all the same.
    pub(super) is_cut: bool,
}

impl<H: Host> Port<H> {
    pub(super) fn new(host: H) -> Self {
        Self { host, error: None, link: None, is_cut: false }
    }

    /// Does what the slot asks for until it is the application's turn. Without `events`, only the answer
    /// is attended to, as the event is lent out.
    pub(super) fn pump<S: Storage>(
        &mut self,
        line: &mut Line<S>,
        mut events: Option<&mut Inbox<S>>,
        body: &[u8],
    ) -> Result<Step, DriverError<H::Error>> {
        loop {
            let host = &mut self.host;
            let step = line.step(events.as_deref_mut(), &mut |notice| host.notice(notice));
            if !line.is_connected() {
                self.link = None;
                self.is_cut = false;
            }
            match step {
                Step::Connect { losses } => {
                    self.link = Some(self.host.connect(losses).map_err(DriverError::Connect)?);
                    line.connected();
                    // Connecting may have taken a while.
                    if line.machine().phase() == Phase::Ready && self.host.is_stopping() {
                        return Ok(self.close(line));
                    }
                }
                Step::Write => self.write(line, body),
                Step::Read => {
                    let is_waiting = line.is_waiting();
                    if is_waiting && !self.host.begin_wait() {
                        return Ok(self.close(line));
                    }
                    self.read(line, events.as_deref_mut());
                    if is_waiting && !self.host.end_wait() {
                        self.is_cut = true;
                    }
                }
                step => return Ok(step),
            }
        }
    }

    fn write<S: Storage>(&mut self, line: &mut Line<S>, body: &[u8]) {
        let Some(link) = &mut self.link else { return line.lost() };
        match link.write_parts(line.unsent(body)) {
            Ok(length @ 1..) => line.sent(length),
            Err(error) if is_interrupted(&error) => {}
            _ => line.write_failed(),
        }
    }

    fn read<S: Storage>(&mut self, line: &mut Line<S>, events: Option<&mut Inbox<S>>) {
        let Some(link) = &mut self.link else { return line.lost() };
        let mut events = events;
        let Some(room) = line.room(events.as_deref_mut()) else { return };
        match link.read(room) {
            Ok(length) => line.received(length, events),
            Err(error) if is_interrupted(&error) => {}
            Err(_) => line.lost(),
        }
    }

    fn close<S: Storage>(&mut self, line: &mut Line<S>) -> Step {
        self.link = None;
        line.shut_down();
        Step::End(End::Done)
    }

    /// Answers, and waits until it is known what became of that.
    pub(super) fn answer<S: Storage>(
        &mut self,
        line: &mut Line<S>,
        body: &[u8],
        encode: impl FnOnce(&mut Line<S>, &mut H) -> Result<(), CommandError>,
    ) -> Answer {
        if self.error.is_some() || line.end().is_some() {
            return self.end_unsent(line);
        }
        if let Err(error) = encode(line, &mut self.host) {
            self.error = Some(error.into());
            return self.end_unsent(line);
        }
        match self.pump(line, None, body) {
            Ok(Step::Answered(answer)) => answer,
            Ok(_) => Answer::FateUnknown,
            Err(error) => {
                self.error = Some(error);
                self.end_unsent(line)
            }
        }
    }

    /// The driver ends before the answer is through.
    fn end_unsent<S: Storage>(&mut self, line: &mut Line<S>) -> Answer {
        line.note(Trouble::Unsent, &mut |notice| self.host.notice(notice));
        Answer::FateUnknown
    }

    /// Sends a part of a stream; `false` if that is over.
    pub(super) fn send_part<S: Storage>(&mut self, line: &mut Line<S>, piece: &[u8]) -> bool {
        match self.pump(line, None, piece) {
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
