//! The open work of a slot: timers, and promises that `waitUntil` was given.

use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use lambda_proto::api::Concurrency;
use lambda_proto_host::lifecycle::clock;
use lambda_proto_host::policy::{
    FreezeDecision, FreezePoint, InvocationNumber, Ledger, Policy, TaskToken,
};
use lambda_proto_host::{Level, Log, Record};

use crate::owners::Owner;

/// More work is counted, but not described.
const TASKS: usize = 64;

/// The number of invocations whose request ids are kept for work that is still open.
const INVOCATIONS: usize = 16;

/// The logger of the runtime's own records.
pub(crate) const LOGGER: &str = "lambda-quickjs";

/// The open work of a slot.
pub(crate) struct Work {
    ledger: Ledger<TASKS, INVOCATIONS>,
    /// What each piece is, by its place in the ledger.
    pieces: [Option<Piece>; TASKS],
    policy: Policy,
    log: Log,
}

/// A piece of work.
struct Piece {
    /// What it is and where it was started.
    description: Box<str>,
    /// The ledger keeps the request ids of fewer invocations.
    owner: Rc<Owner>,
}

impl Work {
    /// No work.
    pub(crate) fn new(policy: Policy, log: Log) -> Self {
        Self {
            // Also with several slots: a slot runs no JavaScript while it waits for an invocation.
            ledger: Ledger::new(Concurrency::Single),
            pieces: [const { None }; TASKS],
            policy,
            log,
        }
    }

    /// Begins a piece of work of this owner.
    pub(crate) fn begin(&mut self, owner: &Rc<Owner>, description: &str) -> TaskToken {
        let number = InvocationNumber(owner.number);
        let token = self.ledger.begin(number, &owner.request_id, clock::now());
        if let Some(place) = token.place() {
            self.pieces[place] =
                Some(Piece { description: description.into(), owner: owner.clone() });
        }
        token
    }

    /// Ends a piece of work, and says so in the log if a freeze point has left it behind.
    pub(crate) fn end(&mut self, token: TaskToken) {
        let piece = token.place().and_then(|place| self.pieces[place].take());
        // It cannot fail: each token ends once, here.
        let Ok(ended) = self.ledger.end(token, clock::now()) else { return };
        if !ended.is_late || self.policy == Policy::Abandon {
            return;
        }
        let (description, id) = match &piece {
            Some(piece) => (&*piece.description, &*piece.owner.request_id),
            None => ("a piece of work", ended.request_id.unwrap_or_default()),
        };
        let line = format_args!(
            "{description} was left behind by its invocation, and has ended after {} ms",
            ended.age.as_millis()
        );
        let record = Record::new(Level::Info, line).logger(LOGGER);
        self.log.write(&record.request_id(id));
    }

    /// Whether there is work that no freeze point has decided about.
    pub(crate) fn has_undecided(&self) -> bool {
        self.ledger.undecided() > 0
    }

    /// Leaves all open work behind, and reports it as the policy says. Returns whether the policy
    /// treats it as an error.
    pub(crate) fn leave_behind(&mut self, freeze_point: FreezePoint, request_id: &str) -> bool {
        let now = clock::now();
        let decision = self.ledger.cross(&freeze_point, now);
        let level = match decision {
            FreezeDecision::Report => Level::Warn,
            FreezeDecision::Fail => Level::Error,
            _ => return false,
        };
        let report = self.ledger.report(now);
        let mut list = String::new();
        let mut json = String::from("[");
        for (index, task) in report.tasks().enumerate() {
            let Some(Piece { description, owner }) = &self.pieces[task.place] else { continue };
            let id = &owner.request_id[..];
            let age = task.age.as_millis();
            let comma = if index == 0 { "" } else { ", " };
            let of = match id {
                "" => " of init".to_owned(),
                id if id == request_id => String::new(),
                id => format!(" of {id}"),
            };
            let _infallible = write!(list, "{comma}{description}{of} ({age} ms old)");
            let name = json_text(description);
            let _infallible = write!(
                json,
                "{}{{\"requestId\":{},\"name\":{name},\"ageMs\":{age}}}",
                comma.trim_end(),
                json_text(id),
            );
        }
        json.push(']');
        if report.untracked() > 0 {
            let _infallible = write!(list, ", and {} more", report.untracked());
        }
        let oldest = report.oldest_age().unwrap_or(Duration::ZERO).as_millis();
        let outstanding = report.outstanding();
        let line = format_args!(
            "work is left after the answer, and freezes with the environment until the next \
             invocation: {list}"
        );
        let add = |fields: &mut lambda_proto_host::Fields<'_>| {
            fields.json("outstanding", format_args!("{outstanding}"));
            fields.json("oldestAgeMs", format_args!("{oldest}"));
            fields.json("tasks", format_args!("{json}"));
        };
        let record = Record::new(level, line).logger(LOGGER).request_id(request_id);
        self.log.write(&record.fields(&add));
        decision == FreezeDecision::Fail
    }
}

/// A text as JSON.
fn json_text(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => {
                let _infallible = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}
