//! Why a receiver refuses a request.

use core::fmt;

use lambda_proto::http::{BodyError, HeadError};

/// Why a request was refused, or not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The head is not HTTP/1, or over a limit.
    Head(HeadError),
    /// The head does not fit the memory of the receiver.
    HeadTooLong {
        /// The bytes that have arrived, all of the memory.
        bytes: usize,
    },
    /// The method is not POST.
    Method,
    /// The framing of the body is not HTTP/1.1.
    Body(BodyError),
    /// The body is not a JSON array, and can never be read.
    NotABatch {
        /// The number of this delivery of the batch, from 1.
        delivery: u32,
        /// Whether Lambda was told to forget it, which is a loss.
        is_lost: bool,
    },
    /// The connection ended in the middle of a head.
    HeadCutOff,
    /// The connection ended in the middle of a batch, or before its end was replied to.
    CutOff,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "refused a telemetry request: {error}"),
            Self::HeadTooLong { bytes } => {
                write!(f, "refused a telemetry request: its head does not fit {bytes} bytes")
            }
            Self::Method => f.write_str("refused a telemetry request: its method is not POST"),
            Self::Body(error) => write!(f, "refused a telemetry batch: {error}"),
            Self::NotABatch { delivery, is_lost: false } => {
                write!(f, "refused a telemetry batch: not a JSON array; delivery {delivery}")
            }
            Self::NotABatch { delivery, is_lost: true } => {
                write!(f, "lost a telemetry batch: not a JSON array; delivery {delivery}")
            }
            Self::HeadCutOff => f.write_str("a telemetry request broke off in its head"),
            Self::CutOff => f.write_str("a telemetry batch broke off with its connection"),
        }
    }
}

impl core::error::Error for Refusal {}
