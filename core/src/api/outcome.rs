use core::fmt;

use super::Concurrency;

/// A call of the Runtime API, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `GET /runtime/invocation/next`
    Next,
    /// `POST /runtime/invocation/{id}/response`
    Response,
    /// `POST /runtime/invocation/{id}/error`
    Error,
    /// `POST /runtime/init/error`
    InitError,
    /// `GET /runtime/restore/next`
    RestoreNext,
    /// `POST /runtime/restore/error`
    RestoreError,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Next => "next",
            Self::Response => "response",
            Self::Error => "error",
            Self::InitError => "init/error",
            Self::RestoreNext => "restore/next",
            Self::RestoreError => "restore/error",
        })
    }
}

/// The status of a reply, what it means for the call, and what to do next.
///
/// ```
/// use lambda_proto::api::{Call, Meaning, Outcome, Action};
///
/// let outcome = Outcome::new(Call::Response, 413);
/// assert_eq!(outcome.meaning(), Meaning::TooLarge);
/// assert_eq!(outcome.action(), Action::Continue);
/// assert_eq!(Outcome::new(Call::Response, 500).action(), Action::Exit);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    call: Call,
    status: u16,
    /// Whether the request was an answer sent again after its first copy was written whole.
    follows_whole_attempt: bool,
    concurrency: Concurrency,
}

/// What a reply means for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// Any 2xx: accepted.
    Accepted,
    /// 400 or 403 for an answer sent again after a lost connection: the service had accepted the
    /// first copy.
    AcceptedBefore,
    /// 204 for `next`: no invocation yet, ask again. Only local services send it.
    NoInvocation,
    /// 400: the request id is not the current one, or the request is malformed.
    BadRequest,
    /// 403: not allowed in this order; for an answer, the invocation already has one.
    OutOfOrder,
    /// 404 or 405: this service has no such call.
    NoSuchCall,
    /// 410: the invocation has timed out, or another attempt has taken its place.
    TooLate,
    /// 413: the body is too large; the service has told the caller.
    TooLarge,
    /// 500: the service cannot go on with this runtime.
    ServiceFailed,
    /// Any other status.
    Unexpected,
}

/// What to do after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for the next invocation. A refused answer is dropped, never sent again.
    Continue,
    /// Ask again after a pause, so that an overloaded service is not polled in a tight loop.
    ContinueAfterBackoff,
    /// End the process promptly, with a non-zero exit code.
    Exit,
}

impl Outcome {
    /// The outcome of a reply to `call` with this status, for a runtime with one slot.
    pub const fn new(call: Call, status: u16) -> Self {
        Self { call, status, follows_whole_attempt: false, concurrency: Concurrency::Single }
    }

    /// Sets how many invocations the environment runs at once.
    #[must_use]
    pub const fn under(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    pub(crate) const fn to_second_attempt(mut self, follows_whole_attempt: bool) -> Self {
        self.follows_whole_attempt = follows_whole_attempt;
        self
    }

    /// The call that the reply belongs to.
    pub const fn call(&self) -> Call {
        self.call
    }

    /// The status code.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Whether the service accepted the request; true for [`Meaning::NoInvocation`] too.
    pub const fn is_accepted(&self) -> bool {
        matches!(
            self.meaning(),
            Meaning::Accepted | Meaning::AcceptedBefore | Meaning::NoInvocation
        )
    }

    /// What the status means.
    pub const fn meaning(&self) -> Meaning {
        match self.status {
            204 if matches!(self.call, Call::Next) => Meaning::NoInvocation,
            200..=299 => Meaning::Accepted,
            // The service refuses the second copy because it has the first one.
            400 | 403 if self.follows_whole_attempt => Meaning::AcceptedBefore,
            400 => Meaning::BadRequest,
            403 => Meaning::OutOfOrder,
            404 | 405 => Meaning::NoSuchCall,
            410 => Meaning::TooLate,
            413 => Meaning::TooLarge,
            500 => Meaning::ServiceFailed,
            _ => Meaning::Unexpected,
        }
    }

    /// What to do next.
    ///
    /// A refused answer ends only its invocation. A 500 always ends the process. A refused `next`
    /// ends it too, except for the statuses of an overloaded service or proxy (408, 429, 502, 503,
    /// 504), and for a 403 while other slots run. The caller decides about a refused
    /// `restore/next`: without SnapStart there is no such call, and `next` works [Lambda Developer
    /// Guide: custom runtimes with SnapStart].
    pub const fn action(&self) -> Action {
        match (self.call, self.status) {
            // A reported failure of init or restore ends the process, whatever the service replies.
            (Call::InitError | Call::RestoreError, _) | (_, 500) => Action::Exit,
            (Call::Next, 408 | 429 | 502..=504) => Action::ContinueAfterBackoff,
            (Call::Next, 403) if matches!(self.concurrency, Concurrency::Multi) => {
                Action::ContinueAfterBackoff
            }
            (Call::Next, 200..=299) => Action::Continue,
            (Call::Next, _) => Action::Exit,
            (Call::Response | Call::Error | Call::RestoreNext, _) => Action::Continue,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, status, .. } = self;
        write!(f, "{call} was answered with {status}: ")?;
        f.write_str(match self.meaning() {
            Meaning::Accepted => "accepted",
            Meaning::NoInvocation => "no invocation yet",
            Meaning::AcceptedBefore => "the first copy had been accepted",
            Meaning::BadRequest => "not the current request id, or a malformed request",
            Meaning::OutOfOrder => "not allowed in this order",
            Meaning::NoSuchCall => "this service has no such call",
            Meaning::TooLate => "the invocation is over",
            Meaning::TooLarge => "the body is too large",
            Meaning::ServiceFailed => "the service cannot go on with this runtime",
            Meaning::Unexpected => "not a status of the Runtime API",
        })
    }
}
