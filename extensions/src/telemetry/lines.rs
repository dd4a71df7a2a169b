//! Records as lines, over TCP.

use lambda_proto::client::Storage;

use super::buffer::Buffer;
use super::{Losses, Reason, Record, Unread};

/// One TCP connection on which Lambda sends records, one JSON object in each line: bytes in,
/// records out.
///
/// Nothing is acknowledged, so Lambda recommends HTTP, with a [`Receiver`](super::Receiver) [Lambda
/// Developer Guide: Telemetry API].
///
/// ```
/// use lambda_proto_extension::telemetry::{Line, Lines, Losses};
///
/// let (mut memory, mut losses) = ([0; 1024], Losses::default());
/// let mut lines = Lines::new(&mut memory[..]);
/// let sent =
/// b"{\"time\":\"2022-10-12T00:00:15.064Z\",\"type\":\"function\",\"record\":\"hello\"}\n";
/// lines.room()[..sent.len()].copy_from_slice(sent); lines.received(sent.len());
/// let Line::Record(record) = lines.step(&mut losses) else { panic!() };
/// assert_eq!(record.time.unix_millis(), Some(1_665_532_815_064));
/// assert!(matches!(lines.step(&mut losses), Line::Read));
/// ```
pub struct Lines<S> {
    buffer: Buffer<S>,
    is_ended: bool,
}

/// What [`Lines`] want next. Borrows end before the next step.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a record is handed out once, without allocation")]
pub enum Line<'r> {
    /// Read from the connection into [`room`](Lines::room), which is not empty, and call
    /// [`received`](Lines::received), or [`end_of_stream`](Lines::end_of_stream).
    Read,
    /// A record.
    Record(Record<'r>),
    /// A line that is no record.
    Unread(Unread<'r>),
    /// Close the connection. Every further step is this one.
    Close,
}

impl<S: Storage> Lines<S> {
    /// Lines of a new connection, with memory of any size, into which each line must fit.
    pub fn new(memory: S) -> Self {
        Self { buffer: Buffer::new(memory), is_ended: false }
    }

    /// Says what to do next. Call it again after doing it. Lines that cannot be read are added to
    /// the losses, as is what records say about losses.
    pub fn step(&mut self, losses: &mut Losses) -> Line<'_> {
        if !self.find_line() {
            return if self.is_ended { Line::Close } else { Line::Read };
        }
        let (bytes, length) = self.buffer.element();
        let read = if length > bytes.len() as u64 {
            Err(Unread::new(bytes, Reason::TooLong { bytes: length }))
        } else {
            Record::parse(bytes)
        };
        match read {
            Ok(record) => {
                losses.note(&record);
                Line::Record(record)
            }
            Err(unread) => {
                losses.note_unread();
                Line::Unread(unread)
            }
        }
    }

    /// The memory to read into. It is not empty after [`Line::Read`].
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.room()
    }

    /// Records that `length` bytes were read into [`room`](Self::room).
    pub fn received(&mut self, length: usize) {
        self.buffer.received(length);
        self.buffer.consume_all();
    }

    /// Records that the connection has ended. A last line without a line end is a line, too.
    pub fn end_of_stream(&mut self) {
        self.is_ended = true;
    }

    /// Ends a line that has arrived completely and is not blank; `false` if there is none.
    fn find_line(&mut self) -> bool {
        loop {
            let unscanned = self.buffer.unscanned();
            let feed = unscanned.iter().position(|&byte| byte == b'\n');
            let length = unscanned.len();
            match feed {
                Some(at) => {
                    self.buffer.scan(at + 1);
                    self.buffer.end_element(1);
                }
                None => {
                    self.buffer.scan(length);
                    if !self.is_ended {
                        if self.buffer.make_room() {
                            return false;
                        }
                        // A line that fills the memory gives way, and is counted; without memory,
                        // nothing can be read.
                        self.is_ended = !self.buffer.lose_element();
                        continue;
                    }
                    self.buffer.end_element(0);
                    return self.buffer.element().1 > 0;
                }
            }
            if self.buffer.element().1 > 0 {
                return true;
            }
        }
    }
}
