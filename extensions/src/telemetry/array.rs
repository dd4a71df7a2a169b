//! Where the elements of a JSON array begin and end, however the array arrives.

use super::outline::Outline;
use super::reader::{is_space, plain_length};

/// Splits an array at its commas, without a look at what its elements are.
///
/// It remembers how far it is, so an array that arrives byte by byte costs linear time, and the
/// number of open brackets instead of the brackets, so nesting costs nothing. Brackets of
/// different kinds count as matching here; the reader of the element refuses it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Array {
    state: State,
    /// Open brackets inside of the element.
    depth: u64,
    is_in_text: bool,
    is_escaped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the bracket that opens the array.
    #[default]
    Start,
    /// Before the first element.
    First,
    /// After a comma.
    Next,
    Element,
    /// After the bracket that closes the array.
    Closed,
    /// After that bracket and something else than white space.
    Tail,
    NotAnArray,
}

/// What the bytes up to a position show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing yet; all bytes are scanned.
    Nothing,
    /// An element begins at the position.
    Begin,
    /// An element ends before the byte at the position, which is skipped.
    End,
}

/// What the array has turned out to be when no more bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Array,
    /// The array is not closed.
    CutOff,
    /// Something follows the array.
    WithTail,
    NotAnArray,
}

impl Array {
    /// Scans bytes that follow those of the last call. Returns how many are scanned, and why it
    /// stopped there.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> (usize, Found) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Element => match self.scan_element(bytes, at) {
                    (scanned, true) => return (scanned, Found::End),
                    (scanned, false) => at = scanned,
                },
                State::Tail | State::NotAnArray => at = bytes.len(),
                _ if is_space(byte) => at += 1,
                State::Start if byte == b'[' => {
                    self.state = State::First;
                    at += 1;
                }
                State::Start => self.state = State::NotAnArray,
                State::First if byte == b']' => {
                    self.state = State::Closed;
                    at += 1;
                }
                State::Closed => {
                    self.state = State::Tail;
                    return (at, Found::Begin);
                }
                // Nothing between two commas, or after the last one, is an element, too.
                State::First | State::Next => {
                    *self = Self { state: State::Element, ..Self::default() };
                    return (at, Found::Begin);
                }
            }
        }
        (at, Found::Nothing)
    }

    /// Scans an element from `at` on. Returns the position after what is scanned, and whether the
    /// element has ended.
    fn scan_element(&mut self, bytes: &[u8], mut at: usize) -> (usize, bool) {
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.is_escaped {
                self.is_escaped = false;
                continue;
            }
            match byte {
                b'"' => self.is_in_text = !self.is_in_text,
                b'\\' if self.is_in_text => self.is_escaped = true,
                _ if self.is_in_text => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b',' | b']' if self.depth == 0 => {
                    self.end_element(byte);
                    return (at, true);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.is_in_text && !self.is_escaped {
                at += plain_length(bytes.get(at..).unwrap_or_default());
            }
        }
        (at, false)
    }

    fn end_element(&mut self, byte: u8) {
        self.state = if byte == b']' { State::Closed } else { State::Next };
    }

    /// Looks for an event that has arrived completely, where an element has just begun. Returns its
    /// outline and the position of the byte that follows it, which is scanned.
    pub(super) fn take_event(&mut self, bytes: &[u8]) -> Option<(Outline, usize)> {
        if self.state != State::Element {
            return None;
        }
        let (outline, end) = Outline::of_element(bytes)?;
        self.end_element(*bytes.get(end)?);
        Some((outline, end))
    }

    /// Whether an element has begun and not ended; something after the array counts as one.
    pub(super) fn is_inside(&self) -> bool {
        matches!(self.state, State::Element | State::Tail)
    }

    /// Records that no more bytes follow. After that, the array is whole or none.
    pub(super) fn end(&mut self) -> Whole {
        let whole = match self.state {
            State::Closed => Whole::Array,
            State::First | State::Next | State::Element => Whole::CutOff,
            State::Tail => Whole::WithTail,
            State::Start | State::NotAnArray => return Whole::NotAnArray,
        };
        self.state = State::Closed;
        whole
    }
}
