//! What the embedder was told.

use lambda_proto::api::{Meaning, Outcome};
use lambda_proto::client::{Warning, WarningKind};

/// What the embedder knows of an invocation, from what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Taken,
    TakenBefore,
    Refused,
    /// 410: the invocation is over, which says nothing of an earlier copy.
    Over,
    Unknown,
    /// Asked for the next one behind the answer: its fate comes with that.
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
    /// Bodies of the answers given, each with its fate.
    pub(crate) answers: Vec<(usize, String, Option<Fate>)>,
    /// Whether the last of them is waited for.
    pub(crate) is_due: bool,
    pub(crate) events_lost: Vec<usize>,
    /// Reports of lost events whose fate is unknown.
    pub(crate) reports_unknown: Vec<usize>,
    pub(crate) losses: usize,
    pub(crate) timeouts: usize,
}

impl Host {
    pub(crate) fn hear(&mut self, warning: &Warning<'_>) {
        let last = self.answers.last_mut();
        let of_answer = last.filter(|answer| answer.2 == Some(Fate::Pipelined));
        match warning.kind {
            // Which one it is says the machine, by the attempt.
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
