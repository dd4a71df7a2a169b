//! Writes on a thread, so that a reader that stops reading blocks no other thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::Notify;
use tokio::time::timeout;

/// What waits to be written to one destination, in order, and the thread that writes it.
///
/// Output of functions waits for [room](Self::room), so that a slow reader loses nothing. If the
/// destination has taken nothing for [`READER_PATIENCE`], no thread waits any longer: what does not
/// fit is lost, and counted in lines. A line of the lab never waits.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Notified when a message is queued.
    filled: Condvar,
    /// Notified when something has been written.
    written: Condvar,
    /// The same, for tasks.
    has_room: Notify,
}

/// A way into a queue.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    queue: Arc<Queue>,
    source: Source,
}

/// Who writes; the output of two sources is never in one line.
pub(super) type Source = u64;

/// What a queue writes to.
#[derive(Debug)]
pub(super) enum Destination {
    Stdout,
    Stderr,
    #[cfg_attr(not(test), expect(dead_code, reason = "a destination that tests can read"))]
    File(File),
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    /// The bytes of the messages, and of what is being written.
    bytes: usize,
    /// Messages queued so far.
    taken: u64,
    /// Messages written so far.
    done: u64,
    /// Lines lost since the last notice of lost lines.
    lost: u64,
    /// While something is being written: since when the destination has taken nothing.
    waits_since: Option<Instant>,
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Begins on a line of its own.
    Own,
    Output(Source),
}

/// How long a destination may take nothing before output is lost.
const READER_PATIENCE: Duration = Duration::from_secs(3);

/// How long a destination may take nothing before a [`Queue::flush`] ends.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// The longest flush, even if the destination takes something now and then.
const MOST_FLUSH: Duration = Duration::from_secs(10);

/// Output waits while there are more bytes than this.
const ROOM: usize = 256 * 1024;

/// Output waits while there are more messages than this.
const ROOM_MESSAGES: usize = 4 * 1024;

/// The most bytes of output, including what a pipe holds when its process has ended.
const MOST_OUTPUT: usize = 2 * 1024 * 1024;

/// The most bytes that own lines add to that.
const MOST_OWN: usize = 256 * 1024;

/// The most messages.
const MOST_MESSAGES: usize = 16 * 1024;

/// The most bytes that are written at a time. A pipe takes them in one piece, and a reader that
/// reads slowly is seen to read.
///
/// Source: `pipe(7)`, `PIPE_BUF`.
const PIECE: usize = 4096;

impl Queue {
    /// # Errors
    ///
    /// An error if the thread cannot be started.
    pub(super) fn start(destination: Destination) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            has_room: Notify::new(),
        });
        let write = {
            let queue = Arc::clone(&queue);
            move || queue.write_messages(&destination)
        };
        thread::Builder::new().name("lambda-lab-log".into()).spawn(write)?;
        Ok(queue)
    }

    /// Waits until there is room for output, or until output no longer waits.
    pub(crate) async fn room(&self) {
        loop {
            let mut written = pin!(self.has_room.notified());
            // Registered before the check below, so that no write after it is missed.
            written.as_mut().enable();
            let patience = {
                let state = self.lock();
                match state.patience(READER_PATIENCE) {
                    Some(patience) if state.is_full() => patience,
                    _ => return,
                }
            };
            let _ = timeout(patience, written).await;
        }
    }

    /// Waits until everything that has been queued is written, as long as the destination takes
    /// something, for [`MOST_FLUSH`] at most.
    pub(crate) fn flush(&self) {
        let began = Instant::now();
        let mut state = self.lock();
        let number = state.taken;
        while state.done < number || state.lost > 0 {
            let patience = state.patience(FLUSH_PATIENCE).unwrap_or_default();
            let patience = patience.min(MOST_FLUSH.saturating_sub(began.elapsed()));
            if patience.is_zero() {
                return;
            }
            let waited = self.written.wait_timeout(state, patience);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    fn push(&self, message: Message) {
        let mut state = self.lock();
        if !state.has_room_for(&message) {
            state.lost += message.lines();
            return;
        }
        state.push_lost();
        state.push(message);
        drop(state);
        self.filled.notify_one();
    }

    /// Runs on the thread, forever.
    fn write_messages(&self, destination: &Destination) {
        let mut bytes = Vec::new();
        // The source of the unfinished line at the end of what has been written.
        let mut unfinished = None;
        loop {
            let count = self.take(&mut bytes, &mut unfinished);
            self.write(destination, &bytes);
            bytes.clear();
            let mut state = self.lock();
            state.done += count;
            state.waits_since = None;
            drop(state);
            self.written.notify_all();
        }
    }

    /// Waits for messages, and takes the first one with those that fit into one piece with it.
    /// Returns how many these are.
    fn take(&self, bytes: &mut Vec<u8>, unfinished: &mut Option<Source>) -> u64 {
        let mut state = self.lock();
        while state.messages.is_empty() && state.lost == 0 {
            state = self.filled.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if state.messages.is_empty() {
            state.push_lost();
        }
        state.waits_since = Some(Instant::now());
        let mut count = 0;
        while let Some(next) = state.messages.pop_front() {
            if count > 0 && bytes.len() + next.bytes.len() >= PIECE {
                state.messages.push_front(next);
                break;
            }
            let continues = match (next.kind, *unfinished) {
                (Kind::Output(source), Some(other)) => source == other,
                (Kind::Own, Some(_)) => false,
                (_, None) => true,
            };
            if !continues {
                bytes.push(b'\n');
                state.bytes += 1;
            }
            bytes.extend_from_slice(&next.bytes);
            *unfinished = match (next.kind, next.bytes.last()) {
                (Kind::Own, _) | (_, Some(b'\n')) => None,
                (Kind::Output(_), None) => *unfinished,
                (Kind::Output(source), Some(_)) => Some(source),
            };
            count += 1;
        }
        count
    }

    /// Writes as many whole lines at a time as fit into a piece.
    fn write(&self, destination: &Destination, mut bytes: &[u8]) {
        let file = destination.as_fd();
        while !bytes.is_empty() {
            let most = &bytes[..bytes.len().min(PIECE)];
            let lines =
                most.iter().rposition(|byte| *byte == b'\n').map_or(most.len(), |at| at + 1);
            let written = match rustix::io::write(file, &most[..lines]) {
                Ok(written) if written > 0 => written,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    // Others who have the same open file may have made it non-blocking. A failure
                    // shows in the next write.
                    let _ = poll(&mut [PollFd::from_borrowed_fd(file, PollFlags::OUT)], None);
                    continue;
                }
                // The reader has ended, or the disk is full, which cannot be reported.
                Ok(_) | Err(_) => bytes.len(),
            };
            bytes = &bytes[written..];
            let mut state = self.lock();
            state.bytes -= written;
            state.waits_since = Some(Instant::now());
            drop(state);
            self.written.notify_all();
            self.has_room.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Sink {
    pub(super) fn of_lab(queue: Arc<Queue>) -> Self {
        Self { queue, source: 0 }
    }

    /// The same destination for the output of another source.
    pub(super) fn of(&self, source: Source) -> Self {
        Self { source, ..self.clone() }
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Writes lines of the lab, each with its newline.
    pub(super) fn push_own(&self, lines: Vec<u8>) {
        self.queue.push(Message { kind: Kind::Own, bytes: lines });
    }

    /// Writes output of a function. [`Queue::room`] should be awaited before, or, where there is no
    /// time to wait, afterwards: there is more room than that, for what pipes hold.
    pub(super) fn push_output(&self, bytes: Vec<u8>) {
        self.queue.push(Message { kind: Kind::Output(self.source), bytes });
    }
}

impl State {
    /// For how long the destination may still take nothing; `None` if that time has passed.
    fn patience(&self, most: Duration) -> Option<Duration> {
        let waited = self.waits_since.map_or(Duration::ZERO, |since| since.elapsed());
        most.checked_sub(waited).filter(|patience| !patience.is_zero())
    }

    /// Whether output waits.
    fn is_full(&self) -> bool {
        self.bytes >= ROOM || self.messages.len() >= ROOM_MESSAGES
    }

    fn has_room_for(&self, message: &Message) -> bool {
        let most = match message.kind {
            Kind::Own => MOST_OUTPUT + MOST_OWN,
            Kind::Output(_) if self.is_full() && self.patience(READER_PATIENCE).is_none() => {
                return false;
            }
            Kind::Output(_) => MOST_OUTPUT,
        };
        self.bytes + message.bytes.len() <= most && self.messages.len() < MOST_MESSAGES
    }

    /// Queues the notice of lost lines where they are missing.
    fn push_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let bytes = format!("lambda-lab: lost {lost} log lines\n").into_bytes();
            self.push(Message { kind: Kind::Own, bytes });
        }
    }

    fn push(&mut self, message: Message) {
        self.bytes += message.bytes.len();
        self.taken += 1;
        self.messages.push_back(message);
    }
}

impl Message {
    /// How many lines it has, counting an unfinished one.
    fn lines(&self) -> u64 {
        let ends = self.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        ends + u64::from(self.bytes.last().is_some_and(|last| *last != b'\n'))
    }
}

impl AsFd for Destination {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
            Self::File(file) => file.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, Write};
    use std::os::fd::OwnedFd;

    use super::*;

    /// A queue that writes to a pipe.
    fn start() -> (Sink, PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        (Sink::of_lab(Queue::start(Destination::File(file)).unwrap()), reader)
    }

    fn read(reader: &mut PipeReader, length: usize) -> String {
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Reads up to the notice of lost lines, and returns what came before it and their number.
    fn read_to_the_notice(reader: &mut PipeReader) -> (String, u64) {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = reader.read(&mut piece).unwrap();
            bytes.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&bytes);
            if let Some((before, after)) = text.split_once("lambda-lab: lost ")
                && let Some((number, _)) = after.split_once(" log lines\n")
            {
                return (before.to_owned(), number.parse().unwrap());
            }
        }
    }

    /// A queue that is writing an empty line to a pipe that is full, and has been for longer than
    /// any thread waits. Also returns how many bytes are in the pipe.
    fn start_stopped() -> (Sink, PipeReader, usize) {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let mut length = 0;
        while let Ok(count) = writer.write(&[b'.'; PIECE]) {
            length += count;
        }
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let file = File::from(OwnedFd::from(writer));
        let lab = Sink::of_lab(Queue::start(Destination::File(file)).unwrap());
        lab.push_own(b"\n".to_vec());
        let began = Instant::now();
        let before = began.checked_sub(2 * READER_PATIENCE).expect("the machine runs for longer");
        while lab.queue.lock().waits_since.is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing is being written");
            thread::yield_now();
        }
        lab.queue.lock().waits_since = Some(before);
        (lab, reader, length)
    }

    #[test]
    fn lines_of_the_lab_and_of_other_sources_begin_on_a_line_of_their_own() {
        let (lab, mut reader) = start();
        let (one, other) = (lab.of(1), lab.of(2));
        lab.push_own(b"START\n".to_vec());
        one.push_output(b"begun, ".to_vec());
        one.push_output(b"continued".to_vec());
        other.push_output(b"whole\nbegun".to_vec());
        lab.push_own(b"END\nREPORT\n".to_vec());
        other.push_output(b"prompt".to_vec());
        lab.push_own(Vec::new());
        lab.push_own(Vec::new());
        other.push_output(b"\n".to_vec());
        let expected = "START\nbegun, continued\nwhole\nbegun\nEND\nREPORT\nprompt\n\n";
        assert_eq!(read(&mut reader, expected.len()), expected);
        lab.queue.flush();
        assert_eq!(lab.queue.lock().bytes, 0);
    }

    #[test]
    fn output_that_waits_for_room_is_not_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for (length, count) in [(10_000, 500), (2, 5 * MOST_MESSAGES)] {
            let (lab, mut reader) = start();
            let output = lab.of(1);
            let line = format!("{}\n", "x".repeat(length - 1));
            let reading = thread::spawn(move || (read(&mut reader, length * count), reader));
            for _ in 0..count {
                runtime.block_on(output.queue.room());
                assert!(!output.queue.lock().is_full());
                output.push_output(line.clone().into_bytes());
            }
            assert!(reading.join().unwrap().0 == line.repeat(count));
        }
    }

    #[test]
    fn no_thread_waits_for_a_reader_that_has_stopped_and_what_is_lost_is_counted() {
        let (lab, mut reader, length) = start_stopped();
        let output = lab.of(1);
        let line = format!("{}\n", "x".repeat(99_999));
        (0..3).for_each(|_| output.push_output(line.clone().into_bytes()));
        output.push_output(b"lost\nlost\nlost".to_vec());
        pollster::block_on(output.queue.room());
        output.queue.flush();
        // A line of the lab still fits. It follows the notice of what was lost before it.
        lab.push_own(b"END\n".to_vec());
        read(&mut reader, length);
        let (before, lost) = read_to_the_notice(&mut reader);
        assert!(before == format!("\n{}", line.repeat(3)), "{} bytes", before.len());
        assert_eq!(lost, 3);
        output.push_output(b"again\n".to_vec());
        output.queue.flush();
        assert_eq!(lab.queue.lock().lost, 0);
    }

    #[test]
    fn lines_of_the_lab_are_bounded_in_bytes_and_in_number() {
        for (length, fits) in [(100_000, (MOST_OUTPUT + MOST_OWN) / 100_000), (2, MOST_MESSAGES)] {
            let (lab, mut reader, before) = start_stopped();
            let line = format!("{}\n", "x".repeat(length - 1));
            (0..fits + 10).for_each(|_| lab.push_own(line.clone().into_bytes()));
            read(&mut reader, before);
            let (written, lost) = read_to_the_notice(&mut reader);
            assert_eq!((written.len(), lost), (1 + fits * length, 10));
            lab.queue.flush();
            assert_eq!(lab.queue.lock().bytes, 0);
        }
    }

    #[test]
    fn a_destination_that_is_not_blocking_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let file = File::from(OwnedFd::from(writer));
        let lab = Sink::of_lab(Queue::start(Destination::File(file)).unwrap());
        let line = format!("{}\n", "x".repeat(999_999));
        lab.push_own(line.clone().into_bytes());
        assert!(read(&mut reader, line.len()) == line);
    }

    #[test]
    fn a_destination_that_is_closed_takes_no_time_and_no_memory() {
        let (lab, reader) = start();
        drop(reader);
        (0..100).for_each(|_| lab.push_own(vec![b'x'; 10_000]));
        let began = Instant::now();
        while lab.queue.lock().bytes > 0 {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::yield_now();
        }
    }
}
