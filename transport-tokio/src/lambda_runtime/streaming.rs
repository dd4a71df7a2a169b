//! Bodies of streamed responses, which another task writes.
//!
//! ```no_run
//! use lambda_proto_tokio::lambda_runtime::streaming::{Body, Response, channel};
//! use lambda_proto_tokio::lambda_runtime::{Error, LambdaEvent, run, service_fn};
//!
//! async fn count(event: LambdaEvent<u32>) -> Result<Response<Body>, Error> {
//!     let (mut sender, body) = channel();
//!     tokio::spawn(async move {
//!         for number in 0..event.payload {
//!             sender.send_data(format!("{number}\n").into()).await?;
//!         }
//!         Ok::<(), Error>(())
//!     });
//!     Ok(Response::from(body))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     run(service_fn(count)).await
//! }
//! ```

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc::{self, Receiver};

use super::Error;
pub use super::StreamResponse as Response;

/// A body and the sender of its pieces.
pub fn channel() -> (Sender, Body) {
    let (sender, pieces) = mpsc::channel(1);
    (Sender(sender), Body(Pieces::Sent(pieces)))
}

/// Sends the pieces of a [`Body`]. The body ends when this is dropped.
#[derive(Debug)]
#[must_use = "the body ends when its sender is dropped"]
pub struct Sender(mpsc::Sender<Result<Bytes, Error>>);

impl Sender {
    /// Sends a piece, as soon as the one before has been taken.
    ///
    /// # Errors
    ///
    /// If the body has been dropped, because the response has ended.
    pub async fn send_data(&mut self, piece: Bytes) -> Result<(), Error> {
        self.0.send(Ok(piece)).await.map_err(|_| Dropped.into())
    }

    /// Sends a piece if the one before has been taken.
    ///
    /// # Errors
    ///
    /// The piece, otherwise.
    pub fn try_send_data(&mut self, piece: Bytes) -> Result<(), Bytes> {
        match self.0.try_reserve() {
            Ok(place) => {
                place.send(Ok(piece));
                Ok(())
            }
            Err(_) => Err(piece),
        }
    }

    /// Ends the body with an error, as soon as the piece before has been taken. The response ends
    /// with that error.
    pub async fn send_error(self, error: impl Into<Error>) {
        // Without a receiver, there is nobody to hear it.
        let _ = self.0.send(Err(error.into())).await;
    }
}

/// The body of a streamed response: pieces from a [`channel`], or bytes that are there already.
#[derive(Debug, Default)]
pub struct Body(Pieces);

#[derive(Debug, Default)]
enum Pieces {
    #[default]
    None,
    One(Bytes),
    Sent(Receiver<Result<Bytes, Error>>),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self::default()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Pieces::One(bytes.into()))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Pieces::None => Poll::Ready(None),
            Pieces::One(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Pieces::None;
                Poll::Ready(Some(Ok(bytes)))
            }
            Pieces::Sent(pieces) => pieces.poll_recv(context),
        }
    }
}

/// The body has been dropped.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response has ended before its last piece; stop sending")
    }
}

impl std::error::Error for Dropped {}
