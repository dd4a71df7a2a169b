//! How hyper's client reads a reply.

use std::convert::Infallible;
use std::error::Error;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};

use crate::memory::{Fields, Memory, fields, run};

/// How a reader reads some bytes, such as those of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T = Reply> {
    /// The bytes are a whole reply.
    Accepted(T),
    /// The reply is not whole, even if the stream ends here.
    Incomplete,
    /// The bytes are not a reply; with the reason in the reader's own words.
    Refused(String),
}

/// A reply, without its framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub fields: Fields,
    /// The body.
    pub body: Vec<u8>,
    /// Whether only the end of the stream ends it.
    pub ends_with_stream: bool,
    /// The number of bytes of the input that belong to it.
    pub length: usize,
    /// Whether the connection can carry another request. Unknown if bytes follow the reply, which
    /// end a connection in any case.
    pub is_persistent: Option<bool>,
}

impl<T> Reading<T> {
    /// `accepted`, `incomplete`, or the reason for the refusal.
    pub fn verdict(&self) -> &str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Incomplete => "incomplete",
            Self::Refused(reason) => reason,
        }
    }
}

/// Lets hyper's client send a request, and replies with these bytes. The stream ends after them,
/// but only after the client has had the chance to finish without the end.
pub fn receive_by_hyper(input: &[u8]) -> Reading {
    let memory = Memory::of_server(input);
    let mut handshake = Box::pin(Builder::new().handshake::<_, Empty<Bytes>>(memory.clone()));
    let handshake = run(|context| handshake.as_mut().poll(context)).expect("no bytes are needed");
    let (sender, mut connection) = handshake.expect("no bytes are needed");

    let mut exchange = Box::pin(exchange(sender));
    let mut is_open = true;
    let mut step = || {
        run(|context| {
            if is_open && connection.poll_without_shutdown(context).is_ready() {
                is_open = false;
            }
            exchange.as_mut().poll(context)
        })
    };
    let (result, ends_with_stream) = match step() {
        Some(result) => (result, false),
        None => {
            memory.end();
            (step().expect("a stream that has ended ends the exchange"), true)
        }
    };
    // The sender lives until here: without it, hyper would close the connection.
    let (_sender, response, body) = match result {
        Ok(exchanged) => exchanged,
        Err(_) if ends_with_stream => return Reading::Incomplete,
        Err(error) => return Reading::Refused(reason(&error)),
    };
    run(|context| match is_open && connection.poll_without_shutdown(context).is_pending() {
        true => Poll::<Infallible>::Pending,
        false => {
            is_open = false;
            Poll::Pending
        }
    });
    let left = memory.unread() + connection.into_parts().read_buf.len();
    Reading::Accepted(Reply {
        status: response.status().as_u16(),
        fields: fields(response.headers()),
        body,
        ends_with_stream,
        length: input.len() - left,
        is_persistent: (left == 0).then_some(is_open),
    })
}

type Exchanged = (SendRequest<Empty<Bytes>>, Response<()>, Vec<u8>);

async fn exchange(mut sender: SendRequest<Empty<Bytes>>) -> hyper::Result<Exchanged> {
    let request = Request::get("/").header("Host", "127.0.0.1").body(Empty::new());
    let response = sender.send_request(request.expect("a request")).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    Ok((sender, Response::from_parts(head, ()), body))
}

/// An error with its causes.
pub(crate) fn reason(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", reason(source)),
        None => error.to_string(),
    }
}
