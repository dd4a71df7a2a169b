//! Cuts output into lines.

/// The most bytes of a line. A longer one becomes several, so that it cannot grow the lab's memory.
/// Lambda documents no limit; the smallest `maxBytes` of a subscription is this one.
pub(crate) const MOST: usize = 256 * 1024;

/// The lines of one stream of output, whose parts arrive one after the other.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not arrived.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes the next part of the output, and passes on the lines that have ended, without their
    /// line ends.
    pub(crate) fn take(&mut self, mut output: &[u8], mut pass: impl FnMut(&[u8])) {
        while let Some(at) = output.iter().position(|byte| *byte == b'\n') {
            let (end, rest) = (&output[..at], &output[at + 1..]);
            if self.begun.is_empty() && end.len() <= MOST {
                pass(without_return(end));
            } else {
                self.add(end, &mut pass);
                pass(without_return(&self.begun));
                self.begun.clear();
            }
            output = rest;
        }
        self.add(output, &mut pass);
    }

    /// Passes on the beginning of a line that will not end, if there is one.
    pub(crate) fn end(&mut self, pass: impl FnOnce(&[u8])) {
        if !self.begun.is_empty() {
            pass(without_return(&self.begun));
            self.begun.clear();
        }
    }

    /// Adds to the line that has begun. Passes on parts of it if it becomes too long.
    fn add(&mut self, mut part: &[u8], pass: &mut impl FnMut(&[u8])) {
        while self.begun.len() + part.len() > MOST {
            let (first, rest) = part.split_at(MOST - self.begun.len());
            self.begun.extend_from_slice(first);
            let end = whole_characters(&self.begun);
            pass(&self.begun[..end]);
            self.begun.drain(..end);
            part = rest;
        }
        self.begun.extend_from_slice(part);
    }
}

/// The length of the text without a character at its end that is not complete.
fn whole_characters(text: &[u8]) -> usize {
    let first = text.len().saturating_sub(4);
    match text[first..].iter().rposition(|byte| byte & 0xc0 != 0x80) {
        Some(at) => {
            let (at, lead) = (first + at, text[first + at]);
            let length = match lead {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xff => 4,
                _ => 1,
            };
            if at > 0 && at + length > text.len() { at } else { text.len() }
        }
        None => text.len(),
    }
}

/// Source: Go, `bufio.ScanLines`, by which the emulator reads output.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for part in parts {
            lines.take(part, |line| found.push(line.to_vec()));
        }
        lines.end(|line| found.push(line.to_vec()));
        found
    }

    #[test]
    fn a_line_is_passed_on_without_its_line_end_however_it_arrives() {
        let output = b"a\n\nb\r\n\rc\nend";
        let expected: [&[u8]; 5] = [b"a", b"", b"b", b"\rc", b"end"];
        for first in 0..output.len() {
            for second in first..output.len() {
                let parts = [&output[..first], &output[first..second], &output[second..]];
                assert_eq!(cut(&parts), expected, "{first} {second}");
            }
        }
        assert!(cut(&[b""]).is_empty());
        assert_eq!(cut(&[b"\n"]), [b""]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        for (character, first) in [("x", MOST), ("é", MOST), ("€", MOST - 1)] {
            let mut line = character.repeat(MOST / character.len());
            line.push_str(&character.repeat((MOST + 10 - line.len()).div_ceil(character.len())));
            for size in [1000, 65_536, line.len()] {
                let parts: Vec<&[u8]> = line.as_bytes().chunks(size).collect();
                let found = cut(&parts);
                assert_eq!(found.concat(), line.as_bytes());
                assert_eq!(found[0].len(), first, "{character}");
                assert!(found.iter().all(|part| std::str::from_utf8(part).is_ok()));
            }
        }
        // Bytes that are no text are not held back.
        let noise = vec![0x80; 3 * MOST];
        assert_eq!(cut(&[&noise]).concat(), noise);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_part_is_too_long(
            output in prop::collection::vec(
                (prop_oneof![Just(b'x'), Just(0xe2), Just(0x82), Just(b'\n')], 1..100_000_usize),
                0..12,
            ),
            size in 1..100_000_usize,
        ) {
            let output: Vec<u8> =
                output.iter().flat_map(|(byte, count)| {
                    let count = if *byte == b'\n' { count % 3 } else { *count };
                    std::iter::repeat_n(*byte, count)
                }).collect();
            let parts: Vec<&[u8]> = output.chunks(size).collect();
            let found = cut(&parts);
            prop_assert!(found.iter().all(|line| line.len() <= MOST));
            let newlines = output.iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(found.len() >= newlines);
            let without: Vec<u8> =
                output.iter().copied().filter(|byte| *byte != b'\n').collect();
            prop_assert_eq!(found.concat(), without);
        }
    }
}
