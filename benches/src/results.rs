//! The results of the measurements.

use crate::clients::{Client, Kind};
use crate::measure::{Calls, Sample};
use crate::options::Placement;
use crate::statistics::Estimate;

/// What the clients of a group are compared in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Events of one length, with one slot.
    Bodies,
    /// Several slots. All clients are served with `epoll`.
    Slots,
    /// HTTP requests to axum, beside echoes of events of the same length.
    Http,
}

/// Clients to compare with each other, on the same cores.
pub(crate) struct Group {
    pub(crate) placement: Placement,
    pub(crate) body: usize,
    pub(crate) topic: Topic,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) client: Client,
    /// One sample per round.
    pub(crate) samples: Vec<Sample>,
    /// `None` without `strace`.
    pub(crate) calls: Option<Calls>,
}

impl Row {
    pub(crate) fn estimate(&self, value: impl Fn(&Sample) -> f64) -> Estimate {
        Estimate::of(&self.samples.iter().map(value).collect::<Vec<_>>())
    }

    /// The share of the time in user space, from 0 to 1.
    pub(crate) fn user_share(&self) -> f64 {
        let ticks = self.samples.iter().map(|it| (it.user, it.user + it.system));
        let (user, all) = ticks.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        user as f64 / all.max(1) as f64
    }

    /// The ratio of the throughput to another client's in the same round.
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

    /// `lambda_runtime` with the same number of slots, unless `of` is that client: with one thread,
    /// or with several for a client of ours that has several. For axum it is `lambda_http`.
    pub(crate) fn peer(&self, of: &Row) -> Option<&Row> {
        let is_slots = self.topic == Topic::Slots;
        let kind = match (of.client.kind, is_slots) {
            (Kind::AsyncAxum | Kind::LambdaHttp, _) => Kind::LambdaHttp,
            (Kind::AsyncEchoParallel, false) => Kind::LambdaRuntimeThreads,
            (Kind::AsyncEchoParallel, true) => Kind::LambdaRuntimeConcurrentThreads,
            (_, false) => Kind::LambdaRuntime,
            (_, true) => Kind::LambdaRuntimeConcurrent,
        };
        let is_peer = |row: &&Row| row.client.kind == kind && row.client.slots == of.client.slots;
        self.rows.iter().find(is_peer).filter(|_| of.client.kind != kind)
    }
}
