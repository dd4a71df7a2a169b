//! Panics in programs that abort on them: there is no unwinding to catch, so a hook reports the
//! invocation in hand before the process ends. In programs that unwind none of this is compiled.

#[cfg(not(panic = "abort"))]
pub(crate) use unwinding::*;

#[cfg(panic = "abort")]
pub(crate) use aborting::*;

#[cfg(not(panic = "abort"))]
mod unwinding {
    use crate::{Endpoint, Invocation};

    pub(crate) fn install_hook(_endpoint: &Endpoint) {}
    pub(crate) fn begins(_invocation: &Invocation<'_>) {}
    pub(crate) fn answering() {}
}

#[cfg(panic = "abort")]
mod aborting {
    use std::cell::RefCell;
    use std::io::{Read, Write};
    use std::panic::{self, PanicHookInfo};
    use std::sync::Once;
    use std::time::Duration;

    use lambda_proto::ErrorReport;
    use lambda_proto::api::{InvocationIds, Request};

    use crate::failure::{PANIC, panic_message};
    use crate::{Endpoint, Invocation, slot};

    /// How long a dying process waits for the service.
    const PATIENCE: Duration = Duration::from_secs(2);

    thread_local! {
        /// The invocation whose handler runs on this thread and has not begun to answer.
        static IN_HAND: RefCell<Option<InvocationIds>> = const { RefCell::new(None) };
    }

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

    pub(crate) fn begins(invocation: &Invocation<'_>) {
        IN_HAND.set(InvocationIds::of(invocation).ok());
    }

    pub(crate) fn answering() {
        IN_HAND.set(None);
    }

    /// Posts on a connection of its own: the worker's may be in any state.
    fn report(endpoint: &Endpoint, info: &PanicHookInfo<'_>) {
        let Some(ids) = IN_HAND.take() else { return };
        let message = panic_message_of(info);
        let place = info.location().map(|place| format!("{place}")).unwrap_or_default();
        let report = ErrorReport::new(PANIC, &message).stack_trace(&place);
        let request = Request::Error { ids: &ids, report };
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
            .and_then(|()| stream.write_all(&bytes[..length]))
            .and_then(|()| stream.read(&mut [0; 512]));
    }

    fn panic_message_of(info: &PanicHookInfo<'_>) -> String {
        match info.payload_as_str() {
            Some(message) => message.to_owned(),
            None => panic_message(&()),
        }
    }
}
