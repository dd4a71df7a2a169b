//! The form of the options in environment variables and `serde` documents.

use std::time::Duration;

use super::{InvalidOption, Options, Policy};

/// The options in written form: durations in milliseconds, the policy as a word, and its reserve as
/// a separate number.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
pub(crate) struct WrittenOptions {
    init_timeout_ms: Option<u64>,
    cancellation_buffer_ms: Option<u64>,
    shutdown_duration_ms: Option<u64>,
    shutdown_buffer_ms: Option<u64>,
    stop_timeout_ms: Option<u64>,
    work: Option<Work>,
    drain_reserve_ms: Option<u64>,
    signals: Option<bool>,
}

/// The word for a [`Policy`].
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "lowercase")
)]
enum Work {
    Drain,
    Report,
    Strict,
    Abandon,
}

/// A field of [`WrittenOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    InitTimeout,
    CancellationBuffer,
    ShutdownDuration,
    ShutdownBuffer,
    StopTimeout,
    Work,
    DrainReserve,
    Signals,
}

impl Setting {
    pub(crate) const ALL: [Self; 8] = [
        Self::InitTimeout,
        Self::CancellationBuffer,
        Self::ShutdownDuration,
        Self::ShutdownBuffer,
        Self::StopTimeout,
        Self::Work,
        Self::DrainReserve,
        Self::Signals,
    ];

    /// The name of the field.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InitTimeout => "init_timeout_ms",
            Self::CancellationBuffer => "cancellation_buffer_ms",
            Self::ShutdownDuration => "shutdown_duration_ms",
            Self::ShutdownBuffer => "shutdown_buffer_ms",
            Self::StopTimeout => "stop_timeout_ms",
            Self::Work => "work",
            Self::DrainReserve => "drain_reserve_ms",
            Self::Signals => "signals",
        }
    }
}

impl WrittenOptions {
    /// Sets a field to the value in `text`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, and what to write instead.
    pub(crate) fn set(&mut self, setting: Setting, text: &str) -> Result<(), &'static str> {
        let field = match setting {
            Setting::InitTimeout => &mut self.init_timeout_ms,
            Setting::CancellationBuffer => &mut self.cancellation_buffer_ms,
            Setting::ShutdownDuration => &mut self.shutdown_duration_ms,
            Setting::ShutdownBuffer => &mut self.shutdown_buffer_ms,
            Setting::StopTimeout => &mut self.stop_timeout_ms,
            Setting::DrainReserve => &mut self.drain_reserve_ms,
            Setting::Work => {
                self.work = Some(parse_work(text)?);
                return Ok(());
            }
            Setting::Signals => {
                self.signals = Some(parse_bool(text)?);
                return Ok(());
            }
        };
        *field = Some(parse_millis(text)?);
        Ok(())
    }

    /// The options, checked by their setters. For each value that is out of its range, this calls
    /// `refuse` and leaves the option open.
    pub(crate) fn into_options(self, mut refuse: impl FnMut(Setting, InvalidOption)) -> Options {
        type With = fn(Options, Duration) -> Result<Options, InvalidOption>;
        let durations: [(Setting, Option<u64>, With); 5] = [
            (Setting::InitTimeout, self.init_timeout_ms, Options::with_init_timeout),
            (
                Setting::CancellationBuffer,
                self.cancellation_buffer_ms,
                Options::with_cancellation_buffer,
            ),
            (Setting::ShutdownDuration, self.shutdown_duration_ms, Options::with_shutdown_duration),
            (Setting::ShutdownBuffer, self.shutdown_buffer_ms, Options::with_shutdown_buffer),
            (Setting::StopTimeout, self.stop_timeout_ms, Options::with_stop_timeout),
        ];
        let mut options = Options::new();
        for (setting, millis, with) in durations {
            let Some(millis) = millis else { continue };
            match with(options, Duration::from_millis(millis)) {
                Ok(changed) => options = changed,
                Err(error) => refuse(setting, error),
            }
        }
        if let Some(policy) = self.policy().transpose() {
            match policy.and_then(|policy| options.with_work(policy)) {
                Ok(changed) => options = changed,
                Err(error) => refuse(Setting::DrainReserve, error),
            }
        }
        match self.signals {
            Some(are_handled) => options.with_signals(are_handled),
            None => options,
        }
    }

    fn policy(&self) -> Result<Option<Policy>, InvalidOption> {
        let policy = match (self.work, self.drain_reserve_ms) {
            (None, None) => return Ok(None),
            (Some(Work::Drain), None) => Policy::default(),
            (None | Some(Work::Drain), Some(reserve)) => {
                Policy::Drain { reserve: Duration::from_millis(reserve) }
            }
            (Some(_), Some(_)) => return Err(InvalidOption::ReserveWithoutDrain),
            (Some(Work::Report), None) => Policy::Report,
            (Some(Work::Strict), None) => Policy::Strict,
            (Some(Work::Abandon), None) => Policy::Abandon,
        };
        Ok(Some(policy))
    }
}

fn parse_millis(text: &str) -> Result<u64, &'static str> {
    // `parse` would accept a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a number of milliseconds: write decimal digits only, such as 500");
    }
    // A number that does not fit is out of every range, like the maximum.
    Ok(text.parse().unwrap_or(u64::MAX))
}

fn parse_work(text: &str) -> Result<Work, &'static str> {
    match text {
        "drain" => Ok(Work::Drain),
        "report" => Ok(Work::Report),
        "strict" => Ok(Work::Strict),
        "abandon" => Ok(Work::Abandon),
        _ => Err("not a work policy: write drain, report, strict or abandon"),
    }
}

fn parse_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("not a boolean: write true or false"),
    }
}

#[cfg(feature = "serde")]
impl TryFrom<WrittenOptions> for Options {
    type Error = String;

    fn try_from(written: WrittenOptions) -> Result<Self, String> {
        let mut refused = Vec::new();
        let options = written.into_options(|setting, error| {
            refused.push(format!("{}: {error}", setting.name()));
        });
        if refused.is_empty() { Ok(options) } else { Err(refused.join("; ")) }
    }
}

#[cfg(feature = "serde")]
impl From<Options> for WrittenOptions {
    fn from(options: Options) -> Self {
        // Rounded up, so that a duration above zero stays above zero. Every maximum is in whole
        // milliseconds, so none is exceeded.
        let millis = |duration: Duration| {
            let millis = duration.as_nanos().div_ceil(1_000_000);
            u64::try_from(millis).unwrap_or(u64::MAX)
        };
        let (work, drain_reserve) = match options.work {
            None => (None, None),
            Some(Policy::Drain { reserve }) => (Some(Work::Drain), Some(reserve)),
            Some(Policy::Report) => (Some(Work::Report), None),
            Some(Policy::Strict) => (Some(Work::Strict), None),
            Some(Policy::Abandon) => (Some(Work::Abandon), None),
        };
        Self {
            init_timeout_ms: options.init_timeout.map(millis),
            cancellation_buffer_ms: options.cancellation_buffer.map(millis),
            shutdown_duration_ms: options.shutdown_duration.map(millis),
            shutdown_buffer_ms: options.shutdown_buffer.map(millis),
            stop_timeout_ms: options.stop_timeout.map(millis),
            work,
            drain_reserve_ms: drain_reserve.map(millis),
            signals: options.signals,
        }
    }
}
