//! Input from the network.

use lambda_proto::api::{Action, Call, Meaning};

use super::{CopyOf, Fault, Reading, Recovers, Reference, Sent, Told, is_accepted};
use crate::phase_table::Stage::{Reporting, ReportingAsked, ShuttingDown, Streaming, Withdrawn};
use crate::phase_table::reached::Reach;
use crate::phase_table::{Input, Loss, RecoveryKind, Reply, Row};
use crate::wire::{CUT, ENDLESS, EVENT, Said, TAIL};

impl Reference {
    pub(crate) fn sent(&mut self, length: usize) {
        self.sent += length;
    }

    pub(crate) fn hear(&mut self, said: Said) -> (Vec<Reach>, Vec<Told>, Option<Fault>) {
        let (mut rows, mut told) = (Vec::new(), Vec::new());
        let fault = self.take(said, &mut rows, &mut told).err();
        if fault.is_some() {
            (self.is_spent, self.reading) = (true, Reading::Nothing);
        }
        (rows, told, fault)
    }

    fn take(
        &mut self,
        said: Said,
        rows: &mut Vec<Reach>,
        told: &mut Vec<Told>,
    ) -> Result<(), Fault> {
        let bytes = said.bytes();
        match self.reading {
            _ if self.must_reconnect() || self.stage == ShuttingDown => {}
            Reading::Nothing => return self.take_head(said, rows, told),
            Reading::Head { is_sound: true } if matches!(said, Said::HeadTail(_)) => {
                self.reading = Reading::Nothing;
                let status = if said == Said::HeadTail(408) { 408 } else { 202 };
                return self.take_head(Said::Answer(status), rows, told);
            }
            Reading::Head { .. } if said.ends_a_head() => {
                self.reach(Input::Violation, rows);
                return Err(Fault::Head);
            }
            Reading::Head { .. } => self.reading = Reading::Head { is_sound: false },
            Reading::Event { is_endless: true } => told.push(Told::Body(bytes)),
            Reading::Event { is_endless: false } => {
                let (tail, rest) = bytes.split_at(TAIL);
                told.push(Told::Body(tail.to_vec()));
                self.end_event(rows, told);
                return self.take_surplus(rest, rows);
            }
            Reading::Reply { is_endless: true, .. } => {
                if self.is_refusal() {
                    told.push(Told::Detail(bytes));
                }
            }
            Reading::Reply { is_endless: false, .. } => {
                let (tail, rest) = bytes.split_at(TAIL);
                if self.is_refusal() {
                    told.push(Told::Detail(tail.to_vec()));
                }
                self.end_reply(rows, told);
                return self.take_surplus(rest, rows);
            }
        }
        Ok(())
    }

    /// Bytes after a tail are never the beginning of a head here.
    fn take_surplus(&mut self, rest: &[u8], rows: &mut Vec<Reach>) -> Result<(), Fault> {
        if rest.is_empty() || self.must_reconnect() || self.stage == ShuttingDown {
            return Ok(());
        }
        self.expect_answer(rows)?;
        self.reach(Input::Violation, rows);
        Err(Fault::Head)
    }

    /// Bytes can be a reply only if a request is outstanding and a part of it has been sent.
    fn expect_answer(&mut self, rows: &mut Vec<Reach>) -> Result<Call, Fault> {
        match self.awaits() {
            Some(call) if self.progress() != Sent::Nothing => {
                self.has_heard = true;
                Ok(call)
            }
            _ => {
                self.reach(Input::Unasked, rows);
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
        let call = self.expect_answer(rows)?;
        let status = match said {
            Said::Interim => return Ok(()),
            Said::HalfHead => {
                self.reading = Reading::Head { is_sound: true };
                return Ok(());
            }
            Said::Tail | Said::HeadTail(_) | Said::Nonsense => {
                self.reach(Input::Violation, rows);
                return Err(Fault::Head);
            }
            Said::Switch => {
                self.reach(Input::Violation, rows);
                return Err(Fault::SwitchedProtocols);
            }
            Said::Answer(status) | Said::LastAnswer(status) | Said::CutAnswer(status) => status,
            _ => 200,
        };
        if status == 408 && matches!(self.stage, Reporting | ReportingAsked | Withdrawn) {
            // Counts as a connection lost without a reply.
            self.reach(Input::TimedOut, rows);
            (self.is_spent, self.has_heard) = (true, false);
            return Ok(());
        }
        let is_endless = said == Said::EndlessEvent;
        self.is_spent |=
            is_endless || matches!(said, Said::LastAnswer(_)) || call == Call::RestoreNext;
        if call == Call::Next && matches!(status, 200 | 202) {
            return self.take_event(said, rows, told);
        }
        let is_to_second = matches!(self.stage, Reporting | ReportingAsked | Withdrawn)
            && self.copy == CopyOf::Whole;
        self.reading = Reading::Reply { status, is_to_second, is_endless };
        // The body of a reply that is not an event.
        let body = match said {
            Said::CutAnswer(_) | Said::CutEvent => CUT,
            Said::EndlessEvent => ENDLESS,
            Said::Event { .. } => EVENT,
            Said::BrokenEvent => {
                // The broken framing is in the body of a reply that is not an event.
                self.reach(Input::Violation, rows);
                return Err(Fault::Body);
            }
            _ => b"",
        };
        if self.is_refusal() && !body.is_empty() {
            told.push(Told::Detail(body.to_vec()));
        }
        if !matches!(said, Said::CutAnswer(_) | Said::CutEvent | Said::EndlessEvent) {
            self.end_reply(rows, told);
        }
        Ok(())
    }

    fn take_event(
        &mut self,
        said: Said,
        rows: &mut Vec<Reach>,
        told: &mut Vec<Told>,
    ) -> Result<(), Fault> {
        if matches!(
            said,
            Said::NamelessEvent | Said::Answer(_) | Said::LastAnswer(_) | Said::CutAnswer(_)
        ) {
            self.reach(Input::Violation, rows);
            return Err(Fault::UnusableRequestId);
        }
        self.has_attempt = said == Said::Event { has_attempt: true };
        self.reach(Input::EventHead, rows);
        told.push(Told::Invocation);
        match said {
            Said::BrokenEvent => {
                self.reach(Input::BrokenEvent, rows);
                return Err(Fault::Body);
            }
            Said::CutEvent => {
                self.reading = Reading::Event { is_endless: false };
                told.push(Told::Body(CUT.to_vec()));
            }
            Said::EndlessEvent => {
                self.reading = Reading::Event { is_endless: true };
                told.push(Told::Body(ENDLESS.to_vec()));
            }
            _ => {
                told.push(Told::Body(EVENT.to_vec()));
                self.end_event(rows, told);
            }
        }
        Ok(())
    }

    fn end_event(&mut self, rows: &mut Vec<Reach>, told: &mut Vec<Told>) {
        self.end_answer();
        self.reach(Input::EventEnd, rows);
        (self.losses, self.was_empty) = (0, false);
        told.push(Told::InvocationEnd);
    }

    fn end_reply(&mut self, rows: &mut Vec<Reach>, told: &mut Vec<Told>) {
        let Some((call, status, meaning)) = self.known_reply() else { return };
        let then = self.then(call, status);
        self.end_answer();
        self.reach(Input::Replied(self.kind(call, status, meaning)), rows);
        let is_empty = meaning == Meaning::NoInvocation;
        let is_empty_again = is_empty && self.was_empty;
        self.was_empty = is_empty;
        match then {
            // The embedder waits before it connects.
            Action::ContinueAfterBackoff => {
                (self.is_spent, self.losses) = (true, self.losses.max(1) + 1);
            }
            _ if is_empty_again => (self.is_spent, self.losses) = (true, 2),
            _ => self.losses = 0,
        }
        told.push(Told::Outcome(call, status, meaning, then));
    }

    /// A whole reply has arrived. Unsent bytes of its request are never sent.
    fn end_answer(&mut self) {
        let is_whole = matches!(self.progress(), Sent::All | Sent::AllButNext);
        if is_whole && self.stage != Streaming {
            self.is_replied = true;
        } else {
            self.is_spent = true;
            self.forget_request();
        }
        self.reading = Reading::Nothing;
    }

    fn kind(&self, call: Call, status: u16, meaning: Meaning) -> Reply {
        match self.then(call, status) {
            Action::Exit => Reply::Exit,
            _ if is_accepted(meaning) => Reply::Accepted,
            _ => Reply::Refused,
        }
    }

    /// The stream ends in order, which may complete a reply, and the connection is lost.
    pub(crate) fn close(&mut self) -> (Vec<Reach>, Vec<Told>, Recovers) {
        let (mut rows, mut told) = (Vec::new(), Vec::new());
        match self.reading {
            Reading::Event { is_endless: true } => self.end_event(&mut rows, &mut told),
            Reading::Reply { is_endless: true, .. } => self.end_reply(&mut rows, &mut told),
            _ => {}
        }
        let from = self.stage;
        let (row, recovers) = self.lose();
        rows.push((row, from));
        (rows, told, recovers)
    }

    pub(crate) fn lose(&mut self) -> (&'static Row, Recovers) {
        if !self.must_reconnect() {
            self.losses += 1;
        }
        let known = self.known_reply();
        let loss = self.loss();
        let row = self.follow(Input::Lost(loss));
        if row.recovery == Some(RecoveryKind::SendAgain) {
            self.next.clear();
            self.sent = 0;
        } else {
            self.forget_request();
        }
        self.reading = Reading::Nothing;
        (self.is_spent, self.has_heard) = (false, false);
        (row, (row.recovery, known))
    }

    /// What is known when the connection is lost.
    fn loss(&mut self) -> Loss {
        if let Some((call, status, meaning)) = self.known_reply() {
            return Loss::Known(self.kind(call, status, meaning));
        }
        if self.awaits().is_none() {
            return Loss::Idle;
        }
        let sent = self.progress();
        let is_told_apart = !self.is_multi || self.has_attempt;
        match self.stage {
            _ if sent == Sent::Nothing => Loss::Unsent,
            Reporting | ReportingAsked
                if !self.is_stream
                    && !self.has_heard
                    && is_told_apart
                    && self.copy == CopyOf::First
                    && !(self.stage == ReportingAsked && sent == Sent::All) =>
            {
                self.copy = if sent == Sent::Part { CopyOf::Cut } else { CopyOf::Whole };
                Loss::Repeatable
            }
            _ => Loss::Sent,
        }
    }

    fn reach(&mut self, input: Input, rows: &mut Vec<Reach>) {
        let from = self.stage;
        rows.push((self.follow(input), from));
    }
}
