use core::ops::{Deref, Range};

use super::Storage;
use crate::api::{HeadIndex, InvocationHead};

/// An invocation: its head, by [`Deref`] to [`InvocationHead`], and its event.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'i> {
    pub(super) head: InvocationHead<'i>,
    pub(super) body: &'i [u8],
}

impl<'i> Invocation<'i> {
    /// The event, as the caller of the function sent it: any bytes, mostly JSON.
    pub fn body(&self) -> &'i [u8] {
        self.body
    }
}

impl<'i> Deref for Invocation<'i> {
    type Target = InvocationHead<'i>;

    fn deref(&self) -> &InvocationHead<'i> {
        &self.head
    }
}

/// An invocation that was taken out of its client, with the memory that holds it.
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

    /// The invocation.
    pub fn invocation(&self) -> Invocation<'_> {
        let bytes = self.storage.bytes();
        Invocation {
            head: self.index.on(bytes.get(self.head.clone()).unwrap_or_default()),
            body: bytes.get(self.body.clone()).unwrap_or_default(),
        }
    }

    /// Returns the memory.
    pub fn into_storage(self) -> S {
        self.storage
    }
}
