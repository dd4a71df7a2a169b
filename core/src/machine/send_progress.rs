//! Progress of sending: lengths only; the bytes stay with the caller.

use super::phase::Written;

/// How much of the last commands' bytes has been sent.
///
/// ```text
///  head buffer:  [ head of the request | next, if pipelined ]
///  body buffer:  [ body ]
///  on the wire:  [ head ][ body ][ next ]
///                 <--- sent --->
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SendProgress {
    head: usize,
    body: usize,
    next: usize,
    sent: usize,
    /// Whether these bytes continue a request whose beginning has been sent.
    is_continued: bool,
    /// Whether the reply to the answer has arrived, so that `next` is the current request.
    is_answered: bool,
}

impl SendProgress {
    pub(super) fn new(head: usize, body: usize) -> Self {
        Self { head, body, ..Self::default() }
    }

    /// A chunk, or the end of a stream.
    pub(super) fn continued(head: usize, body: usize) -> Self {
        Self { head, body, is_continued: true, ..Self::default() }
    }

    /// Adds a pipelined `next` after the body.
    pub(super) fn append(&mut self, next: usize) {
        self.next = next;
    }

    pub(super) fn sent(&mut self, length: usize) {
        self.sent = self.sent.saturating_add(length).min(self.total());
    }

    /// Prepares to send the answer again, without the pipelined `next`.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
        self.sent = 0;
    }

    pub(super) fn answered(&mut self) {
        self.is_answered = true;
        // `next` is a request of its own.
        self.is_continued = false;
    }

    pub(super) fn head_len(&self) -> usize {
        self.head
    }

    pub(super) fn unsent_len(&self) -> usize {
        self.total() - self.sent
    }

    pub(super) fn written(&self) -> Written {
        // After the reply to the answer, the current request is `next`, which begins after the
        // body. A chunk never counts as unsent: the request that it continues has begun.
        let begins_at = if self.is_answered { self.answer() } else { 0 };
        match self.sent {
            sent if sent == self.total() => Written::All,
            sent if sent == begins_at && !self.is_continued => Written::Nothing,
            sent if sent >= self.answer() && !self.is_answered => Written::AllButNext,
            _ => Written::Part,
        }
    }

    /// The same for the last command alone: its bytes may continue a request.
    pub(super) fn written_last(&self) -> Written {
        let is_untouched = self.sent == 0 && self.total() > 0;
        if is_untouched { Written::Nothing } else { self.written() }
    }

    pub(super) fn unsent<'a>(&self, head: &'a [u8], body: &'a [u8]) -> [&'a [u8]; 3] {
        // The three parts are laid end to end; `sent` counts from the beginning of the first. The
        // caller's buffer may be longer than what was encoded, so each part is cut to its length.
        let (head, next) = head.split_at(self.head.min(head.len()));
        if self.sent == 0 {
            let cut = |part: &'a [u8], length| part.get(..length).unwrap_or(part);
            return [head, cut(body, self.body), cut(next, self.next)];
        }
        let parts = [(head, self.head), (body, self.body), (next, self.next)];
        let mut before = 0usize;
        parts.map(|(part, length)| {
            let skip = self.sent.saturating_sub(before).min(length);
            before = before.saturating_add(length);
            part.get(skip..length.min(part.len())).unwrap_or_default()
        })
    }

    fn answer(&self) -> usize {
        self.head.saturating_add(self.body)
    }

    fn total(&self) -> usize {
        self.answer().saturating_add(self.next)
    }
}
