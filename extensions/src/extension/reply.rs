use core::fmt;

/// A call of the Extensions API, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// `POST /extension/register`
    Register,
    /// `PUT /telemetry` or `PUT /logs`
    Subscribe,
    /// `GET /extension/event/next`
    Next,
    /// `POST /extension/init/error`
    InitError,
    /// `POST /extension/exit/error`
    ExitError,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "extension/register",
            Self::Subscribe => "telemetry subscription",
            Self::Next => "extension/event/next",
            Self::InitError => "extension/init/error",
            Self::ExitError => "extension/exit/error",
        })
    }
}

/// The reply to a request.
///
/// The document of an accepted request is a [`Registration`](super::Registration) or an
/// [`EnvironmentEvent`](super::EnvironmentEvent), or says nothing. That of a refused one is read by
/// [`Refusal::parse`](super::Refusal::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    call: Call,
    status: u16,
}

impl Reply {
    pub(super) const fn new(call: Call, status: u16) -> Self {
        Self { call, status }
    }

    /// The call that the reply belongs to.
    pub const fn call(&self) -> Call {
        self.call
    }

    /// The status code.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Whether the service accepted the request: any 2xx, but only 200 for a subscription. Services
    /// without telemetry reply 202, and never send any.
    pub const fn is_accepted(&self) -> bool {
        match self.call {
            Call::Subscribe => self.status == 200,
            _ => matches!(self.status, 200..=299),
        }
    }

    /// Whether the process must exit promptly: 500 [Lambda Developer Guide: Extensions API].
    pub const fn must_exit(&self) -> bool {
        self.status == 500
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was answered with {}", self.call, self.status)
    }
}
