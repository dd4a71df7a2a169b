use core::fmt;

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

/// How many invocations the environment runs at once (`AWS_LAMBDA_MAX_CONCURRENCY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// One: the service tells a second copy of an answer from an answer to a later invocation.
    #[default]
    Single,
    /// Several, each with a machine of its own: it can tell only by the attempt id.
    Multi,
}

/// The status of an answer, what it means for the call that it answers, and what to do then.
///
/// ```
/// use lambda_proto::api::{Call, Meaning, Outcome, Action};
///
/// let outcome = Outcome::new(Call::Response, 413);
/// assert_eq!(outcome.meaning(), Meaning::TooLarge);
/// assert_eq!(outcome.action(), Action::Continue);
/// assert_eq!(Outcome::new(Call::Response, 500).then(), Action::Exit);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    call: Call,
    status: u16,
    /// It answers the second copy of an answer whose first copy was sent whole.
    is_behind_whole_copy: bool,
    concurrency: Concurrency,
}

/// What the service says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// Any 2xx: taken.
    Accepted,
    /// 400 or 403 for an answer that was sent again after a lost connection: the first copy had been
    /// taken.
    AcceptedBefore,
    /// 204 for `next`: there is none yet, ask again. Only local services say so.
    NoInvocation,
    /// 400: the request id is not the current one, or the request is malformed.
    BadRequest,
    /// 403: not in this order; for an answer, the invocation has one already.
    OutOfOrder,
    /// 404 or 405: this service has no such call.
    NoSuchCall,
    /// 410: the invocation has timed out, or another attempt has taken its place.
    TooLate,
    /// 413: the service takes no body of this size; the caller has been told so.
    TooLarge,
    /// 500: the service cannot go on with this runtime.
    ServiceFailed,
    /// Any other status.
    Unexpected,
}

/// What follows an answer of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on: ask for the next invocation. A result that was refused is dropped, never sent again.
    Continue,
    /// Go on after a pause, so that a service in kind is not asked in a circle.
    ContinueAfterBackoff,
    /// End the process, promptly and with a code that is not zero.
    Exit,
}

impl Outcome {
    /// The answer to `call` with this status, to a worker that is the only one.
    pub const fn new(call: Call, status: u16) -> Self {
        Self { call, status, is_behind_whole_copy: false, concurrency: Concurrency::Single }
    }

    /// The same answer to one worker of several.
    #[must_use]
    pub const fn under(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    pub(crate) const fn to_second_copy(mut self, is_behind_whole_copy: bool) -> Self {
        self.is_behind_whole_copy = is_behind_whole_copy;
        self
    }

    /// The call that is answered.
    pub const fn call(&self) -> Call {
        self.call
    }

    /// The status code.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Whether the request was taken, or there was nothing to take.
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
            400 | 403 if self.is_behind_whole_copy => Meaning::AcceptedBefore,
            400 => Meaning::BadRequest,
            403 => Meaning::OutOfOrder,
            404 | 405 => Meaning::NoSuchCall,
            410 => Meaning::TooLate,
            413 => Meaning::TooLarge,
            500 => Meaning::ServiceFailed,
            _ => Meaning::Unexpected,
        }
    }

    /// What to do now.
    ///
    /// A refused answer ends its invocation and nothing else; 500 always ends the process. A refused
    /// `next` ends it too, unless the status says that something on the way is overloaded (408, 429,
    /// 502, 503, 504), or it is a 403 and other workers go on. A refused `restore/next` is left to the caller: without SnapStart there is no
    /// such call, and `next` works [Lambda Developer Guide: custom runtimes with SnapStart].
    pub const fn action(&self) -> Action {
        match (self.call, self.status) {
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
            Meaning::Accepted => "taken",
            Meaning::NoInvocation => "no invocation yet",
            Meaning::AcceptedBefore => "its first copy had been taken",
            Meaning::BadRequest => "not the current request id, or a malformed request",
            Meaning::OutOfOrder => "not allowed in this order",
            Meaning::NoSuchCall => "this service has no such call",
            Meaning::TooLate => "the invocation is over",
            Meaning::TooLarge => "the body is too large",
            Meaning::ServiceFailed => "the service cannot go on with this runtime",
            Meaning::Unexpected => "no status of the Runtime API",
        })
    }
}
