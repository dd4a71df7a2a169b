//! Panics in programs that abort on them: there is no unwinding to catch, so a hook reports what is in
//! hand before the process ends. In programs that unwind none of this does anything.

#[cfg(not(panic = "abort"))]
pub use unwinding::InHand;

#[cfg(panic = "abort")]
pub use aborting::InHand;

#[cfg(not(panic = "abort"))]
mod unwinding {
    use lambda_proto::{Endpoint, InvocationHead};

    /// What a worker is about, for the panic hook of programs that abort: it reports what is in hand.
    pub struct InHand;

    impl InHand {
        /// A worker that is about nothing.
        pub fn new(_endpoint: &Endpoint) -> Self {
            Self
        }

        /// The function starts.
        pub fn starts(&self) {}

        /// The invocation is in hand.
        pub fn begins(&self, _invocation: &InvocationHead<'_>) {}

        /// Nothing is in hand any more.
        pub fn is_answered(&self) {}
    }
}

#[cfg(panic = "abort")]
mod aborting {
    use std::io::{Read, Write};
    use std::panic::{self, PanicHookInfo};
    use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
    use std::time::{Duration, Instant};

    use lambda_proto::ErrorReport;
    use lambda_proto::api::{InvocationIds, Request};

    use crate::connect;
    use crate::failure::{PANIC, panic_message};
    use lambda_proto::{Endpoint, InvocationHead};

    /// How long a dying process waits for the service, altogether.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Every worker: a panic anywhere in the process ends them all.
    static WORKERS: Mutex<Vec<Weak<Worker>>> = Mutex::new(Vec::new());

    struct Worker {
        endpoint: Endpoint,
        doing: Mutex<Doing>,
    }

    /// What has begun and is not answered.
    #[expect(clippy::large_enum_variant, reason = "one for each worker, never moved")]
    enum Doing {
        Nothing,
        Start,
        Invocation(InvocationIds),
    }

    /// What a worker is about, for the panic hook of programs that abort: it reports what is in hand.
    pub struct InHand(Arc<Worker>);

    impl InHand {
        /// A worker that is about nothing.
        pub fn new(endpoint: &Endpoint) -> Self {
            static INSTALLED: Once = Once::new();
            INSTALLED.call_once(|| {
                let before = panic::take_hook();
                panic::set_hook(Box::new(move |info| {
                    before(info);
                    report(info);
                }));
            });
            let doing = Mutex::new(Doing::Nothing);
            let worker = Arc::new(Worker { endpoint: endpoint.clone(), doing });
            let mut workers = lock(&WORKERS);
            workers.retain(|worker| worker.strong_count() > 0);
            workers.push(Arc::downgrade(&worker));
            Self(worker)
        }

        /// The function starts.
        pub fn starts(&self) {
            *lock(&self.0.doing) = Doing::Start;
        }

        /// The invocation is in hand.
        pub fn begins(&self, invocation: &InvocationHead<'_>) {
            if let Ok(ids) = InvocationIds::of(invocation) {
                *lock(&self.0.doing) = Doing::Invocation(ids);
            }
        }

        /// Nothing is in hand any more.
        pub fn is_answered(&self) {
            *lock(&self.0.doing) = Doing::Nothing;
        }
    }

    /// Nothing panics while one of these is held.
    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(info: &PanicHookInfo<'_>) {
        let message = match info.payload_as_str() {
            Some(message) => message.to_owned(),
            None => panic_message(&()),
        };
        let place = info.location().map(|place| format!("{place}")).unwrap_or_default();
        let report = ErrorReport::new(PANIC, &message).stack_trace(&place);
        let until = Instant::now() + PATIENCE;
        let workers: Vec<_> = lock(&WORKERS).iter().filter_map(Weak::upgrade).collect();
        for worker in workers {
            // Held while posting, so that its worker cannot begin to answer meanwhile.
            let doing = lock(&worker.doing);
            let request = match &*doing {
                Doing::Nothing => continue,
                Doing::Start => Request::InitError { report },
                Doing::Invocation(ids) => Request::Error { ids, report },
            };
            post(&worker.endpoint, request, until);
        }
    }

    /// Posts on a connection of its own: the worker's may be in any state.
    fn post(endpoint: &Endpoint, request: Request<'_>, until: Instant) {
        let mut bytes = vec![0; 1024];
        let length = request.encode(endpoint, &mut bytes).or_else(|too_small| {
            bytes.resize(too_small.needed, 0);
            request.encode(endpoint, &mut bytes)
        });
        let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let (Ok(length), Ok(mut stream)) = (length, connect(endpoint, left())) else {
            return;
        };
        // The process must not end before the service has read the report, which its reply shows.
        let _best_effort = stream
            .set_write_timeout(Some(left()))
            .and_then(|()| stream.write_all(&bytes[..length]))
            .and_then(|()| stream.set_read_timeout(Some(left())))
            .and_then(|()| stream.read(&mut [0; 512]));
    }
}
