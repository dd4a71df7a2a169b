use lambda_proto::slot::Answer;
use lambda_proto_host::Error;

use crate::handoff::Key;
use crate::invocation::Invocation;
use crate::reply::Reply;

/// What comes out of the slots.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An invocation, and the right to answer it, now or later.
    Invocation(Invocation, Reply),
    /// This is what became of the answer to an invocation; a refusal by the service is one of the
    /// outcomes, and has been logged.
    Answered {
        /// Whose answer.
        key: Key,
        /// What became of it.
        answer: Answer,
    },
    /// There is room again in a stream that had none.
    Writable {
        /// Whose answer is streamed.
        key: Key,
    },
    /// All slots have ended: because they were stopped, or for this reason. The last event; the process
    /// should end, with a code that is not zero if there is an error.
    Ended(Result<(), Error>),
}
