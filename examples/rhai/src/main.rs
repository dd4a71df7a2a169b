//! A Lambda runtime for scripts in [rhai](https://rhai.rs): a whole language runtime on
//! `lambda-proto-std`.
//!
//! `_HANDLER` is `file.function`; the file is looked up in `LAMBDA_TASK_ROOT`. The function takes
//! the event as a value and returns the response as one; the caller sees both as JSON.
//!
//! | in a script | effect |
//! |---|---|
//! | `throw #{ type: "Function.NotFound", message: "…" }` | fails the invocation with this type |
//! | `stream("text/plain")`, `write("…")` | streams the response; the returned value is ignored |
//! | `request_id()`, `remaining_ms()` | the request id and the remaining time of the invocation |
//! | `print("…")` | writes a line to the log |
//! | `fn after(event)` | called after the response has been sent, before the next event |
//! | `fn shutdown()` | called before the process ends |
//!
//! Statements outside functions run once before the first invocation, and again after a snapshot
//! has been restored.

mod json;
mod lambda;
mod script;

use lambda_proto_std::{Environment, Error, Lifecycle, Runtime};

use crate::lambda::Lambda;
use crate::script::{LoadError, Script};

fn main() -> Result<(), Error> {
    let lambda = Lambda::default();
    let functions = lambda.clone();
    let lifecycle = Lifecycle::new()
        .on_init("script", move |init| {
            let script = Script::load(Environment::of_process(), &functions)?;
            script.run_statements()?;
            init.put(script);
            Ok(())
        })
        .after_restore("script", |resources| match resources.get::<Script>() {
            Some(script) => script.run_statements(),
            None => Ok(()),
        })
        .on_shutdown("script", |shutdown| match shutdown.get::<Script>() {
            Some(script) => script.call_if_there("shutdown", vec![]),
            None => Ok(()),
        });
    let runtime = Runtime::from_env()?.error_type::<LoadError>().lifecycle(lifecycle);
    let Some(worker) = runtime.into_worker()? else { return Ok(()) };
    lambda.serve(worker)
}
