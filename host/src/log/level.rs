use std::fmt;
use std::str::FromStr;

/// How much a log line matters, in the words of `AWS_LAMBDA_LOG_LEVEL`.
///
/// ```
/// use lambda_proto_host::Level;
///
/// assert!(Level::Trace < Level::Info && Level::Error < Level::Fatal);
/// assert_eq!("warn".parse(), Ok(Level::Warn));
/// assert_eq!(Level::Warn.to_string(), "WARN");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace = 1,
    /// For whoever looks for a fault.
    Debug,
    /// What happens in the normal course.
    #[default]
    Info,
    /// Trouble that goes on.
    Warn,
    /// What loses an answer, or ends the process.
    Error,
    /// What ends the function.
    Fatal,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 6] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// Its name in capitals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = NoLevel;

    /// Takes a name in any case of letters.
    fn from_str(text: &str) -> Result<Self, NoLevel> {
        let mut levels = Self::ALL.into_iter();
        levels.find(|level| level.as_str().eq_ignore_ascii_case(text)).ok_or(NoLevel)
    }
}

/// A text that names no [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLevel;

impl fmt::Display for NoLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no log level; there are TRACE, DEBUG, INFO, WARN, ERROR and FATAL")
    }
}

impl std::error::Error for NoLevel {}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// A line to be read.
    #[default]
    Text,
    /// A JSON object in a line.
    Json,
}
