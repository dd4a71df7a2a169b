//! The server that Lambda posts batches to, without I/O.

use core::fmt;

use lambda_proto::client::Storage;
use lambda_proto::http::{BodyError, HeadError, RequestError, RequestPart, RequestReader};

use super::array::{Array, Found, Whole};
use super::buffer::Buffer;
use super::deliveries::Earlier;
use super::digest::Digest;
use super::head::{Facts, Fields};
use super::outline::Outline;
use super::reply::{Connection, Reply, Status};
use super::{Deliveries, Fate, Losses, Reason, Record, Unread};

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

/// A batch, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    earlier: Option<Earlier>,
    records: u64,
    unread: u64,
}

impl Batch {
    /// Whether this batch was delivered before, completely. Its records were handed out then.
    ///
    /// A batch is recognised by its field `Sequence-Id`, if it has one, or else by a digest of its
    /// body: then this is `false` until [`Step::Decide`].
    pub fn is_redelivery(&self) -> bool {
        self.earlier.is_some()
    }

    /// What became of the last delivery of this batch; `None` if it was not delivered before.
    ///
    /// If it was [taken](Fate::Taken), the reply was lost, and every record of it is a duplicate.
    pub const fn earlier(&self) -> Option<Fate> {
        match self.earlier {
            Some(earlier) => Some(earlier.fate),
            None => None,
        }
    }

    /// How often the embedder has [sent it back](Decision::send_again) before. Batches that were
    /// delivered long ago are forgotten, and count from 0 again.
    pub const fn refusals(&self) -> u32 {
        match self.earlier {
            Some(earlier) => earlier.refusals,
            None => 0,
        }
    }

    /// The number of records that were handed out, with those that cannot be read.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The number of records that cannot be read.
    pub const fn unread(&self) -> u64 {
        self.unread
    }
}

/// The choice of what becomes of a batch: [`take`](Self::take) it or
/// [`send_again`](Self::send_again). If it is dropped, the next step offers it again.
pub struct Decision<'r> {
    exchange: &'r mut Exchange,
    deliveries: &'r mut Deliveries,
}

impl Decision<'_> {
    /// The batch.
    pub const fn batch(&self) -> Batch {
        self.exchange.batch
    }

    /// Replies that the batch was taken. Lambda forgets it.
    pub fn take(self) {
        self.exchange.decide(self.deliveries, Fate::Taken);
    }

    /// Replies that the batch could not be taken, which is counted. Lambda sends it again after a
    /// pause, and gives it up at some time: what is lost then comes as `platform.logsDropped`
    /// [Lambda Developer Guide: Telemetry API].
    pub fn send_again(self) {
        self.exchange.decide(self.deliveries, Fate::Refused);
    }

    /// Replies that the batch was taken although it was not, so that it is not sent without end; it is
    /// [counted](Losses::given_up_batches) as lost.
    pub fn give_up(self) {
        self.exchange.give_up(self.deliveries);
    }
}

impl fmt::Debug for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decision").field(&self.exchange.batch).finish()
    }
}

/// Why a request was refused, or not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The head is not HTTP/1, or over a limit.
    Head(HeadError),
    /// The head does not fit the memory of the receiver.
    HeadTooLong {
        /// The bytes that have arrived, all of the memory.
        bytes: usize,
    },
    /// The method is not POST.
    Method,
    /// The framing of the body is not HTTP/1.1.
    Body(BodyError),
    /// The body is not a JSON array, and can never be read.
    NotABatch {
        /// The number of this delivery of the batch, from 1.
        delivery: u32,
        /// Whether Lambda was told to forget it, which is a loss.
        is_lost: bool,
    },
    /// The connection ended in the middle of a head.
    HeadCutOff,
    /// The connection ended in the middle of a batch, or before its end was replied to.
    CutOff,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "refused a telemetry request: {error}"),
            Self::HeadTooLong { bytes } => {
                write!(f, "refused a telemetry request: its head does not fit {bytes} bytes")
            }
            Self::Method => f.write_str("refused a telemetry request: its method is not POST"),
            Self::Body(error) => write!(f, "refused a telemetry batch: {error}"),
            Self::NotABatch { delivery, is_lost: false } => {
                write!(f, "refused a telemetry batch: not a JSON array; delivery {delivery}")
            }
            Self::NotABatch { delivery, is_lost: true } => {
                write!(f, "lost a telemetry batch: not a JSON array; delivery {delivery}")
            }
            Self::HeadCutOff => f.write_str("a telemetry request broke off in its head"),
            Self::CutOff => f.write_str("a telemetry batch broke off with its connection"),
        }
    }
}

impl core::error::Error for Refusal {}

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
        self.exchange.phase == Phase::Head
            && self.buffer.raw().is_empty()
            && self.exchange.reply.unsent().is_empty()
    }

    /// What to do next, without the element and the decision.
    pub(crate) fn advance(&mut self, deliveries: &mut Deliveries) -> Next {
        self.exchange.advance(&mut self.buffer, deliveries)
    }

    /// The element of [`Next::Element`]; to be read once.
    pub(crate) fn element(&mut self, element: Element) -> Result<Record<'_>, Unread<'_>> {
        let read = match element {
            Element::Event(outline) => Record::of(&outline, self.buffer.element().0),
            Element::Other(whole) => read(self.buffer.element(), whole),
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

/// Everything about a connection but its memory.
#[derive(Debug)]
struct Exchange {
    reader: RequestReader,
    phase: Phase,
    reply: Reply,
    /// To be told before anything else happens.
    refusal: Option<Refusal>,
    connection: Connection,
    array: Array,
    batch: Batch,
    /// The digest of the `Sequence-Id`.
    sequence: Option<u64>,
    /// The digest of the body so far.
    body: Digest,
    /// What the records of the batch tell.
    told: Losses,
    is_ended: bool,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            reader: RequestReader::default(),
            phase: Phase::Head,
            reply: Reply::default(),
            refusal: None,
            connection: Connection::Persists,
            array: Array::default(),
            batch: Batch::default(),
            sequence: None,
            body: Digest::default(),
            told: Losses::default(),
            is_ended: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head is awaited.
    Head,
    /// The body of a batch is read.
    Batch,
    /// The embedder decides.
    Decide,
    /// The body of a refused request is skipped.
    Skip,
    /// The connection ends.
    Over,
}

pub(crate) enum Next {
    Read,
    Write,
    Begin,
    Element(Element),
    Decide,
    Refused(Refusal),
    Close,
}

/// An element of a batch, as far as it was read while its end was looked for.
pub(crate) enum Element {
    /// An event that has this outline.
    Event(Outline),
    Other(Whole),
}

impl Exchange {
    fn advance<S: Storage>(&mut self, buffer: &mut Buffer<S>, deliveries: &mut Deliveries) -> Next {
        loop {
            if let Some(refusal) = self.refusal.take() {
                if matches!(refusal, Refusal::Body(_) | Refusal::CutOff) {
                    deliveries.losses_mut().note_broken();
                }
                return Next::Refused(refusal);
            }
            if !self.reply.unsent().is_empty() {
                return Next::Write;
            }
            let next = match self.phase {
                Phase::Head => self.read_head(buffer, deliveries),
                Phase::Batch => self.read_batch(buffer, deliveries),
                Phase::Skip => self.skip(buffer),
                Phase::Decide => Some(Next::Decide),
                Phase::Over => Some(Next::Close),
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    fn read_head<S: Storage>(
        &mut self,
        buffer: &mut Buffer<S>,
        deliveries: &Deliveries,
    ) -> Option<Next> {
        let mut fields = Fields::default();
        let mut input = buffer.raw();
        let length = input.len();
        let part = self.reader.read(&mut input, &mut |name, value| fields.note(name, value));
        let used = length - input.len();
        let head = match part {
            Ok(Some(RequestPart::Head(head))) => Some(Facts::of(&head, &fields)),
            // A reader that awaits a head returns nothing else.
            Ok(_) => None,
            Err(error) => {
                self.refuse_malformed(error);
                return None;
            }
        };
        buffer.consume(used, 0);
        let Some(head) = head else {
            return self.await_more(buffer, |exchange, buffer| {
                exchange.refuse(Refusal::HeadTooLong { bytes: buffer.raw().len() });
                exchange.close(Status::HeadTooLarge);
            });
        };
        self.connection = head.connection;
        if !head.is_post {
            self.refuse(Refusal::Method);
            // Whether the body follows is up to a client that waits (RFC 9110 section 10.1.1), and
            // nothing follows it on a last request.
            if head.expects_continue || self.connection == Connection::Closes {
                self.close(Status::WrongMethod);
            } else {
                self.phase = Phase::Skip;
                self.reply.begin(Status::WrongMethod, self.connection);
            }
            return None;
        }
        if head.expects_continue {
            self.reply.begin(Status::Continue, self.connection);
        }
        self.phase = Phase::Batch;
        self.array = Array::default();
        self.sequence = head.sequence;
        self.body = Digest::default();
        self.told = Losses::default();
        let earlier = self.sequence.and_then(|identity| deliveries.earlier(identity));
        self.batch = Batch { earlier, ..Batch::default() };
        Some(Next::Begin)
    }

    fn read_batch<S: Storage>(
        &mut self,
        buffer: &mut Buffer<S>,
        deliveries: &mut Deliveries,
    ) -> Option<Next> {
        if !buffer.unscanned().is_empty() {
            let (scanned, found) = self.array.scan(buffer.unscanned());
            buffer.scan(scanned);
            match found {
                Found::Nothing if self.array.is_inside() => {}
                Found::Nothing => buffer.skip(),
                Found::Begin => {
                    buffer.skip();
                    // Most events arrive completely, and are read in one pass. What does not, or is
                    // no event, is first split off by its commas and brackets.
                    let (outline, end) = self.array.take_event(buffer.unscanned())?;
                    buffer.scan(end + 1);
                    buffer.end_element(1);
                    return Some(Next::Element(Element::Event(outline)));
                }
                Found::End => {
                    buffer.end_element(1);
                    return Some(Next::Element(Element::Other(Whole::Array)));
                }
            }
            return None;
        }
        let mut input = buffer.raw();
        let length = input.len();
        let part = self.reader.read(&mut input, &mut |_, _| false);
        let used = length - input.len();
        match part {
            Ok(Some(RequestPart::Body(piece))) => {
                if self.sequence.is_none() {
                    self.body.update(piece);
                }
                let piece = piece.len();
                buffer.consume(used, piece);
                None
            }
            Ok(Some(_)) => {
                buffer.consume(used, 0);
                self.end_batch(buffer, deliveries)
            }
            Ok(None) => {
                buffer.consume(used, 0);
                // A record that fills the memory gives way, and is counted.
                self.await_more(buffer, |_, buffer| {
                    buffer.lose_element();
                })
            }
            Err(error) => {
                self.refuse_malformed(error);
                None
            }
        }
    }

    /// Looks at what the body was, now that it is complete.
    fn end_batch<S: Storage>(
        &mut self,
        buffer: &mut Buffer<S>,
        deliveries: &mut Deliveries,
    ) -> Option<Next> {
        match self.array.end() {
            Whole::NotAnArray => {
                let (delivery, is_lost) = deliveries.cannot_read(self.identity());
                self.refuse(Refusal::NotABatch { delivery, is_lost });
                self.end(if is_lost { Status::Taken } else { Status::Malformed });
                None
            }
            whole => {
                self.batch.earlier = deliveries.earlier(self.identity());
                self.phase = Phase::Decide;
                if whole == Whole::Array {
                    return None;
                }
                buffer.end_element(0);
                Some(Next::Element(Element::Other(whole)))
            }
        }
    }

    fn skip<S: Storage>(&mut self, buffer: &mut Buffer<S>) -> Option<Next> {
        if !self.reader.is_inside() {
            self.phase = Phase::Head;
            return None;
        }
        let mut input = buffer.raw();
        let length = input.len();
        let part = self.reader.read(&mut input, &mut |_, _| false);
        let used = length - input.len();
        match part {
            Ok(part) => {
                let is_more = part.is_some();
                buffer.consume(used, 0);
                if is_more { None } else { self.await_more(buffer, |_, _| {}) }
            }
            // The reply is sent, so there is none for this error.
            Err(_) => {
                self.phase = Phase::Over;
                None
            }
        }
    }

    /// Asks for more bytes, unless the client sends none or there is no room.
    fn await_more<S: Storage>(
        &mut self,
        buffer: &mut Buffer<S>,
        make_way: impl FnOnce(&mut Self, &mut Buffer<S>),
    ) -> Option<Next> {
        if self.is_ended {
            self.cut_off(!buffer.raw().is_empty());
            return None;
        }
        if buffer.make_room() {
            return Some(Next::Read);
        }
        make_way(self, buffer);
        None
    }

    /// Counts an element of the batch.
    fn note(&mut self, read: &Result<Record<'_>, Unread<'_>>) {
        self.batch.records = self.batch.records.saturating_add(1);
        match read {
            Ok(record) => self.told.note(record),
            Err(_) => {
                self.batch.unread = self.batch.unread.saturating_add(1);
                self.told.note_unread();
            }
        }
    }

    fn give_up(&mut self, deliveries: &mut Deliveries) {
        deliveries.give_up(self.identity(), &self.told);
        self.end(Status::Taken);
    }

    fn decide(&mut self, deliveries: &mut Deliveries, fate: Fate) {
        deliveries.decide(self.identity(), fate, &self.told);
        self.end(match fate {
            Fate::Taken => Status::Taken,
            Fate::Refused => Status::Again,
        });
    }

    /// By what the batch is recognised.
    fn identity(&self) -> u64 {
        self.sequence.unwrap_or(self.body.value())
    }

    /// Ends a request that was read completely.
    fn end(&mut self, status: Status) {
        self.reply.begin(status, self.connection);
        self.phase = if self.connection == Connection::Closes { Phase::Over } else { Phase::Head };
    }

    fn refuse_malformed(&mut self, error: RequestError) {
        let (refusal, status) = match error {
            RequestError::Head(error @ (HeadError::TooLarge | HeadError::TooManyFields)) => {
                (Refusal::Head(error), Status::HeadTooLarge)
            }
            RequestError::Head(error) => (Refusal::Head(error), Status::Malformed),
            RequestError::Body(error) => (Refusal::Body(error), Status::Malformed),
            // The error is not exhaustive.
            _ => (Refusal::Head(HeadError::Malformed), Status::Malformed),
        };
        self.refuse(refusal);
        self.close(status);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }

    /// Replies, and ends the connection: where the next request begins is unknown.
    fn close(&mut self, status: Status) {
        self.connection = Connection::Closes;
        self.reply.begin(status, Connection::Closes);
        self.phase = Phase::Over;
    }

    /// Ends the connection, wherever it is.
    fn cut_off(&mut self, has_begun: bool) {
        match self.phase {
            Phase::Batch | Phase::Decide => self.refuse(Refusal::CutOff),
            Phase::Head if has_begun => self.refuse(Refusal::HeadCutOff),
            _ => {}
        }
        self.phase = Phase::Over;
    }
}

/// Reads an element of a batch.
fn read((bytes, length): (&[u8], u64), whole: Whole) -> Result<Record<'_>, Unread<'_>> {
    let unread = |reason| Err(Unread { raw: bytes, reason });
    match whole {
        _ if length > bytes.len() as u64 => unread(Reason::TooLong { bytes: length }),
        Whole::CutOff => unread(Reason::CutOff),
        Whole::WithTail => unread(Reason::AfterTheArray),
        Whole::Array | Whole::NotAnArray => Record::parse(bytes),
    }
}
