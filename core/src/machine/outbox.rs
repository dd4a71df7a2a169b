//! What is to be sent: lengths only, the bytes stay with the caller.

/// ```text
///  head buffer:  [ head of the request | next, if pipelined ]
///  body buffer:  [ body ]
///  on the wire:  [ head ][ body ][ next ]
///                 <--- sent --->
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outbox {
    head: usize,
    body: usize,
    tail: usize,
    sent: usize,
    /// Bytes of the answer were sent before these.
    is_behind_others: bool,
}

impl Outbox {
    pub(super) fn new(head: usize, body: usize) -> Self {
        Self { head, body, ..Self::default() }
    }

    /// Adds a pipelined request behind the body.
    pub(super) fn append(&mut self, tail: usize) {
        if self.unsent_len() == 0 {
            *self = Self { head: tail, is_behind_others: true, ..Self::default() };
        } else {
            self.tail = tail;
        }
    }

    pub(super) fn sent(&mut self, length: usize) {
        self.sent = self.sent.saturating_add(length).min(self.total());
    }

    pub(super) fn head_len(&self) -> usize {
        self.head
    }

    pub(super) fn unsent_len(&self) -> usize {
        self.total() - self.sent
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.sent == 0 && !self.is_behind_others
    }

    pub(super) fn unsent<'a>(&self, head: &'a [u8], body: &'a [u8]) -> [&'a [u8]; 3] {
        let (head, tail) = head.split_at(self.head.min(head.len()));
        let parts = [(head, self.head), (body, self.body), (tail, self.tail)];
        let mut before = 0;
        parts.map(|(part, length)| {
            let skip = self.sent.saturating_sub(before).min(length);
            before += length;
            part.get(skip..length.min(part.len())).unwrap_or_default()
        })
    }

    fn total(&self) -> usize {
        self.head.saturating_add(self.body).saturating_add(self.tail)
    }
}
