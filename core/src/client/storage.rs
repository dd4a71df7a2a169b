/// Memory for received or sent bytes.
pub trait Storage {
    /// All of it.
    fn bytes(&self) -> &[u8];

    /// All of it, for writing.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Grows to `length` bytes, or as far as it can; the contents stay. It must not panic or abort
    /// if there is no memory: an event that does not fit is reported as an error of its invocation.
    ///
    /// `length` is at most twice what has arrived, so an announced length alone costs no memory.
    fn grow(&mut self, length: usize);

    /// Releases memory that is shared with other slots; [`grow`](Self::grow) takes it again,
    /// perhaps hours later. Nothing is stored here until then.
    fn release(&mut self) {}

    /// Releases such memory after the first `length` bytes, which stay.
    fn shrink(&mut self, length: usize) {
        let _ = length;
    }

    /// Whether the last [`grow`](Self::grow) got less than it asked for because others use the
    /// memory, so that it may get more later.
    fn is_contended(&self) -> bool {
        false
    }
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

/// Heap memory that grows as needed, up to a cap, and never shrinks. If the allocator refuses, it
/// does not grow.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct VecStorage {
    bytes: alloc::vec::Vec<u8>,
    most: usize,
}

#[cfg(feature = "alloc")]
impl VecStorage {
    /// Memory of `first` bytes at first and `most` bytes at most.
    pub fn new(first: usize, most: usize) -> Self {
        Self { bytes: alloc::vec![0; first.min(most)], most }
    }
}

#[cfg(feature = "alloc")]
impl Storage for VecStorage {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn grow(&mut self, length: usize) {
        let length = length.min(self.most);
        let Some(more) = length.checked_sub(self.bytes.len()) else { return };
        // `try_reserve` asks the allocator for more than is needed; if that fails, the exact size
        // may still succeed.
        let is_reserved =
            self.bytes.try_reserve(more).is_ok() || self.bytes.try_reserve_exact(more).is_ok();
        if is_reserved {
            self.bytes.resize(length, 0);
        }
    }
}
