//! A connection of the listener, with the policy of the extension.

use core::time::Duration;

use lambda_proto::client::Storage;
use lambda_proto::lifecycle::Clocks;

use super::{Admission, Collector, Fact, Telemetry, Warning};
use crate::limits::MAX_DELIVERIES;
use crate::telemetry::{Batch, Fate, Next, Reason, Receiver, Unread};

/// One connection on which Lambda delivers batches, as a [`Receiver`] that decides what becomes of
/// each batch by what the handler says.
///
/// Call [`step`](Self::step) until it is [`Step::Close`], also after the connection was
/// [lost](Self::lost): a batch that has begun is over then.
pub struct Intake<S> {
    receiver: Receiver<S>,
    batch: State,
    /// The invocation whose end the batch has told.
    told: Option<u32>,
    /// What the record says that the handler has.
    in_hand: Option<Fact>,
    /// When the last bytes arrived, by the monotonic clock.
    arrived: Duration,
    /// Bytes that the collector was not told of.
    has_arrived: bool,
}

/// What an [`Intake`] wants next. Borrows end before the next step.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a record is handed out once, without allocation")]
pub enum Step<'r> {
    /// Read from the connection into [`room`](Intake::room), which is not empty, and call
    /// [`received`](Intake::received), or [`end_of_stream`](Intake::end_of_stream).
    Read,
    /// Write [`unsent`](Intake::unsent), and call [`sent`](Intake::sent).
    Write,
    /// Call the handler, and then [`handled`](Intake::handled).
    Hand(Telemetry<'r>),
    /// Log this, if the [collector allows it](Collector::may_log).
    Warn(Warning),
    /// A record was withheld, or comes again because there is no memory for it now; nothing needs to be
    /// done.
    Pass,
    /// Close the connection, as after [`telemetry::Step::Close`](crate::telemetry::Step::Close).
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// None has begun.
    Idle,
    /// Its records are handed out.
    Open,
    /// Its records are not needed: it was taken before.
    Duplicate,
    /// The handler was told of its records for which there was no memory.
    Denied,
    /// The handler has failed.
    Failed,
    /// It is decided; its reply is to be written.
    Decided,
}

impl<S: Storage> Intake<S> {
    /// The intake of a new connection, with [memory of any size](Receiver::new).
    pub fn new(memory: S) -> Self {
        Self {
            receiver: Receiver::new(memory),
            batch: State::Idle,
            told: None,
            in_hand: None,
            arrived: Duration::ZERO,
            has_arrived: false,
        }
    }

    /// Says what to do next. Call it again after doing it.
    pub fn step<'r>(&'r mut self, collector: &mut Collector) -> Step<'r> {
        if core::mem::take(&mut self.has_arrived) {
            collector.ending.arrives();
        }
        loop {
            let next = self.receiver.advance(&mut collector.deliveries);
            if self.batch == State::Decided && !matches!(next, Next::Write) {
                self.end_batch(collector);
            }
            match next {
                Next::Read => return Step::Read,
                Next::Write => return Step::Write,
                Next::Close => {
                    self.end_batch(collector);
                    return Step::Close;
                }
                Next::Refused(refusal) => {
                    self.end_batch(collector);
                    return Step::Warn(Warning::Refused(refusal));
                }
                Next::Begin => {
                    collector.batch_begins();
                    self.batch = match self.receiver.batch().earlier() {
                        Some(Fate::Taken) => State::Duplicate,
                        _ => State::Open,
                    };
                }
                Next::Decide => {
                    if let Some(unread) = self.denied() {
                        self.batch = State::Denied;
                        self.in_hand = Some(collector.hand(Fact::Nothing));
                        return Step::Hand(Telemetry::Unread(unread));
                    }
                    if let Some(warning) = self.decide(collector) {
                        return Step::Warn(warning);
                    }
                }
                Next::Element(element) if self.batch == State::Open => {
                    let Self { receiver, in_hand, .. } = self;
                    collector.ending.arrives();
                    let record = match receiver.element(element) {
                        Ok(record) => record,
                        // It is handed out only if it does not come again.
                        Err(Unread { reason: Reason::MemoryInUse { .. }, .. }) => {
                            return Step::Pass;
                        }
                        Err(unread) => {
                            *in_hand = Some(collector.hand(Fact::of_unread(&unread)));
                            return Step::Hand(Telemetry::Unread(unread));
                        }
                    };
                    match collector.admit(&record, self.arrived) {
                        Admission::Hand => {
                            *in_hand = Some(collector.hand(Fact::of(&record)));
                            return Step::Hand(Telemetry::Record(record));
                        }
                        Admission::Withhold => return Step::Pass,
                        Admission::WithholdFirst { limit } => {
                            return Step::Warn(Warning::Withheld {
                                limit,
                                own: collector.own_logs,
                            });
                        }
                    }
                }
                Next::Element(element) => {
                    collector.ending.arrives();
                    let element = self.receiver.element(element);
                    let fact = element.as_ref().map_or_else(Fact::of_unread, Fact::of);
                    let is_known = self.batch == State::Duplicate;
                    // An invocation that was over long ago is forgotten, and must not begin again.
                    let begins = matches!(fact, Fact::Started(_));
                    if fact.is_end() || (is_known && !begins) {
                        self.note(collector, &fact);
                    }
                }
            }
        }
    }

    /// Records whether the handler has taken what it was given by [`Step::Hand`]. If not, the rest of
    /// the batch is skipped, and the batch is asked for again or given up.
    ///
    /// Returns whether the record was one for which [`Collector::check`] may wait.
    pub fn handled(&mut self, collector: &mut Collector, is_taken: bool) -> bool {
        let Some(fact) = self.in_hand.take() else { return false };
        collector.put_down();
        let is_end = fact.is_end();
        if is_taken || is_end {
            self.note(collector, &fact);
        }
        if !is_taken && matches!(self.batch, State::Open | State::Denied) {
            self.batch = State::Failed;
        }
        is_end
    }

    fn note(&mut self, collector: &mut Collector, fact: &Fact) {
        let told = collector.note(fact);
        // All of a batch tells of one invocation: the next one begins when the extension has asked
        // for it, which waits for this batch.
        if let (Some(invocation), None) = (told, self.told) {
            self.told = told;
            collector.batch_tells(invocation);
        }
    }

    /// The memory to read into. It is not empty after [`Step::Read`].
    pub fn room(&mut self) -> &mut [u8] {
        self.receiver.room()
    }

    /// Records that `length` bytes were read into [`room`](Self::room), with the clocks after that.
    pub fn received(&mut self, length: usize, now: Clocks) {
        self.arrived = now.monotonic;
        self.has_arrived = true;
        self.receiver.received(length);
    }

    /// Records that the client sends nothing more. It may still read a reply.
    pub fn end_of_stream(&mut self) {
        self.receiver.end_of_stream();
    }

    /// Records that the connection is gone, or took too long. What has arrived of a batch is refused.
    pub fn lost(&mut self) {
        self.receiver.lost();
    }

    /// The bytes to write.
    pub fn unsent(&self) -> &[u8] {
        self.receiver.unsent()
    }

    /// Records that `length` bytes of [`unsent`](Self::unsent) were written.
    pub fn sent(&mut self, length: usize) {
        self.receiver.sent(length);
    }

    /// Whether no request has begun. One that has begun must end within
    /// [`MAX_REQUEST_TIME`](crate::limits::MAX_REQUEST_TIME).
    pub fn is_idle(&self) -> bool {
        self.receiver.is_idle()
    }

    /// The records for which there was no memory, as one, at the last delivery of their batch.
    fn denied(&self) -> Option<Unread<'static>> {
        let batch = self.receiver.batch();
        let is_last = batch.refusals().saturating_add(1) >= MAX_DELIVERIES;
        let bytes = batch.denied_bytes();
        let reason = Reason::MemoryInUse { bytes };
        let is_told = self.batch == State::Open && is_last && is_denied(&batch);
        is_told.then_some(Unread::new(&[], reason))
    }

    fn decide(&mut self, collector: &mut Collector) -> Option<Warning> {
        let state = core::mem::replace(&mut self.batch, State::Decided);
        collector.batch_is_decided();
        let decision = self.receiver.decision(&mut collector.deliveries);
        let batch = decision.batch();
        let delivery = batch.refusals().saturating_add(1);
        match state {
            State::Open if is_denied(&batch) => {
                decision.send_again();
                Some(Warning::MemoryInUse { delivery })
            }
            State::Failed if delivery < MAX_DELIVERIES => {
                decision.send_again();
                Some(Warning::SentBack { delivery })
            }
            State::Failed => {
                decision.give_up();
                Some(Warning::GivenUp { records: batch.records() })
            }
            _ => {
                decision.take();
                None
            }
        }
    }

    fn end_batch(&mut self, collector: &mut Collector) {
        // A record that was handed out when the connection was lost.
        if self.in_hand.take().is_some() {
            collector.put_down();
        }
        match self.batch {
            State::Idle => return,
            State::Decided => {}
            State::Open | State::Duplicate | State::Denied | State::Failed => {
                collector.batch_is_decided();
            }
        }
        self.batch = State::Idle;
        collector.batch_ends(self.told.take());
    }
}

/// Whether there was no memory for records that the handler has not taken before.
fn is_denied(batch: &Batch) -> bool {
    batch.denied_bytes() > 0 && batch.earlier() != Some(Fate::Taken)
}
