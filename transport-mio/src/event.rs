use lambda_proto::client::Receipt;
use lambda_proto_host::Error;

use crate::command_queue::Key;
use crate::invocation::Invocation;
use crate::responder::Responder;

/// What comes out of the slots.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An invocation, and the right to answer it, now or later.
    Invocation(Invocation, Responder),
    /// The receipt of an answer: what became of it. A refusal by the service is one of the
    /// outcomes, and has been logged.
    Settled {
        /// Whose receipt it is.
        key: Key,
        /// The receipt.
        receipt: Receipt,
    },
    /// There is room again in a stream that had none.
    Writable {
        /// Whose response is streamed.
        key: Key,
    },
    /// All slots have ended: because they were stopped, or for this reason. The last event; the
    /// process should then end, with a non-zero code if there is an error.
    Ended(Result<(), Error>),
}
