use lambda_proto::client::Receipt;
use lambda_proto_host::Error;

use crate::command_queue::Key;
use crate::invocation::Invocation;
use crate::responder::Responder;

/// An event of the slots, for the program.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An invocation, and the right to answer it, now or later.
    Invocation(Invocation, Responder),
    /// The receipt of an answer: what became of it. If the service has refused the answer, the
    /// receipt says so, and the refusal has been logged.
    Settled {
        /// The invocation that was answered.
        key: Key,
        /// The receipt.
        receipt: Receipt,
    },
    /// There is room again in a stream that had none.
    Writable {
        /// The invocation whose response is streamed.
        key: Key,
    },
    /// The cancellation of an invocation is due: its deadline is near
    /// ([`Options::with_cancellation_buffer`](crate::Options::with_cancellation_buffer)), or the
    /// process must end before the invocation has been answered. At this moment
    /// [`Context::cancellation`](crate::Context::cancellation) fires.
    ///
    /// The event is only a notice: the program may still answer, and an invocation that is not
    /// answered by its deadline times out. Only slots with a
    /// [lifecycle](crate::Runtime::lifecycle) emit it, at most once for each invocation. If an
    /// invocation arrives with less time left than the buffer, the event follows its
    /// [`Invocation`](Self::Invocation) directly. Without a known deadline, it comes only at the
    /// end of the process.
    ///
    /// It does not come after the program has answered or ended the stream. It may cross an answer
    /// that the loop has not taken up yet, such as one from another thread; the key says which
    /// invocation is meant.
    CancellationDue {
        /// The invocation whose cancellation is due.
        key: Key,
    },
    /// All slots have ended, because they were stopped or with this error. This is the last event;
    /// the process should then exit, with a non-zero code if there is an error.
    Ended(Result<(), Error>),
}
