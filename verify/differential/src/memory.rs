//! A connection in memory, and the loop that polls the reader at its other end.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use hyper::HeaderMap;
use hyper::rt::{Read, ReadBufCursor, Write};

/// Header fields, with names in lower case, sorted by name; fields of the same name in their order.
pub type Fields = Vec<(String, Vec<u8>)>;

pub(crate) fn fields(map: &HeaderMap) -> Fields {
    let named =
        map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let mut fields: Fields = named.collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

/// A stream that supplies these bytes, and takes all bytes that are written.
#[derive(Clone)]
pub(crate) struct Memory(Rc<RefCell<State>>);

struct State {
    input: Vec<u8>,
    read: usize,
    /// The stream supplies no bytes before it has been written to, like a service that replies.
    awaits_request: bool,
    has_ended: bool,
    reader: Option<Waker>,
}

impl Memory {
    pub(crate) fn of_server(input: &[u8]) -> Self {
        let (input, read, reader) = (input.to_vec(), 0, None);
        let state = State { input, read, awaits_request: true, has_ended: false, reader };
        Self(Rc::new(RefCell::new(state)))
    }

    pub(crate) fn of_client(input: &[u8]) -> Self {
        let memory = Self::of_server(input);
        memory.0.borrow_mut().awaits_request = false;
        memory
    }

    /// Ends the stream in an orderly way after the last byte.
    pub(crate) fn end(&self) {
        self.0.borrow_mut().has_ended = true;
    }

    /// The number of bytes that have not been read.
    pub(crate) fn unread(&self) -> usize {
        let state = self.0.borrow();
        state.input.len() - state.read
    }
}

impl Read for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        let unread = &state.input[state.read..];
        if state.awaits_request || (unread.is_empty() && !state.has_ended) {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = unread.len().min(room.remaining());
        room.put_slice(&unread[..length]);
        state.read += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        state.awaits_request = false;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Polls until the result is ready, or until nothing can change without further bytes.
pub(crate) fn run<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    // Each poll uses up bytes, so this is a bound and not a guess at how long it takes.
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = poll(&mut context) {
            return Some(value);
        }
        if !flag.0.swap(false, Relaxed) {
            return None;
        }
    }
    panic!("the future is polled forever");
}
