use std::fmt;
use std::time::Duration;

use lambda_proto::lifecycle::ShutdownWindow;

/// How long the phases of a function's life may take.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto_host::policy::Options;
///
/// let options = Options::new().with_init_timeout(Duration::from_secs(8))?;
/// assert_eq!(options.cancellation_buffer(), Duration::from_millis(500));
///
/// let error = options.with_shutdown_duration(Duration::from_secs(3)).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "a shutdown of more than 2 s: Lambda ends the process before, so give 2 s or less",
/// );
/// # Ok::<(), lambda_proto_host::policy::InvalidOption>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    init_timeout: Duration,
    cancellation_buffer: Duration,
    shutdown_duration: Duration,
    shutdown_buffer: Duration,
}

impl Options {
    /// The shutdown time of a function without extensions: SIGKILL comes at once [Lambda Developer
    /// Guide: Extensions API].
    pub const SHUTDOWN_WITHOUT_EXTENSIONS: Duration = Duration::ZERO;
    /// The runtime's share of a shutdown when there are external extensions [Lambda Developer
    /// Guide: Extensions API].
    pub const SHUTDOWN_WITH_EXTERNAL_EXTENSIONS: Duration = Duration::from_millis(300);
    /// The runtime's share of a shutdown when there are internal extensions only [Lambda Developer
    /// Guide: Extensions API].
    pub const SHUTDOWN_WITH_INTERNAL_EXTENSION: Duration = Duration::from_millis(500);

    /// The longest shutdown that Lambda grants [Lambda Developer Guide: Extensions API].
    pub const MAX_SHUTDOWN: Duration = Duration::from_secs(2);
    /// The longest init and the longest timeout of a function [Lambda Developer Guide: quotas].
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(15 * 60);

    /// An init timeout of 5 s, a cancellation buffer of 500 ms, a shutdown duration of 500 ms and a
    /// shutdown buffer of 50 ms.
    pub const fn new() -> Self {
        Self {
            init_timeout: Duration::from_secs(5),
            cancellation_buffer: Duration::from_millis(500),
            shutdown_duration: Self::SHUTDOWN_WITH_INTERNAL_EXTENSION,
            shutdown_buffer: Duration::from_millis(50),
        }
    }

    /// Sets the time that all init hooks share.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::NoInitTimeout`] and [`InvalidOption::InitTimeoutTooLong`].
    pub const fn with_init_timeout(mut self, timeout: Duration) -> Result<Self, InvalidOption> {
        if timeout.is_zero() {
            return Err(InvalidOption::NoInitTimeout);
        }
        if is_longer(timeout, Self::MAX_TIMEOUT) {
            return Err(InvalidOption::InitTimeoutTooLong);
        }
        self.init_timeout = timeout;
        Ok(self)
    }

    /// Sets the time between the cancellation of an invocation and its deadline. Zero cancels at
    /// the deadline.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::CancellationBufferTooLong`].
    pub const fn with_cancellation_buffer(
        mut self,
        buffer: Duration,
    ) -> Result<Self, InvalidOption> {
        if is_longer(buffer, Self::MAX_TIMEOUT) {
            return Err(InvalidOption::CancellationBufferTooLong);
        }
        self.cancellation_buffer = buffer;
        Ok(self)
    }

    /// Sets the time between SIGTERM and SIGKILL. Three constants have what Lambda grants; zero
    /// means that there is no time for a shutdown.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::ShutdownTooLong`].
    pub const fn with_shutdown_duration(
        mut self,
        duration: Duration,
    ) -> Result<Self, InvalidOption> {
        if is_longer(duration, Self::MAX_SHUTDOWN) {
            return Err(InvalidOption::ShutdownTooLong);
        }
        self.shutdown_duration = duration;
        Ok(self)
    }

    /// Sets the part of the shutdown that its hooks may not use. A buffer as long as the shutdown
    /// leaves them nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::ShutdownBufferTooLong`].
    pub const fn with_shutdown_buffer(mut self, buffer: Duration) -> Result<Self, InvalidOption> {
        if is_longer(buffer, Self::MAX_SHUTDOWN) {
            return Err(InvalidOption::ShutdownBufferTooLong);
        }
        self.shutdown_buffer = buffer;
        Ok(self)
    }

    /// The time that all init hooks share.
    pub const fn init_timeout(&self) -> Duration {
        self.init_timeout
    }

    /// The time between the cancellation of an invocation and its deadline.
    pub const fn cancellation_buffer(&self) -> Duration {
        self.cancellation_buffer
    }

    /// How the time between SIGTERM and SIGKILL is divided.
    pub const fn shutdown_window(&self) -> ShutdownWindow {
        ShutdownWindow::new(self.shutdown_duration, self.shutdown_buffer)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// `>` is not `const` for durations.
const fn is_longer(one: Duration, other: Duration) -> bool {
    !one.saturating_sub(other).is_zero()
}

/// Why an option was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidOption {
    /// An init timeout of zero.
    NoInitTimeout,
    /// An init timeout longer than [`Options::MAX_TIMEOUT`].
    InitTimeoutTooLong,
    /// A cancellation buffer longer than [`Options::MAX_TIMEOUT`].
    CancellationBufferTooLong,
    /// A shutdown duration longer than [`Options::MAX_SHUTDOWN`].
    ShutdownTooLong,
    /// A shutdown buffer longer than [`Options::MAX_SHUTDOWN`].
    ShutdownBufferTooLong,
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoInitTimeout => {
                "an init timeout of zero: no hook could end in time, so give more, or no hooks"
            }
            Self::InitTimeoutTooLong => {
                "an init timeout of more than 15 min: Lambda grants no longer init, so give 15 min or less"
            }
            Self::CancellationBufferTooLong => {
                "a cancellation buffer of more than 15 min: every invocation would be cancelled at once, \
                 so give less than the timeout of the function"
            }
            Self::ShutdownTooLong => {
                "a shutdown of more than 2 s: Lambda ends the process before, so give 2 s or less"
            }
            Self::ShutdownBufferTooLong => {
                "a shutdown buffer of more than 2 s: no shutdown is longer, so give less than the \
                 shutdown duration"
            }
        })
    }
}

impl std::error::Error for InvalidOption {}
