//! Support for the crate `log`.

use super::{Level, Log, Record};
use crate::current;

impl From<::log::Level> for Level {
    fn from(level: ::log::Level) -> Self {
        match level {
            ::log::Level::Trace => Self::Trace,
            ::log::Level::Debug => Self::Debug,
            ::log::Level::Info => Self::Info,
            ::log::Level::Warn => Self::Warn,
            ::log::Level::Error => Self::Error,
        }
    }
}

/// The filter of the crate `log` for this level and above; pass it to `log::set_max_level`.
impl From<Level> for ::log::LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
            Level::Fatal => Self::Off,
        }
    }
}

/// Takes what a program logs with the macros of the crate `log`. The request id is that of the
/// [current invocation](crate::current) of the thread.
///
/// ```
/// use lambda_proto_host::Log;
///
/// let log = Log::from_env();
/// log::set_max_level(log.level().into());
/// log::set_boxed_logger(Box::new(log))?;
/// log::info!("ready");
/// # Ok::<(), log::SetLoggerError>(())
/// ```
impl ::log::Log for Log {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        self.is_enabled(metadata.level().into())
    }

    fn log(&self, record: &::log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = Record::new(record.level().into(), *record.args()).logger(record.target());
            self.write(&line.request_id(&current::request_id()));
        }
    }

    fn flush(&self) {
        Self::flush(self);
    }
}
