use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Error, Failure, InFlight, Settings};

/// Calls a handler, and turns a panic into a failure.
///
/// # Errors
///
/// The handler's failure, or that of its panic.
pub fn catch<T>(handler: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // A handler that panicked may have left its own data half changed, and will see it again. It
    // holds nothing of ours that could be.
    catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|payload| {
        let failure = Failure::from_panic(&*payload);
        // Dropping the payload may panic again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        Err(failure)
    })
}

/// Runs the code before the first invocation, and has its failure or panic reported.
///
/// # Errors
///
/// [`Error::Init`]. If the report cannot be delivered, that is logged.
pub fn start<T>(
    settings: &Settings,
    start: impl FnOnce() -> Result<T, Failure>,
    report: impl FnOnce(&Failure) -> Result<(), Error>,
) -> Result<T, Error> {
    let mut in_flight = InFlight::new(&settings.endpoint);
    in_flight.starts();
    let result = catch(start);
    in_flight.has_started();
    result.map_err(|failure| {
        if let Err(error) = report(&failure) {
            settings.log.error(format_args!("the failed start could not be reported: {error}"));
        }
        Error::Init { message: failure.to_string() }
    })
}
