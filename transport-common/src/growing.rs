use lambda_proto::slot::Storage;

/// Memory that grows to what it has to hold, up to a cap, and stays.
pub struct Growing {
    bytes: Vec<u8>,
    most: usize,
}

impl Growing {
    /// So many bytes at first, and at most.
    pub fn new(first: usize, most: usize) -> Self {
        Self { bytes: vec![0; first.min(most)], most }
    }
}

impl Storage for Growing {
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
