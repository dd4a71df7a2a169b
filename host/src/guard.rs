use crate::{Error, Failure, Format, InFlight, Level, Settings, panics};

/// Calls a handler, and turns a panic into a failure.
///
/// # Errors
///
/// The handler's failure, or that of its panic.
#[inline]
pub fn catch<T>(handler: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panics::catch(handler)
}

/// Runs the code before the first invocation, and reports its failure or panic through `report`.
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
        let failure = settings.error_types.named(failure);
        // In text, the line that `main` prints for the error is enough, unless there are frames,
        // such as the place of a panic.
        if settings.log.format() == Format::Json || failure.has_frames() {
            let what = format_args!("the function could not start");
            settings.log.failure(Level::Error, "", what, &failure);
        }
        if let Err(error) = report(&failure) {
            settings.log.error(format_args!("the failed start could not be reported: {error}"));
        }
        Error::Init { message: failure.to_string() }
    })
}
