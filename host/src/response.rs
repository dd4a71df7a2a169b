use std::borrow::Cow;

use lambda_proto::api::ContentType;

/// The body of a response and its content type.
///
/// [`From`] converts text and bytes, borrowed or owned: `&str`, `&[u8]`, `&String`, `&Vec<u8>`,
/// arrays by reference, `String`, `Vec<u8>`, `Cow<str>` and `Cow<[u8]>`. Functions that take a
/// response accept each of these.
///
/// ```
/// use lambda_proto_host::Response;
/// # use lambda_proto::api::ContentType;
///
/// let response = Response::new("<h1>Hello</h1>").content_type(ContentType::HTML);
/// assert_eq!(response.body(), b"<h1>Hello</h1>");
/// assert_eq!(Response::from(String::from("Hello")).body(), b"Hello");
/// ```
#[derive(Clone, Debug)]
pub struct Response<'a> {
    body: Cow<'a, [u8]>,
    content_type: Option<ContentType<'a>>,
}

impl<'a> Response<'a> {
    /// A response with this body, without a content type.
    pub fn new(body: impl Into<Self>) -> Self {
        body.into()
    }

    /// The same body with this content type, or with none.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<Option<ContentType<'a>>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body and its content type, for a transport.
    pub fn into_parts(self) -> (Cow<'a, [u8]>, Option<ContentType<'a>>) {
        (self.body, self.content_type)
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Response<'a> {
    fn from(body: &'a T) -> Self {
        Cow::Borrowed(body.as_ref()).into()
    }
}

impl From<Vec<u8>> for Response<'_> {
    fn from(body: Vec<u8>) -> Self {
        Cow::<[u8]>::Owned(body).into()
    }
}

impl From<String> for Response<'_> {
    fn from(body: String) -> Self {
        body.into_bytes().into()
    }
}

impl<'a> From<Cow<'a, [u8]>> for Response<'a> {
    fn from(body: Cow<'a, [u8]>) -> Self {
        Self { body, content_type: None }
    }
}

impl<'a> From<Cow<'a, str>> for Response<'a> {
    fn from(body: Cow<'a, str>) -> Self {
        match body {
            Cow::Borrowed(body) => body.into(),
            Cow::Owned(body) => body.into(),
        }
    }
}
