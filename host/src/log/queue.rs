//! Writes log lines on a thread, so that a full pipe does not block the caller.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::frame::HEADER;
use super::record::Form;
use super::{Level, OWN, Record};

/// The queue of this process: one, because there is one standard error.
pub(super) static QUEUE: Queue = Queue::new();

/// How long a caller waits for its line to be written: enough for a process that reads standard
/// error.
const WAIT: Duration = Duration::from_millis(100);

/// The most bytes in the queue.
const MOST_BYTES: usize = 1024 * 1024;

/// The most lines in the queue.
const MOST_LINES: usize = 4096;

/// Queued lines, and the thread that writes them, which the first line starts.
///
/// Normally a line has been written when [`write`](Self::write) returns: before the environment is
/// frozen, and before the process ends. If a line has not been written after [`WAIT`], the queue is
/// stuck: later calls do not wait, and lines that do not fit are dropped and counted. It stays
/// stuck until all queued lines have been written.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Notified when a line is queued.
    filled: Condvar,
    /// Notified when a line has been written.
    written: Condvar,
}

struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines queued so far.
    taken: u64,
    /// Lines written so far.
    done: u64,
    /// The value of `done` when the last flush timed out.
    given_up_at: Option<u64>,
    has_thread: bool,
    is_stuck: bool,
    /// The lines dropped since the last notice of dropped lines, and how to write the next.
    dropped: Option<(u64, Form, Destination)>,
}

/// A line and its destination.
pub(super) struct Line {
    pub(super) destination: Destination,
    pub(super) form: Form,
    /// A line with its newline, or a frame.
    pub(super) bytes: Vec<u8>,
}

/// The destination of lines.
#[derive(Clone)]
pub(super) enum Destination {
    StandardError,
    /// A file, pipe or socket that takes frames.
    Frames(Arc<File>),
}

impl Queue {
    const fn new() -> Self {
        let state = State {
            lines: VecDeque::new(),
            bytes: 0,
            taken: 0,
            done: 0,
            given_up_at: None,
            has_thread: false,
            is_stuck: false,
            dropped: None,
        };
        Self { state: Mutex::new(state), filled: Condvar::new(), written: Condvar::new() }
    }

    /// Queues a line and blocks until it has been written, but not for long.
    pub(super) fn write(&'static self, line: Line) {
        let mut state = self.lock();
        if !state.has_thread {
            let thread = thread::Builder::new().name("lambda-log".to_owned());
            state.has_thread = thread.spawn(|| self.write_lines()).is_ok();
            if !state.has_thread {
                // Starting a thread may succeed later. Until then, a line that blocks is better
                // than none.
                drop(state);
                line.write();
                return;
            }
        }
        if !state.has_room(&line) {
            state = self.wait(state, WAIT, |state| !state.has_room(&line));
            if !state.has_room(&line) {
                let dropped = state.dropped.get_or_insert((0, line.form, line.destination));
                dropped.0 += 1;
                return;
            }
        }
        state.push_dropped();
        state.push(line);
        let number = state.taken;
        drop(state);
        // Unlocked first, or the thread would wake only to wait for the lock.
        self.filled.notify_one();
        state = self.wait(self.lock(), WAIT, |state| state.done < number);
        state.is_stuck |= state.done < number;
    }

    /// Waits until all queued lines have been written, but not longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let state = self.lock();
        let (number, done) = (state.taken, state.done);
        if state.given_up_at == Some(done) {
            return;
        }
        let is_behind = |state: &mut State| state.is_behind(number);
        let waited = self.written.wait_timeout_while(state, patience, is_behind);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.given_up_at = state.is_behind(number).then_some(state.done);
    }

    /// Waits while `is_waiting`, unless the queue is stuck.
    fn wait<'q>(
        &self,
        state: MutexGuard<'q, State>,
        patience: Duration,
        is_waiting: impl Fn(&State) -> bool,
    ) -> MutexGuard<'q, State> {
        let goes_on = |state: &mut State| !state.is_stuck && is_waiting(state);
        let waited = self.written.wait_timeout_while(state, patience, goes_on);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn write_lines(&self) {
        let mut state = self.lock();
        loop {
            while let Some(line) = state.next() {
                drop(state);
                line.write();
                state = self.lock();
                state.bytes -= line.bytes.len();
                state.done += 1;
                drop(state);
                self.written.notify_all();
                state = self.lock();
            }
            state.is_stuck = false;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent at every moment, and nothing panics under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, line: &Line) -> bool {
        // A line that is larger than the queue is accepted when the queue is empty.
        let is_short = self.bytes + line.bytes.len() <= MOST_BYTES || self.lines.is_empty();
        is_short && self.lines.len() < MOST_LINES
    }

    fn push(&mut self, line: Line) {
        self.bytes += line.bytes.len();
        self.lines.push_back(line);
        self.taken += 1;
    }

    /// Queues a notice in the place of dropped lines, if there are any.
    fn push_dropped(&mut self) {
        let Some((count, form, destination)) = self.dropped.take() else { return };
        let text = format_args!("log output was blocked: dropped {count} lines");
        let record = Record::new(Level::Warn, text).logger(OWN).form(form);
        self.push(Line::new(destination, &record));
    }

    fn next(&mut self) -> Option<Line> {
        if self.lines.is_empty() {
            self.push_dropped();
        }
        self.lines.pop_front()
    }

    /// Whether any of the first `number` lines has not been written, or a notice of dropped lines
    /// is due.
    fn is_behind(&self, number: u64) -> bool {
        self.done < number || self.dropped.is_some()
    }
}

impl Line {
    pub(super) fn new(destination: Destination, record: &Record<'_>) -> Self {
        let bytes = match &destination {
            Destination::StandardError => {
                let mut line = record.line();
                line.push('\n');
                line.into_bytes()
            }
            Destination::Frames(_) => {
                // The header and the line must show the same time.
                let record = record.at(record.time());
                super::frame::frame(&record, &record.line())
            }
        };
        Self { destination, form: record.form, bytes }
    }

    /// Writes it in one piece, since others write there too. It does not use `eprintln!`, which
    /// panics if standard error is closed.
    fn write(&self) {
        let _nobody_reads = match &self.destination {
            Destination::StandardError => io::stderr().write_all(&self.bytes),
            Destination::Frames(file) => (&**file).write_all(&self.bytes).or_else(|_| {
                let line = self.bytes.get(HEADER..).unwrap_or_default();
                io::stderr().write_all(&[line, b"\n"].concat())
            }),
        };
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{PipeReader, Read};
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;
    use crate::Format;

    /// A queue and a pipe that both live forever: a closed pipe would send frames to standard
    /// error.
    fn start() -> (&'static Queue, Destination, &'static mut PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        let queue = Box::leak(Box::new(Queue::new()));
        (queue, Destination::Frames(Arc::new(file)), Box::leak(Box::new(reader)))
    }

    fn write(queue: &'static Queue, to: &Destination, text: &str) {
        write_as(queue, to, Format::Text, text);
    }

    fn write_as(queue: &'static Queue, to: &Destination, format: Format, text: &str) {
        let line = |text| Line::new(to.clone(), &Record::new(Level::Info, text).format(format));
        queue.write(line(format_args!("{text}")));
    }

    /// The text of the next frame.
    fn read(reader: &mut PipeReader) -> String {
        let mut header = [0; HEADER];
        reader.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let mut text = vec![0; length as usize];
        reader.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// A text that is longer than a pipe holds.
    fn long() -> String {
        "x".repeat(250 * 1024)
    }

    #[test]
    fn a_line_has_been_written_when_write_returns() {
        let (queue, to, reader) = start();
        for number in 0..100 {
            write(queue, &to, &number.to_string());
            assert!(queue.lock().done > number || queue.lock().is_stuck);
            assert_eq!(read(reader), format!("INFO {number}"));
        }
    }

    #[test]
    fn unread_lines_do_not_block_and_are_dropped_and_counted() {
        let (queue, to, reader) = start();
        write(queue, &to, &long());
        assert!(queue.lock().is_stuck);
        // Four, with the one that is being written, take less than a mebibyte.
        (1..=10).for_each(|_| write(queue, &to, &long()));
        assert_eq!(read(reader).len(), long().len() + 5);
        for _ in 0..3 {
            assert_eq!(read(reader).len(), long().len() + 5);
        }
        let line = read(reader);
        assert_eq!(line, "WARN lambda-proto: log output was blocked: dropped 7 lines");
        queue.flush(Duration::from_secs(10));
        write(queue, &to, "read again");
        assert_eq!(read(reader), "INFO read again");
    }

    #[test]
    fn the_number_of_short_lines_is_bounded_too() {
        let (queue, to, reader) = start();
        write(queue, &to, &long());
        (0..MOST_LINES + 5).for_each(|_| write(queue, &to, "short"));
        assert_eq!(queue.lock().lines.len(), MOST_LINES);
        read(reader);
        (0..MOST_LINES).for_each(|_| assert_eq!(read(reader), "INFO short"));
        assert!(read(reader).contains(" dropped 5 lines"));
    }

    #[test]
    fn the_notice_of_dropped_lines_is_where_they_are_missing() {
        let (queue, to, reader) = start();
        // One is being written, three wait, and two are dropped.
        (0..6).for_each(|_| write(queue, &to, &long()));
        write(queue, &to, "short");
        (0..4).for_each(|_| assert_eq!(read(reader).len(), long().len() + 5));
        assert!(read(reader).contains("dropped 2 lines"));
        assert_eq!(read(reader), "INFO short");
    }

    #[test]
    fn a_flush_does_not_wait_again_after_a_timeout() {
        let (queue, to, reader) = start();
        write(queue, &to, &long());
        queue.flush(Duration::from_millis(10));
        let began = Instant::now();
        queue.flush(Duration::from_secs(60));
        assert!(began.elapsed() < Duration::from_secs(30));
        read(reader);
        // The thread notes the write a little later.
        while queue.lock().is_behind(1) {
            assert!(began.elapsed() < Duration::from_secs(60));
            queue.flush(Duration::from_secs(1));
        }
    }

    #[test]
    fn a_stuck_queue_makes_only_one_caller_wait() {
        let (queue, to, _reader) = start();
        write(queue, &to, &long());
        let began = Instant::now();
        (0..1000).for_each(|_| write(queue, &to, "short"));
        assert!(began.elapsed() < 100 * WAIT, "{:?}", began.elapsed());
    }

    #[test]
    fn the_notice_of_dropped_lines_has_their_format() {
        let (queue, to, reader) = start();
        write(queue, &to, &long());
        let long = "x".repeat(MOST_BYTES + 1);
        for _ in 0..2 {
            write_as(queue, &to, Format::Json, &long);
        }
        read(reader);
        let _alone = read(reader);
        let line = read(reader);
        assert!(line.starts_with("{\"timestamp\":") && line.contains("dropped 1 lines"), "{line}");
    }
}
