use core::fmt;

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The service has replied.
    Known(crate::api::Outcome),
    /// The reply arrives together with the next invocation.
    Pipelined,
    /// Unknown: the connection was lost, or the session ended first.
    FateUnknown,
}

/// The service or a lost connection ended the stream before its writer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOver;

impl fmt::Display for StreamOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Runtime API accepts no more of this response")
    }
}

impl core::error::Error for StreamOver {}
