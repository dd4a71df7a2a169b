//! The last part of an invocation's log, for the caller.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::answer::AnswerBody;
use crate::pool::Invoked;

/// The header of the log's tail.
///
/// Source: Lambda API Reference, "Invoke".
pub(crate) const LOG_RESULT: &str = "x-amz-log-result";

/// Waits until the invocation is over, and returns its log for [`LOG_RESULT`], if the caller has
/// asked for it.
///
/// The header precedes the answer, so a streamed answer has none: it arrives while the invocation
/// runs.
pub(crate) async fn log_result(invoked: &mut Invoked) -> Option<String> {
    let is_streamed =
        invoked.answer.as_ref().is_ok_and(|answer| matches!(answer.body, AnswerBody::Stream(_)));
    if !invoked.has_tail || is_streamed {
        return None;
    }
    // Fails only if the task panicked, which would be a bug.
    let tail = (&mut invoked.end).await.ok()??;
    Some(STANDARD.encode(tail))
}

/// The end of what is added to it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

/// The most bytes of a tail.
///
/// Source: Lambda API Reference, "Invoke": the last 4 KB.
const MOST: usize = 4096;

/// The longest UTF-8 character.
const MOST_OF_CHARACTER: usize = 4;

impl Tail {
    /// Adds output of the function.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        // One character more than a tail has, to know where the first one begins.
        let kept = MOST + MOST_OF_CHARACTER;
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(kept)..]);
        if self.bytes.len() > 4 * kept {
            self.bytes.drain(..self.bytes.len() - kept);
        }
    }

    /// Adds lines of the lab, which begin on a line of their own.
    pub(super) fn add_lines(&mut self, lines: &str) {
        if self.bytes.last().is_some_and(|last| *last != b'\n') {
            self.bytes.push(b'\n');
        }
        self.add(lines.as_bytes());
    }

    /// The last 4,096 bytes, without the rest of a character that begins before them.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let Some(mut begin) = self.bytes.len().checked_sub(MOST) else { return self.bytes };
        let is_rest = |at: usize| self.bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let first = begin;
        while begin < first + MOST_OF_CHARACTER - 1 && is_rest(begin) {
            begin += 1;
        }
        self.bytes.split_off(begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_has_the_last_4096_bytes_and_begins_with_a_whole_character() {
        for length in [0, 1, 4095, 4096, 4097, 10_000, 100_000] {
            for piece in [1, 3, 1000, 100_000] {
                let bytes: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
                let mut tail = Tail::default();
                bytes.chunks(piece).for_each(|piece| tail.add(piece));
                assert!(tail.bytes.len() <= 4 * (MOST + MOST_OF_CHARACTER), "memory is bounded");
                assert_eq!(tail.into_bytes(), bytes[bytes.len().saturating_sub(4096)..]);
            }
        }
        for (character, before, kept) in [
            ("é", "", 4096),
            ("é", "x", 4096),
            ("é", "xyz", 4096),
            ("€", "", 4095),
            ("🦀", "", 4096),
        ] {
            let after = "x".repeat(before.len() % 2);
            let text = format!("{before}{}{after}", character.repeat(3000));
            let mut tail = Tail::default();
            tail.add(text.as_bytes());
            let tail = String::from_utf8(tail.into_bytes()).unwrap();
            assert!(text.ends_with(&tail));
            assert!(tail.len() <= kept && tail.len() > 4096 - character.len(), "{}", tail.len());
        }
    }

    #[test]
    fn lines_of_the_lab_begin_on_a_line_of_their_own() {
        let mut tail = Tail::default();
        tail.add_lines("START\n");
        tail.add(b"no newline");
        tail.add_lines("END\n");
        tail.add(b"newline\n");
        tail.add_lines("REPORT\n");
        assert_eq!(tail.into_bytes(), b"START\nno newline\nEND\nnewline\nREPORT\n");
    }
}
