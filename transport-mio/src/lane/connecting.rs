//! How a slot comes to a connection, and what it does until then.

use std::io;
use std::time::{Duration, Instant};

use lambda_proto_host::MAX_ATTEMPT;

use super::link::Link;
use super::{Held, Lane};
use crate::dialer::AfterFailure;
use crate::hub::Hub;
use crate::socket::Socket;

impl Lane {
    /// When the link is to be looked at again, whatever happens.
    pub(crate) fn timer(&self) -> Option<Instant> {
        if let Held::ByWork { until } = self.held {
            // Nothing is outstanding, so that there is nothing to connect for.
            return Some(until);
        }
        match self.link {
            Link::Paused { until } => Some(until),
            Link::Connecting { began, .. } => Some(began + MAX_ATTEMPT),
            Link::Down | Link::Waiting | Link::Up(_) | Link::Over => None,
        }
    }

    /// Whether the slot has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.link, Link::Over)
    }

    /// Takes note that it is off the list of those with a timer.
    pub(crate) fn disarm(&mut self) {
        self.is_armed = false;
    }

    /// The service has been found, or this slot is to look for it.
    pub(crate) fn look_again(&mut self, hub: &mut Hub) {
        if let Link::Waiting = self.link {
            self.dial(hub);
            self.drive(hub);
        }
    }

    /// Makes a connection, after a pause if there were losses.
    pub(super) fn connect(&mut self, losses: u32, hub: &mut Hub) {
        if !matches!(self.link, Link::Down) {
            return;
        }
        let pause = lambda_proto_host::backoff(losses.saturating_sub(1));
        if pause.is_zero() {
            return self.dial(hub);
        }
        // Once for all slots, until an invocation comes.
        if !hub.is_told_of_losses {
            hub.is_told_of_losses = hub.settings.log_losses(losses);
        }
        self.pause(pause, hub);
    }

    pub(super) fn dial(&mut self, hub: &mut Hub) {
        if hub.dialer.is_left_to_another(self.number) {
            self.link = Link::Waiting;
            return;
        }
        let token = hub.token(self.number);
        let socket =
            hub.dialer.connect().and_then(|stream| Socket::register(stream, &hub.registry, token));
        match socket {
            Ok(socket) => {
                self.link = Link::Connecting { socket, began: hub.now };
                self.arm(hub);
            }
            Err(reason) => self.attempt_failed(reason, hub),
        }
    }

    pub(super) fn connected(&mut self, hub: &mut Hub) {
        let link = std::mem::replace(&mut self.link, Link::Down);
        let Link::Connecting { socket, .. } = link else { return };
        self.link = Link::Up(socket);
        hub.connections += 1;
        hub.look_again |= hub.dialer.is_down();
        if let Some(waited) = hub.dialer.reached(hub.now) {
            hub.settings.log_reachable(waited);
        }
        self.client.exchange().connected();
    }

    pub(super) fn attempt_failed(&mut self, reason: io::Error, hub: &mut Hub) {
        let began = match self.link {
            Link::Connecting { began, .. } => began,
            _ => hub.now,
        };
        self.hang_up(hub);
        let (now, patience) = (hub.now, hub.settings.patience);
        match hub.dialer.failed(self.number, began, now, patience, reason) {
            AfterFailure::TryNow => self.dial(hub),
            // Stopping wins over reconnecting.
            _ if hub.is_stopping() => self.client.exchange().shut_down(),
            AfterFailure::Wait => self.link = Link::Waiting,
            AfterFailure::Pause(_) if hub.gives_up() => {}
            AfterFailure::Pause(pause) => {
                if let Some(reason) = hub.dialer.take_news() {
                    hub.settings.log_unreachable(reason);
                }
                self.pause(pause, hub);
            }
        }
    }

    pub(super) fn hang_up(&mut self, hub: &mut Hub) {
        match std::mem::replace(&mut self.link, Link::Down) {
            Link::Up(socket) => {
                socket.close(&hub.registry);
                hub.lost_connection();
            }
            Link::Connecting { socket, .. } => socket.close(&hub.registry),
            Link::Down | Link::Paused { .. } | Link::Waiting | Link::Over => {}
        }
    }

    pub(super) fn pause(&mut self, pause: Duration, hub: &mut Hub) {
        self.link = Link::Paused { until: hub.now + pause };
        self.arm(hub);
    }

    /// Puts the lane on the list of those with a timer.
    pub(super) fn arm(&mut self, hub: &mut Hub) {
        if !std::mem::replace(&mut self.is_armed, true) {
            hub.armed.push(self.number);
        }
    }
}
