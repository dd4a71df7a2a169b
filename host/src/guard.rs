use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Error, Failure, InFlight, Settings};

/// Calls a handler, and makes a failure of a panic.
///
/// # Errors
///
/// The handler's failure, or that of its panic.
pub fn catch<T>(handler: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // A handler that panicked may have left data of its own half changed, which it will see again; of
    // ours it holds nothing that could be.
    catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|payload| {
        let failure = Failure::from_panic(&*payload);
        // What was thrown may throw again when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        Err(failure)
    })
}

/// Runs what has to be done before the first invocation; if it fails or panics, has that reported.
///
/// # Errors
///
/// [`Error::Init`]. If the report does not get through, that is logged.
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
