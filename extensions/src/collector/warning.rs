use core::fmt;

use super::OwnLogs;
use crate::limits::MAX_DELIVERIES;
use crate::telemetry::Refusal;

/// What is worth a line in the log of an extension. All of it is also counted in the
/// [losses](crate::telemetry::Losses) if it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A request was refused, or broke off.
    Refused(Refusal),
    /// The handler has failed, so its batch is asked for again.
    SentBack {
        /// The number of this delivery of the batch, from 1.
        delivery: u32,
    },
    /// A record does not fit the memory that other connections leave, so its batch is asked for again.
    MemoryInUse {
        /// The number of this delivery of the batch, from 1.
        delivery: u32,
    },
    /// The handler has failed with every delivery of a batch.
    GivenUp {
        /// The number of its records. The handler may have taken some of them.
        records: u64,
    },
    /// A log record was withheld, and further ones will be, because they may be the extension's
    /// [own](super::Collector#own-log-lines).
    Withheld {
        /// How many were handed out since the last event, or in a minute.
        limit: u32,
        /// As which records the extension finds its own output.
        own: OwnLogs,
    },
}

/// One line for a log.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::SentBack { delivery } => write!(
                f,
                "the telemetry handler failed; its batch is asked for again (delivery {delivery} of \
                 {MAX_DELIVERIES})"
            ),
            Self::MemoryInUse { delivery } => write!(
                f,
                "a telemetry record does not fit the memory that other connections leave; its batch \
                 is asked for again (delivery {delivery} of {MAX_DELIVERIES})"
            ),
            Self::GivenUp { records } => write!(
                f,
                "the telemetry handler failed with {MAX_DELIVERIES} deliveries of a batch; given up, \
                 {records} records"
            ),
            Self::Withheld { limit, own } => {
                let records = match own {
                    OwnLogs::Extension => "`extension`",
                    OwnLogs::Function => "`function`",
                };
                write!(
                    f,
                    "{limit} log records of the type {records} since the last event; withholding \
                     further ones until the next, or for a minute, because an extension that logs for \
                     each of its own log records never ends"
                )
            }
        }
    }
}
