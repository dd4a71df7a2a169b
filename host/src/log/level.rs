use std::fmt;
use std::str::FromStr;

/// The level of a log line, one of those that `AWS_LAMBDA_LOG_LEVEL` can name.
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
    /// Details for debugging.
    Debug,
    /// Normal operation.
    #[default]
    Info,
    /// A problem that the runtime survives.
    Warn,
    /// The loss of an answer, or the end of a slot or of the process.
    Error,
    /// The end of the function.
    Fatal,
}

impl Level {
    /// Every level, from the lowest to the highest.
    pub const ALL: [Self; 6] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The name in capitals.
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

    /// Parses the name of a level in any letter case.
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
        f.write_str("not a log level: use TRACE, DEBUG, INFO, WARN, ERROR or FATAL")
    }
}

impl std::error::Error for NoLevel {}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// A line for people to read.
    #[default]
    Text,
    /// A JSON object on one line.
    Json,
}
