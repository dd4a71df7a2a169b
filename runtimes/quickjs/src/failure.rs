//! What JavaScript throws, as failures.

use lambda_proto_std::Failure;
use rquickjs::{Ctx, Error, Function, Object, Value};

/// The error type of a JavaScript runtime that has reached the limit of its memory.
const OUT_OF_MEMORY: &str = "Function.OutOfMemory";

/// The type and message of QuickJS's error for that.
const INTERNAL_ERROR: &str = "InternalError";
const NO_MEMORY: &str = "out of memory";

/// The failure for what was thrown. `internals` is the object of the prelude.
pub(crate) fn of_thrown<'js>(internals: &Object<'js>, thrown: Value<'js>) -> Failure {
    if is_out_of_memory(&thrown) {
        return out_of_memory();
    }
    if thrown.is_null() {
        let message = "the JavaScript code has used up its memory, or has thrown null: the engine \
                       throws null when it has no memory for an error";
        return Failure::new(OUT_OF_MEMORY, message);
    }
    let described = internals
        .get::<_, Function<'js>>("describe")
        .and_then(|describe| describe.call::<_, Vec<String>>((thrown,)));
    match described.as_deref() {
        Ok([error_type, message, trace]) => {
            Failure::new(error_type.clone(), message.clone()).stack_trace(trace.clone())
        }
        // Nothing else but the memory can fail here.
        _ => out_of_memory(),
    }
}

/// The failure for an error of the library, whose exception is taken from the context.
pub(crate) fn of_error<'js>(ctx: &Ctx<'js>, internals: &Object<'js>, error: &Error) -> Failure {
    match error {
        Error::Exception => of_thrown(internals, ctx.catch()),
        Error::Allocation => out_of_memory(),
        error => Failure::new("Runtime.Error", error.to_string()),
    }
}

fn is_out_of_memory(thrown: &Value<'_>) -> bool {
    let Some(exception) = thrown.as_exception() else { return false };
    let name = exception.as_object().get::<_, String>("name");
    name.is_ok_and(|name| name == INTERNAL_ERROR)
        && exception.message().as_deref() == Some(NO_MEMORY)
}

fn out_of_memory() -> Failure {
    Failure::new(OUT_OF_MEMORY, "the JavaScript code has used up its memory")
}
