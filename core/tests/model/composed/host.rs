//! What the embedder has learnt from receipts and warnings.

use lambda_proto::api::{Meaning, Outcome};
use lambda_proto::client::{Warning, WarningKind};

/// The fate of an answer, as far as the embedder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Taken,
    TakenBefore,
    Refused,
    /// 410: the invocation is over, which says nothing about an earlier copy.
    Over,
    Unknown,
    /// The answer was pipelined, and its fate becomes known with the next invocation.
    Pipelined,
}

impl Fate {
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome.meaning() {
            Meaning::Accepted => Self::Taken,
            Meaning::AcceptedBefore => Self::TakenBefore,
            Meaning::TooLate => Self::Over,
            _ => Self::Refused,
        }
    }
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Host {
    /// The answers given: the invocation, the body and the fate of each.
    pub(crate) answers: Vec<(usize, String, Option<Fate>)>,
    /// Whether the receipt of the last answer is due.
    pub(crate) is_due: bool,
    pub(crate) events_lost: Vec<usize>,
    /// Reports of lost events whose fate is unknown.
    pub(crate) reports_unknown: Vec<usize>,
    pub(crate) losses: usize,
    pub(crate) timeouts: usize,
    /// How often the body of an answer was lost before its receipt.
    pub(crate) withdrawals: usize,
}

impl Host {
    pub(crate) fn hear(&mut self, warning: &Warning<'_>) {
        let last = self.answers.last_mut();
        let of_answer = last.filter(|answer| answer.2 == Some(Fate::Pipelined));
        match warning.kind {
            // `World::settle` fills in which invocation it is.
            WarningKind::EventLost => self.events_lost.push(usize::MAX),
            WarningKind::FateUnknown => match of_answer {
                Some(answer) => answer.2 = Some(Fate::Unknown),
                None if !self.is_due => {
                    let lost = self.events_lost.last().expect("a report");
                    self.reports_unknown.push(*lost);
                }
                None => {}
            },
            WarningKind::Refused { outcome, .. } => {
                if let Some(answer) = of_answer {
                    answer.2 = Some(Fate::of(outcome));
                }
            }
            WarningKind::SentAgain => {}
            _ => panic!("{warning}"),
        }
    }
}
