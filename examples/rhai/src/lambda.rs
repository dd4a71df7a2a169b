//! The worker, shared with the functions that scripts call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lambda_proto_std::{
    ContentType, Context, Deadline, Error, Failure, InLifecycle, Response, Worker,
};
use rhai::{Dynamic, Engine, EvalAltResult};

use crate::json;
use crate::script::Script;

/// The part of the runtime that scripts can use; clones share it.
///
/// The engine keeps its functions until the process ends, so they cannot hold a responder, which
/// lives only as long as its invocation. They answer through the worker instead.
#[derive(Clone, Default)]
pub(crate) struct Lambda(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// `None` before the first invocation and after the last.
    worker: Option<Worker<InLifecycle>>,
    /// The request id and deadline of the latest invocation. The worker forgets them once it is
    /// answered.
    request_id: String,
    deadline: Option<Deadline>,
}

impl Lambda {
    /// Serves invocations until the runtime is stopped.
    pub(crate) fn serve(&self, worker: Worker<InLifecycle>) -> Result<(), Error> {
        self.lock().worker = Some(worker);
        let result = self.serve_all();
        // Outside the lock: ending the last worker runs the shutdown hook, which calls the script.
        let worker = self.lock().worker.take();
        result.and(worker.map_or(Ok(()), Worker::end))
    }

    fn serve_all(&self) -> Result<(), Error> {
        while let Some((event, context)) = self.next()? {
            let Some(script) = context.get::<Script>() else { continue };
            let called = json::read(&event).and_then(|event| {
                let result = script.call_handler(event.clone())?;
                Ok((event, result))
            });
            let answered = called.and_then(|(event, result)| {
                self.answer(&result)?;
                script.call_if_there("after", vec![event])
            });
            if let Err(failure) = answered {
                // If the response has been sent, this only logs the failure.
                self.with_worker(|worker| worker.fail(failure));
            }
        }
        Ok(())
    }

    /// The next event and its context. Waits with the lock held, which is fine: no script runs
    /// then.
    fn next(&self) -> Result<Option<(Vec<u8>, Context)>, Error> {
        let mut state = self.lock();
        let State { worker: Some(worker), request_id, deadline } = &mut *state else {
            return Ok(None);
        };
        let next = worker.next()?;
        Ok(next.map(|(invocation, _, context)| {
            invocation.request_id().clone_into(request_id);
            *deadline = invocation.deadline();
            (invocation.body().to_vec(), context)
        }))
    }

    /// Ends the stream, or sends the result if the script has streamed nothing.
    fn answer(&self, result: &Dynamic) -> Result<(), Failure> {
        let is_streamed = self.with_worker(|worker| worker.finish().is_some());
        if is_streamed == Some(true) {
            return Ok(());
        }
        let body = json::write(result)?;
        self.with_worker(|worker| {
            worker.send(Response::new(body).content_type(ContentType::JSON));
        });
        Ok(())
    }

    /// Registers the functions that scripts call.
    pub(crate) fn register(&self, engine: &mut Engine) {
        let lambda = self.clone();
        engine.register_fn("stream", move |content_type: &str| -> Result<(), Box<EvalAltResult>> {
            let content_type = ContentType::new(content_type).map_err(|error| error.to_string())?;
            match lambda.with_worker(|worker| worker.stream(content_type)) {
                Some(true) => Ok(()),
                _ => Err("there is nothing to answer".into()),
            }
        });
        let lambda = self.clone();
        engine.register_fn("write", move |text: &str| -> Result<(), Box<EvalAltResult>> {
            match lambda.with_worker(|worker| worker.write(text.as_bytes())) {
                Some(Ok(())) => Ok(()),
                Some(Err(over)) => Err(over.to_string().into()),
                None => Err("there is nothing to answer".into()),
            }
        });
        let lambda = self.clone();
        engine.register_fn("request_id", move || -> String { lambda.lock().request_id.clone() });
        let lambda = self.clone();
        engine.register_fn("remaining_ms", move || -> i64 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let left = lambda.lock().deadline.map(|deadline| deadline.remaining(now).as_millis());
            left.and_then(|left| left.try_into().ok()).unwrap_or(i64::MAX)
        });
    }

    /// Calls `work` with the worker, if there is one.
    fn with_worker<T>(&self, work: impl FnOnce(&mut Worker<InLifecycle>) -> T) -> Option<T> {
        self.lock().worker.as_mut().map(work)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent at every moment, so a poisoned lock does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
