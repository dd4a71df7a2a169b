use std::fmt;
use std::time::Duration;

use lambda_proto::api::{ContentType, Deadline, InvocationHead};
use lambda_proto::client::HeldEvent;
#[cfg(feature = "json")]
use lambda_proto_host::Failure;
use lambda_proto_host::lifecycle::clock;

use crate::memory::Memory;

/// An invocation in flight. It owns its event and may move to another task; dropping it returns the
/// memory to its slot.
pub struct Invocation {
    event: HeldEvent<Memory>,
}

impl Invocation {
    pub(super) fn new(event: HeldEvent<Memory>) -> Self {
        Self { event }
    }

    /// The head of the invocation: ids, deadline, trace id, content type and so on.
    pub fn head(&self) -> InvocationHead<'_> {
        *self.event.invocation()
    }

    /// The event, as the caller sent it: any bytes, usually JSON.
    pub fn body(&self) -> &[u8] {
        self.event.invocation().body()
    }

    /// Reads the event as JSON.
    ///
    /// To borrow text, `T` uses `Cow<str>` with `#[serde(borrow)]`: a `&str` fails for text with an
    /// escape in it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of type `Runtime.UnmarshalError` that says where the event does not fit `T`.
    #[cfg(feature = "json")]
    pub fn json<'i, T: serde::Deserialize<'i>>(&'i self) -> Result<T, Failure> {
        serde_json::from_slice(self.body()).map_err(Failure::unmarshal)
    }

    /// The time left until the deadline, by the clock of this machine; `None` without a deadline.
    /// It is zero under some local services, whose deadlines lie in the past.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(clock::time_left)
    }

    /// The request id, as the service wrote it. Several attempts may share it.
    pub fn request_id(&self) -> &str {
        self.head().request_id()
    }

    /// The id of this attempt; see [`InvocationHead::attempt_id`].
    pub fn attempt_id(&self) -> Option<&[u8]> {
        self.head().attempt_id()
    }

    /// When the invocation times out; see [`InvocationHead::deadline`].
    pub fn deadline(&self) -> Option<Deadline> {
        self.head().deadline()
    }

    /// The ARN that the caller used; see [`InvocationHead::invoked_function_arn`].
    pub fn invoked_function_arn(&self) -> Option<&str> {
        self.head().invoked_function_arn()
    }

    /// The X-Ray trace header; see [`InvocationHead::trace_id`].
    pub fn trace_id(&self) -> Option<&str> {
        self.head().trace_id()
    }

    /// The client context as received; see [`InvocationHead::client_context`].
    pub fn client_context(&self) -> Option<&[u8]> {
        self.head().client_context()
    }

    /// The Cognito identity as received; see [`InvocationHead::cognito_identity`].
    pub fn cognito_identity(&self) -> Option<&[u8]> {
        self.head().cognito_identity()
    }

    /// The tenant of a function with tenant isolation; see [`InvocationHead::tenant_id`].
    pub fn tenant_id(&self) -> Option<&str> {
        self.head().tenant_id()
    }

    /// The content type of the event; see [`InvocationHead::content_type`].
    pub fn content_type(&self) -> Option<ContentType<'_>> {
        self.head().content_type()
    }

    /// Any other header by name; see [`InvocationHead::header`].
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head().header(name)
    }
}

/// The head of the invocation, for functions that take only that.
impl<'i> From<&'i Invocation> for InvocationHead<'i> {
    fn from(invocation: &'i Invocation) -> Self {
        invocation.head()
    }
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Invocation").field(&self.event).finish()
    }
}
