//! A connection of the listener, with the policy of the extension.

use lambda_proto::client::Storage;

use super::{Admission, Collector, Fact, Telemetry, Warning};
use crate::limits::MAX_DELIVERIES;
use crate::telemetry::{Fate, Next, Receiver};

/// One connection on which Lambda delivers batches, as a [`Receiver`] that decides what becomes of
/// each batch by what the handler says.
///
/// Call [`step`](Self::step) until it is [`Step::Close`], also after the connection was
/// [lost](Self::lost): a batch that has begun is over then.
pub struct Intake<S> {
    receiver: Receiver<S>,
    batch: State,
    /// What the record says that the handler has.
    in_hand: Fact,
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
    /// A record was withheld; nothing needs to be done.
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
    /// The handler has failed.
    Failed,
    /// It is decided; its reply is to be written.
    Decided,
}

impl<S: Storage> Intake<S> {
    /// The intake of a new connection, with [memory of any size](Receiver::new).
    pub fn new(memory: S) -> Self {
        Self { receiver: Receiver::new(memory), batch: State::Idle, in_hand: Fact::Nothing }
    }

    /// Says what to do next. Call it again after doing it.
    pub fn step<'r>(&'r mut self, collector: &mut Collector) -> Step<'r> {
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
                    if let Some(warning) = self.decide(collector) {
                        return Step::Warn(warning);
                    }
                }
                Next::Element(element) if self.batch == State::Open => {
                    let Self { receiver, in_hand, .. } = self;
                    let record = match receiver.element(element) {
                        Ok(record) => record,
                        Err(unread) => {
                            *in_hand = Fact::of_unread(&unread);
                            return Step::Hand(Telemetry::Unread(unread));
                        }
                    };
                    match collector.admit(&record) {
                        Admission::Hand => {
                            *in_hand = Fact::of(&record);
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
                    let element = self.receiver.element(element);
                    let fact = element.as_ref().map_or_else(Fact::of_unread, Fact::of);
                    let is_known = self.batch == State::Duplicate;
                    if is_known || matches!(fact, Fact::RuntimeDone(_)) {
                        collector.note(&fact);
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
        let fact = core::mem::take(&mut self.in_hand);
        if is_taken || matches!(fact, Fact::RuntimeDone(_)) {
            collector.note(&fact);
        }
        if !is_taken && self.batch == State::Open {
            self.batch = State::Failed;
        }
        !matches!(fact, Fact::Nothing)
    }

    /// The memory to read into. It is not empty after [`Step::Read`].
    pub fn room(&mut self) -> &mut [u8] {
        self.receiver.room()
    }

    /// Records that `length` bytes were read into [`room`](Self::room).
    pub fn received(&mut self, length: usize) {
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

    fn decide(&mut self, collector: &mut Collector) -> Option<Warning> {
        let decision = self.receiver.decision(&mut collector.deliveries);
        let batch = decision.batch();
        let is_failed = self.batch == State::Failed;
        self.batch = State::Decided;
        if !is_failed {
            decision.take();
            return None;
        }
        let delivery = batch.refusals().saturating_add(1);
        if delivery < MAX_DELIVERIES {
            decision.send_again();
            return Some(Warning::SentBack { delivery });
        }
        decision.give_up();
        Some(Warning::GivenUp { records: batch.records() })
    }

    fn end_batch(&mut self, collector: &mut Collector) {
        if self.batch != State::Idle {
            self.batch = State::Idle;
            collector.batch_ends();
        }
    }
}
