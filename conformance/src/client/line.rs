//! One connection of a client to the played service.

use super::request::Arrived;

/// One connection.
#[derive(Default)]
pub(super) struct Line {
    pub(super) unread: Vec<u8>,
    pub(super) awaits: Awaits,
    /// The awaited request cannot be complete with fewer bytes than this. It is not parsed before,
    /// as a body of megabytes comes in many pieces.
    pub(super) least: usize,
    /// A step has used this connection.
    pub(super) is_known: bool,
    pub(super) requests: usize,
    /// The client has closed it.
    pub(super) is_ended: bool,
}

/// What the service awaits on a connection.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Awaits {
    #[default]
    Request,
    /// The rest of a request whose head has been read.
    Rest,
    /// Nothing more: the service has closed the connection.
    Nothing,
}

impl Line {
    pub(super) fn close(&mut self) {
        self.awaits = Awaits::Nothing;
        self.unread.clear();
        self.least = 0;
    }

    /// The next request, once its head has arrived.
    pub(super) fn request(&self) -> Result<Option<(Arrived, usize)>, String> {
        if self.awaits != Awaits::Request || self.unread.is_empty() {
            return Ok(None);
        }
        Arrived::parse(&self.unread)
    }

    /// Drops the rest of a request of which only the head was read, once it is complete.
    pub(super) fn skip_rest(&mut self) -> Result<(), String> {
        // On a connection that the service has closed, the rest of a request may be anything.
        if self.awaits == Awaits::Rest
            && let Some((came, length)) = Arrived::parse(&self.unread)?
            && came.is_whole()
        {
            self.unread.drain(..length);
            self.awaits = Awaits::Request;
        }
        Ok(())
    }

    /// Whether unread bytes have arrived, other than the rest of a request of which only the head
    /// was read.
    pub(super) fn has_unread(&self) -> bool {
        match self.awaits {
            Awaits::Request => !self.unread.is_empty(),
            Awaits::Rest => match Arrived::parse(&self.unread) {
                Ok(Some((came, length))) => came.is_whole() && length < self.unread.len(),
                _ => false,
            },
            Awaits::Nothing => false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_ended || self.awaits == Awaits::Nothing
    }
}
