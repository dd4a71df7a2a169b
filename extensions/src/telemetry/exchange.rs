//! Requests and replies on one connection, without its memory.

use lambda_proto::client::Storage;
use lambda_proto::http::{HeadError, RequestError, RequestPart, RequestReader};

use super::array::{Array, Found, Whole};
use super::buffer::Buffer;
use super::digest::Digest;
use super::head::{Facts, Fields};
use super::outline::Outline;
use super::reply::{Connection, Reply, Status};
use super::{Batch, Deliveries, Fate, Losses, Reason, Record, Refusal, Unread};

/// Everything about a connection but its memory.
#[derive(Debug)]
pub(super) struct Exchange {
    reader: RequestReader,
    phase: Phase,
    pub(super) reply: Reply,
    /// To be told before anything else happens.
    refusal: Option<Refusal>,
    connection: Connection,
    array: Array,
    pub(super) batch: Batch,
    /// The digest of the `Sequence-Id`.
    sequence: Option<u64>,
    /// The digest of the body so far.
    body: Digest,
    /// What the records of the batch tell.
    told: Losses,
    pub(super) is_ended: bool,
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
    /// Whether a head is awaited.
    pub(super) fn is_between_requests(&self) -> bool {
        self.phase == Phase::Head && self.reply.unsent().is_empty()
    }

    pub(super) fn advance<S: Storage>(
        &mut self,
        buffer: &mut Buffer<S>,
        deliveries: &mut Deliveries,
    ) -> Next {
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
            buffer.release();
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
    pub(super) fn note(&mut self, read: &Result<Record<'_>, Unread<'_>>) {
        self.batch.records = self.batch.records.saturating_add(1);
        match read {
            Ok(record) => self.told.note(record),
            Err(unread) => {
                self.batch.unread = self.batch.unread.saturating_add(1);
                if let Reason::MemoryInUse { bytes } = unread.reason {
                    self.batch.denied = self.batch.denied.saturating_add(bytes);
                }
                self.told.note_unread();
            }
        }
    }

    pub(super) fn give_up(&mut self, deliveries: &mut Deliveries) {
        deliveries.give_up(self.identity(), &self.told);
        self.end(Status::Taken);
    }

    pub(super) fn decide(&mut self, deliveries: &mut Deliveries, fate: Fate) {
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
    pub(super) fn cut_off(&mut self, has_begun: bool) {
        match self.phase {
            Phase::Batch | Phase::Decide => self.refuse(Refusal::CutOff),
            Phase::Head if has_begun => self.refuse(Refusal::HeadCutOff),
            _ => {}
        }
        self.phase = Phase::Over;
    }
}

/// Reads the element that has ended last.
pub(super) fn read<S: Storage>(buffer: &Buffer<S>, whole: Whole) -> Result<Record<'_>, Unread<'_>> {
    let (bytes, length) = buffer.element();
    let unread = |reason| Err(Unread::new(bytes, reason));
    match whole {
        _ if length > bytes.len() as u64 && buffer.is_element_denied() => {
            unread(Reason::MemoryInUse { bytes: length })
        }
        _ if length > bytes.len() as u64 => unread(Reason::TooLong { bytes: length }),
        Whole::CutOff => unread(Reason::CutOff),
        Whole::WithTail => unread(Reason::AfterTheArray),
        Whole::Array | Whole::NotAnArray => Record::parse(bytes),
    }
}
