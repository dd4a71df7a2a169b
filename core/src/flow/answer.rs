use core::marker::PhantomData;

use crate::api::ContentType;
use crate::client::Receipt;

/// A buffered response: a body and its content type.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    pub(super) body: &'a [u8],
    pub(super) content_type: Option<ContentType<'a>>,
}

impl<'a> Response<'a> {
    /// A response of any bytes, without a content type.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { body, content_type: None }
    }

    /// The same body with a content type, or none.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Option<ContentType<'a>>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Response<'a> {
    fn from(body: &'a T) -> Self {
        Self::new(body.as_ref())
    }
}

/// Ties a value to one invocation: neither a longer nor a shorter lifetime fits.
pub(crate) type Invariant<'i> = PhantomData<fn(&'i ()) -> &'i ()>;

/// The proof that an invocation has been answered.
#[derive(Debug)]
pub struct Sent<'i> {
    receipt: Receipt,
    invocation: Invariant<'i>,
}

impl Sent<'_> {
    pub(crate) fn new(receipt: Receipt) -> Self {
        Self { receipt, invocation: PhantomData }
    }

    /// What became of the answer.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }
}
