use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use crate::Lifecycle;

type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The hooks of the next [`run`](super::run) of this process.
static HOOKS: Mutex<Vec<Hook>> = Mutex::new(Vec::new());

/// Makes the next [`run`](super::run) or [`run_concurrent`](super::run_concurrent) call this hook
/// before the process ends, after SIGTERM or SIGINT.
///
/// The hook runs when the invocation in flight has ended, as a shutdown hook of a
/// [`Lifecycle`](crate::Lifecycle), within the time that is left. Then `run` returns.
///
/// ```no_run
/// use lambda_proto_tokio::lambda_runtime::{
///     Error, LambdaEvent, run, service_fn, spawn_graceful_shutdown_handler,
/// };
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     spawn_graceful_shutdown_handler(|| async { eprintln!("flushing the logs") }).await;
///     run(service_fn(async |event: LambdaEvent<()>| Ok::<_, Error>(event.payload))).await
/// }
/// ```
pub async fn spawn_graceful_shutdown_handler<A>(hook: impl FnOnce() -> A + Send + 'static)
where
    A: Future<Output = ()> + Send + 'static,
{
    let hook: Hook = Box::new(move || Box::pin(hook()));
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
}

/// The lifecycle with the hooks; `None` if there are none.
pub(super) fn lifecycle() -> Option<Lifecycle> {
    let hooks = std::mem::take(&mut *HOOKS.lock().unwrap_or_else(PoisonError::into_inner));
    if hooks.is_empty() {
        return None;
    }
    Some(hooks.into_iter().fold(Lifecycle::new(), |lifecycle, hook| {
        lifecycle.on_shutdown("graceful shutdown", async move |_| {
            hook().await;
            Ok(())
        })
    }))
}
