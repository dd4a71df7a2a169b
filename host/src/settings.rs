use std::io;
use std::time::Duration;

use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::limits::PATIENCE;

use crate::error::Seconds;
use crate::{Error, ErrorTypes, Log, Record, environment, panics};

/// The settings of a runtime, with the defaults that all transports share.
#[derive(Clone)]
pub struct Settings {
    /// The address of the Runtime API, and the user agent.
    pub endpoint: Endpoint,
    /// How many invocations run concurrently; never 0.
    pub slots: usize,
    /// The largest event in bytes.
    pub max_event: usize,
    /// How long to keep trying to connect before giving up.
    pub patience: Duration,
    /// Where log lines go.
    pub log: Log,
    /// The errors of the function that name the types of their reports.
    pub error_types: ErrorTypes,
}

impl Settings {
    /// Settings for a Runtime API at this address: one slot, events of up to 16 MiB, 60 s of
    /// patience, and a text log on standard error.
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

    /// The same settings, with the address and the number of slots from the
    /// [environment](crate::environment) and, with the feature `log-config`, the
    /// [log of the environment](Log::from_env).
    ///
    /// It installs a panic hook that writes a panic as one record of that log, with its place and,
    /// if `RUST_BACKTRACE` asks for it, the backtrace. A panic of a handler is part of the record
    /// of the failed invocation; a panic that the handler itself catches is logged when the handler
    /// returns. A hook that the program installs afterwards replaces this one.
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

    /// Sets the `User-Agent`, preferably one token of the form `name/version`.
    ///
    /// # Errors
    ///
    /// [`Error::UserAgent`], as [`Endpoint::with_user_agent`].
    pub fn set_user_agent(&mut self, user_agent: &str) -> Result<(), Error> {
        let endpoint = self.endpoint.clone().with_user_agent(user_agent);
        self.endpoint = endpoint.map_err(Error::UserAgent)?;
        Ok(())
    }

    /// Sets how many invocations run concurrently; 0 means 1.
    pub fn set_slots(&mut self, slots: usize) {
        self.slots = slots.max(1);
    }

    /// Sets the writer of log lines: one call per line, without the newline. The format and the
    /// level stay as they are.
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

    /// Logs that the service accepts connections and closes them, if the number of consecutive
    /// `losses` is the one at which to log that. Returns whether it is.
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
