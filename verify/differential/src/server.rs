//! How hyper's server reads requests.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use crate::client::reason;
use crate::memory::{Fields, Memory, fields, run};

/// A request, without its framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The request target as it was sent.
    pub target: String,
    /// The header fields.
    pub fields: Fields,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Fields,
}

impl Request {
    /// The value of a field that appears exactly once.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        single(&self.fields, name)
    }

    /// The value of a trailer that appears exactly once.
    pub fn trailer(&self, name: &str) -> Option<&[u8]> {
        single(&self.trailers, name)
    }

    /// The names of all fields, in lower case, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Reads a request of hyper to its end.
    ///
    /// # Errors
    ///
    /// hyper's error for an invalid body.
    pub async fn read(request: hyper::Request<Incoming>) -> hyper::Result<Self> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?;
        Ok(Self {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            fields: fields(&head.headers),
            trailers: body.trailers().map(fields).unwrap_or_default(),
            body: body.to_bytes().to_vec(),
        })
    }
}

fn single<'f>(fields: &'f Fields, name: &str) -> Option<&'f [u8]> {
    let mut named = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let first = named.next();
    first.filter(|_| named.next().is_none()).map(|(_, value)| value.as_slice())
}

/// The result of serving the bytes of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Served {
    /// The whole requests, in order.
    pub requests: Vec<Request>,
    /// The number of bytes after them that are not a whole request.
    pub left: usize,
    /// Why the server stopped, if it did.
    pub error: Option<String>,
}

impl Served {
    /// The request, if these bytes are one request and nothing else.
    ///
    /// # Errors
    ///
    /// The result of serving, if it is anything else.
    pub fn one(self) -> Result<Request, Self> {
        match (&self.requests[..], self.left, &self.error) {
            ([one], 0, None) => Ok(one.clone()),
            _ => Err(self),
        }
    }
}

/// Lets hyper's server read these bytes of a client, whose connection stays open after them.
pub fn serve(input: &[u8]) -> Served {
    let memory = Memory::of_client(input);
    let requests = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request| {
        let requests = Rc::clone(&requests);
        Box::pin(async move {
            let request = Request::read(request).await?;
            requests.borrow_mut().push(request);
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        })
    });
    let mut connection = Builder::new()
        // An X-Ray cause may take a megabyte of a head.
        .max_buf_size(8 * 1024 * 1024)
        .serve_connection(memory.clone(), service);
    let ended = run(|context| connection.poll_without_shutdown(context));
    let error = match ended {
        None => None,
        Some(Ok(())) => Some("the connection is closed".to_owned()),
        Some(Err(error)) => Some(reason(&error)),
    };
    let left = memory.unread() + connection.into_parts().read_buf.len();
    Served { requests: requests.take(), left, error }
}
