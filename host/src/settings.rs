use std::io;
use std::time::Duration;

use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::limits::PATIENCE;

use crate::error::Seconds;
use crate::{Error, ErrorTypes, Log, Record, environment, panics};

/// The settings of every slot of a runtime, with defaults that all transports share.
#[derive(Clone)]
pub struct Settings {
    /// The address of the Runtime API, and the user agent.
    pub endpoint: Endpoint,
    /// How many invocations run at once; never 0.
    pub slots: usize,
    /// The largest event in bytes.
    pub max_event: usize,
    /// How long to try without any connection before giving up.
    pub patience: Duration,
    /// Where log lines go.
    pub log: Log,
    /// The errors of the function that name their types.
    pub error_types: ErrorTypes,
}

impl Settings {
    /// Settings for a runtime at this address: one slot, events of up to 16 MiB, 60 s of patience,
    /// and a log in text on standard error.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            slots: 1,
            max_event: 16 * 1024 * 1024,
            patience: PATIENCE,
            log: Log::default(),
            error_types: ErrorTypes::default(),
        }
    }

    /// The same with address and slots from the [environment](crate::environment) and, with the
    /// feature `log-config`, [its log](Log::from_env).
    ///
    /// It installs a panic hook, by which a panic is one record of that log, with its place and, if
    /// `RUST_BACKTRACE` asks for it, the backtrace. A panic of a handler is part of the record that
    /// says that the invocation has failed; one that the handler itself catches is logged when the
    /// handler returns. A hook that the program installs afterwards replaces this one.
    ///
    /// # Errors
    ///
    /// As [`environment::endpoint`] and [`environment::concurrency`].
    pub fn from_env() -> Result<Self, Error> {
        let mut settings = Self::new(environment::endpoint()?);
        settings.slots = environment::concurrency()?;
        #[cfg(feature = "log-config")]
        {
            settings.log = Log::from_env();
        }
        panics::install(&settings.log);
        Ok(settings)
    }

    /// Whether there is one slot or several.
    pub fn concurrency(&self) -> Concurrency {
        Concurrency::of_slots(self.slots)
    }

    /// Sets the `User-Agent`, best one token of the form `name/version`.
    ///
    /// # Errors
    ///
    /// [`Error::UserAgent`], as [`Endpoint::with_user_agent`].
    pub fn set_user_agent(&mut self, user_agent: &str) -> Result<(), Error> {
        let endpoint = self.endpoint.clone().with_user_agent(user_agent);
        self.endpoint = endpoint.map_err(Error::UserAgent)?;
        Ok(())
    }

    /// Sets how many invocations run at once; 0 is 1.
    pub fn set_slots(&mut self, slots: usize) {
        self.slots = slots.max(1);
    }

    /// Sets where log lines go, one call per line without the newline. Format and level stay.
    pub fn set_log(&mut self, write: impl Fn(&Record<'_>) + Send + Sync + 'static) {
        self.log = self.log.clone().with_writer(write);
    }

    /// Logs that the service cannot be reached.
    pub fn log_unreachable(&self, reason: &io::Error) {
        let (address, patience) = (self.endpoint.authority(), Seconds(self.patience));
        self.log.warn(format_args!(
            "no connection to the Runtime API at {address}: {reason}; trying again for {patience}"
        ));
    }

    /// Logs that the service is reachable again, after `waited`.
    pub fn log_reachable(&self, waited: Duration) {
        let (address, waited) = (self.endpoint.authority(), Seconds(waited));
        self.log.info(format_args!("connected to the Runtime API at {address} after {waited}"));
    }

    /// Logs that the service takes connections and closes them, if `losses` in a row is the number
    /// at which to log that; returns whether it is.
    pub fn log_losses(&self, losses: u32) -> bool {
        let is_said = losses == 3;
        if is_said {
            self.log.warn(format_args!(
                "the Runtime API at {} keeps closing the connection before sending an invocation; backing off",
                self.endpoint.authority()
            ));
        }
        is_said
    }

    /// The error of a runtime that gives up after `waited`.
    pub fn unreachable(&self, waited: Duration, reason: io::Error) -> Error {
        Error::Unreachable { address: self.endpoint.authority().to_owned(), waited, reason }
    }
}
