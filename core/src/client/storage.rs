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

/// Memory on the heap that grows to what it has to hold, up to a cap, and stays.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct VecStorage {
    bytes: alloc::vec::Vec<u8>,
    most: usize,
}

#[cfg(feature = "alloc")]
impl VecStorage {
    /// `first` bytes at first, and `most` bytes at most.
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
        if length > self.bytes.len() {
            self.bytes.resize(length, 0);
        }
    }
}
