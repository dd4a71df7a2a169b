//! The buffer of received bytes, until they are used.

use core::ops::Range;

use super::{HeldEvent, Invocation, Storage};
use crate::api::{HeadIndex, Outcome};
use crate::http::copy;
use crate::machine::{Event, Machine, ReceiveError};

/// A buffer for replies and for one event.
///
/// ```text
///  0        head            body                  start       end
///  |reserved | head of event | body, so far | gap  |   raw     |  room  |
/// ```
///
/// While an event is kept, `reserved <= head <= body <= body_end <= start <= end <= storage.len()`;
/// otherwise, `reserved <= start <= end`. Raw bytes are those that the machine has not consumed.
/// The pieces of a body are joined by removing the framing between them. While there are no raw
/// bytes, a body is read into its final place, so a large body is moved only where chunks begin.
pub(super) struct ReceiveBuffer<S> {
    storage: S,
    index: HeadIndex,
    head: usize,
    body: usize,
    body_end: usize,
    start: usize,
    end: usize,
    keeping: Keeping,
    max_event: usize,
    /// The number of bytes at the start that hold the request, not received bytes.
    reserved: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// No event has begun.
    Nothing,
    Event,
    /// The event was too large; the rest of it is discarded as it arrives.
    TooLarge,
}

/// What the machine has found. Borrows stay valid until the buffer is used again.
pub(super) enum Found<'b> {
    InvocationEnd,
    Detail(&'b [u8]),
    Outcome(Outcome),
}

/// The least size to grow to when there is no room.
const STEP: usize = 4096;

impl<S: Storage> ReceiveBuffer<S> {
    pub(super) fn new(storage: S) -> Self {
        Self {
            storage,
            index: HeadIndex::default(),
            head: 0,
            body: 0,
            body_end: 0,
            start: 0,
            end: 0,
            keeping: Keeping::Nothing,
            max_event: usize::MAX,
            reserved: 0,
        }
    }

    pub(super) fn set_max_event(&mut self, bytes: usize) {
        self.max_event = bytes;
    }

    /// Forgets everything, for a new connection or a new request.
    pub(super) fn clear(&mut self) {
        self.clear_after(0);
    }

    /// Forgets everything but the `reserved` bytes at the start of the storage.
    pub(super) fn clear_after(&mut self, reserved: usize) {
        self.reserved = reserved;
        (self.start, self.end) = (reserved, reserved);
        self.keeping = Keeping::Nothing;
    }

    /// Forgets the event, which has been answered, and keeps the raw bytes.
    pub(super) fn forget_event(&mut self) {
        self.keeping = Keeping::Nothing;
    }

    /// Forgets the previous event, unless the next one has begun to arrive.
    pub(super) fn make_way(&mut self, machine: &Machine) {
        if !machine.is_receiving() {
            self.forget_event();
        }
    }

    /// Forgets the raw bytes, and keeps the event.
    pub(super) fn forget_raw(&mut self) {
        self.end = self.start;
    }

    /// Whether the memory, as it is, has no room after the raw bytes.
    pub(super) fn is_full(&self) -> bool {
        self.is_raw() && self.end == self.storage.bytes().len()
    }

    /// Whether there are bytes that the machine has not consumed.
    pub(super) fn is_raw(&self) -> bool {
        self.start < self.end
    }

    /// Releases the memory if it holds nothing.
    pub(super) fn release(&mut self) {
        if !self.is_raw() && self.keeping == Keeping::Nothing {
            (self.reserved, self.start, self.end) = (0, 0, 0);
            self.storage.release();
        }
    }

    /// Takes out the event with its memory, which `other` replaces; `None` if there is no event.
    pub(super) fn take_event(&mut self, other: S) -> Option<HeldEvent<S>> {
        if self.keeping != Keeping::Event {
            return None;
        }
        let storage = core::mem::replace(&mut self.storage, other);
        let event =
            HeldEvent::new(storage, self.index, self.head..self.body, self.body..self.body_end);
        self.clear();
        Some(event)
    }

    /// Returns the room for a request after the first `used` bytes, leaving `free` bytes at the
    /// end.
    pub(super) fn request_room(&mut self, used: usize, free: usize) -> &mut [u8] {
        let bytes = self.storage.bytes_mut();
        let end = bytes.len().saturating_sub(free);
        bytes.get_mut(used..end).unwrap_or_default()
    }

    /// Moves the raw bytes of another buffer to the end of the raw bytes in this one, as far as
    /// there is room. Returns whether any have moved.
    #[inline]
    pub(super) fn adopt(&mut self, other: &mut Self, machine: &Machine) -> bool {
        other.is_raw() && self.adopt_raw(other, machine)
    }

    #[cold]
    fn adopt_raw(&mut self, other: &mut Self, machine: &Machine) -> bool {
        let mut has_moved = false;
        while other.is_raw() {
            let Some(room) = self.room(machine) else { break };
            has_moved = true;
            let raw = other.storage.bytes().get(other.start..other.end).unwrap_or_default();
            let length = copy(raw, room);
            other.start += length;
            self.filled(length);
        }
        has_moved
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// The storage.
    pub(super) fn storage(&mut self) -> &mut S {
        &mut self.storage
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.keeping == Keeping::TooLarge
    }

    /// The event that is kept, as far as it has arrived.
    pub(super) fn invocation(&self) -> Option<Invocation<'_>> {
        if self.keeping != Keeping::Event {
            return None;
        }
        let bytes = self.storage.bytes();
        let head = bytes.get(self.head..self.body).unwrap_or_default();
        let body = bytes.get(self.body..self.body_end).unwrap_or_default();
        Some(Invocation { head: self.index.on(head), body })
    }

    /// Passes the raw bytes to the machine, keeps what arrives of an event, and returns what else
    /// it finds.
    pub(super) fn take(
        &mut self,
        machine: &mut Machine,
    ) -> Result<Option<Found<'_>>, ReceiveError> {
        loop {
            // The machine sees all raw bytes and moves the cursor over those that it consumes, so
            // `start` follows from what is left. A head or a piece of a body then ends at `start`.
            let mut cursor = self.storage.bytes().get(self.start..self.end).unwrap_or_default();
            let event = machine.receive(&mut cursor);
            // On an error the rest is void, and the machine has moved the cursor over it.
            self.start = self.end - cursor.len();
            match event? {
                None => return Ok(None),
                Some(Event::Invocation(head)) => {
                    self.index = head.index();
                    self.head = self.start - head.as_bytes().len();
                    self.body = self.start;
                    self.body_end = self.start;
                    self.keeping = Keeping::Event;
                }
                Some(Event::Body(piece)) => {
                    let length = piece.len();
                    if self.keeping == Keeping::Event {
                        self.keep(length);
                    }
                }
                Some(Event::InvocationEnd) => return Ok(Some(Found::InvocationEnd)),
                Some(Event::Detail(detail)) => {
                    let piece = self.start - detail.len()..self.start;
                    let bytes = self.storage.bytes().get(piece).unwrap_or_default();
                    return Ok(Some(Found::Detail(bytes)));
                }
                Some(Event::Outcome(outcome)) => return Ok(Some(Found::Outcome(outcome))),
            }
        }
    }

    /// Moves the piece that ends at `start` to the end of the body, unless it is there already.
    fn keep(&mut self, length: usize) {
        if length > self.max_event.saturating_sub(self.body_end - self.body) {
            return self.give_up_event();
        }
        // Only framing, the line before a chunk, can be between the body so far and this piece.
        let from = self.start - length;
        if from != self.body_end {
            move_down(self.storage.bytes_mut(), from..self.start, self.body_end);
        }
        self.body_end += length;
    }

    /// Returns room to read into, never empty; `None` if a head fills the storage and cannot be
    /// completed.
    #[inline]
    pub(super) fn room(&mut self, machine: &Machine) -> Option<&mut [u8]> {
        // With no raw bytes left, the next read goes right after the body, its final place, or to
        // the start.
        if self.start == self.end {
            let to = if self.keeping == Keeping::Event { self.body_end } else { self.reserved };
            (self.start, self.end) = (to, to);
        }
        let announced = usize::try_from(machine.announced()).unwrap_or(usize::MAX);
        let left = self.storage.bytes().len() - self.end;
        if (left == 0 || announced > left) && !self.make_room(announced) {
            return None;
        }
        let end = self.end;
        self.storage.bytes_mut().get_mut(end..).filter(|room| !room.is_empty())
    }

    /// Makes room for the announced bytes, as far as the memory goes; `false` if there is none at
    /// all.
    #[cold]
    fn make_room(&mut self, announced: usize) -> bool {
        if self.keeping != Keeping::TooLarge {
            self.compact();
            let length = self.storage.bytes().len();
            // Closing the gaps may have made enough room.
            if self.end == length || announced > length - self.end {
                // Grow to at most twice what has arrived: an announced length alone must not
                // reserve memory.
                let wanted = self.end.saturating_add(announced.max(STEP));
                self.storage.grow(wanted.min(self.end.saturating_mul(2).max(STEP)).max(length));
            }
        }
        if self.end == self.storage.bytes().len() {
            if self.keeping == Keeping::Nothing {
                return false;
            }
            self.give_up_event();
            self.compact();
        }
        true
    }

    /// Discards the event, and from now on every piece of it. The machine keeps its request id.
    fn give_up_event(&mut self) {
        self.keeping = Keeping::TooLarge;
    }

    pub(super) fn filled(&mut self, length: usize) {
        self.end = (self.end + length).min(self.storage.bytes().len());
    }

    /// Closes the gaps: before the head, and between the body and the raw bytes.
    fn compact(&mut self) {
        // First gap: before the head of the event, where earlier replies were. All indices of the
        // event move together.
        let bytes = self.storage.bytes_mut();
        if self.keeping != Keeping::Event {
            self.body_end = self.reserved;
        } else if self.head > self.reserved {
            let gap = self.head - self.reserved;
            move_down(bytes, self.head..self.body_end, self.reserved);
            self.head -= gap;
            self.body -= gap;
            self.body_end -= gap;
        }
        // Second gap: between the body and the raw bytes, where consumed framing was.
        if self.start > self.body_end {
            move_down(bytes, self.start..self.end, self.body_end);
            self.end -= self.start - self.body_end;
            self.start = self.body_end;
        }
    }
}

/// Moves a part of the memory towards its start, if that part exists.
fn move_down(bytes: &mut [u8], part: Range<usize>, to: usize) {
    let gap = part.start.saturating_sub(to);
    let moved = bytes.get_mut(to..part.end).unwrap_or_default();
    if gap <= moved.len() {
        moved.copy_within(gap.., 0);
    }
}
