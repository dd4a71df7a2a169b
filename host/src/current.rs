//! The current invocation of each thread, for the function's log lines (features `log`, `tracing`).
//!
//! `lambda-proto-std` sets it on each thread that runs handlers, from the moment an invocation is
//! handed out until the next is asked for. `lambda-proto-mio` sets it while it calls the handler.
//! `lambda-proto-tokio` sets it while it polls the future of a handler or of registered work.
//! Threads that the function starts have none until they set it. Other futures move between threads,
//! so wrap them in a `tracing` span with a field `request_id` instead.

use std::cell::Cell;
use std::ops::Deref;

use lambda_proto::limits::MAX_ID;

thread_local! {
    // Stored in place, so that a new invocation costs no allocation.
    static CURRENT: Cell<RequestId> = const { Cell::new(RequestId::NONE) };
}

/// Sets the request id of this thread's current invocation; an empty id means none.
pub fn set(request_id: impl Into<RequestId>) {
    CURRENT.set(request_id.into());
}

/// Calls `work` with this request id set, then restores the previous one.
///
/// ```
/// use lambda_proto_host::current;
///
/// let id = || current::request_id().to_string();
/// current::set("a");
/// assert_eq!(current::during("b", id), "b");
/// assert_eq!(id(), "a");
/// ```
pub fn during<T>(request_id: impl Into<RequestId>, work: impl FnOnce() -> T) -> T {
    let _until_it_returns = begin(request_id);
    work()
}

/// Sets the request id of this thread until the returned guard is dropped, which restores the
/// previous one.
#[must_use = "dropping the guard restores the previous request id"]
pub fn begin(request_id: impl Into<RequestId>) -> Current {
    Current(CURRENT.replace(request_id.into()))
}

/// The request id of this thread's current invocation; empty if there is none.
pub fn request_id() -> RequestId {
    CURRENT.get()
}

/// A copy of a request id, which dereferences to its text.
#[derive(Clone, Copy)]
pub struct RequestId {
    length: usize,
    bytes: [u8; MAX_ID],
}

impl RequestId {
    const NONE: Self = Self { length: 0, bytes: [0; MAX_ID] };
}

/// Copies an id. An id longer than [`MAX_ID`] bytes, which no invocation has, becomes the empty id.
impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        let mut id = Self::NONE;
        if let Some(bytes) = id.bytes.get_mut(..text.len()) {
            bytes.copy_from_slice(text.as_bytes());
            id.length = text.len();
        }
        id
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        // The bytes are a copy of a whole `str`, so they are UTF-8.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// The guard of a request id. Dropping it, even during a panic, restores the previous one.
pub struct Current(RequestId);

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::thread;

    use super::*;

    #[test]
    fn every_thread_has_its_own_request_id_and_begins_without() {
        set("here");
        let there = thread::spawn(|| {
            let at_first = request_id().to_string();
            set("there");
            (at_first, request_id().to_string())
        });
        assert_eq!(there.join().unwrap(), (String::new(), "there".to_owned()));
        assert_eq!(&*request_id(), "here");
    }

    #[test]
    fn the_previous_request_id_is_restored_after_a_panic() {
        set("before");
        let panicked = catch_unwind(|| during("inner", || panic!("{}", &*request_id())));
        assert_eq!(panicked.unwrap_err().downcast_ref::<String>().unwrap(), "inner");
        assert_eq!(&*request_id(), "before");
    }

    #[test]
    fn the_longest_id_is_kept_and_a_longer_one_becomes_empty() {
        let longest = "x".repeat(MAX_ID);
        set(&*longest);
        assert_eq!(&*request_id(), longest);
        set(&*format!("{longest}x"));
        assert_eq!(&*request_id(), "");
    }
}
