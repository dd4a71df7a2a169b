use core::fmt;

use heapless::{String, Vec};

use super::{ContentType, Deadline, names};
use crate::http::{HeadError, HeadParser, ResponseHead, is_field_value, is_name, offset};
use crate::limits::MAX_ID;

/// The head of an event: the reply to `next`, without its body.
///
/// Everything except the request id is optional. An empty header counts as absent: managed
/// instances send empty ones (emulator: `lambda-managed-instances/rapi/rendering`). If a header
/// occurs twice, the first value that is not empty counts.
///
/// The values borrow from the bytes of the head. If those bytes move, keep the [`HeadIndex`] and
/// join it with them again:
///
/// ```
/// use lambda_proto::api::InvocationHead;
///
/// let bytes = b"HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 7b\r\nContent-Length: 2\r\n\r\n";
/// let (head, framing) = InvocationHead::parse(bytes)?;
/// assert_eq!(head.request_id(), "7b");
/// assert_eq!(head.deadline(), None);
///
/// let index = head.index();
/// let moved = bytes.to_vec();
/// assert_eq!(index.on(&moved).request_id(), "7b");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct InvocationHead<'b> {
    bytes: &'b [u8],
    index: HeadIndex,
}

impl<'b> InvocationHead<'b> {
    /// Parses one whole response head.
    ///
    /// # Errors
    ///
    /// Any [`HeadError`]; [`HeadError::Malformed`] unless the head ends where `head` does.
    /// [`InvocationIds::of`] says whether the invocation can be answered.
    pub fn parse(head: &'b [u8]) -> Result<(Self, ResponseHead), HeadError> {
        let (index, response) = HeadIndex::parse(head)?;
        Ok((index.on(head), response))
    }

    /// The id of the invocation (`Lambda-Runtime-Aws-Request-Id`). All attempts at an invocation
    /// share it.
    pub fn request_id(&self) -> &'b str {
        self.text(Field::RequestId).unwrap_or_default()
    }

    /// The id of this attempt (`Lambda-Runtime-Invocation-Id`), which is never reused.
    pub fn attempt_id(&self) -> Option<&'b [u8]> {
        self.value(Field::AttemptId)
    }

    /// When the invocation times out (`Lambda-Runtime-Deadline-Ms`); `None` also if the header is
    /// not a decimal number.
    pub fn deadline(&self) -> Option<Deadline> {
        self.value(Field::Deadline).and_then(Deadline::parse)
    }

    /// The ARN that the caller used, of the function, a version or an alias
    /// (`Lambda-Runtime-Invoked-Function-Arn`).
    pub fn invoked_function_arn(&self) -> Option<&'b str> {
        self.text(Field::FunctionArn)
    }

    /// The X-Ray trace header (`Lambda-Runtime-Trace-Id`).
    pub fn trace_id(&self) -> Option<&'b str> {
        self.text(Field::TraceId)
    }

    /// The raw client context (`Lambda-Runtime-Client-Context`): JSON from AWS, base64 from some
    /// local services. [`ClientContext::parse`](super::ClientContext::parse) reads the JSON.
    pub fn client_context(&self) -> Option<&'b [u8]> {
        self.value(Field::ClientContext)
    }

    /// The raw Cognito identity (`Lambda-Runtime-Cognito-Identity`);
    /// [`CognitoIdentity::parse`](super::CognitoIdentity::parse) reads its JSON.
    pub fn cognito_identity(&self) -> Option<&'b [u8]> {
        self.value(Field::CognitoIdentity)
    }

    /// The tenant of a function with tenant isolation (`Lambda-Runtime-Aws-Tenant-Id`).
    pub fn tenant_id(&self) -> Option<&'b str> {
        self.text(Field::TenantId)
    }

    /// The content type of the event; AWS always sends one.
    pub fn content_type(&self) -> Option<ContentType<'b>> {
        self.value(Field::ContentType).and_then(ContentType::of_event)
    }

    /// Any header by name, in any case; its first value that is not empty.
    ///
    /// It parses the head again, so it costs more than the other methods.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        // The same rule as for the known fields: the first value that is not empty.
        let mut found: Option<&'b [u8]> = None;
        let read = HeadParser::default().parse(self.bytes, |field, value| {
            if found.is_none() && !value.is_empty() && is_name(field, name) {
                found = Some(value);
            }
        });
        read.ok().and(found)
    }

    /// The bytes of the head, from the status line to its empty line.
    pub fn as_bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Where the values are in the bytes, without borrowing from them.
    pub fn index(&self) -> HeadIndex {
        self.index
    }

    fn value(&self, field: Field) -> Option<&'b [u8]> {
        // `get`, because `HeadIndex::on` accepts any bytes.
        let Span { start, length } = self.index.spans[field as usize];
        let value = self.bytes.get(start.into()..usize::from(start) + usize::from(length))?;
        (!value.is_empty()).then_some(value)
    }

    fn text(&self, field: Field) -> Option<&'b str> {
        self.value(field).and_then(|value| core::str::from_utf8(value).ok())
    }
}

impl fmt::Debug for InvocationHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvocationHead")
            .field("request_id", &self.request_id())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// Where the values of an [`InvocationHead`] are, without the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadIndex {
    spans: [Span; Field::COUNT],
}

// A head has at most 65,536 bytes and no value fills it, so start and length fit in 16 bits. A
// length of 0 is both "absent" and "empty", which mean the same here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u16,
    length: u16,
}

const _: () = assert!(crate::limits::MAX_HEAD <= 1 << 16);

impl HeadIndex {
    /// Joins the index with the bytes that it was made from.
    ///
    /// With any other bytes the values are wrong or absent, but nothing panics.
    pub fn on<'b>(&self, head: &'b [u8]) -> InvocationHead<'b> {
        InvocationHead { bytes: head, index: *self }
    }

    /// Parses one whole response head, whatever its status, with or without an invocation.
    ///
    /// # Errors
    ///
    /// Any [`HeadError`]; [`HeadError::Malformed`] unless the head ends where `head` does.
    pub fn parse(head: &[u8]) -> Result<(Self, ResponseHead), HeadError> {
        let mut index = Self::default();
        let parsed = HeadParser::default()
            .parse_known(head, &mut |name, value| index.note(head, name, value))?;
        match parsed {
            Some((length, response)) if length == head.len() => Ok((index, response)),
            _ => Err(HeadError::Malformed),
        }
    }

    /// Records a field of the head that `head` starts with; returns whether an invocation has such
    /// a field.
    #[inline(always)]
    pub(crate) fn note(&mut self, head: &[u8], name: &[u8], value: &[u8]) -> bool {
        let Some(field) = Field::by_name(name) else { return false };
        let span = &mut self.spans[field as usize];
        // The first value that is not empty wins: an empty one leaves the span as if it were
        // absent.
        if span.length == 0 {
            let start = offset(head, value).try_into();
            // Always fits: the parser looks at no more than `MAX_HEAD` bytes.
            if let (Ok(start), Ok(length)) = (start, value.len().try_into()) {
                *span = Span { start, length };
            }
        }
        true
    }
}

#[derive(Clone, Copy)]
enum Field {
    RequestId,
    AttemptId,
    Deadline,
    FunctionArn,
    TraceId,
    ClientContext,
    CognitoIdentity,
    TenantId,
    ContentType,
}

impl Field {
    const COUNT: usize = Self::ContentType as usize + 1;

    #[inline(always)]
    fn by_name(name: &[u8]) -> Option<Self> {
        // Most names are told apart by their lengths.
        let is = |known: &str| name.len() == known.len() && is_name(name, known);
        Some(match () {
            () if is(names::REQUEST_ID) => Self::RequestId,
            () if is(names::DEADLINE_MS) => Self::Deadline,
            () if is(names::FUNCTION_ARN) => Self::FunctionArn,
            () if is(names::CONTENT_TYPE) => Self::ContentType,
            () if is(names::TRACE_ID) => Self::TraceId,
            () if is(names::INVOCATION_ID) => Self::AttemptId,
            () if is(names::CLIENT_CONTEXT) => Self::ClientContext,
            () if is(names::COGNITO_IDENTITY) => Self::CognitoIdentity,
            () if is(names::TENANT_ID) => Self::TenantId,
            () => return None,
        })
    }
}

/// The two ids that an answer carries: that of the invocation and that of the attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvocationIds {
    request_id: String<MAX_ID>,
    attempt_id: Vec<u8, MAX_ID>,
}

impl InvocationIds {
    /// The ids of an event; `None` if it can never be answered, as for [`new`](Self::new).
    pub fn of(head: &InvocationHead<'_>) -> Option<Self> {
        Self::new(head.request_id(), head.attempt_id())
    }

    /// A request id and an attempt id. `None` unless the request id has 1 to [`MAX_ID`] bytes. An
    /// attempt id that is longer than [`MAX_ID`] or not a valid field value is left out; the
    /// service then skips its check.
    pub fn new(request_id: &str, attempt_id: Option<&[u8]>) -> Option<Self> {
        let mut ids = Self::default();
        ids.set(request_id, attempt_id).then_some(ids)
    }

    /// Replaces both ids; `false` if the request id is unusable.
    pub(crate) fn set(&mut self, request_id: &str, attempt_id: Option<&[u8]>) -> bool {
        self.request_id.clear();
        self.attempt_id.clear();
        // Both ids are cleared first, so a failure leaves no id of an earlier invocation.
        let is_kept = !request_id.is_empty() && self.request_id.push_str(request_id).is_ok();
        if !is_kept {
            return false;
        }
        let attempt_id = attempt_id.unwrap_or_default();
        // The id is sent back in a field and may hold control characters when it arrives. Without
        // it the service checks nothing; a changed one would name another attempt.
        if is_field_value(attempt_id) {
            let _too_long_is_left_out = self.attempt_id.extend_from_slice(attempt_id);
        }
        true
    }

    /// The request id; empty before the first event.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The attempt id, exactly as received.
    pub fn attempt_id(&self) -> Option<&[u8]> {
        (!self.attempt_id.is_empty()).then_some(&self.attempt_id)
    }
}
