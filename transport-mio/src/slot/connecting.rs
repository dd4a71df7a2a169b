//! How a slot gets its connection, and what it does until then.

use std::io;
use std::time::Duration;

use super::Slot;
use super::link::Link;
use crate::dialer::AfterFailure;
use crate::scheduler::Scheduler;
use crate::socket::Socket;

impl Slot {
    /// Whether the slot has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.link, Link::Over)
    }

    /// Another slot has reached the service or has stopped trying, so this one connects.
    pub(crate) fn look_again(&mut self, scheduler: &mut Scheduler) {
        if let Link::Waiting = self.link {
            self.dial(scheduler);
            self.drive(scheduler);
        }
    }

    /// Makes a connection, after a pause if there were losses.
    pub(super) fn connect(&mut self, losses: u32, scheduler: &mut Scheduler) {
        if !matches!(self.link, Link::Down) {
            return;
        }
        let pause = lambda_proto_host::backoff(losses.saturating_sub(1));
        if pause.is_zero() {
            return self.dial(scheduler);
        }
        // Logged once for all slots, until an invocation arrives.
        if !scheduler.is_told_of_losses {
            scheduler.is_told_of_losses = scheduler.settings.log_losses(losses);
        }
        self.pause(pause, scheduler);
    }

    pub(super) fn dial(&mut self, scheduler: &mut Scheduler) {
        if scheduler.dialer.is_left_to_another(self.number) {
            self.put_link(Link::Waiting, scheduler);
            return;
        }
        let token = scheduler.token(self.number);
        let socket = scheduler
            .dialer
            .connect()
            .and_then(|stream| Socket::register(stream, &scheduler.registry, token));
        match socket {
            Ok(socket) => {
                self.put_link(Link::Connecting { socket, began: scheduler.now }, scheduler);
            }
            Err(reason) => self.attempt_failed(reason, scheduler),
        }
    }

    pub(super) fn connected(&mut self, scheduler: &mut Scheduler) {
        let link = self.put_link(Link::Down, scheduler);
        let Link::Connecting { socket, .. } = link else { return };
        self.put_link(Link::Up(socket), scheduler);
        if let Some(waited) = scheduler.connected() {
            scheduler.settings.log_reachable(waited);
        }
        self.client.exchange().connected();
    }

    pub(super) fn attempt_failed(&mut self, reason: io::Error, scheduler: &mut Scheduler) {
        let began = match self.link {
            Link::Connecting { began, .. } => began,
            _ => scheduler.now,
        };
        self.hang_up(scheduler);
        match scheduler.failed_to_connect(self.number, began, reason) {
            AfterFailure::TryNow => self.dial(scheduler),
            // Stopping wins over reconnecting.
            _ if scheduler.is_stopping() => self.client.exchange().shut_down(),
            AfterFailure::Wait => {
                self.put_link(Link::Waiting, scheduler);
            }
            AfterFailure::Pause(_) if scheduler.gives_up() => {}
            AfterFailure::Pause(pause) => {
                if let Some(reason) = scheduler.dialer.take_news() {
                    scheduler.settings.log_unreachable(reason);
                }
                self.pause(pause, scheduler);
            }
        }
    }

    pub(super) fn hang_up(&mut self, scheduler: &mut Scheduler) {
        match self.put_link(Link::Down, scheduler) {
            Link::Up(socket) => {
                socket.close(&scheduler.registry);
                scheduler.lost_connection();
            }
            Link::Connecting { socket, .. } => socket.close(&scheduler.registry),
            Link::Down | Link::Paused { .. } | Link::Waiting | Link::Over => {}
        }
    }

    pub(super) fn pause(&mut self, pause: Duration, scheduler: &mut Scheduler) {
        self.put_link(Link::Paused { until: scheduler.now + pause }, scheduler);
    }
}
