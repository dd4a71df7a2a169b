//! One slot in the loop: it performs the steps of the core's client, as far as the socket allows.

mod answering;
mod cancelling;
mod connecting;
mod link;
mod timer;

use std::io;
use std::time::{Duration, Instant};

pub(crate) use answering::refuse;
use cancelling::Notice;
use lambda_proto::api::ErrorReport;
use lambda_proto::client::{Client, End, Receipt, Step};
use lambda_proto::lifecycle::{Clocks, TimeLimit};
use lambda_proto::limits::{MAX_ERROR_BODY, MAX_HEAD, MAX_REQUEST_HEAD, MAX_XRAY_CAUSE};
use lambda_proto::machine::{CommandError, Machine};
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::{Context, Crossed, Error, Failure, InFlight};
use link::Link;
use mio::event;

use crate::command_queue::{Key, Next};
use crate::event::Event;
use crate::invocation::Invocation;
use crate::pieces::Pieces;
use crate::pool::{Pooled, Use};
use crate::responder::Responder;
use crate::scheduler::Scheduler;
use crate::socket::Io;

pub(crate) struct Slot {
    number: usize,
    client: Client<Pooled>,
    link: Link,
    /// It is on the list of slots that continue in the next turn.
    is_unfinished: bool,
    /// Counts the invocations, so that a responder matches only its own invocation.
    generation: u64,
    doing: Doing,
    in_flight: InFlight,
    /// The pieces that are being sent.
    pieces: Pieces,
    held: Held,
    notice: Notice,
    /// The limit of the latest invocation; only with a lifecycle, like `asked`.
    limit: Option<TimeLimit>,
    /// The clocks, read before the next invocation was asked for.
    asked: Option<Clocks>,
}

/// What holds back the request for the next invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Not,
    /// The program, until it drops its hold.
    ByProgram,
    /// Work after the answer, until it is over, but no later than `until`.
    ByWork {
        until: Instant,
    },
}

/// The state of the invocation in flight.
#[derive(Debug)]
enum Doing {
    Nothing,
    /// Its responder has not been used.
    InFlight,
    /// A piece of `piece` bytes is being sent; `finish` is set when the writer has ended the
    /// stream.
    Streaming {
        piece: usize,
        finish: Option<Finish>,
    },
    /// The answer is being sent, or its receipt is awaited; the body is kept until then.
    Answering {
        body: Vec<u8>,
    },
}

#[derive(Debug)]
enum Finish {
    Well { next: Next },
    Failed(Failure),
    GivenUp,
}

/// The most steps in one turn of the loop; then it is the turn of other slots and the program.
const STEPS: usize = 64;

impl Slot {
    pub(crate) fn new(number: usize, scheduler: &Scheduler) -> Self {
        let settings = &scheduler.settings;
        let machine = Machine::with_concurrency(settings.endpoint.clone(), settings.concurrency());
        let client = Client::new(
            machine,
            new_storage(scheduler, Use::Event),
            new_storage(scheduler, Use::Request),
        );
        Self {
            number,
            client: client.with_max_event(settings.max_event),
            link: Link::Down,
            is_unfinished: false,
            generation: 0,
            doing: Doing::Nothing,
            in_flight: match scheduler.active {
                Some(_) => InFlight::tracked(&settings.endpoint),
                None => InFlight::new(&settings.endpoint),
            },
            pieces: Pieces::default(),
            held: Held::Not,
            notice: Notice::Never,
            limit: None,
            asked: None,
        }
    }

    fn key(&self) -> Key {
        Key { slot: self.number, generation: self.generation }
    }

    /// Notes an event of the socket.
    pub(crate) fn handle_event(&mut self, event: &event::Event, scheduler: &mut Scheduler) {
        match &mut self.link {
            Link::Up(socket) => socket.note(event),
            Link::Connecting { socket, .. } => {
                socket.note(event);
                match socket.is_connected() {
                    Ok(true) => self.connected(scheduler),
                    Ok(false) => return,
                    Err(reason) => self.attempt_failed(reason, scheduler),
                }
            }
            Link::Down | Link::Paused { .. } | Link::Waiting | Link::Over => return,
        }
        self.drive(scheduler);
    }

    /// Does what the timer, which is due, was set for.
    pub(crate) fn handle_timer(&mut self, scheduler: &mut Scheduler) {
        match self.link {
            _ if self.is_cancellation_due(scheduler.now) => return self.cancel(scheduler),
            // The wait for work is over: the slot asks now.
            _ if self.is_held_by_work() => self.hold(Held::Not, scheduler),
            Link::Connecting { .. } => {
                self.attempt_failed(io::ErrorKind::TimedOut.into(), scheduler);
            }
            _ => self.dial(scheduler),
        }
        self.drive(scheduler);
    }

    /// The post-response work that some slot waits for is over.
    pub(crate) fn work_is_over(&mut self, scheduler: &mut Scheduler) {
        if self.is_held_by_work() {
            self.drive(scheduler);
        }
    }

    fn is_held_by_work(&self) -> bool {
        matches!(self.held, Held::ByWork { .. })
    }

    /// Continues where the last turn stopped.
    pub(crate) fn go_on(&mut self, scheduler: &mut Scheduler) {
        self.is_unfinished = false;
        self.drive(scheduler);
    }

    /// Reports that the function could not start; no invocation is asked for.
    pub(crate) fn fail_init(&mut self, report: &ErrorReport<'_>, scheduler: &mut Scheduler) {
        let said = self.client.fail_init(report);
        self.begin_with(said, scheduler);
    }

    /// Tells the service that it may take the snapshot; asks for no invocation after the restore.
    pub(crate) fn restore_next(&mut self, scheduler: &mut Scheduler) {
        self.held = Held::ByProgram;
        let said = self.client.restore_next();
        self.begin_with(said, scheduler);
    }

    /// Reports that the function could not resume after the restore.
    pub(crate) fn fail_restore(&mut self, report: &ErrorReport<'_>, scheduler: &mut Scheduler) {
        let said = self.client.fail_restore(report);
        self.begin_with(said, scheduler);
    }

    /// Continues with a request that replaces the one for an invocation.
    fn begin_with(&mut self, said: Result<(), CommandError>, scheduler: &mut Scheduler) {
        if let Err(error) = said {
            scheduler
                .settings
                .log
                .error(format_args!("a request of the start cannot be sent: {error}"));
            self.client.exchange().shut_down();
        }
        self.drive(scheduler);
    }

    /// Performs steps until the socket would block or it is another slot's turn.
    pub(crate) fn drive(&mut self, scheduler: &mut Scheduler) {
        for _ in 0..STEPS {
            if self.is_over() {
                return;
            }
            let step = self.client.exchange().step(scheduler.tell());
            self.in_flight.note(self.client.machine());
            if !self.client.is_connected() && matches!(self.link, Link::Up(_)) {
                self.hang_up(scheduler);
            }
            let goes_on = match step {
                Step::Connect { .. } | Step::Read | Step::Idle
                    if scheduler.is_stopping() && self.client.may_stop() =>
                {
                    self.client.exchange().shut_down();
                    true
                }
                Step::Connect { losses } => {
                    self.connect(losses, scheduler);
                    self.client.end().is_some()
                }
                Step::Write => self.write() || self.read_refusal(),
                Step::Read => self.read(),
                Step::Idle if self.held == Held::ByProgram => self.read(),
                Step::Idle => self.ask(scheduler),
                Step::Answer => match self.doing {
                    Doing::Nothing => {
                        self.deliver(scheduler);
                        true
                    }
                    Doing::Streaming { .. } => self.feed(scheduler) || self.read_refusal(),
                    Doing::InFlight | Doing::Answering { .. } => self.read(),
                },
                Step::Settled(receipt) => {
                    self.settled(receipt, scheduler);
                    true
                }
                Step::End(end) => self.ended(end, scheduler),
            };
            if !goes_on {
                return;
            }
        }
        if !std::mem::replace(&mut self.is_unfinished, true) {
            scheduler.unfinished.push_back(self.number);
        }
    }

    /// Asks for the next invocation, unless the slot must wait for work after the previous answer.
    fn ask(&mut self, scheduler: &mut Scheduler) -> bool {
        // Before the first invocation there is no such work.
        if let (Some(active), Some(limit)) = (&scheduler.active, self.limit) {
            match active.tasks.try_cross(|| limit) {
                Ok(Crossed::GoOn) => {
                    self.hold(Held::Not, scheduler);
                    self.note_asking();
                }
                Ok(Crossed::Wait { until }) => {
                    self.hold(Held::ByWork { until }, scheduler);
                    return self.read();
                }
                Err(left_behind) => {
                    scheduler.fail(Error::LeftBehind(left_behind));
                    self.client.exchange().shut_down();
                    return true;
                }
            }
        }
        // There is room for it: the memory for requests grows.
        self.client.ask().is_ok()
    }

    /// Whether the next invocation is asked for together with the answer; notes it if so.
    fn may_pipeline(&mut self, next: Next, scheduler: &Scheduler) -> bool {
        let may_pipeline = scheduler.may_pipeline(next);
        if may_pipeline && scheduler.active.is_some() {
            self.note_asking();
        }
        may_pipeline
    }

    /// Reads the clocks before the next invocation is asked for.
    fn note_asking(&mut self) {
        // When the slot asks again after a loss, the idle gap continues.
        self.asked.get_or_insert_with(clock::now);
    }

    fn write(&mut self) -> bool {
        let Link::Up(socket) = &mut self.link else { return false };
        if !socket.is_writable() {
            return false;
        }
        let body = match &self.doing {
            Doing::Streaming { piece, .. } => self.pieces.current(*piece),
            Doing::Answering { body } => body,
            Doing::Nothing | Doing::InFlight => &[],
        };
        match socket.write(self.client.exchange().unsent(body)) {
            Io::Done(length) => self.client.exchange().sent(length),
            Io::Blocked => return false,
            Io::Failed => self.client.exchange().write_failed(),
        }
        true
    }

    /// Reads a reply that comes before the whole answer is written, if it makes the rest useless.
    /// Any other is read after the answer.
    fn read_refusal(&mut self) -> bool {
        let Link::Up(socket) = &mut self.link else { return false };
        socket.is_readable() && socket.is_refused() && self.read()
    }

    fn read(&mut self) -> bool {
        let Link::Up(socket) = &mut self.link else { return false };
        if !socket.is_readable() {
            return false;
        }
        // Without room, the next step ends the session.
        let mut exchange = self.client.exchange();
        let Some(room) = exchange.room() else { return true };
        match socket.read(room) {
            Io::Done(length) => self.client.exchange().received(length),
            // The next step returns the unused memory to the pool.
            Io::Blocked => {}
            Io::Failed => self.client.exchange().lost(),
        }
        true
    }

    /// Hands the invocation out.
    fn deliver(&mut self, scheduler: &mut Scheduler) {
        let other = new_storage(scheduler, Use::Event);
        let Some(event) = self.client.take_event(other) else { return };
        self.generation += 1;
        self.doing = Doing::InFlight;
        scheduler.is_told_of_losses = false;
        let context = scheduler.active.as_ref().map(|active| {
            let context = Context::new(active.clone(), &event.invocation(), self.asked.take());
            self.limit = Some(context.time_limit());
            context
        });
        scheduler.queue.piece_queues[self.number].belongs_here();
        let key = self.key();
        let responder = Responder::new(scheduler.queue.clone(), key);
        scheduler.push(Event::Invocation(Invocation::new(event, key, context), responder));
        self.expect_cancellation(scheduler);
    }

    /// Handles the end of the session: the slot starts over after a pause, or ends.
    fn ended(&mut self, end: End, scheduler: &mut Scheduler) -> bool {
        self.hang_up(scheduler);
        self.settled(Receipt::FateUnknown, scheduler);
        self.hold(Held::Not, scheduler);
        // Invalidates a responder that still exists.
        self.generation += 1;
        if end.begins_anew(scheduler.settings.concurrency()) && !scheduler.is_stopping() {
            let number = self.number;
            scheduler.settings.log.warn(format_args!("slot {number} starts over: {end}"));
            self.client.begin_anew();
            self.pause(Duration::from_secs(1), scheduler);
            return false;
        }
        self.put_link(Link::Over, scheduler);
        // After this, nothing is reported for the slot, whatever the end was.
        self.client.exchange().shut_down();
        self.in_flight.note(self.client.machine());
        scheduler.queue.piece_queues[self.number].end(&scheduler.queue.pool);
        scheduler.look_again |= scheduler.dialer.stops_looking(self.number);
        let error = Error::from_end(end);
        if let Some(error) = &error
            && scheduler.settings.slots > 1
        {
            scheduler.settings.log.error(format_args!("slot {} has ended: {error}", self.number));
        }
        scheduler.slot_is_done(error);
        false
    }

    /// Ends the slot, whatever it has in flight.
    pub(crate) fn shut_down(&mut self, scheduler: &mut Scheduler) {
        self.client.exchange().shut_down();
        self.drive(scheduler);
    }
}

fn new_storage(scheduler: &Scheduler, purpose: Use) -> Pooled {
    let most = match purpose {
        Use::Event => scheduler.settings.max_event.saturating_add(MAX_HEAD),
        _ => MAX_REQUEST_HEAD + MAX_XRAY_CAUSE + MAX_ERROR_BODY,
    };
    Pooled::new(&scheduler.queue.pool, purpose, most)
}
