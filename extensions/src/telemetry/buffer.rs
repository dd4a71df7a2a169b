//! The memory of a receiver.

use core::cell::Cell;
use core::ops::Range;

use lambda_proto::client::Storage;

use super::reader::trim;

/// Bytes as they were received, and among them those of the current element, without framing.
///
/// ```text
///  0      start      scanned     decoded      raw        filled
///  | used | element so far | unscanned | gap | undecoded | room |
/// ```
///
/// The gap is the framing between two chunks: without chunks there is none, and an element is
/// read in the place where it arrived.
pub(super) struct Buffer<S> {
    storage: S,
    start: usize,
    scanned: usize,
    decoded: usize,
    raw: usize,
    filled: usize,
    /// The bytes at the start of the element that did not fit.
    lost: u64,
    /// They would have, if others did not use the memory.
    is_denied: bool,
    element: Element,
}

/// An element that has ended.
#[derive(Clone, Debug, Default)]
struct Element {
    range: Range<usize>,
    lost: u64,
    is_denied: bool,
}

/// The least size to grow to.
const STEP: usize = 4096;

impl<S: Storage> Buffer<S> {
    pub(super) fn new(storage: S) -> Self {
        let element = Element::default();
        Self {
            storage,
            start: 0,
            scanned: 0,
            decoded: 0,
            raw: 0,
            filled: 0,
            lost: 0,
            is_denied: false,
            element,
        }
    }

    /// Room to read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let filled = self.filled;
        self.storage.bytes_mut().get_mut(filled..).unwrap_or_default()
    }

    pub(super) fn received(&mut self, length: usize) {
        self.filled = self.filled.saturating_add(length).min(self.storage.bytes().len());
    }

    /// Forgets everything that was received.
    pub(super) fn clear(&mut self) {
        (self.start, self.scanned, self.decoded, self.raw, self.filled) = (0, 0, 0, 0, 0);
        (self.lost, self.is_denied) = (0, false);
    }

    /// Gives memory back that others can use, between two requests; what is received of the next one
    /// stays.
    pub(super) fn release(&mut self) {
        if self.raw().is_empty() {
            self.clear();
            self.storage.release();
            return;
        }
        self.start = self.decoded;
        self.scanned = self.decoded;
        (self.lost, self.is_denied) = (0, false);
        self.compact();
        self.storage.shrink(self.filled);
    }

    /// The bytes that are not decoded.
    pub(super) fn raw(&self) -> &[u8] {
        self.storage.bytes().get(self.raw..self.filled).unwrap_or_default()
    }

    /// Consumes raw bytes, the last of which are a piece of this length that follows the decoded
    /// bytes.
    pub(super) fn consume(&mut self, length: usize, piece: usize) {
        self.raw = self.raw.saturating_add(length).min(self.filled);
        if piece == 0 {
            return;
        }
        let from = self.raw.saturating_sub(piece);
        if self.start == self.decoded {
            // Nothing has to be joined with the piece.
            (self.start, self.scanned, self.decoded) = (from, from, from);
        }
        if from != self.decoded {
            move_down(self.storage.bytes_mut(), from..self.raw, self.decoded);
        }
        self.decoded += piece;
    }

    /// Consumes raw bytes that have no framing.
    pub(super) fn consume_all(&mut self) {
        self.consume(self.filled - self.raw, self.filled - self.raw);
    }

    pub(super) fn unscanned(&self) -> &[u8] {
        self.storage.bytes().get(self.scanned..self.decoded).unwrap_or_default()
    }

    pub(super) fn scan(&mut self, length: usize) {
        self.scanned = self.scanned.saturating_add(length).min(self.decoded);
    }

    /// Forgets what is scanned.
    pub(super) fn skip(&mut self) {
        self.start = self.scanned;
        (self.lost, self.is_denied) = (0, false);
    }

    /// Ends the element before the last `after` of the scanned bytes.
    pub(super) fn end_element(&mut self, after: usize) {
        let end = self.scanned.saturating_sub(after).max(self.start);
        let (lost, is_denied) = (self.lost, self.is_denied);
        self.element = Element { range: self.start..end, lost, is_denied };
        self.skip();
    }

    /// The element that has ended last, without white space around it, and its length; the bytes
    /// are empty if they did not fit.
    pub(super) fn element(&self) -> (&[u8], u64) {
        let bytes = self.storage.bytes().get(self.element.range.clone()).unwrap_or_default();
        let trimmed = trim(bytes);
        match self.element.lost {
            0 => (trimmed, trimmed.len() as u64),
            lost => (&[], lost.saturating_add(bytes.len() as u64)),
        }
    }

    /// Whether bytes of that element were lost only because others use the memory.
    pub(super) fn is_element_denied(&self) -> bool {
        self.element.is_denied
    }

    /// Makes sure that there is room; `false` if everything is taken by raw bytes, or by an element
    /// that has not ended.
    pub(super) fn make_room(&mut self) -> bool {
        let length = self.storage.bytes().len();
        // A part of an element is moved once at most: then it is at the start. Nothing costs nothing.
        if length - self.filled <= length / 2 || self.start == self.filled {
            self.compact();
        }
        if self.filled == length {
            self.storage.grow(length.saturating_mul(2).max(STEP));
        }
        self.filled < self.storage.bytes().len()
    }

    /// Drops the bytes of the element that has not ended, and counts them. Returns whether there
    /// were any.
    pub(super) fn lose_element(&mut self) -> bool {
        let length = self.decoded - self.start;
        self.lost = self.lost.saturating_add(length as u64);
        self.is_denied |= length > 0 && self.storage.is_contended();
        (self.start, self.scanned) = (self.decoded, self.decoded);
        length > 0
    }

    /// Closes the gaps before the element and before the raw bytes.
    fn compact(&mut self) {
        let bytes = self.storage.bytes_mut();
        move_down(bytes, self.start..self.decoded, 0);
        self.scanned -= self.start;
        self.decoded -= self.start;
        self.start = 0;
        move_down(bytes, self.raw..self.filled, self.decoded);
        self.filled -= self.raw - self.decoded;
        self.raw = self.decoded;
    }
}

/// Moves a part of the memory towards its start, if that part exists.
fn move_down(bytes: &mut [u8], part: Range<usize>, to: usize) {
    let gap = part.start.saturating_sub(to);
    if gap == 0 {
        return;
    }
    let moved = bytes.get_mut(to..part.end).unwrap_or_default();
    // Not `copy_within`, which panics for some ranges. From the start on, so that no byte is
    // overwritten before it is moved.
    let places = Cell::from_mut(moved).as_slice_of_cells();
    let from = places.get(gap..).unwrap_or_default();
    places.iter().zip(from).for_each(|(place, byte)| place.set(byte.get()));
}
