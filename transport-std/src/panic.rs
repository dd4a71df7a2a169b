//! Panics in programs that abort on them: there is no unwinding to catch, so a hook reports what is in
//! hand before the process ends. In programs that unwind none of this is compiled.

#[cfg(not(panic = "abort"))]
pub(crate) use unwinding::*;

#[cfg(panic = "abort")]
pub(crate) use aborting::*;

#[cfg(not(panic = "abort"))]
mod unwinding {
    use crate::{Endpoint, Invocation};

    pub(crate) fn install_hook(_endpoint: &Endpoint) {}
    pub(crate) fn starting() {}
    pub(crate) fn begins(_invocation: &Invocation<'_>) {}
    pub(crate) fn answering() {}
}

#[cfg(panic = "abort")]
mod aborting {
    use std::io::{Read, Write};
    use std::panic::{self, PanicHookInfo};
    use std::sync::{Mutex, MutexGuard, Once, PoisonError};
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use lambda_proto::ErrorReport;
    use lambda_proto::api::{InvocationIds, Request};

    use crate::failure::{PANIC, panic_message};
    use crate::{Endpoint, Invocation, slot};

    /// How long a dying process waits for the service.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// What each worker's thread is about and has not begun to answer. A panic anywhere ends all.
    static IN_HAND: Mutex<Vec<(ThreadId, InHand)>> = Mutex::new(Vec::new());

    /// An invocation, or the start of the function.
    type InHand = Option<InvocationIds>;

    pub(crate) fn install_hook(endpoint: &Endpoint) {
        static INSTALLED: Once = Once::new();
        let endpoint = endpoint.clone();
        INSTALLED.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                before(info);
                report(&endpoint, info);
            }));
        });
    }

    pub(crate) fn starting() {
        set(Some(None));
    }

    pub(crate) fn begins(invocation: &Invocation<'_>) {
        set(InvocationIds::of(invocation).ok().map(Some));
    }

    pub(crate) fn answering() {
        set(None);
    }

    fn set(in_hand: Option<InHand>) {
        let thread = thread::current().id();
        let mut all = lock();
        all.retain(|(other, _)| *other != thread);
        all.extend(in_hand.map(|in_hand| (thread, in_hand)));
    }

    /// Nothing panics while it is held.
    fn lock() -> MutexGuard<'static, Vec<(ThreadId, InHand)>> {
        IN_HAND.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(endpoint: &Endpoint, info: &PanicHookInfo<'_>) {
        let message = match info.payload_as_str() {
            Some(message) => message.to_owned(),
            None => panic_message(&()),
        };
        let place = info.location().map(|place| format!("{place}")).unwrap_or_default();
        let report = ErrorReport::new(PANIC, &message).stack_trace(&place);
        let all = std::mem::take(&mut *lock());
        for (_, in_hand) in &all {
            post(
                endpoint,
                match in_hand {
                    None => Request::InitError { report },
                    Some(ids) => Request::Error { ids, report },
                },
            );
        }
    }

    /// Posts on a connection of its own: the worker's may be in any state.
    fn post(endpoint: &Endpoint, request: Request<'_>) {
        let mut bytes = vec![0; 1024];
        let length = request.encode(endpoint, &mut bytes).or_else(|too_small| {
            bytes.resize(too_small.needed, 0);
            request.encode(endpoint, &mut bytes)
        });
        let (Ok(length), Ok(mut stream)) = (length, slot::connect(endpoint, PATIENCE)) else {
            return;
        };
        // The process must not end before the service has read the report, which its reply shows.
        let _best_effort = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .and_then(|()| stream.write_all(&bytes[..length]))
            .and_then(|()| stream.read(&mut [0; 512]));
    }
}
