//! What was measured.

use crate::clients::{Client, Kind};
use crate::measure::{Calls, Sample};
use crate::options::Placement;
use crate::statistics::Estimate;

/// Clients that are compared with each other, on the same cores.
pub(crate) struct Group {
    pub(crate) placement: Placement,
    pub(crate) body: usize,
    /// Whether it is about slots: then all are served by `epoll`, and only the slots differ.
    pub(crate) is_slots: bool,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) client: Client,
    /// One of each round.
    pub(crate) samples: Vec<Sample>,
    /// Nothing without `strace`.
    pub(crate) calls: Option<Calls>,
}

impl Row {
    pub(crate) fn estimate(&self, value: impl Fn(&Sample) -> f64) -> Estimate {
        Estimate::of(&self.samples.iter().map(value).collect::<Vec<_>>())
    }

    /// The part of its time that the program itself has used, of one.
    pub(crate) fn user_share(&self) -> f64 {
        let ticks = self.samples.iter().map(|it| (it.user, it.user + it.system));
        let (user, all) = ticks.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        user as f64 / all.max(1) as f64
    }

    /// The throughput as a multiple of that of another one, in the same round each time.
    pub(crate) fn ratio(&self, other: &Self) -> Estimate {
        let pairs = self.samples.iter().zip(&other.samples);
        let ratios: Vec<_> = pairs.map(|(one, other)| one.per_second / other.per_second).collect();
        Estimate::of(&ratios)
    }
}

impl Group {
    pub(crate) fn row(&self, kind: Kind) -> Option<&Row> {
        self.rows.iter().find(|row| row.client.kind == kind)
    }

    /// `lambda_runtime` with one thread and as many slots, unless it is the client itself.
    pub(crate) fn peer(&self, of: &Row) -> Option<&Row> {
        let kind = if self.is_slots { Kind::LambdaRuntimeConcurrent } else { Kind::LambdaRuntime };
        let is_peer = |row: &&Row| row.client.kind == kind && row.client.slots == of.client.slots;
        self.rows.iter().find(is_peer).filter(|_| of.client.kind != kind)
    }
}
