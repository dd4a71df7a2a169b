//! What the commands print: a line for each vector, the progress, and a table at the end.
//!
//! Results go to standard output, the progress to standard error.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

/// The results of a run.
pub(crate) struct Report<'w> {
    out: Box<dyn Write + 'w>,
    progress: Progress<'w>,
    /// How many vectors there are.
    total: usize,
    /// The kinds of vectors, in the order in which they came.
    kinds: Vec<(String, Counts)>,
}

/// How many vectors had each result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) conform: usize,
    pub(crate) wrong: usize,
    pub(crate) not_played: usize,
}

/// The result of one vector.
pub(crate) enum Verdict {
    Conforms,
    /// It deviates, as these lines say.
    Wrong(Vec<String>),
    /// It was not played, for this reason.
    NotPlayed(String),
}

impl Report<'static> {
    /// A report on the standard streams.
    pub(crate) fn new(total: usize) -> Self {
        Self::to(Box::new(io::stdout()), Progress::new(), total)
    }
}

impl<'w> Report<'w> {
    fn to(out: Box<dyn Write + 'w>, progress: Progress<'w>, total: usize) -> Self {
        Self { out, progress, total, kinds: Vec::new() }
    }

    /// Shows that this vector is being played.
    pub(crate) fn begin(&mut self, title: &str) {
        let Counts { conform, wrong, not_played } = self.counts();
        let done = conform + wrong + not_played;
        self.progress.show(&format!("{done} of {}, {wrong} wrong", self.total), title);
    }

    /// Prints the result of a vector: its kind, its name, and the sources of what it demands.
    ///
    /// # Errors
    ///
    /// A text if standard output does not take it.
    pub(crate) fn add(
        &mut self,
        kind: &str,
        name: &str,
        source: &[String],
        verdict: Verdict,
    ) -> Result<(), String> {
        let place = self.kinds.iter().position(|(known, _)| known == kind);
        let place = place.unwrap_or_else(|| {
            self.kinds.push((kind.to_owned(), Counts::default()));
            self.kinds.len() - 1
        });
        let counts = &mut self.kinds[place].1;
        let text = match verdict {
            Verdict::Conforms => {
                counts.conform += 1;
                format!("ok      {kind}: {name}\n")
            }
            Verdict::NotPlayed(why) => {
                counts.not_played += 1;
                format!("-       {kind}: {name} ({why})\n")
            }
            Verdict::Wrong(lines) => {
                counts.wrong += 1;
                let source = format!("source: {}", source.join("; "));
                let lines = lines.iter().chain([&source]);
                let lines =
                    lines.map(|line| format!("        {}\n", line.replace('\n', "\n        ")));
                format!("WRONG   {kind}: {name}\n{}", lines.collect::<String>())
            }
        };
        self.print(&text)
    }

    /// Prints the table of the kinds, and the sums in the last line.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub(crate) fn finish(&mut self) -> Result<Counts, String> {
        let counts = self.counts();
        let width = self.kinds.iter().map(|(kind, _)| kind.chars().count()).max().unwrap_or(0);
        let mut text = String::from("\n");
        let mut row = |kind: &str, cells: [&str; 3]| {
            let [conform, wrong, not_played] = cells;
            text += &format!("{kind:<width$}  {conform:>7}  {wrong:>5}  {not_played:>10}\n");
        };
        row("", ["conform", "wrong", "not played"]);
        for (kind, counts) in &self.kinds {
            let Counts { conform, wrong, not_played } = counts;
            row(
                kind,
                [conform, wrong, not_played].map(usize::to_string).each_ref().map(|it| &**it),
            );
        }
        let Counts { conform, wrong, not_played } = counts;
        text += &format!("\n{conform} conform, {wrong} do not, {not_played} not played\n");
        self.print(&text)?;
        Ok(counts)
    }

    /// Prints text between the lines of progress.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub(crate) fn print(&mut self, text: &str) -> Result<(), String> {
        self.progress.clear();
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(|error| {
            let Counts { conform, wrong, not_played } = self.counts();
            let done = conform + wrong + not_played;
            let total = self.total;
            format!(
                "cannot write to standard output: {error}; ended after {done} of {total} vectors"
            )
        })
    }

    fn counts(&self) -> Counts {
        let add = |sum: Counts, (_, one): &(String, Counts)| Counts {
            conform: sum.conform + one.conform,
            wrong: sum.wrong + one.wrong,
            not_played: sum.not_played + one.not_played,
        };
        self.kinds.iter().fold(Counts::default(), add)
    }
}

/// How far a run is.
struct Progress<'w> {
    out: Box<dyn Write + 'w>,
    how: How,
    began: Instant,
}

enum How {
    /// One line of a terminal, rewritten each time. It has to fit into this many columns.
    Rewritten { columns: usize, is_shown: bool },
    /// A line from time to time.
    Sparse { every: Duration, last: Instant },
}

/// How often a line appears where none can be rewritten.
const EVERY: Duration = Duration::from_secs(10);

impl Progress<'static> {
    /// The progress on standard error.
    fn new() -> Self {
        let terminal = io::stderr();
        let is_plain = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        let size = rustix::termios::tcgetwinsize(&terminal).ok();
        let how = match size.filter(|size| terminal.is_terminal() && !is_plain && size.ws_col > 0) {
            Some(size) => How::Rewritten { columns: size.ws_col.into(), is_shown: false },
            None => How::Sparse { every: EVERY, last: Instant::now() },
        };
        Self { out: Box::new(terminal), how, began: Instant::now() }
    }
}

impl Progress<'_> {
    /// Shows the progress and the current vector.
    ///
    /// Nobody needs the progress: errors of writing are ignored.
    fn show(&mut self, how_far: &str, what: &str) {
        let _ignored = match &mut self.how {
            How::Rewritten { columns, is_shown } => {
                *is_shown = true;
                let line: String =
                    format!("{how_far}: {what}").chars().take(*columns - 1).collect();
                write!(self.out, "{REWRITE}{line}").and_then(|()| self.out.flush())
            }
            How::Sparse { every, last } if last.elapsed() >= *every => {
                *last = Instant::now();
                let seconds = self.began.elapsed().as_secs();
                writeln!(self.out, "lambda-conformance: {how_far} after {seconds} s; next: {what}")
            }
            How::Sparse { .. } => Ok(()),
        };
    }

    /// Removes the line that is rewritten.
    fn clear(&mut self) {
        if let How::Rewritten { is_shown, .. } = &mut self.how
            && std::mem::take(is_shown)
        {
            let _ignored = write!(self.out, "{REWRITE}").and_then(|()| self.out.flush());
        }
    }
}

/// To the beginning of the line, and erase to its end (ECMA-48, CR and EL).
const REWRITE: &str = "\r\x1b[K";

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays five vectors; returns what was printed and the progress.
    fn run(how: How) -> (String, String) {
        let (mut out, mut progress) = (Vec::new(), Vec::new());
        let to = Progress { out: Box::new(&mut progress), how, began: Instant::now() };
        let mut report = Report::to(Box::new(&mut out), to, 5);
        let wrong = || Verdict::Wrong(vec!["step 1: it hung".into(), "| two\n| lines".into()]);
        let source = ["RFC 9112".to_owned(), "a page".to_owned()];
        for (kind, name, verdict) in [
            ("heads", "a", Verdict::Conforms),
            ("heads", "b", wrong()),
            ("ends", "c", wrong()),
            ("ends", "d", Verdict::NotPlayed("needs it".into())),
            ("heads", "e", Verdict::Conforms),
        ] {
            report.begin(name);
            report.add(kind, name, &source, verdict).unwrap();
        }
        assert_eq!(report.finish(), Ok(Counts { conform: 2, wrong: 2, not_played: 1 }));
        drop(report);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(progress))
    }

    #[test]
    fn every_vector_has_its_line_and_every_kind_its_row() {
        let (out, _) = run(How::Sparse { every: Duration::MAX, last: Instant::now() });
        assert_eq!(
            out,
            "\
ok      heads: a
WRONG   heads: b
        step 1: it hung
        | two
        | lines
        source: RFC 9112; a page
WRONG   ends: c
        step 1: it hung
        | two
        | lines
        source: RFC 9112; a page
-       ends: d (needs it)
ok      heads: e

       conform  wrong  not played
heads        2      1           0
ends         0      1           1

2 conform, 2 do not, 1 not played
"
        );
    }

    #[test]
    fn a_terminal_shows_the_progress_in_one_line_that_is_gone_before_a_result() {
        let (_, progress) = run(How::Rewritten { columns: 18, is_shown: false });
        let lines: Vec<_> = progress.split(REWRITE).collect();
        let shown = ["0 of 5, 0 wrong: ", "1 of 5, 0 wrong: ", "2 of 5, 1 wrong: "];
        assert_eq!(lines[..7], ["", shown[0], "", shown[1], "", shown[2], ""], "{progress:?}");
        assert!(!progress.contains('\n') && progress.ends_with(REWRITE), "{progress:?}");
    }

    #[test]
    fn elsewhere_a_line_tells_the_progress_from_time_to_time() {
        let (_, progress) = run(How::Sparse { every: Duration::ZERO, last: Instant::now() });
        assert_eq!(progress.lines().count(), 5);
        let third = progress.lines().nth(2).unwrap();
        assert!(third.starts_with("lambda-conformance: 2 of 5, 1 wrong after "), "{third}");
        assert!(third.ends_with(" s; next: c"), "{third}");
        let (_, progress) = run(How::Sparse { every: Duration::MAX, last: Instant::now() });
        assert_eq!(progress, "");
    }

    #[test]
    fn output_that_nobody_reads_is_an_error_that_says_how_far_the_run_came() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let how = How::Sparse { every: Duration::MAX, last: Instant::now() };
        let progress = Progress { out: Box::new(Vec::new()), how, began: Instant::now() };
        let mut report = Report::to(Box::new(Closed), progress, 7);
        let error = report.add("k", "n", &[], Verdict::Conforms).unwrap_err();
        let end = "cannot write to standard output: broken pipe; ended after 1 of 7 vectors";
        assert_eq!(error.to_lowercase(), end);
    }
}
