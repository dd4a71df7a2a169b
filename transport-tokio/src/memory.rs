//! Memory for events, which handlers may own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lambda_proto::client::{Storage, VecStorage};

/// Enough for a small event with its head.
const FIRST: usize = 16 * 1024;

/// Memory that comes from a slot's [`Spare`] when it is needed, and goes back there when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    storage: VecStorage,
    spare: Option<Arc<Spare>>,
}

/// The place where the memory of an event waits for the next one, so that a slot allocates again
/// only if the handler still holds the last event.
#[derive(Debug)]
pub(crate) struct Spare {
    most: usize,
    storage: Mutex<Option<VecStorage>>,
}

impl Memory {
    /// Memory that never leaves its driver.
    pub(crate) fn new(storage: VecStorage) -> Self {
        Self { storage, spare: None }
    }

    /// Memory of this slot. It is empty until it grows.
    pub(crate) fn of(spare: &Arc<Spare>) -> Self {
        Self { storage: VecStorage::new(0, spare.most), spare: Some(spare.clone()) }
    }
}

impl Storage for Memory {
    fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.storage.bytes_mut()
    }

    fn grow(&mut self, length: usize) {
        let Some(spare) = &self.spare else { return self.storage.grow(length) };
        if self.storage.bytes().is_empty()
            && let Some(used) = spare.lock().take()
        {
            self.storage = used;
        }
        self.storage.grow(length.max(FIRST));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(spare) = &self.spare
            && !self.storage.bytes().is_empty()
        {
            let used = std::mem::replace(&mut self.storage, VecStorage::new(0, 0));
            // What was there is freed after the lock is released.
            let _freed = spare.lock().replace(used);
        }
    }
}

impl Spare {
    /// A place without memory, for events of up to `most` bytes with their heads.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, storage: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecStorage>> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(spare: &Arc<Spare>, length: usize) -> Memory {
        let mut memory = Memory::of(spare);
        memory.grow(length);
        memory
    }

    #[test]
    fn memory_that_was_dropped_is_used_again() {
        let spare = Arc::new(Spare::new(1 << 20));
        let memory = grown(&spare, 100_000);
        let address = memory.bytes().as_ptr();
        drop(memory);
        assert_eq!(grown(&spare, 1).bytes().as_ptr(), address);
    }

    #[test]
    fn memory_that_is_still_held_is_not_shared() {
        let spare = Arc::new(Spare::new(1 << 20));
        let (first, second) = (grown(&spare, 1), grown(&spare, 1));
        assert_ne!(first.bytes().as_ptr(), second.bytes().as_ptr());
        // One of the two is kept.
        drop(first);
        let kept = second.bytes().as_ptr();
        drop(second);
        assert_eq!(grown(&spare, 1).bytes().as_ptr(), kept);
    }

    #[test]
    fn memory_grows_to_its_limit_and_no_further() {
        let spare = Arc::new(Spare::new(20_000));
        let mut memory = grown(&spare, 1);
        assert_eq!(memory.bytes().len(), FIRST);
        memory.grow(usize::MAX);
        assert_eq!(memory.bytes().len(), 20_000);
    }
}
