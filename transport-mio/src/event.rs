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
    /// The invocation is to be cancelled: its deadline is near
    /// ([`Options::with_cancellation_buffer`](crate::Options::with_cancellation_buffer)), or the
    /// process must end before the invocation has been answered. It is the moment at which
    /// [`Context::cancellation`](crate::Context::cancellation) fires.
    ///
    /// It decides nothing: the program may still answer, and what it has not answered by the
    /// deadline times out. Only slots with a [lifecycle](crate::Runtime::lifecycle) give it, at
    /// most once for each invocation. An invocation that arrives with less time left than the
    /// buffer gets it directly after its [`Invocation`](Self::Invocation). One without a known
    /// deadline gets it only at the end of the process.
    ///
    /// None comes after the program has answered or has ended the stream. An answer that the loop
    /// has yet to take up, such as one from another thread, may cross it: the key tells which
    /// invocation is meant.
    CancellationDue {
        /// Whose cancellation is due.
        key: Key,
    },
    /// All slots have ended: because they were stopped, or for this reason. The last event; the
    /// process should then end, with a non-zero code if there is an error.
    Ended(Result<(), Error>),
}
