//! The memory that all slots share; an idle slot holds none of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lambda_proto::client::Storage;

/// The use of a buffer. Each use has its own list, so that small uses do not take large buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    Event,
    Request,
    Body,
}

impl Use {
    /// The first size of a new buffer, so that ordinary contents do not make it grow.
    fn first(self) -> usize {
        match self {
            Self::Event => 16 * 1024,
            Self::Request => 4 * 1024,
            Self::Body => 0,
        }
    }
}

/// Buffers that are not in use, up to `most` bytes in total.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The most bytes that are kept.
    most: usize,
    /// The most buffers of one use that are kept.
    most_buffers: usize,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    bytes: usize,
    lists: [Vec<Vec<u8>>; 3],
}

impl Pool {
    /// A pool that keeps up to `most` bytes, in a few buffers of each use per slot. The number of
    /// buffers is capped because each owned answer adds one to the pool, and perhaps nothing ever
    /// takes it out.
    pub(crate) fn new(most: usize, slots: usize) -> Self {
        Self { most, most_buffers: 4 * slots, free: Mutex::default() }
    }

    /// Takes a used buffer, with its old contents, or an empty one.
    pub(crate) fn take(&self, purpose: Use) -> Vec<u8> {
        let mut free = self.lock();
        let buffer = free.lists[purpose as usize].pop().unwrap_or_default();
        free.bytes -= buffer.capacity();
        buffer
    }

    pub(crate) fn give(&self, purpose: Use, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 {
            return;
        }
        let mut free = self.lock();
        let is_wanted = free.lists[purpose as usize].len() < self.most_buffers;
        // A buffer past the caps goes back to the allocator, after the lock is released.
        if is_wanted && capacity <= self.most - free.bytes {
            free.bytes += capacity;
            free.lists[purpose as usize].push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that holds memory of the pool only while it has contents. If the allocator refuses, it
/// does not grow.
#[derive(Debug)]
pub(crate) struct Pooled {
    bytes: Vec<u8>,
    purpose: Use,
    most: usize,
    pool: Arc<Pool>,
}

impl Pooled {
    pub(crate) fn new(pool: &Arc<Pool>, purpose: Use, most: usize) -> Self {
        Self { bytes: Vec::new(), purpose, most, pool: pool.clone() }
    }
}

impl Storage for Pooled {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn grow(&mut self, length: usize) {
        if self.bytes.is_empty() {
            self.bytes = self.pool.take(self.purpose);
        }
        let length = length.max(self.purpose.first()).min(self.most);
        if let Some(more) = length.checked_sub(self.bytes.len())
            && self.bytes.try_reserve_exact(more).is_ok()
        {
            self.bytes.resize(length, 0);
        }
    }

    fn release(&mut self) {
        self.pool.give(self.purpose, std::mem::take(&mut self.bytes));
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(pool: &Arc<Pool>, length: usize) -> Pooled {
        let mut storage = Pooled::new(pool, Use::Event, usize::MAX);
        storage.grow(length);
        storage
    }

    #[test]
    fn a_buffer_that_was_given_back_is_used_again() {
        let pool = Arc::new(Pool::new(1 << 20, 100));
        let mut storage = used(&pool, 100_000);
        let address = storage.bytes().as_ptr();
        storage.release();
        assert!(storage.bytes().is_empty());
        assert_eq!(used(&pool, 1).bytes().as_ptr(), address);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_cap() {
        let pool = Arc::new(Pool::new(1 << 20, 100));
        let all: Vec<_> = (0..100).map(|_| used(&pool, 100_000)).collect();
        drop(all);
        let free = pool.lock();
        assert_eq!(free.lists[Use::Event as usize].len(), 10);
        assert_eq!(free.bytes, 1_000_000);
    }

    #[test]
    fn the_pool_keeps_only_a_few_buffers_for_each_slot() {
        let pool = Pool::new(1 << 20, 2);
        (0..100).for_each(|_| pool.give(Use::Body, vec![0; 10]));
        assert_eq!(pool.lock().lists[Use::Body as usize].len(), 8);
    }

    #[test]
    fn a_buffer_grows_to_its_limit_and_no_further() {
        let pool = Arc::new(Pool::new(1 << 20, 100));
        let mut storage = Pooled::new(&pool, Use::Event, 20_000);
        storage.grow(1);
        assert_eq!(storage.bytes().len(), 16 * 1024);
        storage.grow(usize::MAX);
        assert_eq!(storage.bytes().len(), 20_000);
    }

    #[test]
    fn uses_do_not_take_each_others_buffers() {
        let pool = Arc::new(Pool::new(1 << 20, 100));
        drop(used(&pool, 100_000));
        assert_eq!(pool.take(Use::Body).capacity(), 0);
        assert_eq!(pool.take(Use::Request).capacity(), 0);
        assert!(pool.take(Use::Event).capacity() >= 100_000);
    }
}
