//! The server that Lambda posts batches to, without I/O.

use lambda_proto::client::Storage;

use super::buffer::Buffer;
use super::exchange::{Element, Exchange, Next, read};
use super::{Batch, Decision, Deliveries, Record, Refusal, Unread};

/// One connection on which Lambda delivers batches: bytes in; records out, one at a time; replies
/// out. It holds no socket and no clock.
///
/// A request is a batch if its method is POST, whatever its path: AWS's emulator posts to the root
/// on Managed Instances, whatever the URI of the subscription says (emulator:
/// `lambda-managed-instances`, `telemetry/internal/client.go`). The module has an
/// [example](super#a-delivery).
pub struct Receiver<S> {
    buffer: Buffer<S>,
    exchange: Exchange,
}

/// What a [`Receiver`] wants next. Borrows end before the next step.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a record is handed out once, without allocation")]
pub enum Step<'r> {
    /// Read from the connection into [`room`](Receiver::room), which is not empty, and call
    /// [`received`](Receiver::received), or [`end_of_stream`](Receiver::end_of_stream).
    Read,
    /// Write [`unsent`](Receiver::unsent), and call [`sent`](Receiver::sent).
    Write,
    /// A batch begins; its records follow.
    Begin(Batch),
    /// A record of the batch.
    Record(Record<'r>),
    /// A record of the batch that cannot be read.
    Unread(Unread<'r>),
    /// All records of the batch were handed out. Decide what becomes of it; until then, this step
    /// is returned again.
    Decide(Decision<'r>),
    /// A request was refused, or broke off; nothing needs to be done. If a batch had begun, it is
    /// over, without a decision: its records come again if Lambda sends it again.
    Refused(Refusal),
    /// Close the connection and drop the receiver. Every further step is this one.
    ///
    /// Close it for writing first and read until its end, with a time limit: bytes that arrive at a
    /// closed connection reset it, and a reply that was not read yet is lost (RFC 9112 section
    /// 9.6).
    Close,
}

impl<S: Storage> Receiver<S> {
    /// A receiver for a new connection, with memory of any size.
    ///
    /// A head and each record must fit in it, or else they are refused: 64 KiB are enough for
    /// ordinary logs, and a log line has 256 KiB at most. A batch need not fit: it has up to twice
    /// the `maxBytes` of the subscription [Lambda Developer Guide: Telemetry API].
    pub fn new(memory: S) -> Self {
        Self { buffer: Buffer::new(memory), exchange: Exchange::default() }
    }

    /// Says what to do next. Call it again after doing it.
    pub fn step<'r>(&'r mut self, deliveries: &'r mut Deliveries) -> Step<'r> {
        match self.advance(deliveries) {
            Next::Read => Step::Read,
            Next::Write => Step::Write,
            Next::Begin => Step::Begin(self.batch()),
            Next::Decide => Step::Decide(self.decision(deliveries)),
            Next::Refused(refusal) => Step::Refused(refusal),
            Next::Close => Step::Close,
            Next::Element(element) => match self.element(element) {
                Ok(record) => Step::Record(record),
                Err(unread) => Step::Unread(unread),
            },
        }
    }

    /// Whether no request has begun: the client may take any time until it sends the next one.
    pub fn is_idle(&self) -> bool {
        self.exchange.is_between_requests() && self.buffer.raw().is_empty()
    }

    /// What to do next, without the element and the decision.
    pub(crate) fn advance(&mut self, deliveries: &mut Deliveries) -> Next {
        self.exchange.advance(&mut self.buffer, deliveries)
    }

    /// The element of [`Next::Element`]; to be read once.
    pub(crate) fn element(&mut self, element: Element) -> Result<Record<'_>, Unread<'_>> {
        let read = match element {
            Element::Event(outline) => Record::of(&outline, self.buffer.element().0),
            Element::Other(whole) => read(&self.buffer, whole),
        };
        self.exchange.note(&read);
        read
    }

    pub(crate) fn batch(&self) -> Batch {
        self.exchange.batch
    }

    /// The decision of [`Next::Decide`].
    pub(crate) fn decision<'r>(&'r mut self, deliveries: &'r mut Deliveries) -> Decision<'r> {
        Decision { exchange: &mut self.exchange, deliveries }
    }

    /// The memory to read into. It is not empty after [`Step::Read`].
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.room()
    }

    /// Records that `length` bytes were read into [`room`](Self::room).
    pub fn received(&mut self, length: usize) {
        self.buffer.received(length);
    }

    /// Records that the client sends nothing more. It may still read a reply.
    pub fn end_of_stream(&mut self) {
        self.exchange.is_ended = true;
    }

    /// Records that the connection is gone. What has arrived of a batch is refused.
    pub fn lost(&mut self) {
        self.exchange.cut_off(!self.buffer.raw().is_empty());
        self.exchange.reply.discard();
        self.buffer.clear();
    }

    /// The bytes to write.
    pub fn unsent(&self) -> &[u8] {
        self.exchange.reply.unsent()
    }

    /// Records that `length` bytes of [`unsent`](Self::unsent) were written.
    pub fn sent(&mut self, length: usize) {
        self.exchange.reply.sent(length);
    }
}
