use bytes::{Bytes, BytesMut};
use memmap2::MmapMut;

/// A body that is being read.
///
/// A large one has pages of its own, which go back to the system when the last [`Bytes`] of it is
/// dropped. The allocator would keep them: once it has freed a large block, glibc no longer maps
/// blocks of that size, and its heaps do not shrink below one that is still in use.
#[derive(Debug)]
pub(crate) struct Buffer {
    store: Store,
    length: usize,
    /// The largest body.
    most: usize,
}

#[derive(Debug)]
enum Store {
    Heap(BytesMut),
    Pages(MmapMut),
}

/// Longer bodies have pages of their own. Shorter ones are faster without: each new page costs a
/// fault, which is most of the time that a body of this length takes.
const LARGE: usize = 256 * 1024;

impl Buffer {
    /// A buffer for a body that is announced to have this length, or more, and has at most `most`
    /// bytes.
    pub(crate) fn new(announced: usize, most: usize) -> Self {
        let announced = announced.min(most);
        let store = match pages(announced) {
            Some(pages) => Store::Pages(pages),
            None => Store::Heap(BytesMut::with_capacity(announced)),
        };
        Self { store, length: 0, most }
    }

    /// Adds a part of the body. The whole must not be longer than the largest body.
    pub(crate) fn push(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        let (room, so_far) = match &self.store {
            Store::Heap(heap) => (LARGE.max(heap.capacity()), &heap[..]),
            Store::Pages(pages) => (pages.len(), &pages[..self.length]),
        };
        if end > room {
            let larger = end.max((2 * room).min(self.most));
            self.store = match pages(larger) {
                Some(mut pages) => {
                    pages[..self.length].copy_from_slice(so_far);
                    Store::Pages(pages)
                }
                None => Store::Heap(BytesMut::from(so_far)),
            };
        }
        match &mut self.store {
            Store::Heap(heap) => heap.extend_from_slice(part),
            Store::Pages(pages) => pages[self.length..end].copy_from_slice(part),
        }
        self.length = end;
    }

    pub(crate) fn freeze(self) -> Bytes {
        match self.store {
            Store::Heap(heap) => heap.freeze(),
            Store::Pages(pages) => Bytes::from_owner(pages).slice(..self.length),
        }
    }
}

/// Pages for a large body; `None` if it is not large, or if the system has none, so that the
/// allocator has to find a place.
fn pages(length: usize) -> Option<MmapMut> {
    if length > LARGE { MmapMut::map_anon(length).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_any_length_is_kept_however_it_arrives() {
        let most = 6 * LARGE;
        let whole: Vec<u8> = (0..most).map(|index| (index % 251) as u8).collect();
        for length in [0, 1, LARGE, LARGE + 1, 2 * LARGE, 5 * LARGE + 7, most] {
            for announced in [0, 1, length / 2, length, 2 * most] {
                for part in [1000, LARGE, LARGE + 1, most] {
                    let mut buffer = Buffer::new(announced, most);
                    whole[..length].chunks(part).for_each(|part| buffer.push(part));
                    let body = buffer.freeze();
                    assert!(body[..] == whole[..length], "{length} {announced} {part}");
                }
            }
        }
    }

    #[test]
    fn only_a_large_body_has_pages_of_its_own() {
        let is_large = |length: usize, announced: usize| {
            let mut buffer = Buffer::new(announced, usize::MAX);
            buffer.push(&vec![0; length]);
            matches!(buffer.store, Store::Pages(_))
        };
        for (length, expected) in [(1, false), (LARGE, false), (LARGE + 1, true)] {
            assert_eq!((is_large(length, 0), is_large(length, length)), (expected, expected));
        }
    }
}
