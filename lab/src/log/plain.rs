//! Text that cannot end its line, or control the terminal that shows it.

use std::fmt::{self, Display, Write};

/// A line of the lab, with its newline.
///
/// It stays one line, including what it quotes, and has no control character but the tab, which
/// separates the fields of a report. What would break that is escaped as in Rust: `\n`, `\u{1b}`.
pub(super) struct Line<T>(pub(super) T);

/// A part of a line that the lab has not written itself: it came from a function, a caller or the
/// command line. As in a [`Line`], without tabs.
pub(crate) struct Plain<'t>(pub(crate) &'t str);

/// The most bytes of a line, as escaped.
const LINE: usize = 8 * 1024;

/// The most bytes of a part, as escaped.
const PART: usize = 1024;

impl<T: Display> Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Escaped { to: &mut *f, keeps_tabs: true, left: LINE, cut: 0 };
        write!(line, "{}", self.0)?;
        line.end()?;
        f.write_char('\n')
    }
}

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut part = Escaped { to: f, keeps_tabs: false, left: PART, cut: 0 };
        part.write_str(self.0)?;
        part.end()
    }
}

/// Writes escaped text up to a limit, and counts the bytes after it.
struct Escaped<'w, W> {
    to: &'w mut W,
    keeps_tabs: bool,
    left: usize,
    cut: usize,
}

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, character) in text.char_indices() {
            let is_kept = !breaks_out(character) || character == '\t' && self.keeps_tabs;
            let length =
                if is_kept { character.len_utf8() } else { character.escape_default().len() };
            if self.cut > 0 || length > self.left {
                self.cut += text.len() - at;
                return Ok(());
            }
            self.left -= length;
            if is_kept {
                self.to.write_char(character)?;
            } else {
                write!(self.to, "{}", character.escape_default())?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Escaped<'_, W> {
    fn end(self) -> fmt::Result {
        match self.cut {
            0 => Ok(()),
            cut => write!(self.to, "… ({cut} more bytes)"),
        }
    }
}

/// Whether a character ends a line, controls a terminal, or changes the direction or the order in
/// which others are shown.
///
/// Source: Unicode Standard, sections 5.8 and 23.1; Unicode Standard Annex 9, section 2.
fn breaks_out(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' // line and paragraph separator
            | '\u{61c}' | '\u{200e}' | '\u{200f}' // marks of direction
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // embeddings, overrides, isolates
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_line_and_what_is_escaped_stays_readable() {
        let hostile = "a\u{1b}]0;t\u{7}\nREPORT\r\t\u{7f}\u{85}\u{9b}2J\u{2028}\u{202e}\u{2066}é";
        let escaped = r"a\u{1b}]0;t\u{7}\nREPORT\r\t\u{7f}\u{85}\u{9b}2J\u{2028}\u{202e}\u{2066}é";
        assert_eq!(Plain(hostile).to_string(), escaped);
        let line = format!("{}\n", escaped.replacen(r"\t", "\t", 1));
        assert_eq!(Line(hostile).to_string(), line);
        for character in '\0'..=char::MAX {
            let line = Line(character).to_string();
            let line = line.strip_suffix('\n').unwrap();
            assert!(line.chars().all(|it| it == '\t' || !breaks_out(it)), "{character:?}");
            assert_eq!(line.contains(character), !breaks_out(character) || character == '\t');
        }
    }

    #[test]
    fn a_long_line_and_a_long_part_are_cut_between_characters() {
        let long = "é".repeat(10_000);
        assert_eq!(Plain(&long).to_string(), format!("{}… (18976 more bytes)", "é".repeat(512)));
        let line = Line(format_args!("x{long}{long}")).to_string();
        assert_eq!(line, format!("x{}… (31810 more bytes)\n", "é".repeat(4095)));
        // What is cut begins at the first character that does not fit.
        let line = Line(format_args!("{}\u{1b}x", "x".repeat(LINE - 5))).to_string();
        assert!(line.ends_with("xx… (2 more bytes)\n"), "{line}");
    }
}
