use std::fmt;
use std::time::Duration;

use lambda_proto::lifecycle::ShutdownWindow;

use super::Policy;
#[cfg(feature = "serde")]
use super::written_options::WrittenOptions;

/// The options of a [`Lifecycle`](crate::lifecycle::Lifecycle): how long each phase may take, what
/// happens to work that still runs after an answer, and whether signals are handled.
///
/// Each option is either set or left open. A runtime takes an option from the first of these that
/// sets it:
///
/// 1. the code of the function;
/// 2. the environment variable in this table;
/// 3. the default.
///
/// | variable | value | default |
/// |---|---|---|
/// | `LAMBDA_PROTO_INIT_TIMEOUT_MS` | [the time that all init hooks share](Self::with_init_timeout): 1 to 900000 | 5000 |
/// | `LAMBDA_PROTO_CANCELLATION_BUFFER_MS` | [the time between the cancellation of an invocation and its deadline](Self::with_cancellation_buffer): 0 to 900000 | 500 |
/// | `LAMBDA_PROTO_SHUTDOWN_DURATION_MS` | [the time between SIGTERM and SIGKILL](Self::with_shutdown_duration): 0 to 2000 | 300 with external extensions, otherwise 500 |
/// | `LAMBDA_PROTO_SHUTDOWN_BUFFER_MS` | [the part of it that shutdown hooks may not use](Self::with_shutdown_buffer): 0 to 2000 | 50 |
/// | `LAMBDA_PROTO_STOP_TIMEOUT_MS` | [the time for shutdown hooks and registered work when there is no signal](Self::with_stop_timeout): 1 to 900000 | 2000 |
/// | `LAMBDA_PROTO_WORK` | [the policy for work that still runs before the next invocation](Self::with_work): `drain`, `report`, `strict` or `abandon` | `drain` |
/// | `LAMBDA_PROTO_DRAIN_RESERVE_MS` | the [reserve](Policy::Drain) of a drain: 0 to 900000 | 500 |
/// | `LAMBDA_PROTO_SIGNALS` | [whether signals are handled](Self::with_signals): `true` or `false` | `true` if there are shutdown hooks |
///
/// Durations are decimal milliseconds. An empty variable counts as unset. The variables are read
/// once, when a runtime with a lifecycle starts; a runtime without one does not read them.
///
/// The start fails if a value is invalid, even if the code sets that option. The failure has the
/// type [`INVALID_CONFIGURATION`](crate::environment::INVALID_CONFIGURATION) and names every
/// invalid variable with its value.
///
/// The policy and its reserve are one option: if the code sets the policy, it also sets the
/// reserve. A reserve without a policy means a drain; with a policy other than a drain it is
/// invalid.
///
/// With the feature `serde`, this type is serialized as a map. Its keys are the names of the
/// variables in lower case without the prefix, such as `init_timeout_ms`; all are optional, and
/// unknown keys are refused. Durations are whole milliseconds, rounded up.
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
///     "a shutdown of more than 2 s: Lambda kills the process earlier, so set 2 s or less",
/// );
/// # Ok::<(), lambda_proto_host::policy::InvalidOption>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(try_from = "WrittenOptions", into = "WrittenOptions")
)]
pub struct Options {
    pub(super) init_timeout: Option<Duration>,
    pub(super) cancellation_buffer: Option<Duration>,
    pub(super) shutdown_duration: Option<Duration>,
    pub(super) shutdown_buffer: Option<Duration>,
    pub(super) stop_timeout: Option<Duration>,
    pub(super) work: Option<Policy>,
    pub(super) signals: Option<bool>,
}

impl Options {
    /// The shutdown time of a function without extensions: SIGKILL comes immediately [Lambda
    /// Developer Guide: Extensions API].
    pub const SHUTDOWN_WITHOUT_EXTENSIONS: Duration = Duration::ZERO;
    /// The runtime's share of a shutdown with external extensions [Lambda Developer Guide:
    /// Extensions API].
    pub const SHUTDOWN_WITH_EXTERNAL_EXTENSIONS: Duration = Duration::from_millis(300);
    /// The runtime's share of a shutdown with only internal extensions [Lambda Developer Guide:
    /// Extensions API].
    pub const SHUTDOWN_WITH_INTERNAL_EXTENSION: Duration = Duration::from_millis(500);

    /// The longest shutdown that Lambda grants [Lambda Developer Guide: Extensions API].
    pub const MAX_SHUTDOWN: Duration = Duration::from_secs(2);
    /// The longest init and the longest timeout of a function [Lambda Developer Guide: quotas].
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(15 * 60);

    /// Sets only the shutdown duration, to what Lambda grants with external extensions.
    pub(crate) const WITH_EXTERNAL_EXTENSIONS: Self =
        Self { shutdown_duration: Some(Self::SHUTDOWN_WITH_EXTERNAL_EXTENSIONS), ..Self::new() };

    /// Leaves every option open.
    pub const fn new() -> Self {
        Self {
            init_timeout: None,
            cancellation_buffer: None,
            shutdown_duration: None,
            shutdown_buffer: None,
            stop_timeout: None,
            work: None,
            signals: None,
        }
    }

    /// Sets only this policy, with a reserve of any length.
    pub(crate) const fn of_work(policy: Policy) -> Self {
        Self { work: Some(policy), ..Self::new() }
    }

    /// Takes the options that are not set here from `other`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lambda_proto_host::policy::Options;
    ///
    /// let second = Duration::from_secs(1);
    /// let code = Options::new().with_init_timeout(8 * second)?;
    /// let file = Options::new().with_init_timeout(2 * second)?.with_stop_timeout(3 * second)?;
    /// let options = code.or(file);
    /// assert_eq!((options.init_timeout(), options.stop_timeout()), (8 * second, 3 * second));
    /// # Ok::<(), lambda_proto_host::policy::InvalidOption>(())
    /// ```
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            init_timeout: self.init_timeout.or(other.init_timeout),
            cancellation_buffer: self.cancellation_buffer.or(other.cancellation_buffer),
            shutdown_duration: self.shutdown_duration.or(other.shutdown_duration),
            shutdown_buffer: self.shutdown_buffer.or(other.shutdown_buffer),
            stop_timeout: self.stop_timeout.or(other.stop_timeout),
            work: self.work.or(other.work),
            signals: self.signals.or(other.signals),
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
        self.init_timeout = Some(timeout);
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
        self.cancellation_buffer = Some(buffer);
        Ok(self)
    }

    /// Sets the time between SIGTERM and SIGKILL. The constants `SHUTDOWN_…` have the times that
    /// Lambda grants; zero means that there is no time for a shutdown.
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
        self.shutdown_duration = Some(duration);
        Ok(self)
    }

    /// Sets the part of the shutdown that its hooks may not use. A buffer as long as the shutdown
    /// leaves them no time.
    ///
    /// The hooks get the shutdown duration less this buffer, and 50 ms less than that if an
    /// invocation or the start has to be reported as unanswered afterwards.
    ///
    /// The duration and the buffer apply after a signal. If the program stops by itself, nothing
    /// kills the process, and the hooks get the [stop timeout](Self::with_stop_timeout).
    ///
    /// # Errors
    ///
    /// [`InvalidOption::ShutdownBufferTooLong`].
    pub const fn with_shutdown_buffer(mut self, buffer: Duration) -> Result<Self, InvalidOption> {
        if is_longer(buffer, Self::MAX_SHUTDOWN) {
            return Err(InvalidOption::ShutdownBufferTooLong);
        }
        self.shutdown_buffer = Some(buffer);
        Ok(self)
    }

    /// Sets the time that shutdown hooks and registered work get when the program stops by itself,
    /// without a signal.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::NoStopTimeout`] and [`InvalidOption::StopTimeoutTooLong`].
    pub const fn with_stop_timeout(mut self, timeout: Duration) -> Result<Self, InvalidOption> {
        if timeout.is_zero() {
            return Err(InvalidOption::NoStopTimeout);
        }
        if is_longer(timeout, Self::MAX_TIMEOUT) {
            return Err(InvalidOption::StopTimeoutTooLong);
        }
        self.stop_timeout = Some(timeout);
        Ok(self)
    }

    /// Sets the policy for work that still runs before the next invocation is asked for.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::DrainReserveTooLong`].
    pub const fn with_work(mut self, policy: Policy) -> Result<Self, InvalidOption> {
        if let Policy::Drain { reserve } = policy
            && is_longer(reserve, Self::MAX_TIMEOUT)
        {
            return Err(InvalidOption::DrainReserveTooLong);
        }
        self.work = Some(policy);
        Ok(self)
    }

    /// Sets whether the runtime handles SIGTERM and SIGINT.
    #[must_use]
    pub const fn with_signals(mut self, are_handled: bool) -> Self {
        self.signals = Some(are_handled);
        self
    }

    /// The time that all init hooks share; 5 s by default.
    pub const fn init_timeout(&self) -> Duration {
        or_default(self.init_timeout, Duration::from_secs(5))
    }

    /// The time between the cancellation of an invocation and its deadline; 500 ms by default.
    pub const fn cancellation_buffer(&self) -> Duration {
        or_default(self.cancellation_buffer, Duration::from_millis(500))
    }

    /// How the time between SIGTERM and SIGKILL is divided.
    ///
    /// By default the duration is [`SHUTDOWN_WITH_INTERNAL_EXTENSION`], and the buffer is 50 ms. A
    /// runtime that finds external extensions sets the duration to
    /// [`SHUTDOWN_WITH_EXTERNAL_EXTENSIONS`] if it is open.
    ///
    /// [`SHUTDOWN_WITH_INTERNAL_EXTENSION`]: Self::SHUTDOWN_WITH_INTERNAL_EXTENSION
    /// [`SHUTDOWN_WITH_EXTERNAL_EXTENSIONS`]: Self::SHUTDOWN_WITH_EXTERNAL_EXTENSIONS
    pub const fn shutdown_window(&self) -> ShutdownWindow {
        let duration = or_default(self.shutdown_duration, Self::SHUTDOWN_WITH_INTERNAL_EXTENSION);
        ShutdownWindow::new(duration, or_default(self.shutdown_buffer, Duration::from_millis(50)))
    }

    /// The time that shutdown hooks and registered work get when the program stops by itself,
    /// without a signal; 2 s by default.
    pub const fn stop_timeout(&self) -> Duration {
        or_default(self.stop_timeout, Duration::from_secs(2))
    }

    /// The policy for work that still runs before the next invocation is asked for; by default that
    /// of [`Policy`].
    pub fn work(&self) -> Policy {
        self.work.unwrap_or_default()
    }

    /// Whether signals are handled. `None` leaves it open: then they are handled if there are
    /// shutdown hooks.
    pub const fn signals(&self) -> Option<bool> {
        self.signals
    }
}

/// `unwrap_or` is not `const`.
const fn or_default(set: Option<Duration>, default: Duration) -> Duration {
    match set {
        Some(set) => set,
        None => default,
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
    /// A stop timeout of zero.
    NoStopTimeout,
    /// A stop timeout longer than [`Options::MAX_TIMEOUT`].
    StopTimeoutTooLong,
    /// A drain reserve longer than [`Options::MAX_TIMEOUT`].
    DrainReserveTooLong,
    /// A drain reserve with a policy that is not [`Policy::Drain`].
    ReserveWithoutDrain,
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoInitTimeout => {
                "an init timeout of zero: no hook could end in time, so set more, or register no init hooks"
            }
            Self::InitTimeoutTooLong => {
                "an init timeout of more than 15 min: no init on Lambda takes longer, so set 15 min or less"
            }
            Self::CancellationBufferTooLong => {
                "a cancellation buffer of more than 15 min: every invocation would be cancelled \
                 immediately, so set less than the timeout of the function"
            }
            Self::ShutdownTooLong => {
                "a shutdown of more than 2 s: Lambda kills the process earlier, so set 2 s or less"
            }
            Self::ShutdownBufferTooLong => {
                "a shutdown buffer of more than 2 s: no shutdown is longer, so set less than the \
                 shutdown duration"
            }
            Self::NoStopTimeout => {
                "a stop timeout of zero: no shutdown hook could end in time, so set more, or register none"
            }
            Self::StopTimeoutTooLong => {
                "a stop timeout of more than 15 min: no function runs longer, so set 15 min or less"
            }
            Self::DrainReserveTooLong => {
                "a drain reserve of more than 15 min: a drain would never wait, so set less than the timeout \
                 of the function"
            }
            Self::ReserveWithoutDrain => {
                "a drain reserve with a work policy that does not drain: set the policy to drain, or do not \
                 set the reserve"
            }
        })
    }
}

impl std::error::Error for InvalidOption {}
