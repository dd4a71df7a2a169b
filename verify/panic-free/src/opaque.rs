//! Type arguments for the generic types of `lambda-proto`, about which the compiler knows nothing.

use core::fmt;
use core::hash::Hasher;
use core::hint::black_box;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

use lambda_proto::api::ErrorReport;
use lambda_proto::async_driver;
use lambda_proto::client::{Invocation, Warning};
use lambda_proto::driver::{Connection, Connector, Responder, Sent};

/// Any memory.
pub(crate) type Memory = &'static mut [u8];

/// Any body, in pieces.
pub(crate) type Pieces<'b> = core::iter::Copied<core::slice::Iter<'b, &'b [u8]>>;

/// Any document, with a text, a number and another document, each of which may be missing.
#[derive(serde::Deserialize)]
pub(crate) struct Document<'d> {
    _text: Option<&'d str>,
    _number: Option<u64>,
    #[serde(borrow)]
    _more: Option<More<'d>>,
}

/// A document in a document.
#[derive(serde::Deserialize)]
pub(crate) struct More<'d> {
    _text: Option<&'d str>,
}

/// Any function that takes warnings.
pub(crate) type Tell = fn(&Warning<'_>);

/// Any closure that connects.
pub(crate) type Connect = fn(u32) -> Result<Wire, Failure>;

/// Any closure that connects and can be awaited.
pub(crate) type AsyncConnect = fn(u32) -> Attempt;

/// Any handler.
pub(crate) type Handler =
    for<'i> fn(Invocation<'i>, Responder<'i, Service, Memory>) -> Result<Sent<'i>, Failure>;

/// Any handler that is awaited.
pub(crate) type AsyncHandler =
    for<'i> fn(Invocation<'i>, async_driver::Responder<'i, Service, Memory>) -> Answering<'i>;

/// Any connection.
pub(crate) struct Wire;

/// Any connector, with the provided methods of the trait.
pub(crate) struct Service;

/// Any wait, pending or ready at each poll.
pub(crate) struct Wait;

/// Any attempt to connect.
pub(crate) struct Attempt;

/// Any handling of an invocation.
pub(crate) struct Answering<'i>(PhantomData<Sent<'i>>);

/// Any failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure;

impl Connection for Wire {}

impl embedded_io::Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> Result<usize, Failure> {
        black_box(room);
        black_box(Ok(0))
    }
}

impl embedded_io::Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        black_box(bytes);
        black_box(Ok(0))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        black_box(Ok(()))
    }
}

impl embedded_io::ErrorType for Wire {
    type Error = Failure;
}

impl Connector for Service {
    type Connection = Wire;
    type Error = Failure;

    fn connect(&mut self, losses: u32) -> Result<Wire, Failure> {
        black_box(losses);
        black_box(Ok(Wire))
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        black_box(context);
        black_box(Poll::Pending)
    }
}

impl Future for Attempt {
    type Output = Result<Wire, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        black_box(context);
        black_box(Poll::Pending)
    }
}

impl<'i> Future for Answering<'i> {
    type Output = Result<Sent<'i>, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        black_box(context);
        black_box(Poll::Pending)
    }
}

impl async_driver::Connection for Wire {}

impl embedded_io_async::Read for Wire {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Failure> {
        black_box(room);
        Wait.await;
        black_box(Ok(0))
    }
}

impl embedded_io_async::Write for Wire {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        black_box(bytes);
        Wait.await;
        black_box(Ok(0))
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        Wait.await;
        black_box(Ok(()))
    }
}

impl async_driver::Connector for Service {
    type Connection = Wire;
    type Error = Failure;

    async fn connect(&mut self, losses: u32) -> Result<Wire, Failure> {
        black_box(losses);
        Wait.await;
        black_box(Ok(Wire))
    }
}

impl embedded_io::Error for Failure {
    fn kind(&self) -> embedded_io::ErrorKind {
        black_box(embedded_io::ErrorKind::Other)
    }
}

impl<'a> From<&'a Failure> for ErrorReport<'a> {
    fn from(failure: &'a Failure) -> Self {
        black_box(failure);
        black_box(ErrorReport::new("", ""))
    }
}

impl core::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        black_box(f);
        black_box(Ok(()))
    }
}

/// [`core::hash::Hash`] for any hasher.
pub(crate) trait Hash {
    fn hash(&self, hasher: &mut dyn Hasher);
}

impl<T: core::hash::Hash> Hash for T {
    fn hash(&self, mut hasher: &mut dyn Hasher) {
        core::hash::Hash::hash(self, &mut hasher);
    }
}
