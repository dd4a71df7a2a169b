//! The model: the phase table, and what is known of the requests and replies of one connection.

use lambda_proto_extension::{Call, CommandError, Phase};

use super::phase_table::{
    Answer, Command, Input, Loss, PHASES, RecoveryKind, Row, follow, follow_command,
};
use super::wire::{Said, TAIL};
use super::{Reach, refusal};

/// An event of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Document(Vec<u8>),
    Reply(Call, u16),
}

/// An error of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unsolicited,
    UnusableIdentifier,
    Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reading {
    Nothing,
    /// The document of a reply of this status.
    Document {
        status: u16,
        is_endless: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reference {
    pub(crate) phase: Phase,
    pub(crate) identifier: &'static str,
    pub(crate) event_identifier: &'static str,
    length: usize,
    sent: usize,
    reading: Reading,
    is_spent: bool,
}

impl Reference {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Unregistered,
            identifier: "",
            event_identifier: "",
            length: 0,
            sent: 0,
            reading: Reading::Nothing,
            is_spent: false,
        }
    }

    pub(crate) fn must_reconnect(&self) -> bool {
        self.is_spent && self.reading == Reading::Nothing
    }

    pub(crate) fn unsent(&self) -> usize {
        self.length - self.sent
    }

    /// Whether a request waits of which no byte was sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.length > 0 && self.sent == 0
    }

    pub(crate) fn sent(&mut self, length: usize) {
        self.sent += length;
    }

    pub(crate) fn command(
        &mut self,
        command: Command,
        rows: &mut Vec<Reach>,
    ) -> Result<(), CommandError> {
        let (row, to) = follow_command(self.phase, command);
        if row.is_refused() {
            rows.push((row, self.phase));
            return Err(refusal(self.phase, true));
        }
        if self.must_reconnect() {
            return Err(refusal(self.phase, false));
        }
        rows.push((row, self.phase));
        self.phase = to;
        if command == Command::Next {
            self.event_identifier = "";
        }
        Ok(())
    }

    /// The command was encoded in this many bytes.
    pub(crate) fn encoded(&mut self, length: usize) {
        (self.length, self.sent) = (length, 0);
    }

    pub(crate) fn read_shutdown(&mut self, rows: &mut Vec<Reach>) {
        if follow(self.phase, Input::ReadShutdown).is_some() {
            self.reach(Input::ReadShutdown, rows);
        }
    }

    pub(crate) fn shut_down(&mut self, rows: &mut Vec<Reach>) {
        self.reach(Input::ShutDown, rows);
        self.forget();
    }

    pub(crate) fn hear(&mut self, said: Said, rows: &mut Vec<Reach>) -> (Vec<Told>, Option<Fault>) {
        let mut told = Vec::new();
        let fault = self.take(said, rows, &mut told).err();
        match fault {
            None => {}
            Some(Fault::Unsolicited) => {
                self.reach(Input::Unasked, rows);
                self.is_spent = true;
            }
            Some(Fault::UnusableIdentifier | Fault::Reply) => {
                self.reach(Input::Violation, rows);
                self.forget();
                self.is_spent = true;
            }
        }
        (told, fault)
    }

    fn take(
        &mut self,
        said: Said,
        rows: &mut Vec<Reach>,
        told: &mut Vec<Told>,
    ) -> Result<(), Fault> {
        let bytes = said.bytes();
        match self.reading {
            _ if self.must_reconnect() || self.phase == Phase::Over => Ok(()),
            Reading::Nothing => self.take_head(said, rows, told),
            Reading::Document { is_endless: true, .. } => {
                told.push(Told::Document(bytes));
                Ok(())
            }
            Reading::Document { is_endless: false, status } => {
                let (tail, rest) = bytes.split_at(TAIL);
                told.push(Told::Document(tail.to_vec()));
                self.end_reply(status, rows, told);
                // What is left answers nothing, because no reply leads to another request.
                if rest.is_empty() || self.must_reconnect() || self.phase == Phase::Over {
                    return Ok(());
                }
                Err(Fault::Unsolicited)
            }
        }
    }

    fn take_head(
        &mut self,
        said: Said,
        rows: &mut Vec<Reach>,
        told: &mut Vec<Told>,
    ) -> Result<(), Fault> {
        let call = self.awaits().filter(|_| self.sent > 0).ok_or(Fault::Unsolicited)?;
        let Some((status, document)) = said.reply() else {
            return if said == Said::Interim { Ok(()) } else { Err(Fault::Reply) };
        };
        let (identifier, event_identifier) = said.identifiers();
        if status < 300 && call == Call::Register {
            if identifier.is_empty() {
                return Err(Fault::UnusableIdentifier);
            }
            self.identifier = identifier;
        }
        if status < 300 && call == Call::Next {
            let is_own = !event_identifier.is_empty();
            self.event_identifier = if is_own { event_identifier } else { identifier };
        }
        self.is_spent |= matches!(said, Said::Last(_) | Said::Endless);
        if !document.is_empty() {
            told.push(Told::Document(document.to_vec()));
        }
        match said {
            Said::Cut(_) => self.reading = Reading::Document { status, is_endless: false },
            Said::Endless => self.reading = Reading::Document { status, is_endless: true },
            _ => self.end_reply(status, rows, told),
        }
        Ok(())
    }

    fn end_reply(&mut self, status: u16, rows: &mut Vec<Reach>, told: &mut Vec<Told>) {
        let call = self.awaits().expect("a reply has a call");
        told.push(Told::Reply(call, status));
        self.reading = Reading::Nothing;
        // The rest of a request that was refused early must not be sent.
        self.is_spent |= self.sent < self.length;
        self.length = self.sent;
        self.reach(Input::Replied(kind(status)), rows);
    }

    pub(crate) fn end_of_stream(&mut self, rows: &mut Vec<Reach>) -> Option<Told> {
        let Reading::Document { status, is_endless: true } = self.reading else { return None };
        let mut told = Vec::new();
        self.end_reply(status, rows, &mut told);
        told.pop()
    }

    pub(crate) fn lose(&mut self, rows: &mut Vec<Reach>) -> RecoveryKind {
        let loss = match (self.reading, self.awaits()) {
            (Reading::Document { status, .. }, _) => Loss::Known(kind(status)),
            (Reading::Nothing, Some(_)) => Loss::Open,
            (Reading::Nothing, None) => Loss::Idle,
        };
        let row = self.reach(Input::Lost(loss), rows);
        self.forget();
        row.recovery.expect("a lost connection has a recovery")
    }

    fn awaits(&self) -> Option<Call> {
        PHASES.iter().find(|facts| facts.phase == self.phase).expect("it has facts").awaits
    }

    fn reach(&mut self, input: Input, rows: &mut Vec<Reach>) -> &'static Row {
        let (row, to) = follow(self.phase, input)
            .unwrap_or_else(|| panic!("no row for {input:?} in {}", self.phase));
        rows.push((row, self.phase));
        self.phase = to;
        row
    }

    fn forget(&mut self) {
        (self.length, self.sent, self.is_spent) = (0, 0, false);
        self.reading = Reading::Nothing;
    }
}

fn kind(status: u16) -> Answer {
    if status < 300 { Answer::Accepted } else { Answer::Refused }
}
