//! Lines of text for the caller, and the queue of warnings.

use core::fmt::{self, Write};

use lambda_proto::client::{Warning, WarningKind};

use crate::constants::{
    Code, LAMBDA_PROTO_WARNING_EVENT_LOST, LAMBDA_PROTO_WARNING_EVENT_TOO_LARGE,
    LAMBDA_PROTO_WARNING_FAILED, LAMBDA_PROTO_WARNING_FAILED_AFTER_ANSWER,
    LAMBDA_PROTO_WARNING_FATE_UNKNOWN, LAMBDA_PROTO_WARNING_INVALID_REPLY,
    LAMBDA_PROTO_WARNING_OTHER, LAMBDA_PROTO_WARNING_REFUSED, LAMBDA_PROTO_WARNING_SENT_AGAIN,
    LAMBDA_PROTO_WARNING_UNANSWERED, LAMBDA_PROTO_WARNING_UNSENT,
};

/// Maximum size in bytes of a line.
const LINE: usize = 512;

/// How many warnings wait at most.
const WAITING: usize = 4;

const CUT: &str = "…";

/// A line of text, cut between characters where it does not fit.
pub(crate) struct Line {
    bytes: [u8; LINE],
    length: usize,
    is_cut: bool,
}

impl Line {
    pub(crate) const EMPTY: Self = Self { bytes: [0; LINE], length: 0, is_cut: false };

    pub(crate) fn set(&mut self, text: &dyn fmt::Display) {
        self.clear();
        // `write_str` never fails.
        let _cut_if_too_long = write!(self, "{text}");
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
        self.is_cut = false;
    }

    fn push(&mut self, text: &str) {
        let end = self.length + text.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            for (place, byte) in room.iter_mut().zip(text.bytes()) {
                *place = byte;
            }
            self.length = end;
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Ok(());
        }
        let most = (LINE - CUT.len()).saturating_sub(self.length);
        if text.len() <= most {
            self.push(text);
            return Ok(());
        }
        let fits = (0..=most).rev().find_map(|end| text.get(..end)).unwrap_or_default();
        self.push(fits);
        self.push(CUT);
        self.is_cut = true;
        Ok(())
    }
}

/// Warnings until the caller takes them.
pub(crate) struct Warnings {
    lines: [Line; WAITING],
    kinds: [Code; WAITING],
    first: usize,
    waiting: usize,
    dropped: usize,
    /// The warning that the caller has taken last: its kind, or 0.
    taken: Code,
    text: Line,
}

impl Warnings {
    pub(crate) const EMPTY: Self = Self {
        lines: [Line::EMPTY; WAITING],
        kinds: [0; WAITING],
        first: 0,
        waiting: 0,
        dropped: 0,
        taken: 0,
        text: Line::EMPTY,
    };

    #[cold]
    pub(crate) fn push(&mut self, warning: &Warning<'_>) {
        let place = (self.first + self.waiting) % WAITING;
        match (self.lines.get_mut(place), self.kinds.get_mut(place)) {
            (Some(line), Some(kind)) if self.waiting < WAITING => {
                line.set(warning);
                *kind = kind_of(&warning.kind);
                self.waiting += 1;
            }
            _ => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// How many warnings there are, for [`Self::forget_since`].
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.waiting, self.dropped)
    }

    /// Forgets what was pushed since there were this many.
    #[cold]
    pub(crate) fn forget_since(&mut self, (waiting, dropped): (usize, usize)) {
        self.waiting = waiting;
        self.dropped = dropped;
    }

    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        (self.waiting | self.dropped) != 0
    }

    /// Takes the oldest warning.
    #[cold]
    pub(crate) fn take(&mut self) {
        if self.waiting == 0 {
            self.text.set(&format_args!("{} more warnings were dropped", self.dropped));
            self.dropped = 0;
            self.taken = LAMBDA_PROTO_WARNING_OTHER;
            return;
        }
        if let (Some(line), Some(kind)) = (self.lines.get(self.first), self.kinds.get(self.first)) {
            self.text.clear();
            self.text.push(core::str::from_utf8(line.as_bytes()).unwrap_or_default());
            self.taken = *kind;
        }
        self.first = (self.first + 1) % WAITING;
        self.waiting -= 1;
    }

    /// The kind and the text of the warning that was taken last.
    pub(crate) fn taken(&self) -> Option<(Code, &[u8])> {
        (self.taken != 0).then_some((self.taken, self.text.as_bytes()))
    }
}

fn kind_of(kind: &WarningKind<'_>) -> Code {
    match kind {
        WarningKind::Refused { .. } => LAMBDA_PROTO_WARNING_REFUSED,
        WarningKind::InvalidReply(_) => LAMBDA_PROTO_WARNING_INVALID_REPLY,
        WarningKind::SentAgain => LAMBDA_PROTO_WARNING_SENT_AGAIN,
        WarningKind::FateUnknown => LAMBDA_PROTO_WARNING_FATE_UNKNOWN,
        WarningKind::Unsent => LAMBDA_PROTO_WARNING_UNSENT,
        WarningKind::EventLost => LAMBDA_PROTO_WARNING_EVENT_LOST,
        WarningKind::EventTooLarge => LAMBDA_PROTO_WARNING_EVENT_TOO_LARGE,
        WarningKind::Unanswered => LAMBDA_PROTO_WARNING_UNANSWERED,
        WarningKind::Failed { .. } => LAMBDA_PROTO_WARNING_FAILED,
        WarningKind::FailedAfterAnswer { .. } => LAMBDA_PROTO_WARNING_FAILED_AFTER_ANSWER,
        _ => LAMBDA_PROTO_WARNING_OTHER,
    }
}
