use std::fmt::Debug;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use lambda_proto_host::Failure;
use serde::Serialize;

use super::Error;
use super::streaming::Body;

/// What a handler returns: a value that is sent as JSON, or a stream.
#[derive(Debug)]
pub enum FunctionResponse<B, S> {
    /// A value that is sent as JSON.
    BufferedResponse(B),
    /// A stream of pieces.
    StreamingResponse(StreamResponse<S>),
}

/// The types that handlers may return: every type that can be written as JSON, [`StreamResponse`]
/// and [`FunctionResponse`].
pub trait IntoFunctionResponse<B, S> {
    /// The response.
    fn into_response(self) -> FunctionResponse<B, S>;
}

impl<B, S> IntoFunctionResponse<B, S> for FunctionResponse<B, S> {
    fn into_response(self) -> Self {
        self
    }
}

impl<B: Serialize> IntoFunctionResponse<B, Body> for B {
    fn into_response(self) -> FunctionResponse<B, Body> {
        FunctionResponse::BufferedResponse(self)
    }
}

impl<S, D, E> IntoFunctionResponse<(), S> for StreamResponse<S>
where
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send,
    E: Into<Error> + Send + Debug,
{
    fn into_response(self) -> FunctionResponse<(), S> {
        FunctionResponse::StreamingResponse(self)
    }
}

/// A response that is streamed, for function URLs and API Gateway. The caller gets each piece as the
/// stream yields it; an error of the stream ends the response with that error.
#[derive(Debug)]
pub struct StreamResponse<S> {
    /// Status, headers and cookies.
    pub metadata_prelude: MetadataPrelude,
    /// The body.
    pub stream: S,
}

impl<S, D, E> From<S> for StreamResponse<S>
where
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send,
    E: Into<Error> + Send + Debug,
{
    fn from(stream: S) -> Self {
        Self { metadata_prelude: MetadataPrelude::default(), stream }
    }
}

/// Status, headers and cookies of a [`StreamResponse`].
///
/// Values of one header are joined by commas; those of `Set-Cookie` become cookies. Without a
/// content type, the response has `application/octet-stream`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataPrelude {
    /// The status; 200 unless set.
    pub status_code: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The cookies, in the form of `Set-Cookie`.
    pub cookies: Vec<String>,
}

impl<S, D, E> StreamResponse<S>
where
    S: Stream<Item = Result<D, E>> + Unpin,
    D: Into<Bytes>,
    E: Into<Error>,
{
    /// The head, and the pieces as the responder takes them.
    pub(super) fn into_parts(
        self,
    ) -> Result<(Head, impl Stream<Item = Result<Bytes, Error>>), Failure> {
        let pieces = self.stream.map(|piece| piece.map(Into::into).map_err(Into::into));
        Ok((Head::new(self.metadata_prelude)?, pieces))
    }
}

/// A [`MetadataPrelude`] as text.
pub(super) struct Head {
    status: StatusCode,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
}

impl Head {
    fn new(prelude: MetadataPrelude) -> Result<Self, Failure> {
        let MetadataPrelude { status_code: status, mut headers, mut cookies } = prelude;
        for cookie in headers.get_all(SET_COOKIE) {
            cookies.push(text(cookie)?.to_owned());
        }
        headers.remove(SET_COOKIE);
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
        let joined = headers.keys().map(|name| {
            let values: Result<Vec<_>, _> = headers.get_all(name).iter().map(text).collect();
            Ok((name.to_string(), values?.join(", ")))
        });
        let headers = joined.collect::<Result<_, Failure>>()?;
        Ok(Self { status, headers, cookies })
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The headers and the cookies.
    pub(super) fn lent(&self) -> (Vec<(&str, &str)>, Vec<&str>) {
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        (headers.collect(), self.cookies.iter().map(String::as_str).collect())
    }
}

fn text(value: &HeaderValue) -> Result<&str, Failure> {
    std::str::from_utf8(value.as_bytes()).map_err(|error| {
        let message = format!("a header of the response is not UTF-8: {error}");
        Failure::new("Runtime.MarshalError", message)
    })
}
