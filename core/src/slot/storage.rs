use core::ops::Range;

use crate::api::{HeadIndex, InvocationHead};

/// Memory for what arrives or is sent.
pub trait Storage {
    /// All of it.
    fn bytes(&self) -> &[u8];

    /// All of it, to be written to.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Makes it `length` bytes long, or as long as it may become; what it holds stays.
    ///
    /// Never asked for more than twice what has arrived, so that an announced length costs nothing.
    fn grow(&mut self, length: usize);

    /// Nothing is kept in it until it is used again, which may be for hours: memory that is shared with
    /// other slots goes back now, and [`grow`](Self::grow) takes it anew.
    fn release(&mut self) {}
}

/// A slice does not grow.
impl Storage for &mut [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn grow(&mut self, _length: usize) {}
}

/// An invocation that was taken out of its slot, with the memory that it stands in.
#[derive(Debug)]
pub struct HeldEvent<S> {
    storage: S,
    index: HeadIndex,
    head: Range<usize>,
    body: Range<usize>,
}

impl<S: Storage> HeldEvent<S> {
    pub(super) fn new(
        storage: S,
        index: HeadIndex,
        head: Range<usize>,
        body: Range<usize>,
    ) -> Self {
        Self { storage, index, head, body }
    }

    /// What came with the event.
    pub fn head(&self) -> InvocationHead<'_> {
        self.index.on(self.storage.bytes().get(self.head.clone()).unwrap_or_default())
    }

    /// The event, as whoever invoked the function sent it: any bytes, mostly JSON.
    pub fn body(&self) -> &[u8] {
        self.storage.bytes().get(self.body.clone()).unwrap_or_default()
    }

    /// The memory.
    pub fn into_storage(self) -> S {
        self.storage
    }
}
