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
    let start_up = StartUp::begin(settings);
    start_up.end(catch(start)).map_err(|failed| {
        let reported = report(failed.failure());
        failed.into_error(reported)
    })
}

/// The code before the first invocation, which runs between `begin` and `end`, for transports that
/// await it. Blocking transports use [`start`].
pub struct StartUp<'s> {
    settings: &'s Settings,
    in_flight: InFlight,
}

impl<'s> StartUp<'s> {
    /// Notes that the code begins.
    pub fn begin(settings: &'s Settings) -> Self {
        let mut in_flight = InFlight::new(&settings.endpoint);
        in_flight.starts();
        Self { settings, in_flight }
    }

    /// Notes that the code has ended with this result.
    ///
    /// # Errors
    ///
    /// The failure, named and logged. Report it to the service.
    pub fn end<T>(self, result: Result<T, Failure>) -> Result<T, FailedStart<'s>> {
        let Self { settings, mut in_flight } = self;
        in_flight.has_started();
        result.map_err(|failure| {
            let failure = settings.error_types.named(failure);
            // In text, the line that `main` prints for the error is enough, unless there are
            // frames, such as the place of a panic.
            if settings.log.format() == Format::Json || failure.has_frames() {
                let what = format_args!("the function could not start");
                settings.log.failure(Level::Error, "", what, &failure);
            }
            FailedStart { settings, failure }
        })
    }
}

/// The failure of the code before the first invocation, to be reported to the service.
pub struct FailedStart<'s> {
    settings: &'s Settings,
    failure: Failure,
}

impl FailedStart<'_> {
    /// What to report.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The error that ends the runtime, after the report. If that could not be delivered, it is
    /// logged.
    pub fn into_error(self, reported: Result<(), Error>) -> Error {
        if let Err(error) = reported {
            let log = &self.settings.log;
            log.error(format_args!("the failed start could not be reported: {error}"));
        }
        Error::Init { message: self.failure.to_string() }
    }
}
