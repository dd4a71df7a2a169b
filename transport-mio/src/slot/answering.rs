//! How a slot carries out the commands of responders and streams.

use lambda_proto::api::ContentType;
use lambda_proto::client::Receipt;
use lambda_proto::machine::CommandError;

use super::{Doing, Finish, Held, Slot};
use crate::command_queue::{Command, Key, Next};
use crate::event::Event;
use crate::pool::Use;
use crate::scheduler::Scheduler;

impl Slot {
    /// Carries out a command.
    pub(crate) fn apply(&mut self, key: Key, command: Command, scheduler: &mut Scheduler) {
        if key != self.key() || self.is_over() {
            return refuse(key, command, scheduler);
        }
        match (&mut self.doing, command) {
            (_, Command::Flow) => {}
            (_, Command::Release) if self.held == Held::ByProgram => self.held = Held::Not,
            (_, Command::Release) => {}
            (Doing::InFlight, command) => {
                if let Err(error) = self.begin_answer(command, scheduler) {
                    self.cannot_answer(error, scheduler);
                }
            }
            (Doing::Streaming { finish: finish @ None, .. }, command) => {
                *finish = Some(match command {
                    Command::Finish { next } => Finish::Well { next },
                    Command::Fail(failure) | Command::GiveUp(Some(failure)) => {
                        Finish::Failed(failure)
                    }
                    _ => Finish::GivenUp,
                });
            }
            // The service has ended the stream, so the failure is only logged.
            (Doing::Nothing | Doing::Answering { .. }, Command::Fail(failure)) => {
                let _told = self
                    .client
                    .exchange()
                    .fail(&scheduler.settings.error_types.report(&failure), scheduler.tell());
            }
            (_, command) => refuse(key, command, scheduler),
        }
        self.forget_cancellation_if_answered(scheduler);
        self.drive(scheduler);
    }

    /// Ends the slot because the client has refused a command. This does not happen: the memory for
    /// requests grows, and an invocation is in flight.
    fn cannot_answer(&mut self, error: CommandError, scheduler: &Scheduler) {
        scheduler.settings.log.error(format_args!("an answer cannot be sent: {error}"));
        self.client.exchange().shut_down();
    }

    fn begin_answer(
        &mut self,
        command: Command,
        scheduler: &Scheduler,
    ) -> Result<(), CommandError> {
        self.doing = Doing::Answering { body: Vec::new() };
        match command {
            Command::Respond { body, content_type, next } => {
                self.held = if next == Next::Held { Held::ByProgram } else { Held::Not };
                let length = body.len();
                self.doing = Doing::Answering { body };
                let content_type =
                    content_type.as_deref().and_then(|text| ContentType::from_bytes(text).ok());
                let is_pipelined = self.may_pipeline(next, scheduler);
                self.client.exchange().respond(content_type, length, is_pipelined)
            }
            Command::Stream(content_type) => {
                self.doing = Doing::Streaming { piece: 0, finish: None };
                let content_type = ContentType::from_bytes(&content_type);
                self.client.exchange().stream(content_type.unwrap_or(ContentType::OCTET_STREAM))
            }
            Command::Fail(failure) | Command::GiveUp(Some(failure)) => self
                .client
                .exchange()
                .fail(&scheduler.settings.error_types.report(&failure), scheduler.tell()),
            _ => self.client.give_up(scheduler.tell()),
        }
    }

    /// Continues a stream; `false` if there is nothing to continue with.
    pub(super) fn feed(&mut self, scheduler: &mut Scheduler) -> bool {
        let key = self.key();
        let Doing::Streaming { piece, finish } = &mut self.doing else { return false };
        loop {
            *piece = self.pieces.advance().unwrap_or_default();
            if *piece > 0 {
                let said = self.client.exchange().chunk(*piece);
                return self.continued(said, scheduler);
            }
            let taken = scheduler.queue.piece_queues[self.number].take(&mut self.pieces);
            if taken.is_told {
                scheduler.push(Event::Writable { key });
            }
            if !taken.is_filled {
                break;
            }
        }
        let Some(finish) = finish.take() else { return false };
        self.close_stream(scheduler);
        self.doing = Doing::Answering { body: Vec::new() };
        let ended = match finish {
            Finish::Well { next } => {
                let is_pipelined = self.may_pipeline(next, scheduler);
                self.client.exchange().finish(is_pipelined)
            }
            Finish::Failed(failure) => self
                .client
                .exchange()
                .fail(&scheduler.settings.error_types.report(&failure), scheduler.tell()),
            Finish::GivenUp => self.client.give_up(scheduler.tell()),
        };
        self.continued(ended, scheduler)
    }

    /// Whether the slot can continue after a command of the stream.
    fn continued(&mut self, said: Result<(), CommandError>, scheduler: &Scheduler) -> bool {
        match said {
            Ok(()) => true,
            // The service has begun to reply.
            Err(CommandError::MustReconnect) => false,
            Err(error) => {
                self.cannot_answer(error, scheduler);
                true
            }
        }
    }

    fn close_stream(&mut self, scheduler: &Scheduler) {
        self.pieces.release(&scheduler.queue.pool);
        scheduler.queue.piece_queues[self.number].close(self.generation, &scheduler.queue.pool);
    }

    /// Notes the receipt of the answer.
    pub(super) fn settled(&mut self, receipt: Receipt, scheduler: &mut Scheduler) {
        let done = std::mem::replace(&mut self.doing, Doing::Nothing);
        self.forget_cancellation_if_answered(scheduler);
        match done {
            Doing::Nothing if self.client.end().is_some() => return,
            // The receipt of a request before the first invocation belongs to no invocation.
            Doing::Nothing | Doing::InFlight => {}
            Doing::Streaming { .. } => self.close_stream(scheduler),
            Doing::Answering { body } => scheduler.queue.pool.give(Use::Body, body),
        }
        scheduler.push(Event::Settled { key: self.key(), receipt });
    }
}

/// Drops a command that comes too late: its slot has ended or started over.
pub(crate) fn refuse(key: Key, command: Command, scheduler: &Scheduler) {
    match command {
        Command::Respond { body, .. } => scheduler.queue.pool.give(Use::Body, body),
        // Its writer may wait for room, which never comes.
        Command::Stream(_) => {
            scheduler.queue.piece_queues[key.slot].close(key.generation, &scheduler.queue.pool);
        }
        Command::Fail(_) => {}
        Command::GiveUp(_) | Command::Flow | Command::Finish { .. } | Command::Release => {
            return;
        }
    }
    scheduler
        .settings
        .log
        .error(format_args!("dropped the answer from slot {}: its invocation is over", key.slot));
}
